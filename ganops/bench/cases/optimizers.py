"""A critic's optimiser step with the clipping that follows it: call-bound, mixed, and many small tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ganops import optimizers
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
from ganops.bench.cases.clip_weights import LIMIT, RESIDUAL_CRITIC

SETTINGS: dict[str, dict[str, Any]] = {"RMSprop": {"lr": 5e-5}, "Adam": {"lr": 1e-4, "betas": (0.5, 0.9)}}
WAYS: dict[str, dict[str, dict[str, bool]]] = {
    "RMSprop": {"loop": {"foreach": False}, "foreach": {"foreach": True}},
    "Adam": {"loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}},
}
CAPTURABLE = ", capturable"  # the same optimiser, counting its steps on the card, as a graph needs it
NUMBERS = {"RMSprop": (3, 2), "Adam": (4, 3)}  # read and written for each weight


Step = Callable[[list[Tensor], dict[str, Any]], None]


def _ours(kind: str) -> Step:
    return lambda parameters, made: made[kind].step()


@torch.no_grad()
def _clamp_loop(parameters: list[Tensor]) -> None:
    for p in parameters:
        p.clamp_(-LIMIT, LIMIT)


@torch.no_grad()
def _clamp_foreach(parameters: list[Tensor]) -> None:
    torch._foreach_clamp_min_(parameters, -LIMIT)
    torch._foreach_clamp_max_(parameters, LIMIT)


# How the weights are clipped after a rival's step: code, function.
CLAMPS = {
    "": ("for p in parameters: p.clamp_(-c, c)", _clamp_loop),
    ", foreach clamp": ("_foreach_clamp_min_(parameters, -c); _foreach_clamp_max_(parameters, c)", _clamp_foreach),
}


def _rival(way: str, clamp: Callable[[list[Tensor]], None]) -> Step:
    def step_and_clamp(parameters: list[Tensor], made: dict[str, Any]) -> None:
        made[way].step()
        clamp(parameters)

    return step_and_clamp


@torch.no_grad()
def _rmsprop_formula(parameters: list[Tensor], made: dict[str, Any]) -> None:
    """What compiling ``step`` comes to, without its looking after the state, which the compiler breaks off at."""
    for p, v in zip(parameters, made["averages"][0], strict=True):
        v.mul_(0.99).addcmul_(p.grad, p.grad, value=0.01)
        p.addcdiv_(p.grad, v.sqrt().add_(1e-8), value=-5e-5).clamp_(-LIMIT, LIMIT)


@torch.no_grad()
def _adam_formula(parameters: list[Tensor], made: dict[str, Any]) -> None:
    """The same; the number of the step is fixed at 2, else each would be compiled anew."""
    for p, m, v in zip(parameters, *made["averages"], strict=True):
        m.lerp_(p.grad, 0.5)
        v.mul_(0.9).addcmul_(p.grad, p.grad, value=0.1)
        p.addcdiv_(m, v.sqrt().div_((1 - 0.9**2) ** 0.5).add_(1e-8), value=-1e-4 / (1 - 0.5**2)).clamp_(-LIMIT, LIMIT)


FORMULAS = {"RMSprop": _rmsprop_formula, "Adam": _adam_formula}


def _rivals(kind: str) -> tuple[Rival, ...]:
    found = []
    for way, how in WAYS[kind].items():
        given = "".join(f", {name}={value}" for name, value in how.items())
        for suffix, (code, clamp) in CLAMPS.items():
            if way == "loop" and suffix:
                continue
            group = POPULAR if way == "loop" else EAGER
            in_graph = _rival(way + CAPTURABLE, clamp)
            code = f"{kind}(…{given}).step(); {code}"
            found.append(Rival(way + suffix, group, code, _rival(way, clamp), in_graph=in_graph))
    code = f"torch.compile: the formula of {kind}; {CLAMPS[''][0]}"
    return *found, Rival("compile", COMPILE, code, FORMULAS[kind], compiled=True)


def _bounds(count: int, tensors: int) -> dict[str, str]:
    if call_bound(count):
        return call_bound(count)
    if count < 10_000 * tensors:
        return {FORWARD: "each tensor's state, looked up in Python, and its place in five lists, checked"}
    return {FORWARD: "a root and a division for every weight"}


def _case(kind: str, variant: str, shapes: list[tuple[int, ...]], suite: Suite) -> Case:
    read, written = NUMBERS[kind]

    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        parameters = [nn.Parameter(torch.randn(s, device=device, generator=random).mul_(LIMIT)) for s in shapes]
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        made: dict[str, Any] = {}
        for suffix, more in (("", {}), (CAPTURABLE, {"capturable": True})):
            if suffix and device.type != "cuda":
                continue
            settings = {**SETTINGS[kind], **more}
            made["ours" + suffix] = getattr(optimizers, kind)(parameters, clip=LIMIT, **settings)
            for way, how in WAYS[kind].items():
                made[way + suffix] = getattr(torch.optim, kind)(parameters, **how, **settings)
        for optimiser in made.values():
            optimiser.step()  # without a gradient: the state is there, and nothing has moved
        for parameter in parameters:
            parameter.grad.normal_(generator=random)
        made["averages"] = [[torch.zeros_like(p) for p in parameters] for _ in range(read - 2)]
        return Inputs((parameters, made))

    count = sum(torch.Size(shape).numel() for shape in shapes)
    return Case(
        op=f"optimizers.{kind}",
        variant=variant,
        size=f"{count / 1e6:.1f}M in {len(shapes)}",
        ours=_ours("ours"),
        in_graph=_ours("ours" + CAPTURABLE),
        rivals=_rivals(kind),
        inputs=inputs,
        phases={FORWARD: suite},
        traffic={FORWARD: Traffic(4 * (read + written) * count, 4 * read * count)},
        bounds=_bounds(count, len(shapes)),
    )


FLOORS = (
    Floor("optimizers.RMSprop/residual critic/*/forward", {"loop": 2.0, "foreach": 2.0}),
    Floor("optimizers.Adam/residual critic/*/forward", {"fused": 1.2}),
)


def cases() -> Iterator[Case]:
    """Each optimiser on each critic."""
    for kind in SETTINGS:
        yield _case(kind, "MLP", [(128, 2), (128,), (128, 128), (128,), (1, 128), (1,)], Suite.DEFAULT)
        yield _case(kind, "residual critic", RESIDUAL_CRITIC, Suite.QUICK)
        yield _case(kind, "small tensors", [(1000,)] * 300, Suite.DEFAULT)
