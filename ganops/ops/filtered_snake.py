"""The anti-aliased Snake: upsampled, Snake, downsampled, in one pass each way and with only its input saved."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.filtered_snake import (
    downsampled,
    downsampled_adjoint,
    prepare,
    upsampled,
    upsampled_adjoint,
)
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op, needs_formula
from ganops.reference.filtered_snake import filtered_snake as reference_filtered_snake

_double_backward_op = _library.operator("filtered_snake_double_backward")


def filtered_snake(
    x: Tensor,
    alpha: Tensor,
    beta: Tensor | None = None,
    up_filter: Tensor | None = None,
    down_filter: Tensor | None = None,
    ratio: int = 2,
    *,
    logscale: bool = False,
) -> Tensor:
    """The anti-aliased Snake activation of BigVGAN (Lee et al. 2023, arXiv:2206.04658), in one pass.

    1. Upsamples by ``ratio``: zeros inserted after every sample, convolved with ``up_filter``, times ``ratio``.
    2. Applies u + sin²(αu)/(β + 1e-9) to the fine grid, with α and β of each channel.
    3. Correlates with ``down_filter`` and keeps every ``ratio``-th place.

    Both filters see the sample at each edge repeated beyond it. The fine grid is never in memory, and only ``x`` is
    saved for backward. Equivalent to::

        u = ratio * conv_transpose1d(pad(x, mode="replicate"), up_filter, stride=ratio)[..., margin:-margin]
        y = conv1d(pad(u + (alpha * u).sin().square() / (beta + 1e-9), mode="replicate"), down_filter, stride=ratio)

    Args:
        x: Signals (N, C, T); float16, bfloat16, float32 or float64.
        alpha: The frequency of each channel (C,), in the dtype of ``x`` or in float32 (float64 for float64 signals).
        beta: One over the magnitude of each channel (C,); ``alpha`` if None.
        up_filter: (taps,), in the dtypes of ``alpha``. If None, 12 taps for a ratio of 2, 6·ratio in general: a sinc of
            cutoff 0.5/ratio under a Kaiser window of half width 0.6/ratio, of sum 1, made at each call.
        down_filter: The same for the way back.
        ratio: How many points the fine grid has for each sample. Ratios up to 8 and filters up to 32 taps have kernels;
            filters that require a gradient run the reference.
        logscale: Whether ``alpha`` and ``beta`` are the logarithms of α and β.

    Returns:
        Signals (N, C, T) in the dtype of ``x``. Sums are in float32 for half precision. Differentiable to any order in
        ``x``, ``alpha`` and ``beta``; orders 1 and 2 are kernels.

    Raises:
        ValueError: If ``ratio`` is below 1, shapes are not those above, or a tensor is on another device.
        TypeError: If a tensor is not floating-point, or its dtype is not one of those above.

    Example:
        >>> ganops.filtered_snake(torch.randn(2, 8, 100), torch.ones(8)).shape
        torch.Size([2, 8, 100])
    """
    how = prepare("filtered_snake", x, alpha, beta, up_filter, down_filter, ratio, logscale)
    if not (_library.has_kernel("filtered_snake", x, how.alpha, how.q) and how.in_kernels()):
        return reference_filtered_snake(x, alpha, beta, up_filter, down_filter, ratio, logscale=logscale)
    return apply(
        _Snake, x, how.alpha.contiguous(), how.q.contiguous(), how.up.contiguous(), how.down.contiguous(), ratio
    )


# With u = U x, h = Dᵀ grad, s = sin 2αu: the gradients are Uᵀ(h·(1 + αqs)), Σ h·qu·s and Σ h·sin² αu. Along tangents
# (t, a, b) of these, with w = U t, their sum is ⟨h, φ̇⟩, φ̇ the derivative of φ along (w, a, b): see
# csrc/math/filtered_snake.h.


def _fine(x: Tensor, alpha: Tensor, up: Tensor, ratio: int) -> tuple[Tensor, Tensor]:
    """u, and αu."""
    u = upsampled(x.to(alpha.dtype), up, ratio)
    return u, alpha[:, None] * u


def _first_order(
    grad: Tensor, x: Tensor, alpha: Tensor, q: Tensor, up: Tensor, down: Tensor, ratio: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The fused backward in PyTorch's own operations."""
    u, angle = _fine(x, alpha, up, ratio)
    h = downsampled_adjoint(grad.to(alpha.dtype), down, ratio)
    twice = (2 * angle).sin()
    slope = upsampled_adjoint(h * (1 + (alpha * q)[:, None] * twice), up, ratio)
    return slope.to(x.dtype), q * (h * u * twice).sum((0, 2)), (h * angle.sin().square()).sum((0, 2))


def _second_order(
    tangent_x: Tensor,
    tangent_alpha: Tensor,
    tangent_q: Tensor,
    grad: Tensor,
    x: Tensor,
    alpha: Tensor,
    q: Tensor,
    up: Tensor,
    down: Tensor,
    ratio: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fused double backward in PyTorch's own operations."""
    u, angle = _fine(x, alpha, up, ratio)
    w = upsampled(tangent_x.to(alpha.dtype), up, ratio)
    h = downsampled_adjoint(grad.to(alpha.dtype), down, ratio)
    a, b, alpha, q = (value[:, None] for value in (tangent_alpha, tangent_q, alpha, q))
    twice, square = (2 * angle).sin(), angle.sin().square()
    z, f = alpha * w + a * u, q * twice
    e = 2 * q * z * (2 * angle).cos() + b * twice
    along = downsampled(w + f * z + b * square, down, ratio)
    by_x = upsampled_adjoint(h * (alpha * e + f * a), up, ratio)
    return (
        along.to(grad.dtype),
        by_x.to(x.dtype),
        (h * (u * e + f * w)).sum((0, 2)),
        (h * z * twice).sum((0, 2)),
    )


@autograd_op(_library.operator("filtered_snake"))
class _Snake(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.ratio = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return *apply(_SnakeBackward, grad, *ctx.saved_tensors, ctx.ratio), None, None, None


@autograd_op(_library.operator("filtered_snake_backward"), _first_order)
class _SnakeBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
        *tensors, ctx.ratio = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> tuple:
        second = _second_order if needs_formula() else _double_backward_op
        return *second(*tangents, *ctx.saved_tensors, ctx.ratio), None, None, None


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    def contiguous(x: Tensor) -> Tensor:
        return x.new_empty(x.shape)

    @fake_of("ganops::filtered_snake")
    def _(x, alpha, q, up_filter, down_filter, ratio):
        _layout.check_device(x, alpha, q, up_filter, down_filter)
        return contiguous(x)

    @fake_of("ganops::filtered_snake_backward")
    def _(grad, x, alpha, q, up_filter, down_filter, ratio):
        _layout.check_device(x, grad, alpha, q, up_filter, down_filter)
        return contiguous(x), contiguous(alpha), contiguous(q)

    @fake_of("ganops::filtered_snake_double_backward")
    def _(tangent_x, tangent_alpha, tangent_q, grad, x, alpha, q, up_filter, down_filter, ratio):
        _layout.check_device(x, tangent_x, grad, alpha, q, up_filter, down_filter)
        return contiguous(x), contiguous(x), contiguous(alpha), contiguous(q)


if _library.loaded():
    _register_fakes()
