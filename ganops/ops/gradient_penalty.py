"""Gradient penalties: the norm's reduction, the penalty and their derivatives in fused kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _checks, _library
from ganops.ops._function import apply, differentiable, over
from ganops.ops.interpolate import empty_by_sample, interpolate
from ganops.reference.gradient_penalty import WholePenalty, check_gradient, check_settings
from ganops.reference.gradient_penalty import gradient_norm_penalty as reference_penalty
from ganops.reference.interpolate import accumulate_dtype

_REDUCTION = {name: number for number, name in enumerate(_checks.REDUCTIONS)}
_gradient_norm_penalty_double_backward_op = _library.operator("gradient_norm_penalty_double_backward")


def gradient_norm_penalty(
    gradient: Tensor, *, target: float = 1.0, one_sided: bool = False, reduction: str = "mean"
) -> Tensor:
    """The penalty on the norm of each sample's gradient: (‖gᵢ‖₂ − target)².

    Args:
        gradient: Gradients (N, …), one per sample; the norm is over all of a sample's elements. float16, bfloat16,
            float32 or float64.
        target: The wanted norm, at least 0. 1 is WGAN-GP's (Gulrajani et al. 2017, equation 3); 0 gives ‖gᵢ‖², the
            zero-centred penalty R1/R2 (Mescheder et al. 2018, without its ½).
        one_sided: Penalise only norms above the target: max(‖gᵢ‖₂ − target, 0)² (WGAN-LP, Petzka et al. 2018).
        reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.

    Returns:
        A tensor of shape (), or (N,) for ``"none"``, in the gradient's dtype (float32 for half precision under
        ``torch.autocast``). Differentiable to any order; a gradient of norm 0 has the subgradient 0, never NaN.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    target = check_settings("gradient_norm_penalty", target, reduction)
    check_gradient(gradient)
    gradient = _checks.without_autocast(gradient)
    if not _library.serves("gradient_norm_penalty", gradient):
        return reference_penalty(gradient, target=target, one_sided=one_sided, reduction=reduction)
    return apply(_Penalty, gradient, target, bool(one_sided), _REDUCTION[reduction])[0]


FUSED = WholePenalty(interpolate, gradient_norm_penalty)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    one_sided: bool = False,
    weight: Tensor | None = None,
    finite_difference: float = 0.0,
    reduction: str = "mean",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """The whole penalty of WGAN-GP, without its factor λ: E (‖∇ critic(x̂)‖₂ − target)² at x̂ between real and fake.

    The gradient flows into the critic's parameters. It does not flow into ``real`` or ``fake``, so a generator behind
    ``fake`` is left alone.

    Args:
        critic: Maps samples (N, …) to scores, each of which depends on its own sample (no batch norm). For a
            conditional critic pass ``lambda x: critic(x, labels)``.
        real: Real samples (N, …); float16, bfloat16, float32 or float64.
        fake: Generated samples, the same shape, dtype and device; under ``torch.autocast`` dtypes may differ.
        target: The wanted norm of the gradient, see :func:`gradient_norm_penalty`.
        one_sided: Penalise only norms above the target.
        weight: The weights of the interpolation, one per sample. ``None`` draws U[0, 1); ones gives the penalty at
            real samples (R1, with ``target=0``), zeros at fake ones (R2).
        finite_difference: 0: the exact norm, by double backward. δ > 0 (say 0.01): in its place
            (D(x̂ + δu) − D(x̂ − δu)) / 2δ along u = ∇D(x̂)/‖∇D(x̂)‖, in the units of the samples: no double backward, so
            the critic needs only first derivatives. It differs from ‖∇D‖ by δ²/6 times D's third derivative along u,
            and by about (rounding error of D)/δ; the gradient to the critic's weights likewise. Meant to be
            differentiated once: u counts as a constant. The critic must be the same function in all three calls (no
            dropout) and return scores (N, …). Under ``torch.autocast`` these calls are in float32 all the same, for
            half precision would leave little of the difference.
        reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
        scaler: The ``GradScaler`` of training in float16, whose scale the gradient then passes the critic with, so that
            it does not underflow there; it is unscaled, in float32, before its norm is taken. Where it overflows, the
            penalty is infinite or NaN, and ``scaler.step`` skips the update. The penalty itself is not scaled: it goes
            into the loss, and that through ``scaler.scale``.

    Returns:
        A tensor of shape (), or (N,) for ``"none"``; half-precision samples give float32 under ``torch.autocast`` and
        with a ``scaler``. Source: Gulrajani et al. 2017, equation 3.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted; also where the critic's output does
            not depend on its input.
    """
    settings = {"target": target, "one_sided": one_sided, "reduction": reduction}
    return FUSED.between("gradient_penalty", critic, real, fake, weight, finite_difference, scaler, **settings)


def _second_order(
    tangent: Tensor, grad: Tensor, gradient: Tensor, target: float, one_sided: bool, reduction: int
) -> tuple[Tensor, Tensor]:
    """What the fused double backward computes, in operations that autograd differentiates again.

    With n = ‖g‖, u = g/n and c(n) = φ'(n)/n the backward is t ↦ G·c·g per sample, whose derivatives in direction t are
    c·⟨t, g⟩ with respect to G and G·(c·t + n·c'·⟨t, u⟩·u) with respect to g.
    """
    wide = accumulate_dtype(gradient.dtype)
    g, t = gradient.flatten(1).to(wide) if gradient.dim() > 1 else gradient[:, None].to(wide), tangent.to(wide)
    t = t.reshape(g.shape)
    squared = g.square().sum(1, keepdim=True)
    nonzero = squared != 0
    norm = torch.where(nonzero, squared, 1).sqrt()
    if target == 0:
        slope, curvature = torch.full_like(norm, 2), torch.zeros_like(norm)
    else:
        active = nonzero & ~(norm <= target) if one_sided else nonzero
        slope = torch.where(active, 2 * (1 - target / norm), 0)
        curvature = torch.where(active, 2 * target / norm, 0)
    scale = 1 / max(g.shape[0], 1) if reduction == _REDUCTION["mean"] else 1
    along = scale * slope * (t * g).sum(1, keepdim=True)
    grad_out = along.squeeze(1) if reduction == _REDUCTION["none"] else along.sum()
    unit = g / norm
    direction = slope * t + curvature * (t * unit).sum(1, keepdim=True) * unit
    gradient_out = scale * grad.to(wide).reshape(-1, 1) * direction
    return grad_out.to(grad.dtype), gradient_out.reshape(gradient.shape).to(gradient.dtype)


@over(_library.operator("gradient_norm_penalty"))
class _Penalty(Function):
    """(penalty, norms). The norms are kept for the backward, as a function of the gradient and not as a constant."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        gradient, *ctx.choice = inputs
        ctx.save_for_backward(gradient, output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # else autograd fills a tensor of zeros for the norms' gradient

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple:
        if grad is None:
            return None, None, None, None
        gradient, norm = ctx.saved_tensors
        return apply(_PenaltyBackward, grad, gradient, norm, *ctx.choice), None, None, None


@over(_library.operator("gradient_norm_penalty_backward"))
class _PenaltyBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, gradient, norm, *ctx.choice = inputs
        ctx.save_for_backward(grad, gradient, norm)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple:
        grad, gradient, norm = ctx.saved_tensors
        if differentiable():
            grad_out, gradient_out = _second_order(tangent, grad, gradient, *ctx.choice)
        else:
            grad_out, gradient_out = _gradient_norm_penalty_double_backward_op(
                tangent, grad, gradient, norm, *ctx.choice
            )
        return grad_out, gradient_out, None, None, None, None


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake
    none = _REDUCTION["none"]

    def result(gradient, reduction):
        return gradient.new_empty(gradient.shape[0] if reduction == none else ())

    @fake_of("ganops::gradient_norm_penalty")
    def _(gradient, target, one_sided, reduction):
        norm = gradient.new_empty(gradient.shape[0], dtype=accumulate_dtype(gradient.dtype))
        return result(gradient, reduction), norm

    @fake_of("ganops::gradient_norm_penalty_backward")
    def _(grad, gradient, norm, target, one_sided, reduction):
        return empty_by_sample(gradient)

    @fake_of("ganops::gradient_norm_penalty_double_backward")
    def _(tangent, grad, gradient, norm, target, one_sided, reduction):
        return result(gradient, reduction), empty_by_sample(gradient)


if _library.loaded():
    _register_fakes()
