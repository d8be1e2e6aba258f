"""One half of D's loss against its plain formula: ``ganops.gan_loss`` forward and backward, in µs of CPU time.

Both are measured in turn in many short rounds on one thread. The ratio is the median of that of each round, with its
quartiles; above 1 ganops is faster.

    python benchmarks/one_side.py [--rounds 200]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median, quantiles

import torch
from torch import Tensor
from torch.nn import functional as F

import ganops

_LOGISTIC = (lambda r: F.softplus(-r).mean(), lambda f: F.softplus(f).mean())

#: D's loss of real and of generated samples, as it is usually written.
FORMULAS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "non_saturating": _LOGISTIC,
    "least_squares": (lambda r: ((r - 1) ** 2).mean(), lambda f: (f**2).mean()),
    "hinge": (lambda r: F.relu(1 - r).mean(), lambda f: F.relu(1 + f).mean()),
    "wasserstein": (lambda r: -r.mean(), lambda f: f.mean()),
}

SHAPES = ((64, 1), (16, 1, 30, 30))


def _microseconds(call: Callable[[], object], count: int) -> float:
    begin = time.thread_time()
    for _ in range(count):
        call()
    return (time.thread_time() - begin) / count * 1e6


def _with_backward(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(loss(logits), logits)


def measure(kind: str, is_real: bool, shape: tuple[int, ...], rounds: int) -> tuple[float, float, list[float]]:
    """The median µs of ganops and of the formula, and the sorted ratios of the rounds."""
    logits = torch.randn(shape, requires_grad=True)
    calls = [
        _with_backward(lambda x: ganops.gan_loss(x, is_real, kind), logits),
        _with_backward(FORMULAS[kind][0 if is_real else 1], logits),
    ]
    for call in calls:
        _microseconds(call, 50)
    times = [[_microseconds(call, 20) for call in calls] for _ in range(rounds)]
    ours, theirs = zip(*times, strict=True)
    return median(ours), median(theirs), sorted(b / a for a, b in times)


def main() -> None:
    """Prints the table, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| logits | kind | samples | ganops, µs | formula, µs | formula / ganops |\n|---|---|---|---|---|---|")
    for shape in SHAPES:
        size = "64" if shape[0] == 64 else "16×900"
        for kind in FORMULAS:
            for is_real in (True, False):
                ours, theirs, ratios = measure(kind, is_real, shape, options.rounds)
                low, middle, high = quantiles(ratios, n=4)
                side = "real" if is_real else "generated"
                print(f"| {size} | {kind} | {side} | {ours:.1f} | {theirs:.1f} | {middle:.2f} ({low:.2f}–{high:.2f}) |")


if __name__ == "__main__":
    main()
