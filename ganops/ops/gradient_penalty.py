"""The penalty on gradient norms: reduction, penalty and their derivatives in fused kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.dtypes import accumulate_dtype, without_autocast
from ganops._common.gradient_penalty import check_gradient, check_settings
from ganops._common.reduction import REDUCTIONS
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op, needs_formula
from ganops.reference.gradient_penalty import gradient_norm_penalty as reference_penalty

_REDUCTION = {name: number for number, name in enumerate(REDUCTIONS)}
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
        ValueError, TypeError: Naming the argument, the value received and the values accepted.
    """
    target = check_settings("gradient_norm_penalty", target, reduction, one_sided)
    check_gradient(gradient)
    gradient = without_autocast(gradient)
    if not _library.has_kernel("gradient_norm_penalty", gradient):
        return reference_penalty(gradient, target=target, one_sided=one_sided, reduction=reduction)
    return apply(_Penalty, gradient, target, bool(one_sided), _REDUCTION[reduction])[0]


# With n = ‖g‖, u = g/n and c(n) = φ'(n)/n the backward is G·c·g per sample. In direction t its derivatives are c·⟨t, g⟩
# with respect to G and G·(c·t + n·c'·⟨t, u⟩·u) with respect to g.


def _rows(x: Tensor) -> Tensor:
    """Samples as rows, in the accumulation dtype."""
    return x.reshape(len(x), -1).to(accumulate_dtype(x.dtype)) if x.numel() else x.new_zeros(len(x), 1)


def _radial(g: Tensor, target: float, one_sided: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The norms of rows (1 in place of 0), c and n·c', a column each."""
    squared = g.square().sum(1, keepdim=True)
    nonzero = squared != 0
    norm = torch.where(nonzero, squared, 1).sqrt()
    if target == 0:
        return norm, torch.full_like(norm, 2), torch.zeros_like(norm)
    active = nonzero & ~(norm <= target) if one_sided else nonzero
    return norm, torch.where(active, 2 * (1 - target / norm), 0), torch.where(active, 2 * target / norm, 0)


def _scale(samples: int, reduction: int) -> float:
    return 1 / max(samples, 1) if reduction == _REDUCTION["mean"] else 1


def _first_order(
    grad: Tensor, gradient: Tensor, norm: Tensor, target: float, one_sided: bool, reduction: int
) -> Tensor:
    """The fused backward in PyTorch's own operations."""
    g = _rows(gradient)
    _, slope, _ = _radial(g, target, one_sided)
    found = _scale(len(g), reduction) * grad.to(g.dtype).reshape(-1, 1) * slope * g
    return found.reshape(gradient.shape).to(gradient.dtype) if gradient.numel() else torch.zeros_like(gradient)


def _second_order(
    tangent: Tensor,
    grad: Tensor,
    gradient: Tensor,
    norm: Tensor,
    target: float,
    one_sided: bool,
    reduction: int,
) -> tuple[Tensor, Tensor]:
    """The fused double backward in PyTorch's own operations."""
    if gradient.numel() == 0:
        return torch.zeros_like(grad), torch.zeros_like(gradient)
    g, t = _rows(gradient), _rows(tangent)
    length, slope, curvature = _radial(g, target, one_sided)
    scale = _scale(len(g), reduction)
    along = scale * slope * (t * g).sum(1, keepdim=True)
    grad_out = along.squeeze(1) if reduction == _REDUCTION["none"] else along.sum()
    unit = g / length
    direction = slope * t + curvature * (t * unit).sum(1, keepdim=True) * unit
    gradient_out = scale * grad.to(g.dtype).reshape(-1, 1) * direction
    return grad_out.to(grad.dtype), gradient_out.reshape(gradient.shape).to(gradient.dtype)


@autograd_op(_library.operator("gradient_norm_penalty"))
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


@autograd_op(_library.operator("gradient_norm_penalty_backward"), _first_order)
class _PenaltyBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, gradient, norm, *ctx.choice = inputs
        ctx.save_for_backward(grad, gradient, norm)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple:
        second_order = _second_order if needs_formula() else _gradient_norm_penalty_double_backward_op
        return *second_order(tangent, *ctx.saved_tensors, *ctx.choice), None, None, None, None


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
        _layout.check_device(gradient, grad, norm)
        return _layout.empty_like_samples(gradient)

    @fake_of("ganops::gradient_norm_penalty_double_backward")
    def _(tangent, grad, gradient, norm, target, one_sided, reduction):
        _layout.check_device(gradient, tangent, grad, norm)
        return result(gradient, reduction), _layout.empty_like_samples(gradient)


if _library.loaded():
    _register_fakes()
