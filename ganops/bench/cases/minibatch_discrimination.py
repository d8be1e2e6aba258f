"""Minibatch discrimination: the whole layer, and the sums over pairs alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
from ganops.ops.minibatch_discrimination import closeness

# Of each of the phases.
BOUNDS = dict.fromkeys(
    (FORWARD, BACKWARD, BOTH), "arithmetic: N(N - 1)/2 differences in B·C dimensions, and an exponential for every C"
)


def _differences(m: Tensor) -> Tensor:
    return torch.exp(-(m[None] - m[:, None]).abs().sum(3)).sum(0) - 1


def _cdist(m: Tensor) -> Tensor:
    m = m.transpose(0, 1)
    return torch.exp(-torch.cdist(m, m, p=1.0)).sum(1).t() - 1


def _of_features(sums: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, weight: sums((x @ weight.flatten(1)).view(-1, *weight.shape[1:]))


def _of_points(sums: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda m: sums(m.permute(2, 0, 1))


def _rivals(wrap: Callable[[Callable[[Tensor], Tensor]], Callable[..., Tensor]]) -> tuple[Rival, ...]:
    code = "torch.exp(-(M[None] - M[:, None]).abs().sum(3)).sum(0) - 1"
    return (
        Rival("differences", POPULAR, code, wrap(_differences)),
        Rival("cdist", EAGER, "torch.exp(-torch.cdist(Mᵀ, Mᵀ, p=1)).sum(1).t() - 1", wrap(_cdist)),
        Rival("compile", COMPILE, f"torch.compile: {code}", wrap(_differences), compiled=True),
    )


def _layer_case(n: int, a: int, b: int, c: int, phases: dict[str, Suite]) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        x = torch.randn(n, a, device=device, generator=random)
        weight = torch.randn(a, b, c, device=device, generator=random) / (a**0.5 * c)
        leaves = tuple(t.requires_grad_(differentiable) for t in (x, weight))
        return Inputs(leaves, leaves, torch.randn(n, b, device=device, generator=random))

    return Case(
        op="minibatch_discrimination",
        variant="",
        size=size_of((n, a, b, c)),
        ours=lambda x, weight: ganops.minibatch_discrimination(x, weight),
        rivals=_rivals(_of_features),
        inputs=inputs,
        phases=phases,
        bounds=BOUNDS,
    )


def _pairs_case(n: int, b: int, c: int, phases: dict[str, Suite]) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        m = torch.randn(b, c, n, device=device, generator=random).div_(c).requires_grad_(differentiable)
        return Inputs((m,), (m,), torch.randn(n, b, device=device, generator=random))

    points, sums = 4 * b * c * n, 4 * n * b
    return Case(
        op="minibatch_discrimination",
        variant="pairs",
        size=size_of((n, b, c)),
        ours=lambda m: closeness(m),
        rivals=_rivals(_of_points),
        inputs=inputs,
        phases=phases,
        traffic={
            FORWARD: Traffic(points + sums, points + sums),
            BACKWARD: Traffic(2 * points + sums, 2 * points + sums),
            BOTH: Traffic(3 * points + 2 * sums, 2 * points + 2 * sums),
        },
        bounds=BOUNDS,
    )


FLOORS = (
    Floor("minibatch_discrimination/256x512x100x16/float32/both", {POPULAR: 25, COMPILE: 2}),
    Floor("minibatch_discrimination/pairs/256x100x16/float32/both", {POPULAR: 25, COMPILE: 2}),
)


def cases() -> Iterator[Case]:
    """The layer of the paper's size and a small one, whole and without their product."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _layer_case(64, 256, 32, 8, {BOTH: quick})
    yield _layer_case(256, 512, 100, 16, {BOTH: default})
    yield _pairs_case(64, 32, 8, {FORWARD: full, BACKWARD: full, BOTH: default})
    yield _pairs_case(256, 100, 16, {FORWARD: full, BACKWARD: full, BOTH: default})
