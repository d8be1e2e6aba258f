"""The table of docs/systems.md from the folders of runs: one line for each, in the order of ``ganops recipes``.

    for r in gan nsgan wgan-gp; do ganops train $r --data ring8 --out runs/ring8/$r; done
    python benchmarks/systems.py runs/*/*           # --time: and the minutes of one core that they take

A folder that holds no finished run is named on standard error and left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from ganops.training import RECIPES, RunConfig, build_trainer

COLUMNS: dict[str, dict[str, str]] = {
    "points": {
        "modes": "modes", "high_quality": "within 3σ", "reverse_kl": "reverse KL",
        "sliced_wasserstein": "sliced W₁", "label_accuracy": "label accuracy",
    },
    "images": {
        "frechet_distance": "Fréchet", "precision": "precision", "recall": "recall", "coverage": "coverage",
        "classes": "classes", "label_accuracy": "label accuracy", "l1": "L1",
    },
}  # fmt: skip


def cell(name: str, metrics: dict[str, Any]) -> str:
    """One number, as the table shows it."""
    value = metrics.get(name)
    if value is None:
        return ""
    if f"{name}_total" in metrics:
        return f"{value}/{metrics[f'{name}_total']}"
    if name in ("high_quality", "label_accuracy"):
        return f"{value:.1%}"
    return f"{value:.1f}" if name == "frechet_distance" else f"{value:.3f}"


def minutes(config: dict[str, Any], steps: int) -> str:
    """What so many steps take of one core, from the processor time of 16: the runs may have shared the machine."""
    torch.set_num_threads(1)
    known = {field.name for field in fields(RunConfig)}
    trainer = build_trainer(RunConfig(**{name: value for name, value in config.items() if name in known}))
    for _ in range(2):
        trainer.step()
    start = time.process_time()
    for _ in range(16):  # whole cycles of a lazy penalty
        trainer.step()
    return f"{(time.process_time() - start) / 16 * steps / 60:.1f}"


def line(folder: Path, columns: dict[str, str], timed: bool) -> str:
    """One run: the numbers of its last state, and the step and score of its best one."""
    config, metrics = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "metrics"))
    score = "frechet_distance" if "frechet_distance" in metrics and "l1" not in metrics else None
    best = metrics.get("best") or {}
    cells = [f"`{folder.name}`", str(metrics["step"]), *(cell(name, metrics) for name in columns)]
    name = score or ("l1" if "l1" in metrics else "high_quality")
    cells.append(f"{cell(name, best)} at {best['step']}" if best and best["step"] != metrics["step"] else "the last")
    cells.append(str(config["seed"]))
    cells += [minutes(config, metrics["step"])] if timed else []
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--time", action="store_true", help="measure how many minutes of one core each takes")
    options = parser.parse_args()
    groups: dict[str, list[tuple[int, Path]]] = {}
    for folder in options.folders:
        try:
            config, metrics = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "metrics"))
        except OSError as error:
            print(f"{folder}: {error.strerror}", file=sys.stderr)
            continue
        if metrics["status"] != "finished":
            print(f"{folder}: {metrics['status']}", file=sys.stderr)
            continue
        groups.setdefault(config["data"], []).append((list(RECIPES).index(config["recipe"]), folder))
    for data, found in groups.items():
        metrics = [json.loads((folder / "metrics.json").read_text()) for _, folder in found]
        kind = "images" if any("frechet_distance" in m or "l1" in m for m in metrics) else "points"
        columns = {
            name: title for name, title in COLUMNS[kind].items() if any(m.get(name) is not None for m in metrics)
        }
        time_title = " core minutes |" if options.time else ""
        print(f"\n**{data}**\n\n| run | steps | {' | '.join(columns.values())} | best state | seed |{time_title}")
        print("|---" * (len(columns) + 4 + options.time) + "|")
        for _, folder in sorted(found, key=lambda pair: (pair[0], pair[1].name)):
            print(line(folder, columns, options.time))


if __name__ == "__main__":
    main()
