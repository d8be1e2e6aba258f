"""BigVGAN's anti-aliased Snake at the size of its generator's middle stages."""

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

BOUNDS = dict.fromkeys((FORWARD, BACKWARD, BOTH), "arithmetic: two filters of 12 taps and a sine at each of 2·T points")


def _ours(x: Tensor, alpha: Tensor, beta: Tensor, filter: Tensor) -> Tensor:
    return ganops.filtered_snake(x, alpha, beta, filter, filter)


def popular(x: Tensor, alpha: Tensor, beta: Tensor, filter: Tensor) -> Tensor:
    """Step by step, as BigVGAN has it in PyTorch."""
    channels, taps = x.shape[1], len(filter)
    weight = filter.view(1, 1, taps).expand(channels, -1, -1)
    u = functional.pad(x, (5, 5), mode="replicate")
    u = 2 * functional.conv_transpose1d(u, weight, stride=2, groups=channels)
    u = u[..., 15:-15]
    u = u + (1.0 / (beta[None, :, None] + 1e-9)) * torch.pow(torch.sin(u * alpha[None, :, None]), 2)
    u = functional.pad(u, (5, 6), mode="replicate")
    return functional.conv1d(u, weight, stride=2, groups=channels)


def fewest_passes(x: Tensor, alpha: Tensor, beta: Tensor, filter: Tensor) -> Tensor:
    """The same with fewer passes: the factor is in the filter, and the transposed convolution crops."""
    channels, taps = x.shape[1], len(filter)
    weight = filter.view(1, 1, taps).expand(channels, -1, -1)
    u = functional.pad(x, (5, 5), mode="replicate")
    u = functional.conv_transpose1d(u, 2 * weight, stride=2, padding=15, groups=channels)
    u = torch.addcmul(u, torch.sin(u * alpha[:, None]).square(), 1 / (beta[:, None] + 1e-9))
    return functional.conv1d(functional.pad(u, (5, 6), mode="replicate"), weight, stride=2, groups=channels)


_RIVALS = (
    Rival(
        "step by step", POPULAR, "pad; 2 * conv_transpose1d; crop; u + sin(a * u)**2 / (b + 1e-9); pad; conv1d", popular
    ),
    Rival("fewest passes", EAGER, "pad; conv_transpose1d that crops; addcmul; pad; conv1d", fewest_passes),
    Rival("compile", COMPILE, "torch.compile of step by step", popular, compiled=True),
)


def _case(shape: tuple[int, int, int], phases: dict[str, Suite]) -> Case:
    channels = shape[1]

    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        x = torch.randn(shape, device=device, generator=random).requires_grad_(differentiable)
        alpha, beta = (
            (0.5 + torch.rand(channels, device=device, generator=random)).requires_grad_(differentiable)
            for _ in range(2)
        )
        filter = kaiser_sinc(2, 12, torch.float32, device)
        return Inputs((x, alpha, beta, filter), (x, alpha, beta), torch.randn(shape, device=device, generator=random))

    tensor = torch.Size(shape).numel() * 4
    return Case(
        op="filtered_snake",
        variant="ratio 2",
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


FLOORS = (Floor("filtered_snake/ratio 2/8x128x2048/float32/both", {POPULAR: 8, COMPILE: 4}),)


def cases() -> Iterator[Case]:
    """Many channels of a middle stage, and few of a late one."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _case((8, 128, 2048), {FORWARD: default, BACKWARD: full, BOTH: quick})
    yield _case((2, 32, 8192), {BOTH: default})
