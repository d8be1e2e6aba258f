"""What a penalty costs and what it does: a whole critic step of the trainer with each, timed, and trained.

    python benchmarks/critic_steps.py                       # the times alone, on grid25
    python benchmarks/critic_steps.py --train 2000          # and 2,000 generator steps with each
    python benchmarks/critic_steps.py --data mnist --train 300 --rounds 0 --seeds 2    # no times, two runs of each

A critic step is the fakes, the loss, the penalty, backward and Adam (`Trainer.discriminator_step`). The rounds are
interleaved: what slows the machine slows all. A lazy penalty is timed over whole cycles and divided by their length.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from ganops.data import source
from ganops.training import Trainer, build_trainer, settings

WAYS: dict[str, dict[str, object]] = {  # the recipe's own penalty is lazy on some data
    "none": {"penalty": 0.0},
    "gradient": {"penalty_every": 1},
    "one-sided": {"penalty_every": 1, "penalty_kind": "one-sided"},
    "R1": {"penalty_every": 1, "penalty_kind": "r1"},
    "R2": {"penalty_every": 1, "penalty_kind": "r2"},
    "DRAGAN": {"penalty_every": 1, "penalty_kind": "dragan"},
    "approximate R1": {"penalty_every": 1, "penalty_kind": "approximate-r1"},
    "approximate R2": {"penalty_every": 1, "penalty_kind": "approximate-r2"},
    "gradient, every 4th step": {"penalty_every": 4},
    "gradient, every 16th step": {"penalty_every": 16},
    "gradient, finite difference": {"penalty_every": 1, "penalty_difference": 0.01},
}
CYCLE = 16  # steps in a block: whole cycles of every lazy penalty


def block(trainer: Trainer) -> float:
    """Milliseconds per critic step over one block."""
    batches = [trainer.batches.next() for _ in range(CYCLE)]
    start = time.perf_counter()
    for real, condition in batches:
        trainer.discriminator_step(real, condition)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return (time.perf_counter() - start) / CYCLE * 1e3


def time_all(data: str, rounds: int, names: list[str]) -> dict[str, float]:
    """Median milliseconds per critic step for each way, and for none."""
    trainers = {name: build_trainer(settings("wgan-gp", data, **WAYS[name])) for name in {"none", *names}}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for trainer in trainers.values():
        block(trainer)
    for _ in range(rounds):
        for name, trainer in trainers.items():
            times[name].append(block(trainer))
    return {name: statistics.median(values) for name, values in times.items()}


#: What is said of a training, by kind of data: metric, title, format.
COLUMNS = {
    "points": (
        ("modes", "modes", ".0f"), ("high_quality", "within 3σ", ".1%"), ("sliced_wasserstein", "sliced W₁", ".3f"),
    ),
    "images": (("frechet_distance", "Fréchet", ".1f"), ("precision", "precision", ".2f"), ("recall", "recall", ".2f")),
}  # fmt: skip


def train(data: str, steps: int, way: dict[str, object], seeds: int) -> str:
    """The data's metrics after so many generator steps from each seed, as cells of the table."""
    found = []
    for seed in range(seeds):
        trainer = build_trainer(settings("wgan-gp", data, steps=steps, seed=seed, **way))
        for _ in range(steps):
            trainer.step()
        found.append(trainer.measure())
    columns = COLUMNS[source(data).kind]
    return " | ".join(", ".join(format(metrics[name], form) for metrics in found) for name, _, form in columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="grid25", help="data set (default: grid25)")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of 16 critic steps for each (default: 5)")
    parser.add_argument("--train", type=int, default=0, metavar="STEPS", help="generator steps with each; 0: none")
    parser.add_argument("--seeds", type=int, default=1, help="trainings with each (default: 1)")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS), help="which (default: all)")
    options = parser.parse_args()
    times = time_all(options.data, options.rounds, options.ways) if options.rounds else {}
    titles = ["penalty", *(["ms", "to none"] if times else [])]
    titles += [title for _, title, _ in COLUMNS[source(options.data).kind]] if options.train else []
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {options.data}")
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name in options.ways:
        cells = [name]
        if times:
            cells += [f"{times[name]:.2f}", f"{times[name] / times['none']:.2f}"]
        if options.train:
            cells.append(train(options.data, options.train, WAYS[name], options.seeds))
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
