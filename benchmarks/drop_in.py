"""Replaces the loss code of public repositories by ganops and compares trajectories, lines and time.

    python benchmarks/drop_in.py                         # all rows
    python benchmarks/drop_in.py --only BasicSR --rounds 40

In each row both versions train the same networks from the same weights and draws for 50 steps in float64. The deviation
is the largest difference of any weight at any step. A ratio is the time of the original divided by the time with
ganops, the median of interleaved rounds in float32: for the losses with their backward pass, and for whole steps. The
rows are in drop_in_rows.py.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import itertools
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from drop_in_rows import ROWS, Row, Side
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

STEPS = 50


class System(NamedTuple):
    """Networks and what they are trained on; ``batch`` draws (z, real)."""

    G: nn.Module
    D: nn.Module
    batch: Callable[[], tuple[Tensor, Tensor]]


def points(large: bool) -> System:
    """Dense networks."""
    width, count = (256, 256) if large else (8, 6)

    def mlp(inputs: int, outputs: int) -> nn.Module:
        layers = nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)
        return nn.Sequential(*layers, nn.Linear(width, outputs))

    return System(mlp(4, 2), mlp(2, 1), lambda: (torch.randn(count, 4), torch.randn(count, 2)))


def images(large: bool, normalised: bool = False) -> System:
    """Convolutions; D judges patches."""
    width, side, count = (32, 32, 16) if large else (4, 8, 3)

    def middle() -> list[nn.Module]:
        return [nn.BatchNorm2d(2 * width)] if normalised else []

    up = nn.ConvTranspose2d(8, 2 * width, side // 4), *middle(), nn.ReLU()
    G = nn.Sequential(
        *up, nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh()
    )
    down = nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1), *middle()
    D = nn.Sequential(*down, nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 1, 3, 1, 1))
    return System(G, D, lambda: (torch.randn(count, 8, 1, 1), torch.rand(count, 3, side, side) * 2 - 1))


class Several(nn.Module):
    """Discriminators at several rates; logits and features of each."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()

        def layers() -> nn.ModuleList:
            sizes = (1, width, 2 * width, 4 * width, 4 * width)
            convolutions = [nn.Conv1d(a, b, 9, 2, 4) for a, b in itertools.pairwise(sizes)]
            return nn.ModuleList([*convolutions, nn.Conv1d(4 * width, 1, 3, padding=1)])

        self.members = nn.ModuleList(layers() for _ in range(count))

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """(logits, features) of each discriminator; the last features are the logits."""
        features = []
        for rate, layers in enumerate(self.members, start=1):
            y, found = x[:, :, :: min(rate, 4)], []
            for place, layer in enumerate(layers):
                y = layer(y)
                y = leaky_relu(y, 0.1) if place < len(layers) - 1 else y
                found.append(y)
            features.append(found)
        return [f[-1] for f in features], features


def vocoder(large: bool) -> System:
    """Lists of discriminators over sound."""
    width, samples, count, batch = (32, 4096, 8, 4) if large else (2, 64, 3, 2)
    G = nn.Sequential(
        nn.Conv1d(4, width, 7, padding=3), nn.LeakyReLU(0.1), nn.Conv1d(width, 1, 7, padding=3), nn.Tanh()
    )
    return System(
        G, Several(count, width), lambda: (torch.randn(batch, 4, samples), torch.rand(batch, 1, samples) * 2 - 1)
    )


SYSTEMS: dict[str, Callable[[bool], System]] = {
    "points": points,
    "images": images,
    "normalised": lambda large: images(large, normalised=True),
    "vocoder": vocoder,
}


class Trainer:
    """A row's system, trained with the loss code of one side."""

    def __init__(self, row: Row, side: Side, dtype: torch.dtype, large: bool) -> None:
        _seed(0)
        self.side, self.dtype = side, dtype
        self.G, self.D, self.batch = SYSTEMS[row.system](large)
        self.G.to(dtype), self.D.to(dtype)
        self.of_g, self.of_d = (torch.optim.Adam(n.parameters(), 1e-3, (0.5, 0.9)) for n in (self.G, self.D))
        _seed(1)

    def draw(self) -> tuple[Tensor, Tensor]:
        z, real = self.batch()
        return z.to(self.dtype), real.to(self.dtype)

    def step(self) -> None:
        z, real = self.draw()
        fake = self.G(z)
        loss = self.side.discriminator(self.D, real, fake.detach())
        self.of_d.zero_grad()
        loss.backward()
        self.of_d.step()
        self.side.after(self.D)
        loss = self.side.generator(self.D, real.detach(), fake)
        self.of_g.zero_grad()
        loss.backward()
        self.of_g.step()

    def weights(self) -> list[Tensor]:
        return [p.detach() for n in (self.G, self.D) for p in n.parameters()]


class Given(nn.Module):
    """A discriminator that already knows its outputs for the samples it is shown, as leaves."""

    def __init__(self, D: nn.Module, *samples: Tensor) -> None:
        super().__init__()
        self.samples = samples
        with torch.no_grad():
            self.outputs = [_leaves(D(x)) for x in samples]

    def forward(self, x: Tensor) -> object:
        """What D made of them."""
        return next(output for sample, output in zip(self.samples, self.outputs, strict=True) if sample is x)


def _leaves(output: object) -> object:
    if isinstance(output, Tensor):
        return output.clone().requires_grad_()
    return type(output)(_leaves(entry) for entry in output)


def _seed(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)


def _random_state() -> tuple[Tensor, Tensor]:
    return torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].astype(np.int64))


def trajectories(row: Row, steps: int = STEPS) -> tuple[float, bool]:
    """The largest difference of any weight at any step, and whether both sides drew the same numbers."""
    found, states = [], []
    for side in (row.original(), row.ours()):
        trainer = Trainer(row, side, torch.float64, large=False)
        weights = []
        for _ in range(steps):
            trainer.step()
            weights.append([w.clone() for w in trainer.weights()])
        found.append(weights)
        states.append(_random_state())
    deviation = max(
        (a - b).abs().max().item()
        for ours, theirs in zip(*found, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )
    return deviation, all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def lines(row: Row) -> str:
    """Lines that go and lines that come, of the loss code."""
    code = [_source(factory) for factory in (row.original, row.ours)]
    changes = list(difflib.unified_diff(*code, lineterm="", n=0))[2:]
    return f"−{sum(c[0] == '-' for c in changes)} +{sum(c[0] == '+' for c in changes)}"


def _source(factory: Callable[[], Side]) -> list[str]:
    side = factory()
    if vars(side):  # built around a criterion: one line names it
        return [f"criterion = {type(next(iter(vars(side).values()))).__module__}"]
    return [
        line.strip()
        for name in ("discriminator", "generator", "after")
        for line in inspect.getsource(getattr(type(side), name)).splitlines()
        if line.strip() and not line.strip().startswith("def ")
    ]


def _median_ratio(original: Callable[[], None], ours: Callable[[], None], rounds: int) -> float:
    times: tuple[list[float], list[float]] = ([], [])
    for place in range(rounds + 2):
        for kept, call in zip(times, (original, ours), strict=True):
            start = time.perf_counter()
            call()
            if place >= 2:  # warm
                kept.append(time.perf_counter() - start)
    return statistics.median(times[0]) / statistics.median(times[1])


def loss_ratio(row: Row, rounds: int) -> float | None:
    """Time of the losses and their backward pass on outputs that are there, original over ours."""
    if row.passes:
        return None
    calls = []
    for side in (row.original(), row.ours()):
        trainer = Trainer(row, side, torch.float32, large=True)
        z, real = trainer.draw()
        with torch.no_grad():
            fake = trainer.G(z)
        D = Given(trainer.D, real, fake)

        def call(side: Side = side, D: nn.Module = D, real: Tensor = real, fake: Tensor = fake) -> None:
            side.discriminator(D, real, fake).backward()
            side.generator(D, real, fake).backward()

        calls.append(call)
    return _median_ratio(*calls, rounds)


def step_ratio(row: Row, rounds: int) -> float:
    """Time of whole steps, original over ours."""
    trainers = [Trainer(row, side, torch.float32, large=True) for side in (row.original(), row.ours())]
    return _median_ratio(trainers[0].step, trainers[1].step, rounds)


def main() -> None:
    """Parse the options, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose repository or code has this text")
    parser.add_argument("--rounds", type=int, default=30, help="timed steps of each side; 0: no times")
    options = parser.parse_args()
    print(
        f"| repository | code | deviation | lines | loss | step (threads: {torch.get_num_threads()}) | draws | note |"
    )
    print("|---|---|---:|---:|---:|---:|---|---|")
    for row in ROWS:
        if options.only not in f"{row.repository} {row.code}":
            continue
        deviation, same_draws = trajectories(row)
        loss = loss_ratio(row, 10 * options.rounds) if options.rounds else None
        step = f"{step_ratio(row, options.rounds):.2f}" if options.rounds else "–"
        cells = (
            row.repository,
            row.code,
            f"{deviation:.0e}" if deviation else "0",
            lines(row),
            "–" if loss is None else f"{loss:.2f}",
            step,
            "same" if same_draws else "different",
            row.note,
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
