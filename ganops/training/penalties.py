"""The gradient penalties of the trainer: the one table that the config, the command line and the objective read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import ganops
from ganops.training.noise import normal, uniform

__all__ = ["PENALTIES", "Penalty"]

Critic = Callable[[Tensor], Tensor]


class Penalty(NamedTuple):
    """A row of the table.

    Attributes:
        term: the unweighted penalty, from ``(critic, real, fake, noise, target, **options)``. ``noise`` is the
            `torch.Generator` to draw from; ``options`` are ``finite_difference`` and ``scaler`` of the library's
            penalties. If ``fake`` requires a gradient, the gradient flows into it through the points of the penalty:
            the generator of an unrolled GAN depends on D's steps that way.
        takes_target: whether ``target`` is used; if not, the target is 0.
        summary: for help texts.
    """

    term: Callable[..., Tensor]
    takes_target: bool
    summary: str


def _moving_with(critic: Critic, points: Tensor) -> Critic:
    """`critic` for a penalty at ``points.detach()``, as a function of `points` too.

    The library's penalties detach their samples. Adding ``points - points.detach()``, which is zero, inside the critic
    connects the penalty with whatever `points` depends on and leaves its value unchanged.
    """
    if not points.requires_grad:
        return critic
    shift = points - points.detach()
    return lambda x: critic(x + shift)


def _between(
    penalty: Callable[..., Tensor], critic: Critic, real: Tensor, fake: Tensor, noise: torch.Generator, **options: Any
) -> Tensor:
    weight = uniform(len(real), generator=noise).to(real)
    points = ganops.interpolate(real, fake, weight) if fake.requires_grad else fake
    return penalty(_moving_with(critic, points), real, fake, weight=weight, **options)


def _gradient(
    critic: Critic, real: Tensor, fake: Tensor, noise: torch.Generator, target: float, **options: Any
) -> Tensor:
    return _between(ganops.gradient_penalty, critic, real, fake, noise, target=target, **options)


def _one_sided(
    critic: Critic, real: Tensor, fake: Tensor, noise: torch.Generator, target: float, **options: Any
) -> Tensor:
    return _between(ganops.lp_penalty, critic, real, fake, noise, target=target, **options)


def _r1(critic: Critic, real: Tensor, fake: Tensor, noise: torch.Generator, target: float, **options: Any) -> Tensor:
    return ganops.r1_penalty(critic, real, **options)


def _r2(critic: Critic, real: Tensor, fake: Tensor, noise: torch.Generator, target: float, **options: Any) -> Tensor:
    return ganops.r2_penalty(_moving_with(critic, fake), fake, **options)


def _r1_and_r2(
    critic: Critic, real: Tensor, fake: Tensor, noise: torch.Generator, target: float, **options: Any
) -> Tensor:
    return _r1(critic, real, fake, noise, target, **options) + _r2(critic, real, fake, noise, target, **options)


def _dragan(
    critic: Critic, real: Tensor, fake: Tensor, noise: torch.Generator, target: float, **options: Any
) -> Tensor:
    draw = normal(*real.shape, generator=noise).to(real)
    return ganops.dragan_penalty(critic, real, draw, target=target, **options)


#: Every penalty by its name in `TrainingConfig.penalty_kind`. To add one, add a row.
PENALTIES: dict[str, Penalty] = {
    "gradient": Penalty(_gradient, True, "(norm - target)^2 between real and fake (WGAN-GP)"),
    "one-sided": Penalty(_one_sided, True, "the same for norms above the target only (WGAN-LP)"),
    "r1": Penalty(_r1, False, "norm^2 at real samples (R1's gamma is twice the weight)"),
    "r2": Penalty(_r2, False, "norm^2 at fake samples"),
    "r1+r2": Penalty(_r1_and_r2, False, "the sum of both (R3GAN)"),
    "dragan": Penalty(_dragan, True, "(norm - target)^2 at noise around real samples"),
}
