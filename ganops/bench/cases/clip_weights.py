"""Clipping a critic's weights in place: few large tensors, many small ones, and more than the cache holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

import ganops
from ganops.bench.case import (
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
)

LIMIT = 0.01


def _data_loop(parameters: Iterable[Tensor]) -> None:
    for p in parameters:
        p.data.clamp_(-LIMIT, LIMIT)


def _loop(parameters: Iterable[Tensor]) -> None:
    with torch.no_grad():
        for p in parameters:
            p.clamp_(-LIMIT, LIMIT)


def _foreach(parameters: list[Tensor]) -> None:
    with torch.no_grad():
        torch._foreach_clamp_min_(parameters, -LIMIT)
        torch._foreach_clamp_max_(parameters, LIMIT)


_RIVALS = (
    Rival("loop", POPULAR, "for p in parameters: p.data.clamp_(-c, c)", _data_loop),
    Rival("no_grad loop", EAGER, "with no_grad(): for p in parameters: p.clamp_(-c, c)", _loop),
    Rival("foreach", EAGER, "_foreach_clamp_min_(parameters, -c); _foreach_clamp_max_(parameters, c)", _foreach),
    Rival("compile", COMPILE, "torch.compile: for p in parameters: p.data.clamp_(-c, c)", _data_loop, compiled=True),
)


def _layer(*weight: int) -> list[tuple[int, ...]]:
    return [weight, weight[:1]]


# A residual image critic: 47 tensors, 4.6 million weights, 91 % of them in 11 of the tensors.
RESIDUAL_CRITIC: list[tuple[int, ...]] = [
    *_layer(64, 3, 3, 3),
    *(4 * _layer(64, 64, 3, 3)),
    *_layer(128, 64, 3, 3),
    *_layer(128, 64, 1, 1),
    *(5 * _layer(128, 128, 3, 3)),
    *_layer(256, 128, 3, 3),
    *_layer(256, 128, 1, 1),
    *(5 * _layer(256, 256, 3, 3)),
    *(4 * _layer(300, 256)),
    (1, 300),
]


def _case(variant: str, shapes: list[tuple[int, ...]], suite: Suite) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        # Parameters, as a critic has them. Past the first call all are within the limit, as nearly all are in
        # training; a clamp reads and writes them all the same.
        random = generator(device, seed)
        values = (torch.randn(shape, device=device, generator=random).mul_(LIMIT) for shape in shapes)
        return Inputs(([nn.Parameter(value) for value in values],))

    count = sum(torch.Size(shape).numel() for shape in shapes)
    return Case(
        op="clip_weights_",
        variant=variant,
        size=f"{count / 1e6:.1f}M in {len(shapes)}",
        ours=lambda parameters: ganops.clip_weights_(parameters, LIMIT),
        rivals=_RIVALS,
        inputs=inputs,
        phases={FORWARD: suite},
        traffic={FORWARD: Traffic(2 * count * 4, count * 4)},
    )


FLOORS = (
    Floor("clip_weights_/residual critic/*/forward", {"loop": 1.0, "foreach": 1.4}),
    Floor("clip_weights_/small tensors/*/forward", {"loop": 3.0, "foreach": 1.5}),
)


def cases() -> Iterator[Case]:
    """Call-bound, mixed, many small tensors, and beyond the cache."""
    yield _case("MLP", [*_layer(128, 2), *(2 * _layer(128, 128)), *_layer(1, 128)], Suite.DEFAULT)
    yield _case("residual critic", RESIDUAL_CRITIC, Suite.QUICK)
    yield _case("small tensors", [(1000,)] * 300, Suite.QUICK)
    yield _case("wide layers", [(2048, 2048)] * 16, Suite.DEFAULT)
