"""A bias, an activation, and its gain: what follows each convolution of StyleGAN2."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

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

_GAIN = math.sqrt(2)

# act: (the activation in PyTorch, its text, whether its backward reads x besides, which the result's replaces)
_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "lrelu": (lambda u: functional.leaky_relu(u, 0.2), "functional.leaky_relu(u, 0.2)"),
    "swish": (lambda u: torch.sigmoid(u) * u, "torch.sigmoid(u) * u"),
}


def _rivals(act: str, shape: tuple[int, ...]) -> tuple[Rival, ...]:
    function, text = _ACTIVATIONS[act]
    places = (1, -1, *(1 for _ in shape[2:]))

    def step_by_step(x: Tensor, b: Tensor) -> Tensor:
        return function(x + b.reshape(places)) * _GAIN

    # The fewest passes over tensors that PyTorch's operators take; the gain is folded into lrelu's one branch less.
    def in_place(x: Tensor, b: Tensor) -> Tensor:
        u = x + b.reshape(places)
        return function(u).mul_(_GAIN) if act == "lrelu" else functional.silu(u).mul_(_GAIN)

    code = f"u = x + b.reshape{places}; {text} * 2**0.5"
    return (
        Rival("step by step", POPULAR, code, step_by_step),
        Rival("in place", EAGER, f"the same, multiplied in place{'; silu(u)' if act == 'swish' else ''}", in_place),
        Rival("compile", COMPILE, f"torch.compile: {code}", step_by_step, compiled=True),
    )


def _case(act: str, shape: tuple[int, ...], phases: dict[str, Suite], dtype: torch.dtype = torch.float32) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        x, upstream = (torch.randn(shape, dtype=dtype, device=device, generator=random) for _ in range(2))
        b = torch.randn(shape[1], dtype=dtype, device=device, generator=random)
        leaves = (x.requires_grad_(differentiable), b.requires_grad_(differentiable))
        return Inputs(leaves, leaves, upstream)

    tensor = torch.Size(shape).numel() * dtype.itemsize
    return Case(
        op="bias_act",
        variant=act,
        size=size_of(shape),
        dtype=dtype,
        ours=lambda x, b: ganops.bias_act(x, b, act=act),
        rivals=_rivals(act, shape),
        inputs=inputs,
        phases=phases,
        traffic={
            # Backward reads the gradient and the result (swish: x) and writes a gradient; the bias is nothing beside.
            FORWARD: Traffic(2 * tensor, 2 * tensor),
            BACKWARD: Traffic(3 * tensor, 3 * tensor),
            BOTH: Traffic(5 * tensor, 4 * tensor if act == "lrelu" else 5 * tensor),
        },
        bounds=call_bound(torch.Size(shape).numel()),
    )


FLOORS = (Floor("bias_act/lrelu/16x64x64x64/float32/both", {POPULAR: 2.2, EAGER: 1.3, COMPILE: 2}),)


def cases() -> Iterator[Case]:
    """A block in the middle of StyleGAN2, a mapping network's layer, and bfloat16."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _case("lrelu", (16, 64, 64, 64), {FORWARD: default, BACKWARD: full, BOTH: quick})
    yield _case("swish", (16, 64, 64, 64), {BOTH: default})
    yield _case("lrelu", (64, 512), {BOTH: default})
    yield _case("lrelu", (16, 64, 64, 64), {BOTH: full}, torch.bfloat16)
