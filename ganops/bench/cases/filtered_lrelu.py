"""StyleGAN3's filtered leaky ReLU in a layer that changes no size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

import ganops
from ganops._common.filtered_snake import kaiser_sinc
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

BOUNDS = dict.fromkeys(
    (FORWARD, BACKWARD, BOTH), "arithmetic: four passes of 12 taps over a grid of four times the size"
)

_PADDING = (11, 10, 11, 10)


def _ours(x: Tensor, b: Tensor, f: Tensor) -> Tensor:
    return ganops.filtered_lrelu(x, f, f, b, up=2, down=2, padding=_PADDING, clamp=256)


def _filtered(x: Tensor, f: Tensor) -> Tensor:
    channels = x.shape[1]
    x = functional.conv2d(x, f.flip(0)[None, None, None].expand(channels, 1, 1, -1), groups=channels)
    return functional.conv2d(x, f.flip(0)[None, None, :, None].expand(channels, 1, -1, 1), groups=channels)


def popular(x: Tensor, b: Tensor, f: Tensor) -> Tensor:
    """Step by step, as StyleGAN3 has it in PyTorch: zeros inserted, padded, filtered along each axis, every second."""
    n, channels, height, width = x.shape
    x = (x + b[:, None, None]).reshape(n, channels, height, 1, width, 1)
    x = functional.pad(x, [0, 1, 0, 0, 0, 1]).reshape(n, channels, 2 * height, 2 * width)
    x = _filtered(functional.pad(x, _PADDING), f * 2)
    x = (functional.leaky_relu(x, 0.2) * 2**0.5).clamp(-256, 256)
    return _filtered(x, f)[:, :, ::2, ::2]


def fewest_passes(x: Tensor, b: Tensor, f: Tensor) -> Tensor:
    """The same with fewer passes: transposed convolutions insert the zeros, the last ones skip every second."""
    channels = x.shape[1]
    rows, columns = (f.reshape(shape).expand(channels, 1, -1, -1) for shape in ((1, -1), (-1, 1)))
    x = functional.conv_transpose2d(x + b[:, None, None], 2 * rows, stride=(1, 2), groups=channels)
    x = functional.conv_transpose2d(x, 2 * columns, stride=(2, 1), groups=channels)
    x = (functional.leaky_relu(x, 0.2) * 2**0.5).clamp(-256, 256)
    x = functional.conv2d(x, rows.flip(3), stride=(1, 2), groups=channels)
    return functional.conv2d(x, columns.flip(2), stride=(2, 1), groups=channels)


_RIVALS = (
    Rival(
        "step by step",
        POPULAR,
        "x + b; zeros inserted; pad; conv2d, conv2d; leaky_relu; conv2d, conv2d; [::2]",
        popular,
    ),
    Rival("fewest passes", EAGER, "x + b; 2 conv_transpose2d; leaky_relu; 2 conv2d with a stride", fewest_passes),
    Rival("compile", COMPILE, "torch.compile of step by step", popular, compiled=True),
)


def _case(shape: tuple[int, ...], phases: dict[str, Suite]) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        x = torch.randn(shape, device=device, generator=random).requires_grad_(differentiable)
        b = torch.randn(shape[1], device=device, generator=random).requires_grad_(differentiable)
        f = kaiser_sinc(2, 12, torch.float32, device)
        return Inputs((x, b, f), (x, b), torch.randn(shape, device=device, generator=random))

    tensor = torch.Size(shape).numel() * 4
    return Case(
        op="filtered_lrelu",
        variant="up 2 down 2",
        size=size_of(shape),
        ours=_ours,
        rivals=_RIVALS,
        inputs=inputs,
        phases=phases,
        traffic={
            FORWARD: Traffic(2 * tensor, 2 * tensor),
            BACKWARD: Traffic(3 * tensor, 3 * tensor),
            BOTH: Traffic(5 * tensor, 4 * tensor),
        },
        bounds=BOUNDS,
    )


FLOORS = (Floor("filtered_lrelu/up 2 down 2/4x64x64x64/float32/both", {POPULAR: 7.5, COMPILE: 9}),)


def cases() -> Iterator[Case]:
    """A middle layer, and a late one of few channels."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _case((4, 64, 64, 64), {FORWARD: default, BACKWARD: full, BOTH: quick})
    yield _case((2, 16, 128, 128), {BOTH: default})
