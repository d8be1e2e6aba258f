"""What a penalty costs and what it does: a whole critic step of the trainer with each, timed, and trained on 25 modes.

    python benchmarks/critic_steps.py                       # the times alone
    python benchmarks/critic_steps.py --train 2000          # and 2,000 steps on grid25 with each
    python benchmarks/critic_steps.py --data mnist

A critic step is the fakes, the loss, the penalty, backward and Adam (`Trainer.discriminator_step`). The rounds are
interleaved: what slows the machine slows all. A lazy penalty is timed over whole cycles and divided by their length.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from ganops import metrics
from ganops.training import Trainer, build_trainer, settings

WAYS: dict[str, dict[str, object]] = {
    "none": {"penalty": 0.0},
    "gradient": {},
    "one-sided": {"penalty_kind": "one-sided"},
    "R1": {"penalty_kind": "r1"},
    "R2": {"penalty_kind": "r2"},
    "DRAGAN": {"penalty_kind": "dragan"},
    "gradient, every 4th step": {"penalty_every": 4},
    "gradient, every 16th step": {"penalty_every": 16},
    "gradient, finite difference": {"penalty_difference": 0.01},
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


def time_all(data: str, rounds: int) -> dict[str, float]:
    """Median milliseconds per critic step for each way, and the ratio of medians to none."""
    trainers = {name: build_trainer(settings("wgan-gp", data, **way)) for name, way in WAYS.items()}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for trainer in trainers.values():
        block(trainer)
    for _ in range(rounds):
        for name, trainer in trainers.items():
            times[name].append(block(trainer))
    return {name: statistics.median(values) for name, values in times.items()}


def train(steps: int, way: dict[str, object], seed: int) -> str:
    """Modes, quality and distance on grid25, as cells of the table."""
    trainer = build_trainer(settings("wgan-gp", "grid25", steps=steps, seed=seed, **way))
    for _ in range(steps):
        trainer.step()
    found = metrics.evaluate(trainer.sample(2500), trainer.dataset)
    return f"{found['modes']} | {found['high_quality']:.1%} | {found['sliced_wasserstein']:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="grid25", help="what the timed critics are for (default: grid25)")
    parser.add_argument("--rounds", type=int, default=5, help="blocks of 16 critic steps for each (default: 5)")
    parser.add_argument("--train", type=int, default=0, metavar="STEPS", help="generator steps on grid25; 0: none")
    parser.add_argument("--seed", type=int, default=0, help="of the trainings")
    options = parser.parse_args()
    times = time_all(options.data, options.rounds) if options.rounds else {}
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {options.data}")
    print("| penalty | ms | to none |" + " modes of 25 | within 3σ | sliced W₁ |" * bool(options.train))
    print("|---|---|---|" + "---|---|---|" * bool(options.train))
    for name, way in WAYS.items():
        ms, ratio = (f"{times[name]:.2f}", f"{times[name] / times['none']:.2f}") if times else ("", "")
        cells = f" {train(options.train, way, options.seed)} |" if options.train else ""
        print(f"| {name} | {ms} | {ratio} |{cells}", flush=True)


if __name__ == "__main__":
    main()
