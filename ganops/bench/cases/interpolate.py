"""Random interpolation between real and fake samples, the weights given."""

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
    call_bound,
    generator,
    size_of,
)


def _five_ops(real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    alpha = weight.expand(real.size())
    return alpha * real + ((1 - alpha) * fake)


def _lerp(real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    return torch.lerp(fake, real, weight)


_CODE = "alpha = weight.expand(real.size()); alpha * real + ((1 - alpha) * fake)"
_RIVALS = (
    Rival("five ops", POPULAR, _CODE, _five_ops),
    Rival("lerp", EAGER, "torch.lerp(fake, real, weight)", _lerp),
    Rival("compile", COMPILE, f"torch.compile: {_CODE}", _five_ops, compiled=True),
)


def _case(shape: tuple[int, ...], phases: dict[str, Suite], dtype: torch.dtype = torch.float32) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        real, fake, upstream = (torch.randn(shape, dtype=dtype, device=device, generator=random) for _ in range(3))
        weight = torch.rand(shape[0], *(1 for _ in shape[1:]), device=device, generator=random).to(dtype)
        leaves = (real.requires_grad_(differentiable), fake.requires_grad_(differentiable))
        return Inputs((real, fake, weight), leaves, upstream)

    tensor = torch.Size(shape).numel() * dtype.itemsize
    return Case(
        op="interpolate",
        variant="",
        size=size_of(shape),
        dtype=dtype,
        ours=lambda real, fake, weight: ganops.interpolate(real, fake, weight),
        rivals=_RIVALS,
        inputs=inputs,
        phases=phases,
        traffic={
            # Forward reads two and writes one; backward reads the gradient from above and writes two, without the
            # inputs, which the derivative does not contain.
            FORWARD: Traffic(3 * tensor, 3 * tensor),
            BACKWARD: Traffic(3 * tensor, 3 * tensor),
            BOTH: Traffic(6 * tensor, 6 * tensor),
        },
        bounds=call_bound(torch.Size(shape).numel()),
    )


FLOORS = (Floor("interpolate/64x3x128x128/float32/forward", {"lerp": 0.95, "five ops": 2.5}),)


def cases() -> Iterator[Case]:
    """From points in the plane to images beyond the cache."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _case((256, 2), {FORWARD: default, BOTH: full})
    yield _case((64, 3, 32, 32), {FORWARD: quick, BACKWARD: full, BOTH: default})
    yield _case((64, 3, 128, 128), {FORWARD: quick, BACKWARD: full, BOTH: default})
    yield _case((64, 3, 256, 256), {FORWARD: default, BACKWARD: full, BOTH: full})
    yield _case((96, 3, 512, 512), {FORWARD: full})
    yield _case((64, 3, 128, 128), {FORWARD: full}, torch.bfloat16)
