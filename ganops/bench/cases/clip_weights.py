"""Clipping a critic's weights in place: few large tensors, many small ones, and more than the cache holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

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
    call_bound,
    generator,
)

LIMIT = 0.01


Limit = Callable[[], float]


def _constant() -> float:
    return LIMIT


def _shrinking() -> Limit:
    """A limit a millionth smaller at each call, so that weights which lie on it always have to be written."""
    calls = itertools.count()
    return lambda: LIMIT * (1 - 1e-6) ** next(calls)


def _rivals(limit: Limit) -> tuple[Rival, ...]:
    def data_loop(parameters: Iterable[Tensor]) -> None:
        c = limit()
        for p in parameters:
            p.data.clamp_(-c, c)

    def loop(parameters: Iterable[Tensor]) -> None:
        c = limit()
        with torch.no_grad():
            for p in parameters:
                p.clamp_(-c, c)

    def foreach(parameters: list[Tensor]) -> None:
        c = limit()
        with torch.no_grad():
            torch._foreach_clamp_min_(parameters, -c)
            torch._foreach_clamp_max_(parameters, c)

    eager = (
        Rival("loop", POPULAR, "for p in parameters: p.data.clamp_(-c, c)", data_loop),
        Rival("no_grad loop", EAGER, "with no_grad(): for p in parameters: p.clamp_(-c, c)", loop),
        Rival("foreach", EAGER, "_foreach_clamp_min_(parameters, -c); _foreach_clamp_max_(parameters, c)", foreach),
    )
    if limit is not _constant:  # the compiler would compile for each limit
        return eager
    code = "torch.compile: for p in parameters: p.data.clamp_(-c, c)"
    return *eager, Rival("compile", COMPILE, code, data_loop, compiled=True)


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


def _case(variant: str, shapes: list[tuple[int, ...]], suite: Suite, outside: bool = False) -> Case:
    """Weights that are within the limit past the first call, as most are in training; or all ``outside``."""
    limit = _shrinking() if outside else _constant

    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        values = [torch.randn(shape, device=device, generator=random).mul_(LIMIT) for shape in shapes]
        if outside:
            values = [value.sign_().mul_(LIMIT) for value in values]
        return Inputs(([nn.Parameter(value) for value in values],))

    count = sum(torch.Size(shape).numel() for shape in shapes)
    size = 4 * count
    return Case(
        op="clip_weights_",
        variant=f"{variant}, outside" if outside else variant,
        size=f"{count / 1e6:.1f}M in {len(shapes)}",
        ours=lambda parameters: ganops.clip_weights_(parameters, limit()),
        rivals=_rivals(limit),
        inputs=inputs,
        phases={FORWARD: suite},
        # As a clamp does it; what is within the limit need not be written, so that more than all of it can be reached.
        traffic={FORWARD: Traffic(2 * size, size)},
        bounds=call_bound(count) or {FORWARD: "reading each weight once, which every rival does too"},
        graph=not outside,
    )


FLOORS = (
    Floor("clip_weights_/residual critic/*/forward", {"loop": 1.0, "foreach": 1.4}),
    Floor("clip_weights_/small tensors/*/forward", {"loop": 3.0, "foreach": 1.5}),
)


def cases() -> Iterator[Case]:
    """Call-bound, mixed, many small tensors, and beyond the cache."""
    yield _case("MLP", [*_layer(128, 2), *(2 * _layer(128, 128)), *_layer(1, 128)], Suite.DEFAULT)
    yield _case("residual critic", RESIDUAL_CRITIC, Suite.QUICK)
    yield _case("residual critic", RESIDUAL_CRITIC, Suite.DEFAULT, outside=True)
    yield _case("small tensors", [(1000,)] * 300, Suite.QUICK)
    yield _case("wide layers", [(2048, 2048)] * 16, Suite.DEFAULT)
