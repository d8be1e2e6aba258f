"""Minibatch discrimination: features by which D sees how close the samples of a batch are to each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.dtypes import accumulate_dtype
from ganops._common.minibatch_discrimination import check
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op, needs_formula
from ganops.reference.minibatch_discrimination import closeness as reference_closeness

_double_backward_op = _library.operator("minibatch_discrimination_double_backward")


def minibatch_discrimination(x: Tensor, weight: Tensor) -> Tensor:
    """How close each sample is to the others of its batch: o(x_i)_b = Σ_{j≠i} exp(−‖M_{i,b} − M_{j,b}‖₁), M = x·weight.

    A D that is given these features beside its own sees that samples resemble each other when G collapses (Salimans
    et al. 2016, arXiv:1606.03498, section 3.2).

    Args:
        x: Features (N, A); float16, bfloat16, float32 or float64.
        weight: (A, B, C) in the same dtype: B comparisons in C dimensions each. Under ``torch.autocast`` the dtypes may
            differ, and the product is in the half precision that autocast asks for; the distances are not.

    Returns:
        (N, B) in the dtype of ``x``, the wider of the two, each in [0, N − 1]. Differentiable to any order in both,
        where |·| has the slope 0 at 0. The memory is that of M, N·B·C numbers, in every derivative too.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.
    """
    x, weight = check(x, weight)
    # Samples innermost: what the kernels want, and the faster product and gradients.
    m = (weight.flatten(1).t() @ x.t()).view(*weight.shape[1:], x.shape[0])
    return closeness(m.to(x.dtype))  # under autocast the product is in half precision


def closeness(m: Tensor) -> Tensor:
    """Σ_{j≠i} exp(−‖m_bi − m_bj‖₁): (B, C, N) to (N, B)."""
    if not _library.has_kernel("minibatch_discrimination", m):
        return reference_closeness(m.permute(2, 0, 1))
    return apply(_Closeness, m, None)


# With d_ij = Σ_c |m_i − m_j| and k = e^−d, let q be the derivative of −d along a tangent of m, and Π the product of q
# over the tangents. The two operators, which csrc/kernels/minibatch_discrimination.h describes,
#
#     closeness_i = Σ_{j≠i} k·Π      slope_ic = Σ_{j≠i} (G_i + G_j)·k·Π·sign(m_jc − m_ic)
#
# are each other's derivatives, with one tangent more for each order.


def _others(tangents: Tensor, place: int) -> Tensor | None:
    """The tangents but one."""
    if len(tangents) == 1:
        return None
    return torch.cat([tangents[:place], tangents[place + 1 :]])


def _slopes_of_tangents(grad: Tensor, m: Tensor, tangents: Tensor, count: int) -> Tensor:
    """The gradients of Σ G·closeness with respect to the first ``count`` tangents."""
    return torch.stack([apply(_Slope, grad, m, _others(tangents, place)) for place in range(count)])


def _pairs(m: Tensor, tangents: Tensor | None) -> tuple[Tensor, Tensor]:
    """k·Π, 0 at i = j, and sign(m_j − m_i): (B, N, N) and (B, C, N, N), in the accumulation dtype."""
    m = m.to(accumulate_dtype(m.dtype))
    difference = m[:, :, None] - m[:, :, :, None]
    itself = torch.eye(m.shape[2], dtype=torch.bool, device=m.device)
    product = torch.exp(-difference.abs().sum(1).masked_fill(itself, torch.inf))
    sign = difference.sign()
    for t in () if tangents is None else tangents.to(m.dtype).unbind(0):
        product = product * (sign * (t[:, :, :, None] - t[:, :, None])).sum(1)
    return product, sign


def _closeness_formula(m: Tensor, tangents: Tensor | None) -> Tensor:
    """The operator ``minibatch_discrimination`` in PyTorch's own operations."""
    return _pairs(m, tangents)[0].sum(2).t().to(m.dtype)


def _slope_formula(grad: Tensor, m: Tensor, tangents: Tensor | None) -> Tensor:
    """The operator ``minibatch_discrimination_backward`` in PyTorch's own operations."""
    product, sign = _pairs(m, tangents)
    g = grad.t().to(product.dtype)
    both = (g[:, :, None] + g[:, None]) * product
    return (both[:, None] * sign).sum(3).to(m.dtype)


@autograd_op(_library.operator("minibatch_discrimination"), _closeness_formula)
class _Closeness(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        m, tangents = ctx.saved_tensors
        needs_m, needs_tangents = ctx.needs_input_grad
        return (
            apply(_Slope, grad, m, tangents) if needs_m else None,
            _slopes_of_tangents(grad, m, tangents, len(tangents)) if needs_tangents else None,
        )


@autograd_op(_library.operator("minibatch_discrimination_backward"), _slope_formula)
class _Slope(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple:
        grad, m, tangents = ctx.saved_tensors
        needs_grad, needs_m, needs_tangents = ctx.needs_input_grad
        along = tangent[None] if tangents is None else torch.cat([tangents, tangent[None]])
        grad_grad = grad_m = None
        if needs_grad and needs_m and not needs_formula():
            grad_grad, grad_m = _double_backward_op(grad, m, along)
        else:
            grad_grad = apply(_Closeness, m, along) if needs_grad else None
            grad_m = apply(_Slope, grad, m, along) if needs_m else None
        return grad_grad, grad_m, _slopes_of_tangents(grad, m, along, len(tangents)) if needs_tangents else None


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    def closeness(m):
        return m.new_empty(m.shape[2], m.shape[0])

    @fake_of("ganops::minibatch_discrimination")
    def _(m, tangents=None):
        _layout.check_device(m, tangents)
        return closeness(m)

    @fake_of("ganops::minibatch_discrimination_backward")
    def _(grad, m, tangents=None):
        _layout.check_device(m, grad, tangents)
        return m.new_empty(m.shape)

    @fake_of("ganops::minibatch_discrimination_double_backward")
    def _(grad, m, tangents):
        _layout.check_device(m, grad, tangents)
        return closeness(m), m.new_empty(m.shape)


if _library.loaded():
    _register_fakes()
