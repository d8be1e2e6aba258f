"""The penalty on the gradient's norm, alone and as the whole WGAN-GP term with a small critic."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

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


def _norm(gradient: Tensor) -> Tensor:
    return ((gradient.view(gradient.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()


def _vector_norm(gradient: Tensor) -> Tensor:
    return (torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square().mean()


def _sum_of_squares(gradient: Tensor) -> Tensor:
    return (gradient.flatten(1).square().sum(1).sqrt() - 1).square().mean()


_CODE = "((g.view(N, -1).norm(2, dim=1) - 1) ** 2).mean()"
_NORM_RIVALS = (
    Rival("norm", POPULAR, _CODE, _norm),
    Rival("vector_norm", EAGER, "(linalg.vector_norm(g.flatten(1), dim=1) - 1).square().mean()", _vector_norm),
    Rival("squares", EAGER, "(g.flatten(1).square().sum(1).sqrt() - 1).square().mean()", _sum_of_squares),
    Rival("compile", COMPILE, f"torch.compile: {_CODE}", _norm, compiled=True),
)


def _norm_case(shape: tuple[int, ...], phases: dict[str, Suite], dtype: torch.dtype = torch.float32) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        # Norms around 2: near the target of 1 the penalty cancels, and the check of agreement would compare noise.
        scale = 2 * torch.Size(shape[1:]).numel() ** -0.5
        gradient = torch.randn(shape, dtype=dtype, device=device, generator=generator(device, seed)).mul_(scale)
        gradient.requires_grad_(differentiable)
        return Inputs((gradient,), (gradient,))

    tensor = torch.Size(shape).numel() * dtype.itemsize
    return Case(
        op="gradient_norm_penalty",
        variant="",
        size=size_of(shape),
        dtype=dtype,
        ours=lambda gradient: ganops.gradient_norm_penalty(gradient),
        rivals=_NORM_RIVALS,
        inputs=inputs,
        phases=phases,
        traffic={
            FORWARD: Traffic(tensor, tensor),
            BACKWARD: Traffic(2 * tensor, 2 * tensor),
            BOTH: Traffic(3 * tensor, 2 * tensor),
        },
        bounds=call_bound(torch.Size(shape).numel()),
    )


class _Critic(nn.Module):
    """A small strided critic, so that the whole term is measured and not only its network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.LazyLinear(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _popular_term(critic: nn.Module, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    alpha = weight.expand(real.size())
    points = (alpha * real + ((1 - alpha) * fake)).requires_grad_()
    scores = critic(points)
    (gradient,) = torch.autograd.grad(
        outputs=scores, inputs=points, grad_outputs=torch.ones_like(scores), create_graph=True, retain_graph=True
    )
    return _norm(gradient)


def _eager_term(critic: nn.Module, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    points = torch.lerp(fake, real, weight).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return _vector_norm(gradient)


def _functional_term(critic: nn.Module, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    # torch.compile cannot trace autograd.grad with create_graph, only its functional form.
    gradient = torch.func.grad(lambda x: critic(x).sum())(weight * real + (1 - weight) * fake)
    return _norm(gradient)


_TERM_RIVALS = (
    Rival("term", POPULAR, "expand, five ops, autograd.grad(…, ones), view, norm", _popular_term),
    Rival("lerp + vector_norm", EAGER, "lerp, autograd.grad of the sum, vector_norm", _eager_term),
    Rival("compile", COMPILE, "torch.compile of the term through torch.func.grad", _functional_term, compiled=True),
)


def _term_case(shape: tuple[int, ...], phases: dict[str, Suite]) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        real, fake = (torch.randn(shape, device=device, generator=random) for _ in range(2))
        weight = torch.rand(shape[0], 1, 1, 1, device=device, generator=random)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            critic = _Critic(shape[1])
            critic(torch.zeros(1, *shape[1:]))  # gives the last layer its width
        critic = critic.to(device).requires_grad_(differentiable)
        return Inputs((critic, real, fake, weight), tuple(critic.parameters()))

    return Case(
        op="gradient_penalty",
        variant="small critic",
        size=size_of(shape),
        ours=lambda critic, real, fake, weight: ganops.gradient_penalty(critic, real, fake, weight=weight),
        rivals=_TERM_RIVALS,
        inputs=inputs,
        phases=phases,
        bounds={BOTH: "the critic, forward, backward and through its backward"},
    )


FLOORS = (Floor("gradient_norm_penalty/64x3x128x128/float32/both", {POPULAR: 1.2, EAGER: 1.2, COMPILE: 1.2}),)


def cases() -> Iterator[Case]:
    """The norm alone from points in the plane to large images, and the whole term."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _norm_case((256, 2), {BOTH: default})
    yield _norm_case((64, 3, 32, 32), {FORWARD: default, BACKWARD: default, BOTH: quick})
    yield _norm_case((64, 3, 128, 128), {FORWARD: default, BACKWARD: default, BOTH: quick})
    yield _norm_case((64, 3, 256, 256), {FORWARD: full, BACKWARD: full, BOTH: default})
    yield _norm_case((96, 3, 512, 512), {BOTH: full})
    yield _norm_case((64, 3, 128, 128), {BOTH: full}, torch.bfloat16)
    yield _term_case((64, 1, 28, 28), {BOTH: default})
    yield _term_case((64, 3, 64, 64), {BOTH: full})
