"""The penalties by their papers' names, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ganops import _checks
from ganops.reference.gradient_penalty import (
    check_samples,
    check_settings,
    gradient_norm_penalty,
    gradient_penalty,
    slopes,
)


def r1_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, *, finite_difference: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """The same function as :func:`ganops.r1_penalty`, in plain PyTorch."""
    check_settings("r1_penalty", 0.0, reduction, finite_difference)
    check_samples("r1_penalty", real=real)
    gradient = slopes("r1_penalty", critic, real.detach(), finite_difference)
    return gradient_norm_penalty(gradient, target=0.0, reduction=reduction)


def r2_penalty(
    critic: Callable[[Tensor], Tensor], fake: Tensor, *, finite_difference: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """The same function as :func:`ganops.r2_penalty`, in plain PyTorch."""
    check_settings("r2_penalty", 0.0, reduction, finite_difference)
    check_samples("r2_penalty", fake=fake)
    gradient = slopes("r2_penalty", critic, fake.detach(), finite_difference)
    return gradient_norm_penalty(gradient, target=0.0, reduction=reduction)


def lp_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    weight: Tensor | None = None,
    finite_difference: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """The same function as :func:`ganops.lp_penalty`, in plain PyTorch."""
    return gradient_penalty(
        critic,
        real,
        fake,
        target=target,
        one_sided=True,
        weight=weight,
        finite_difference=finite_difference,
        reduction=reduction,
    )


def around(real: Tensor, noise: Tensor | None, scale: float) -> Tensor:
    """DRAGAN's points: ``real`` + scale · (standard deviation of all its elements) · noise."""
    _checks.number("dragan_penalty", "scale", scale, minimum=0)
    real = real.detach()
    if noise is None:
        noise = torch.randn_like(real)
    else:
        _checks.tensor("dragan_penalty", "noise", noise)
        _checks.same_kind("dragan_penalty", "real", real, "noise", noise)
        _checks.same_shape("dragan_penalty", "real", real, "noise", noise)
    return real + scale * real.std(correction=0) * noise.detach()


def dragan_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    noise: Tensor | None = None,
    *,
    scale: float = 0.5,
    target: float = 1.0,
    finite_difference: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """The same function as :func:`ganops.dragan_penalty`, in plain PyTorch."""
    target = check_settings("dragan_penalty", target, reduction, finite_difference)
    check_samples("dragan_penalty", real=real)
    gradient = slopes("dragan_penalty", critic, around(real, noise, scale), finite_difference)
    return gradient_norm_penalty(gradient, target=target, reduction=reduction)
