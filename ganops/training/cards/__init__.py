"""Paper cards: published experiments as data, each run by one command that ends in pass or fail.

A card is a TOML file in this folder: a recipe's settings, the variants that the paper compares, the numbers that it
prints, and the range in which the mean over the seeds must lie here. If the published length takes hours on a CPU there
is a shorter card with its own range, which is stated and not derived from the paper.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ganops._common import checks
from ganops.training import report
from ganops.training.config import with_defaults
from ganops.training.folder import OwnedFolder
from ganops.training.recipes import settings
from ganops.training.run import RunConfig, train

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["CARDS", "Card", "Outcome", "read_card", "run_card", "table"]

#: Both ends included. A variant's name as an end is its mean, for a method that is expected to beat another.
Range = tuple[float | str, float | str]


# Cards judge only the final state.
_AT_THE_END = {"evaluate_every": 0, "monitor_every": 0}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A published experiment.

    Attributes:
        summary: one line for ``ganops cards``.
        paper: where the numbers come from.
        recipe, data: arguments of `ganops.training.settings`.
        settings: of all variants.
        variants: by name, the settings in which they differ; ``data`` among them replaces the card's.
        published: by variant and metric, the printed mean and standard error (None: not printed).
        expected: by variant and metric, the range in which the mean over the seeds must lie.
        seeds: default number of runs of each variant.
        minutes: duration on two CPU cores in all.
    """

    summary: str
    paper: str
    recipe: str
    data: str
    settings: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]]
    published: dict[str, dict[str, tuple[float, float | None]]] = field(default_factory=dict)
    expected: dict[str, dict[str, Range]]
    seeds: int
    minutes: int

    def config(self, variant: str, seed: int) -> RunConfig:
        """The settings of one run."""
        changes = {**_AT_THE_END, "data": self.data, **self.settings, **self.variants[variant], "seed": seed}
        return settings(self.recipe, changes.pop("data"), **changes)


@dataclass(frozen=True)
class Outcome:
    """One metric of one variant: the values of the seeds, the expected range, and the published number."""

    variant: str
    metric: str
    values: list[float]
    expected: tuple[float, float] | None
    published: tuple[float, float | None] | None
    rivals: tuple[str, ...] = ()  # the variants whose means are ends of `expected`

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN for one seed."""
        return statistics.stdev(self.values) / math.sqrt(len(self.values)) if len(self.values) > 1 else math.nan

    @property
    def passed(self) -> bool:
        """Whether the mean lies in the expected range, ends included; True if there is no range."""
        return self.expected is None or self.expected[0] <= self.mean <= self.expected[1]


# -- the files -------------------------------------------------------------------------------------------------------

_OPTIONAL = ("settings", "published")


def read_card(path: Path) -> Card:
    """The card in a TOML file.

    Its keys are the attributes of `Card`. A published number is ``[mean]`` or ``[mean, standard error]``.

    Raises:
        ValueError: the file is no TOML, or keys are missing, unknown or refer to no variant.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"card: {path.name}: {error}") from error
    known = [each.name for each in fields(Card)]
    for key in content:
        checks.choice(f"card: {path.name}", "key", key, known)
    missing = [key for key in known if key not in content and key not in _OPTIONAL]
    if missing:
        raise ValueError(f"card: {path.name}: {', '.join(missing)} is missing")
    for part in ("published", "expected"):
        for variant in content.get(part, {}):
            checks.choice(f"card: {path.name}", f"variant in {part}", variant, content["variants"])
    content["published"] = {
        variant: {metric: (*numbers, None)[:2] for metric, numbers in row.items()}
        for variant, row in content.get("published", {}).items()
    }
    content["expected"] = {
        variant: {metric: tuple(ends) for metric, ends in row.items()} for variant, row in content["expected"].items()
    }
    return Card(**content)


#: Every card by name. To add one, add a TOML file to this folder.
CARDS: dict[str, Card] = {path.stem: read_card(path) for path in sorted(Path(__file__).parent.glob("*.toml"))}


# -- running one -----------------------------------------------------------------------------------------------------


def _metrics(card: Card) -> list[str]:
    """Every metric that is published or expected of any variant, since the others are compared with it."""
    return list(
        dict.fromkeys(name for part in (card.published, card.expected) for row in part.values() for name in row)
    )


def _run(config: RunConfig, folder: Path) -> dict[str, Any]:
    """One training. A finished run in `folder` is read, an interrupted one resumed.

    Raises:
        ValueError: the folder holds a run with other settings.
    """
    done, kept = (_read_json(folder / name) for name in ("metrics.json", "config.json"))
    if kept and report.strict(with_defaults(kept, config)) != report.strict(vars(config)):
        raise ValueError(f"out: folder {str(folder)!r} holds a run with other settings; choose another --out")
    if kept and done.get("status") == "finished":
        return done
    return train(config, folder, resume=(folder / "checkpoint.pt").exists())


def _read_json(path: Path) -> dict[str, Any]:
    """The dictionary in a JSON file; empty if there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _outcome(card: Card, variant: str, metric: str, values: dict[str, dict[str, list[float]]]) -> Outcome:
    """The outcome of one metric of one variant, from the `values` of all, by variant and metric."""
    ends = card.expected.get(variant, {}).get(metric)
    rivals = tuple(end for end in ends or () if isinstance(end, str))
    if ends is not None:
        ends = tuple(statistics.fmean(values[end][metric]) if isinstance(end, str) else end for end in ends)
    return Outcome(variant, metric, values[variant][metric], ends, card.published.get(variant, {}).get(metric), rivals)


def run_card(
    name: str,
    seeds: int | None = None,
    out: str | Path | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Train every variant of a card from every seed, and compare.

    Args:
        name: one of `CARDS`.
        seeds: number of runs of each variant; None: the card's.
        out: folder for ``card.json`` and the folder of each run; None: runs/cards/NAME. A card that was stopped
            continues from there.
        note: called with one line for each finished run.

    Returns:
        An `Outcome` for each variant and metric.
    """
    checks.choice("", "card", name, CARDS)
    card = CARDS[name]
    seeds = card.seeds if seeds is None else seeds
    if seeds < 1:
        raise ValueError(f"card: seeds must be at least 1, got {seeds}")
    out = Path("runs") / "cards" / name if out is None else out
    folder = OwnedFolder(out, ["card.json"])
    with folder.use():
        return _run_card(name, card, seeds, folder, note)


def _run_card(name: str, card: Card, seeds: int, folder: OwnedFolder, note: Callable[[str], None]) -> list[Outcome]:
    values, metrics = {}, _metrics(card)
    for variant in card.variants:
        found: dict[str, list[float]] = {metric: [] for metric in metrics}
        for seed in range(seeds):
            result = _run(card.config(variant, seed), folder / f"{variant.replace(' ', '-')}-{seed}")
            for metric in metrics:
                value = result.get(metric)
                found[metric].append(math.inf if value is None else float(value))
            note(f"{variant}, seed {seed}: " + ", ".join(f"{metric} {found[metric][-1]:.3g}" for metric in metrics))
        values[variant] = found
    outcomes = [_outcome(card, variant, metric, values) for variant in card.variants for metric in metrics]
    rows = [{**vars(outcome), "mean": outcome.mean, "passed": outcome.passed} for outcome in outcomes]
    report.write_json(folder / "card.json", {"card": name, "paper": card.paper, "seeds": seeds, "outcomes": rows})
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """The outcomes beside the published numbers, as text."""

    def number(mean: float, error: float | None) -> str:
        spread = "" if error is None or math.isnan(error) else f" ± {error:.2g}"
        return f"{mean:.3g}{spread}"

    rows = [("", "metric", "here", "expected", "published", "")]
    for o in outcomes:
        expected = "" if o.expected is None else f"{o.expected[0]:.3g} to {o.expected[1]:.3g}"
        expected += f" ({', '.join(o.rivals)}'s)" if o.rivals else ""
        published = "" if o.published is None else number(*o.published)
        verdict = "" if o.expected is None else "pass" if o.passed else "FAIL"
        rows.append((o.variant, o.metric, number(o.mean, o.error), expected, published, verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
