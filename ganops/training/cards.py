"""Paper cards: published experiments as data, each run by one command that ends in pass or fail.

A card is a recipe's settings, the variants that the paper compares, what it printed, and the range in which the mean
over the seeds must lie here. Where the published length takes hours on a CPU there is a shorter card with a range of
its own; that range is stated, not derived from the paper.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganops import _checks
from ganops.training import report
from ganops.training.config import with_defaults
from ganops.training.folder import check_folder
from ganops.training.recipes import settings
from ganops.training.run import RunConfig, train

__all__ = ["CARDS", "Card", "Outcome", "run_card", "table"]

#: Both ends included. In place of an end may stand another variant: its mean, for one method that is to beat another.
Range = tuple[float | str, float | str]


# What a card holds is the end of a run; nothing is looked at before.
_AT_THE_END = {"evaluate_every": 0, "monitor_every": 0}


@dataclass(frozen=True, kw_only=True)
class Card:
    """A published experiment.

    Attributes:
        summary: one line for ``ganops cards``.
        paper: where the numbers come from.
        recipe, data: what `settings` begins with.
        always: settings of all variants.
        variants: by name, the settings in which they differ; ``data`` among them goes before the card's.
        published: for some variants the printed numbers by metric: mean and standard error (None: not printed).
        expected: for each variant the metrics that are held, each with the range of its mean over the seeds.
        seeds: how many runs of each variant unless told otherwise.
        minutes: what it takes on two CPU cores in all, for those who choose.
    """

    summary: str
    paper: str
    recipe: str
    data: str
    always: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    published: dict[str, dict[str, tuple[float, float | None]]] = field(default_factory=dict)
    expected: dict[str, dict[str, Range]]
    seeds: int
    minutes: int

    def config(self, variant: str, seed: int) -> RunConfig:
        """The settings of one run."""
        changes = {**_AT_THE_END, "data": self.data, **self.always, **self.variants[variant], "seed": seed}
        return settings(self.recipe, changes.pop("data"), **changes)


@dataclass(frozen=True)
class Outcome:
    """One metric of one variant: what the seeds gave, what is held, what was printed."""

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
        """Whether the mean lies in the expected range, ends included; True where nothing is held."""
        return self.expected is None or self.expected[0] <= self.mean <= self.expected[1]


# -- the cards -------------------------------------------------------------------------------------------------------

_PACGAN = "Lin et al. 2018, arXiv:1712.04086, table 1"


def _packs(epochs: int) -> dict[str, dict[str, Any]]:
    """GAN, PacGAN2 and PacGAN4: 100 packs a batch, so that an epoch of the 100,000 points has 1000/m steps."""
    return {
        name: {"pack": m, "batch_size": 100 * m, "steps": epochs * 1000 // m}
        for name, m in (("GAN", 1), ("PacGAN2", 2), ("PacGAN4", 4))
    }


# Section 4.1: z ~ N(0, I_2), Adam 1e-4, logistic non-saturating loss, samples of the generator itself.
_PACGAN_ALWAYS = {
    "model": "maxout", "generator_norm": "batch", "latent_dim": 2, "generator_lr": 1e-4, "discriminator_lr": 1e-4,
    "beta1": 0.5, "beta2": 0.999, "ema": 0.0,
}  # fmt: skip


def _printed(**rows: tuple[float, float, float, float]) -> dict[str, dict[str, tuple[float, float | None]]]:
    """Rows of table 1: modes and their standard error, high quality, reverse KL."""
    return {
        name: {"modes": (modes, error), "high_quality": (quality, None), "reverse_kl": (divergence, None)}
        for name, (modes, error, quality, divergence) in rows.items()
    }


_RING_PUBLISHED = _printed(
    GAN=(6.3, 0.5, 0.982, 0.45), PacGAN2=(7.9, 0.1, 0.956, 0.07), PacGAN4=(7.8, 0.1, 0.959, 0.07)
)
_GRID_PUBLISHED = _printed(
    GAN=(17.3, 0.8, 0.948, 0.70), PacGAN2=(23.8, 0.7, 0.913, 0.13), PacGAN4=(24.8, 0.2, 0.936, 0.04)
)

# The toys of the paper's code: as wide as each other, where ours keep PacGAN's numbers. MLPs of 3 x 512, batches of
# 256, five critic steps, lambda 0.1, Adam 1e-4 (0.5, 0.9); its critic has ReLUs where ours has LeakyReLU(0.2). What it
# prints are pictures: the ranges are ours.
_WGAN_GP = "Gulrajani et al. 2017, arXiv:1704.00028, figure 1"
_TOYS = {
    "8 Gaussians": {"data": "ring8?scale=1.4142"},
    "25 Gaussians": {"data": "grid25?scale=0.35355"},
    "swiss roll": {"data": "swiss_roll"},
}
_TOYS_FULL = {
    "model": "mlp", "width": 512, "generator_norm": "none", "discriminator_norm": "none", "latent_dim": 2,
    "batch_size": 256, "n_critic": 5, "penalty": 0.1, "penalty_every": 1, "generator_lr": 1e-4,
    "discriminator_lr": 1e-4, "beta1": 0.5, "beta2": 0.9, "lr_decay": 0.0, "ema": 0.0, "steps": 100_000,
}  # fmt: skip

# Appendix A: the networks of model shallow, z of 256, Adam 1e-4 (beta1 0.5) for both, batches of 512, minimax. What it
# prints are pictures, in which the plain GAN is on one or two modes at a time: the ranges are ours.
_UNROLLED = "Metz et al. 2017, arXiv:1611.02163, figure 2"
_UNROLLED_ALWAYS = {
    "data": "ring8?scale=2", "model": "shallow", "loss": "minimax", "width": 128, "generator_norm": "none",
    "discriminator_norm": "none", "latent_dim": 256, "batch_size": 512, "generator_lr": 1e-4,
    "discriminator_lr": 1e-4, "beta1": 0.5, "ema": 0.0,
}  # fmt: skip

# PacGAN's section 4.2 and Metz et al. 2017, section 3.3: z of 100, Adam 2e-4 (0.5), batches of 64 packs, 50 epochs of
# 128,000 stacks (ours are of 5,000 digits, theirs of 60,000); D's channels in table 3 are a quarter of G's.
_STACKED = "Lin et al. 2018, arXiv:1712.04086"
_STACKED_ALWAYS = {
    "data": "stacked_mnist?size=128000", "model": "dcgan", "width": 64, "latent_dim": 100, "generator_lr": 2e-4,
    "discriminator_lr": 2e-4, "beta1": 0.5, "ema": 0.0, "steps": 100_000,
}  # fmt: skip


def _stacks(*degrees: int) -> dict[str, dict[str, Any]]:
    """DCGAN and PacGANs whose batches hold 64 packs."""
    return {"DCGAN" if m == 1 else f"PacDCGAN{m}": {"pack": m, "batch_size": 64 * m} for m in degrees}


# The short ones: half of G's channels, and a D that learns a fifth as fast as G.
_STACKED_SHORT = {"width": 32, "generator_lr": 1e-3, "discriminator_lr": 2e-4}

_SMALL_D_PUBLISHED: dict[str, dict[str, tuple[float, float | None]]] = {
    "DCGAN": {"modes": (30.6, None)},
    "Unrolled5": {"modes": (236.4, None)},
    "Unrolled10": {"modes": (327.2, None)},
    "PacDCGAN4": {"modes": (667.4, None)},
}

CARDS: dict[str, Card] = {
    "pacgan-ring": Card(
        summary="PacGAN's ring of 8 at full length",
        paper=_PACGAN,
        recipe="pacgan",
        data="ring8",
        always=_PACGAN_ALWAYS,
        variants=_packs(400),
        published=_RING_PUBLISHED,
        expected={
            "PacGAN2": {"modes": (7.5, 8), "high_quality": (0.9, 1), "reverse_kl": (0, 0.2)},
            "PacGAN4": {"modes": (7.5, 8), "high_quality": (0.9, 1), "reverse_kl": (0, 0.2)},
        },
        seeds=10,
        minutes=6000,
    ),
    "pacgan-grid": Card(
        summary="PacGAN's grid of 25 at full length",
        paper=_PACGAN,
        recipe="pacgan",
        data="grid25",
        always=_PACGAN_ALWAYS,
        variants=_packs(400),
        published=_GRID_PUBLISHED,
        expected={
            "PacGAN2": {"modes": (22.4, 25), "high_quality": (0.85, 1), "reverse_kl": (0, 0.3)},
            "PacGAN4": {"modes": (24, 25), "high_quality": (0.85, 1), "reverse_kl": (0, 0.15)},
        },
        seeds=10,
        minutes=6000,
    ),
    "pacgan-ring-short": Card(
        summary="the ring of 8 with the trainer's own small networks, 3,000 steps: does packing find all modes?",
        paper=_PACGAN,
        recipe="pacgan",
        data="ring8",
        always={"steps": 3000},
        variants={"GAN": {"pack": 1}, "PacGAN2": {"pack": 2}, "PacGAN4": {"pack": 4}},
        published=_RING_PUBLISHED,
        # So early the modes are still wide (after 8,000 steps 86 % of PacGAN2's samples lie within 3 sigma): packing is
        # judged by the even spread over all of them.
        expected={
            "PacGAN2": {"modes": (7.5, 8), "high_quality": (0.3, 1), "reverse_kl": (0, "GAN")},
            "PacGAN4": {"modes": (7.5, 8), "reverse_kl": (0, "GAN")},
        },
        seeds=5,
        minutes=20,
    ),
    "pacgan-grid-short": Card(
        summary="the grid of 25 with the trainer's own small networks, 8,000 faster steps: who holds all modes?",
        paper=_PACGAN,
        recipe="pacgan",
        data="grid25",
        always={"n_critic": 2, "generator_lr": 1e-3, "discriminator_lr": 1e-3, "lr_decay": 0.5},
        variants={name: {**pack, "steps": 8000} for name, pack in _packs(400).items()},
        published=_GRID_PUBLISHED,
        # As on the ring, packs hold the modes and sharpen them late.
        expected={
            "GAN": {"modes": (0, 21)},
            "PacGAN2": {"modes": (22, 25), "high_quality": (0.3, 1), "reverse_kl": (0, "GAN")},
            "PacGAN4": {"modes": (22, 25), "high_quality": (0.3, 1), "reverse_kl": (0, "GAN")},
        },
        seeds=3,
        minutes=18,
    ),
    "unrolled-ring": Card(
        summary="unrolled GAN on the ring of 8 at full length: no more chasing around the ring",
        paper=_UNROLLED,
        recipe="unrolled",
        data="ring8",
        always={**_UNROLLED_ALWAYS, "steps": 25_000},
        variants={"GAN": {"unroll": 0}, "Unrolled5": {"unroll": 5}, "Unrolled10": {"unroll": 10}},
        expected={
            "GAN": {"modes": (0, 3)},
            "Unrolled10": {"modes": (8, 8), "high_quality": (0.1, 1), "reverse_kl": (0, 0.2)},
        },
        seeds=3,
        minutes=250,
    ),
    "unrolled-ring-short": Card(
        summary="the same, five steps ahead, 3,000 faster steps with batches of 128: are all modes held at once?",
        paper=_UNROLLED,
        recipe="unrolled",
        data="ring8",
        always={
            **_UNROLLED_ALWAYS,
            "batch_size": 128,
            "generator_lr": 1e-3,
            "discriminator_lr": 1e-3,
            "lr_decay": 0.5,
            "steps": 3000,
        },
        variants={"GAN": {"unroll": 0}, "Unrolled5": {"unroll": 5}},
        # The samples begin as a whole ring and draw together slowly.
        expected={
            "GAN": {"modes": (0, 3)},
            "Unrolled5": {"modes": (7.5, 8), "high_quality": (0.1, 1), "reverse_kl": (0, 0.2)},
        },
        seeds=3,
        minutes=10,
    ),
    "wgan-gp-toys": Card(
        summary="WGAN-GP's toys at full length: 8 Gaussians, 25 Gaussians, swiss roll",
        paper=_WGAN_GP,
        recipe="wgan-gp",
        data="ring8",
        always=_TOYS_FULL,
        variants=_TOYS,
        expected={
            "8 Gaussians": {"modes": (8, 8), "high_quality": (0.8, 1), "reverse_kl": (0, 0.1)},
            "25 Gaussians": {"modes": (24, 25), "high_quality": (0.8, 1), "reverse_kl": (0, 0.1)},
            "swiss roll": {"modes": (20, 20), "high_quality": (0.8, 1), "reverse_kl": (0, 0.1)},
        },
        seeds=1,
        minutes=1200,
    ),
    "wgan-gp-toys-short": Card(
        summary="the same three with the trainer's own small networks, 3,000 and 5,000 steps: are all modes there?",
        paper=_WGAN_GP,
        recipe="wgan-gp",
        data="ring8",
        always={
            "penalty": 0.1,
            "penalty_every": 1,
            "generator_lr": 5e-4,
            "discriminator_lr": 5e-4,
            "lr_decay": 0.5,
            "steps": 3000,
        },
        # The grid takes longer: with the settings of the other two 25 modes, but 19 % within 3 sigma, reverse KL 0.6.
        variants=_TOYS
        | {
            "25 Gaussians": {
                **_TOYS["25 Gaussians"],
                "penalty_every": 4,
                "generator_lr": 1e-3,
                "discriminator_lr": 1e-3,
                "steps": 5000,
            }
        },
        expected={
            "8 Gaussians": {"modes": (8, 8), "high_quality": (0.7, 1), "reverse_kl": (0, 0.1)},
            "25 Gaussians": {"modes": (25, 25), "high_quality": (0.7, 1), "reverse_kl": (0, 0.1)},
            "swiss roll": {"modes": (20, 20), "high_quality": (0.7, 1), "reverse_kl": (0, 0.1)},
        },
        seeds=2,
        minutes=25,
    ),
    "stacked-mnist": Card(
        summary="a thousand modes (PacGAN's table 2): packing finds them, DCGAN does not",
        paper=f"{_STACKED}, table 2",
        recipe="dcgan",
        data="stacked_mnist",
        always=_STACKED_ALWAYS,
        variants=_stacks(1, 2),
        published={
            "DCGAN": {"modes": (78.9, 6.5), "reverse_kl": (4.50, None)},
            "PacDCGAN2": {"modes": (1000.0, 0.0), "reverse_kl": (0.06, None)},
        },
        expected={"PacDCGAN2": {"modes": (900, 1000), "reverse_kl": (0, 0.5)}},
        seeds=1,
        minutes=9000,
    ),
    "stacked-mnist-short": Card(
        summary="a thousand modes with small networks, 4,000 steps: does packing find most of them?",
        paper=f"{_STACKED}, table 2",
        recipe="dcgan",
        data="stacked_mnist",
        # D is half as wide as G and learns a fifth as fast: with equal ones of 16 channels it wins, and after 1,500
        # steps there were no digits yet (44 modes with packs, 1 without).
        always={**_STACKED_SHORT, "discriminator_width": 16, "steps": 4000},
        variants={"DCGAN": {"pack": 1, "batch_size": 32}, "PacDCGAN2": {"pack": 2, "batch_size": 64}},
        published={"DCGAN": {"modes": (78.9, 6.5)}, "PacDCGAN2": {"modes": (1000.0, 0.0)}},
        # A 25th of the steps on a sixth of the stacks: most modes, however unevenly. (A plain DCGAN of this size does
        # not collapse either: no order is asked for.)
        expected={"PacDCGAN2": {"modes": (700, 1000), "reverse_kl": (0, 1.5)}},
        seeds=1,
        minutes=15,
    ),
    "stacked-mnist-small-d": Card(
        summary="a thousand modes with a D of a quarter of G's channels (table 3): unrolling, packing",
        paper=f"{_STACKED}, table 3; Metz et al. 2017, arXiv:1611.02163",
        recipe="dcgan",
        data="stacked_mnist",
        # The same D for all: looking ahead cannot take back batch norm's running statistics.
        always={**_STACKED_ALWAYS, "discriminator_width": 16, "discriminator_norm": "layer"},
        variants={
            **_stacks(1),
            "Unrolled5": {"unroll": 5, "batch_size": 64},
            "Unrolled10": {"unroll": 10, "batch_size": 64},
            **_stacks(4),
        },
        published=_SMALL_D_PUBLISHED,
        expected={"Unrolled5": {"modes": (150, 1000)}, "PacDCGAN4": {"modes": (400, 1000)}},
        seeds=1,
        minutes=60000,
    ),
    "stacked-mnist-small-d-short": Card(
        summary="the same with small networks, 600 steps: who goes beyond a handful of modes?",
        paper=f"{_STACKED}, table 3; Metz et al. 2017, arXiv:1611.02163",
        recipe="dcgan",
        data="stacked_mnist?size=20000",
        # With equal rates of 2e-4 D, small as it is, won against looking ahead.
        always={
            **_STACKED_SHORT,
            "discriminator_width": 8,
            "discriminator_norm": "layer",
            "ema": 0.0,
            "steps": 600,
        },
        variants={**_stacks(1), "Unrolled5": {"unroll": 5, "batch_size": 64}, **_stacks(4)},
        published={name: row for name, row in _SMALL_D_PUBLISHED.items() if name != "Unrolled10"},
        expected={
            "DCGAN": {"modes": (0, 50)},
            "Unrolled5": {"modes": (100, 1000), "reverse_kl": (0, "DCGAN")},
            "PacDCGAN4": {"modes": (100, 1000), "reverse_kl": (0, "DCGAN")},
        },
        seeds=2,
        minutes=35,
    ),
}


# -- running one -----------------------------------------------------------------------------------------------------


def _metrics(card: Card) -> list[str]:
    """All that is printed or held of any variant: the others are to be compared with it."""
    return list(
        dict.fromkeys(name for part in (card.published, card.expected) for row in part.values() for name in row)
    )


def _run(config: RunConfig, folder: Path) -> dict[str, Any]:
    """One training. What `folder` holds of it is not done again: a finished run is read, an interrupted one resumed."""
    try:
        done = json.loads((folder / "metrics.json").read_text())
        kept = with_defaults(json.loads((folder / "config.json").read_text()), config)
        same = report.strict(kept) == report.strict(vars(config))
    except (OSError, json.JSONDecodeError):
        done, same = {}, True
    if not same:
        raise ValueError(f"out: folder {str(folder)!r} holds a run with other settings; choose another --out")
    if done.get("status") == "finished":
        return done
    return train(config, folder, resume=(folder / "checkpoint.pt").exists())


def _outcome(card: Card, variant: str, metric: str, values: dict[str, dict[str, list[float]]]) -> Outcome:
    """What came out of all `values` for one of them: by variant and metric, one for each seed."""
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
        seeds: how many; None: as many as the card says.
        out: a folder with one run's folder for each variant and seed, and ``card.json``; None: runs/cards/NAME. A card
            that was stopped goes on from there.
        note: is told of each run as it ends.

    Returns:
        An `Outcome` for each variant and metric.
    """
    _checks.choice("card", "name", name, CARDS)
    card = CARDS[name]
    seeds = card.seeds if seeds is None else seeds
    if seeds < 1:
        raise ValueError(f"card: seeds must be at least 1, got {seeds}")
    out = Path("runs") / "cards" / name if out is None else Path(out)
    check_folder(out)
    values, metrics = {}, _metrics(card)
    for variant in card.variants:
        found: dict[str, list[float]] = {metric: [] for metric in metrics}
        for seed in range(seeds):
            result = _run(card.config(variant, seed), out / f"{variant.replace(' ', '-')}-{seed}")
            for metric in metrics:
                value = result[metric]
                found[metric].append(math.inf if value is None else float(value))
            note(f"{variant}, seed {seed}: " + ", ".join(f"{metric} {found[metric][-1]:.3g}" for metric in metrics))
        values[variant] = found
    outcomes = [_outcome(card, variant, metric, values) for variant in card.variants for metric in metrics]
    rows = [{**vars(outcome), "mean": outcome.mean, "passed": outcome.passed} for outcome in outcomes]
    report.write_json(out / "card.json", {"card": name, "paper": card.paper, "seeds": seeds, "outcomes": rows})
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
