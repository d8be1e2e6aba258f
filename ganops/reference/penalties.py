"""The penalties by their papers' names, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ganops import _checks
from ganops.reference.gradient_penalty import PLAIN, WholePenalty


def zero_centred(
    of: WholePenalty,
    function: str,
    critic: Callable[[Tensor], Tensor],
    finite_difference: float,
    reduction: str,
    scaler: torch.amp.GradScaler | None,
    **samples: Tensor,
) -> Tensor:
    """‖∇D‖² at the samples, R1 and R2: one batch by its name."""

    def points(samples: Tensor) -> Tensor:
        return samples

    return of.at(function, critic, finite_difference, scaler, points, samples, target=0.0, reduction=reduction)


def r1_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    *,
    finite_difference: float = 0.0,
    reduction: str = "mean",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """The same function as :func:`ganops.r1_penalty`, in plain PyTorch."""
    return zero_centred(PLAIN, "r1_penalty", critic, finite_difference, reduction, scaler, real=real)


def r2_penalty(
    critic: Callable[[Tensor], Tensor],
    fake: Tensor,
    *,
    finite_difference: float = 0.0,
    reduction: str = "mean",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """The same function as :func:`ganops.r2_penalty`, in plain PyTorch."""
    return zero_centred(PLAIN, "r2_penalty", critic, finite_difference, reduction, scaler, fake=fake)


def lp_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    weight: Tensor | None = None,
    finite_difference: float = 0.0,
    reduction: str = "mean",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """The same function as :func:`ganops.lp_penalty`, in plain PyTorch."""
    settings = {"target": target, "one_sided": True, "reduction": reduction}
    return PLAIN.between("lp_penalty", critic, real, fake, weight, finite_difference, scaler, **settings)


def around(real: Tensor, noise: Tensor | None, scale: float) -> Tensor:
    """DRAGAN's points: ``real`` + scale · (standard deviation of all its elements) · noise; None: N(0, 1)."""
    real = real.detach()
    noise = torch.randn_like(real) if noise is None else noise.detach()
    return real + scale * real.std(correction=0) * noise


def near_real(
    of: WholePenalty,
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    noise: Tensor | None,
    scale: float,
    target: float,
    finite_difference: float,
    reduction: str,
    scaler: torch.amp.GradScaler | None,
) -> Tensor:
    """DRAGAN's penalty."""
    _checks.number("dragan_penalty", "scale", scale, minimum=0)
    samples = {"real": real} if noise is None else {"real": real, "noise": noise}

    def points(real: Tensor, noise: Tensor | None = None) -> Tensor:
        return around(real, noise, scale)

    return of.at(
        "dragan_penalty", critic, finite_difference, scaler, points, samples, target=target, reduction=reduction
    )


def dragan_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    noise: Tensor | None = None,
    *,
    scale: float = 0.5,
    target: float = 1.0,
    finite_difference: float = 0.0,
    reduction: str = "mean",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """The same function as :func:`ganops.dragan_penalty`, in plain PyTorch."""
    return near_real(PLAIN, critic, real, noise, scale, target, finite_difference, reduction, scaler)
