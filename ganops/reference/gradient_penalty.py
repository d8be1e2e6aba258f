"""Gradient penalties in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ganops import _checks
from ganops.reference.adversarial_loss import reduce
from ganops.reference.interpolate import accumulate_dtype, interpolate

_transforms_active = torch._C._are_functorch_transforms_active


def check_settings(function: str, target: float, reduction: str) -> float:
    """Checks what is not a tensor and returns the target as a float."""
    _checks.choice(function, "reduction", reduction, _checks.REDUCTIONS)
    return _checks.number(function, "target", target, minimum=0)


def check_gradient(gradient: Tensor) -> None:
    """Checks the argument of ``gradient_norm_penalty``."""
    _checks.tensor("gradient_norm_penalty", "gradient", gradient)
    _checks.batched("gradient_norm_penalty", "gradient", gradient)


def check_samples(real: Tensor, fake: Tensor) -> None:
    """Checks the samples of ``gradient_penalty``; their shapes are ``interpolate``'s to check."""
    _checks.tensor("gradient_penalty", "real", real)
    _checks.tensor("gradient_penalty", "fake", fake)


def gradient_norm_penalty(
    gradient: Tensor, *, target: float = 1.0, one_sided: bool = False, reduction: str = "mean"
) -> Tensor:
    """The same function as :func:`ganops.gradient_norm_penalty`, in plain PyTorch."""
    target = check_settings("gradient_norm_penalty", target, reduction)
    check_gradient(gradient)
    gradient = _checks.without_autocast(gradient)
    squared = gradient.to(accumulate_dtype(gradient.dtype)).square()
    if gradient.dim() > 1:
        squared = squared.flatten(1).sum(1)
    if target == 0:
        penalty = squared
    else:
        # A zero gradient has the zero subgradient, and that has the derivative zero: the square root is taken of 1
        # there, and its branch is cut off.
        nonzero = squared != 0
        norm = torch.where(nonzero, torch.where(nonzero, squared, 1).sqrt(), 0)
        excess = norm - target
        penalty = (excess.relu() if one_sided else excess).square()
    return reduce(penalty, reduction).to(gradient.dtype)


def input_gradient(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """∇ₓ Σ critic(x) at ``points`` (N, …), same shape, differentiable in the critic's parameters."""

    def total(x: Tensor) -> Tensor:
        scores = critic(x)
        if not isinstance(scores, Tensor) or not scores.is_floating_point():
            came = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
            raise TypeError(f"gradient_penalty: critic must return one floating-point tensor, got {came}")
        return scores.sum(dtype=accumulate_dtype(scores.dtype))

    if _transforms_active() or torch.compiler.is_compiling():
        # torch.compile cannot trace autograd.grad with create_graph, and torch.func's transforms allow no
        # requires_grad_(): both can do with the functional form.
        return torch.func.grad(total)(points)
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "gradient_penalty: torch.inference_mode() records no gradients, and the penalty is made of one; "
            "use torch.no_grad() to evaluate it"
        )
    differentiable = torch.is_grad_enabled()
    points.requires_grad_()
    gradient = None
    with torch.enable_grad():
        scores = total(points)
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(scores, points, create_graph=differentiable, allow_unused=True)
    if gradient is None:
        raise ValueError(
            "gradient_penalty: the critic's output does not depend on its input, so it has no gradient to penalise; "
            "check for .detach(), torch.no_grad() or a wrong input inside the critic"
        )
    return gradient


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    one_sided: bool = False,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The same function as :func:`ganops.gradient_penalty`, in plain PyTorch."""
    check_settings("gradient_penalty", target, reduction)
    check_samples(real, fake)
    points = interpolate(real.detach(), fake.detach(), weight)
    gradient = input_gradient(critic, points)
    return gradient_norm_penalty(gradient, target=target, one_sided=one_sided, reduction=reduction)
