"""What a call of each op costs in Python: its operator, the public function, and forward and backward, in µs.

The tensors are so small that computing them takes no time. Operator and public function are measured in turn, and the
best of many short rounds is reported. ``torch.lerp`` is measured beside them. An optimiser's step is compared with that
of ``torch.optim`` by ``ganops bench --op optimizers``: most of its Python is torch's own.

    python benchmarks/call_cost.py [--rounds 200]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import ganops
from ganops._common.loss_kinds import KINDS
from ganops.ops._loss_formulas import NUMBERS as _NUMBERS

Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """An op: its operator and its public function on plain tensors, and a function of tensors that need gradients."""

    name: str
    operator: Call
    public: Call
    recorded: Callable[..., Tensor] | None = None
    inputs: tuple[Tensor, ...] = ()


def rows() -> list[Row]:
    """All ops, on the smallest inputs that make sense."""
    ops = torch.ops.ganops
    x, y, weight = torch.randn(4, 3), torch.randn(4, 3), torch.rand(4)
    images, numbers = torch.randn(4, 3, 4, 4), torch.rand(4, 7)
    tensor = torch.randn(3, 2, 3)
    parameters = [torch.randn(8, 8) for _ in range(8)]
    hinge, pairs = _NUMBERS["hinge"], _NUMBERS["relativistic"]
    leaf = lambda t: t.clone().requires_grad_()  # noqa: E731
    return [
        Row(
            "torch.lerp",
            lambda: torch.lerp(x, y, weight[:, None]),
            lambda: torch.lerp(x, y, weight[:, None]),
            lambda x, y: torch.lerp(x, y, weight[:, None]),
            (leaf(x), leaf(y)),
        ),
        Row(
            "discriminator_loss",
            lambda: ops.discriminator_loss.default(x, y, hinge, 0, 1.0, 1.0),
            lambda: ganops.discriminator_loss(x, y, "hinge"),
            lambda x, y: ganops.discriminator_loss(x, y, "hinge"),
            (leaf(x), leaf(y)),
        ),
        Row(
            "discriminator_loss, relativistic",
            lambda: ops.paired_loss.default(x, y, pairs, 0, 0, 0.0),
            lambda: ganops.discriminator_loss(x, y, "relativistic"),
            lambda x, y: ganops.discriminator_loss(x, y, "relativistic"),
            (leaf(x), leaf(y)),
        ),
        Row(
            "generator_loss",
            lambda: ops.adversarial_loss.default(x, hinge, 2, 0, 0.0),
            lambda: ganops.generator_loss(x, "hinge"),
            lambda x: ganops.generator_loss(x, "hinge"),
            (leaf(x),),
        ),
        Row(
            "interpolate",
            lambda: ops.interpolate.default(x, y, weight),
            lambda: ganops.interpolate(x, y, weight),
            lambda x, y: ganops.interpolate(x, y, weight),
            (leaf(x), leaf(y)),
        ),
        Row(
            "gradient_norm_penalty",
            lambda: ops.gradient_norm_penalty.default(x, 1.0, False, 0),
            lambda: ganops.gradient_norm_penalty(x),
            ganops.gradient_norm_penalty,
            (leaf(x),),
        ),
        Row(
            "diff_augment",
            lambda: ops.diff_augment.default(images, numbers, 7, 0),
            lambda: ganops.diff_augment(images, parameters=numbers),
            lambda x: ganops.diff_augment(x, parameters=numbers),
            (leaf(images),),
        ),
        Row(
            "minibatch_discrimination (with its product)",
            lambda: ops.minibatch_discrimination.default((tensor.flatten(1).t() @ x.t()).view(2, 3, 4), None),
            lambda: ganops.minibatch_discrimination(x, tensor),
            ganops.minibatch_discrimination,
            (leaf(x), leaf(tensor)),
        ),
        Row(
            "minibatch_stddev",
            lambda: ops.minibatch_stddev.default(x, 4),
            lambda: ganops.minibatch_stddev(x, 4),
            lambda x: ganops.minibatch_stddev(x, 4),
            (leaf(x),),
        ),
        Row(
            "clip_weights_, 1 tensor",
            lambda: ops.clip_weights_.default(parameters[:1], -0.5, 0.5),
            lambda: ganops.clip_weights_(parameters[:1], 0.5),
        ),
        Row(
            "clip_weights_, 8 tensors",
            lambda: ops.clip_weights_.default(parameters, -0.5, 0.5),
            lambda: ganops.clip_weights_(parameters, 0.5),
        ),
        Row("pack", lambda: x.reshape(2, 6), lambda: ganops.pack(x, 2), lambda x: ganops.pack(x, 2), (leaf(x),)),
    ]


def _microseconds(call: Call, count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count * 1e6


def measure(row: Row, rounds: int, count: int = 30) -> tuple[float, float, float]:
    """Best µs of the operator, of the public function, and of it with its backward."""

    calls: list[Call] = [row.operator, row.public]
    if row.recorded is not None:
        recorded = row.recorded
        above = torch.ones_like(recorded(*row.inputs).detach())
        calls.append(lambda: torch.autograd.grad(recorded(*row.inputs), row.inputs, above))
    best = [math.inf] * 3
    for call in calls:
        _microseconds(call, 20)
    for _ in range(rounds):
        for place, call in enumerate(calls):
            best[place] = min(best[place], _microseconds(call, count))
    return best[0], best[1], best[2]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    assert set(KINDS) == set(_NUMBERS)
    print(f"{'op':44}{'operator':>10}{'public':>10}{'difference':>12}{'forward+backward':>18}{'to lerp':>9}")
    lerp = math.nan
    for row in rows():
        operator, public, both = measure(row, options.rounds)
        if row.name == "torch.lerp":
            lerp = both
        graph = f"{both:18.1f}{both / lerp:9.2f}" if math.isfinite(both) else ""
        print(f"{row.name:44}{operator:10.2f}{public:10.2f}{public - operator:12.2f}{graph}")


if __name__ == "__main__":
    main()
