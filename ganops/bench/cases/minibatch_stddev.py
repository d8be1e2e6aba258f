"""Minibatch standard deviation at the resolutions where discriminators have it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import ganops
from ganops.bench.case import (
    BACKWARD,
    BOTH,
    COMPILE,
    EAGER,
    FORWARD,
    POPULAR,
    Case,
    Floor,
    Inputs,
    Rival,
    Suite,
    Traffic,
    generator,
    size_of,
)

_GROUP = 4

# On one core the kernels of 16x64x32x32 run at 0.78 (forward) and 0.85 (backward) of the rate of a copy and of a sum of
# two tensors; without roots and divisions they gain 10 % at most. With the graph around them and memory that is kept,
# x * 2. forward and backward takes 0.82 of our time.
BOUNDS = {BOTH: "the memory of its results: x * 2., forward and backward, takes four fifths of our time"}


def _popular(x: Tensor) -> Tensor:
    """Step by step, as StyleGAN's networks have it."""
    n, c, h, w = x.shape
    y = x.reshape(_GROUP, n // _GROUP, 1, c, h, w)
    y = y - y.mean(dim=0)
    y = (y.square().mean(dim=0) + 1e-8).sqrt()
    y = y.mean(dim=[2, 3, 4]).reshape(-1, 1, 1, 1).repeat(_GROUP, 1, h, w)
    return torch.cat([x, y], dim=1)


def _appended(x: Tensor, deviation: Tensor) -> Tensor:
    n, _, h, w = x.shape
    column = deviation.view(n // _GROUP, -1).mean(1).repeat(_GROUP)
    return torch.cat([x, column.view(n, 1, 1, 1).expand(n, 1, h, w)], dim=1)


def _var(x: Tensor) -> Tensor:
    return _appended(x, (x.view(_GROUP, -1).var(0, correction=0) + 1e-8).sqrt())


def _quarters(x: Tensor) -> Tensor:
    a, b, c, d = x.view(_GROUP, -1).unbind(0)
    mean = (a + b + c + d) * 0.25
    squares = (a - mean).square() + (b - mean).square() + (c - mean).square() + (d - mean).square()
    return _appended(x, (squares * 0.25 + 1e-8).sqrt())


_RIVALS = (
    Rival("step by step", POPULAR, "y - y.mean(0); (y.square().mean(0) + 1e-8).sqrt().mean; repeat; cat", _popular),
    Rival("var", EAGER, "(x.view(4, -1).var(0, correction=0) + 1e-8).sqrt(); mean; expand; cat", _var),
    Rival("quarters", EAGER, "a, b, c, d = x.view(4, -1); sums of (a - mean).square() …; mean; expand; cat", _quarters),
    Rival("compile", COMPILE, "torch.compile of step by step", _popular, compiled=True),
)


def _case(shape: tuple[int, ...], phases: dict[str, Suite]) -> Case:
    n, c, h, w = shape
    extended = (n, c + 1, h, w)

    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        x = torch.randn(shape, device=device, generator=random).requires_grad_(differentiable)
        return Inputs((x,), (x,), torch.randn(extended, device=device, generator=random))

    tensor, wide = (torch.Size(s).numel() * 4 for s in (shape, extended))
    return Case(
        op="minibatch_stddev",
        variant="",
        size=size_of(shape),
        ours=lambda x: ganops.minibatch_stddev(x),
        rivals=_RIVALS,
        inputs=inputs,
        phases=phases,
        traffic={
            FORWARD: Traffic(tensor + wide, tensor + wide),
            BACKWARD: Traffic(2 * tensor + wide, 2 * tensor + wide),
            BOTH: Traffic(3 * tensor + 2 * wide, 2 * tensor + 2 * wide),
        },
        bounds=BOUNDS,
    )


FLOORS = (Floor("minibatch_stddev/64x512x4x4/float32/both", {POPULAR: 2, EAGER: 2, COMPILE: 1.5}),)


def cases() -> Iterator[Case]:
    """StyleGAN's last block, and features of a shallower critic."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _case((64, 512, 4, 4), {FORWARD: default, BACKWARD: full, BOTH: quick})
    yield _case((16, 64, 32, 32), {BOTH: default})
