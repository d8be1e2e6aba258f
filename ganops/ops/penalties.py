"""The penalties by their papers' names, over ``gradient_norm_penalty`` and its kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ganops.ops.gradient_penalty import FUSED
from ganops.reference.penalties import near_real, zero_centred


def r1_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    *,
    finite_difference: float = 0.0,
    reduction: str = "mean",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """R1: E ‖∇ critic(x)‖² at real samples (Mescheder et al. 2018, arXiv:1801.04406, equation 9, whose γ is twice the
    weight to give this).

    Args:
        critic: Maps samples (N, …) to scores, each of which depends on its own sample, see
            :func:`ganops.gradient_penalty`.
        real: Real samples (N, …); float16, bfloat16, float32 or float64. No gradient flows into them.
        finite_difference: 0: exact; δ > 0: without double backward, see :func:`ganops.gradient_penalty`.
        reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
        scaler: A ``GradScaler``, see :func:`ganops.gradient_penalty`.

    Returns:
        A tensor of shape (), or (N,) for ``"none"``, with gradients to the critic's weights.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    return zero_centred(FUSED, "r1_penalty", critic, finite_difference, reduction, scaler, real=real)


def r2_penalty(
    critic: Callable[[Tensor], Tensor],
    fake: Tensor,
    *,
    finite_difference: float = 0.0,
    reduction: str = "mean",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """R2: E ‖∇ critic(x)‖² at generated samples (Mescheder et al. 2018, equation 10). Otherwise as
    :func:`ganops.r1_penalty`; whatever made ``fake`` is left alone.
    """
    return zero_centred(FUSED, "r2_penalty", critic, finite_difference, reduction, scaler, fake=fake)


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
    """WGAN-LP's one-sided penalty: E max(‖∇ critic(x̂)‖ − target, 0)² between real and fake (Petzka et al. 2018,
    arXiv:1709.08894, equation 8). It is :func:`ganops.gradient_penalty` with ``one_sided=True``, which see.
    """
    settings = {"target": target, "one_sided": True, "reduction": reduction}
    return FUSED.between("lp_penalty", critic, real, fake, weight, finite_difference, scaler, **settings)


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
    """DRAGAN: E (‖∇ critic(x + δ)‖ − target)² at noise around real samples (Kodali et al. 2017, arXiv:1705.07215).

    Args:
        critic: As for :func:`ganops.gradient_penalty`.
        real: Real samples (N, …); float16, bfloat16, float32 or float64. No gradient flows into them.
        noise: Like ``real``; δ is ``scale`` times the standard deviation of all of ``real``'s elements times this.
            ``None`` draws N(0, 1).
        scale: At least 0.
        target: The wanted norm of the gradient.
        finite_difference: 0: exact; δ > 0: without double backward, see :func:`ganops.gradient_penalty`.
        reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
        scaler: A ``GradScaler``, see :func:`ganops.gradient_penalty`.

    Returns:
        A tensor of shape (), or (N,) for ``"none"``, with gradients to the critic's weights.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    return near_real(FUSED, critic, real, noise, scale, target, finite_difference, reduction, scaler)
