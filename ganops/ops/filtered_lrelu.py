"""The leaky ReLU on a finer grid: bias, upsampling, activation, downsampling, in one pass each way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.filtered_lrelu import Lrelu, prepare, slope_of
from ganops._common.upfirdn import Factors, Resampling
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op
from ganops.ops.upfirdn import resample
from ganops.reference.filtered_lrelu import filtered_lrelu as reference_filtered_lrelu


def filtered_lrelu(
    x: Tensor,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    b: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Factors = 0,
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Tensor:
    """StyleGAN3's filtered leaky ReLU (Karras et al. 2021, arXiv:2106.12423, appendix D) of images, in one pass.

    Equivalent to::

        u = upfirdn2d(x + b[:, None, None], fu, up=up, padding=padding, gain=up**2, flip_filter=flip_filter)
        u = (leaky_relu(u, slope) * gain).clamp(-clamp, clamp)
        y = upfirdn2d(u, fd, down=down, flip_filter=flip_filter)

    without the fine grid in memory, and with only ``x`` and ``b`` saved for backward.

    Args:
        x: Images (N, C, H, W); float16, bfloat16, float32 or float64.
        fu: The filter that upsamples: (taps,) for the outer product with themselves, (h, w), or None for the identity.
            In the dtype of ``x`` or in float32 (float64 for float64 images), on the device of ``x``.
        fd: The filter that downsamples, the same. Separable filters of up to 24 taps, and factors up to 4, have
            kernels; others run in PyTorch's operations, as do filters that require a gradient.
        b: The bias of each channel (C,), in the dtypes of a filter; none if None.
        up: The factor by which pixels are inserted.
        down: The factor by which pixels are dropped.
        padding: Of the upsampled image, as in :func:`ganops.upfirdn2d`.
        gain: Factor of the activation.
        slope: That of negative values, besides.
        clamp: The largest magnitude after the activation, at least 0; unlimited if None.
        flip_filter: Correlates in place of convolving.

    Returns:
        Images (N, C, H', W') in the dtype of ``x``; H' = (H·up + top + bottom − taps of both filters + 1) // down + 1.
        Sums are in float32 for half precision. Differentiable to any order in ``x`` and ``b``, all orders by kernels:
        the activation is linear piece by piece.

    Raises:
        ValueError: If the filters are longer than the padded image, a factor is below 1, ``clamp`` is negative, shapes
            are not those above, or a tensor is on another device.
        TypeError: If a tensor is not floating-point, or its dtype is not one of those above.

    Example:
        >>> f = ganops.setup_filter(range(1, 13), separable=True)
        >>> ganops.filtered_lrelu(torch.ones(1, 3, 8, 8), f, f, up=2, down=2, padding=(11, 10)).shape
        torch.Size([1, 3, 8, 8])
    """
    how = prepare("filtered_lrelu", x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter)
    if not (_library.has_kernel("filtered_lrelu", x, how.b) and how.in_kernels()):
        return reference_filtered_lrelu(x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter)
    filters = how.up_filter.contiguous(), how.down_filter.contiguous()
    return apply(_Lrelu, x, how.b.contiguous(), *filters, *how[3:])


# With u = U(x + b): the gradients of x and b are Uᵀ(φ'(u)·Dᵀ grad) and its sums, and along tangents (t, c) of these the
# gradient of grad is D(φ'(u)·U(t + c)), whose transpose is the former again. φ'' is 0: these two are all orders.


def _up(x: Tensor, b: Tensor, how: Lrelu) -> Tensor:
    """U(x + b)."""
    part = Resampling(how.up_filter, [how.up] * 2, [1, 1], how.padding)
    return resample(x.to(b.dtype) + b[:, None, None], part, how.flip, float(how.up**2))


def _slope_formula(direction: Tensor, b_direction: Tensor, x: Tensor, b: Tensor, *rest: Any) -> Tensor:
    """The fused derivative in a direction in PyTorch's own operations."""
    how = Lrelu(b, *rest)
    product = slope_of(_up(x, b, how), how.gain, how.slope, how.clamp) * _up(direction, b_direction, how)
    part = Resampling(how.down_filter, [1, 1], [how.down] * 2, [0] * 4)
    return resample(product, part, how.flip, 1.0).to(x.dtype)


def _backward_formula(grad: Tensor, x: Tensor, b: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """The fused backward in PyTorch's own operations."""
    how = Lrelu(b, *rest)
    u = _up(x, b, how)
    down = Resampling(how.down_filter, [1, 1], [how.down] * 2, [0] * 4)
    up = Resampling(how.up_filter, [how.up] * 2, [1, 1], how.padding)
    h = resample(grad.to(b.dtype), down.adjoint(u.shape, grad.shape), not how.flip, 1.0)
    product = slope_of(u, how.gain, how.slope, how.clamp) * h
    found = resample(product, up.adjoint(x.shape, u.shape), not how.flip, float(how.up**2))
    return found.to(x.dtype), found.sum((0, 2, 3))


@autograd_op(_library.operator("filtered_lrelu"))
class _Lrelu(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.up, ctx.down, ctx.padding, ctx.gain, ctx.slope, ctx.clamp, ctx.flip = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return *apply(_LreluBackward, grad, *ctx.saved_tensors, *_settings(ctx)), *[None] * 9


@autograd_op(_library.operator("filtered_lrelu_backward"), _backward_formula)
class _LreluBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        _, *tensors, ctx.up, ctx.down, ctx.padding, ctx.gain, ctx.slope, ctx.clamp, ctx.flip = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor, b_tangent: Tensor) -> tuple:
        found = apply(_LreluSlope, tangent, b_tangent, *ctx.saved_tensors, *_settings(ctx))
        return found, *[None] * 11


@autograd_op(_library.operator("filtered_lrelu_slope"), _slope_formula)
class _LreluSlope(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, _, *tensors, ctx.up, ctx.down, ctx.padding, ctx.gain, ctx.slope, ctx.clamp, ctx.flip = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return *apply(_LreluBackward, grad, *ctx.saved_tensors, *_settings(ctx)), *[None] * 11


def _settings(ctx: Any) -> tuple:
    return ctx.up, ctx.down, ctx.padding, ctx.gain, ctx.slope, ctx.clamp, ctx.flip


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    def result(x, *rest):
        return x.new_empty((*x.shape[:2], *Lrelu(*rest).sizes(*x.shape[2:])))

    @fake_of("ganops::filtered_lrelu")
    def _(x, *rest):
        _layout.check_device(x, *rest[:3])
        return result(x, *rest)

    @fake_of("ganops::filtered_lrelu_slope")
    def _(direction, b_direction, x, *rest):
        _layout.check_device(x, direction, b_direction, *rest[:3])
        return result(x, *rest)

    @fake_of("ganops::filtered_lrelu_backward")
    def _(grad, x, *rest):
        _layout.check_device(x, grad, *rest[:3])
        return x.new_empty(x.shape), x.new_empty((x.shape[1],), dtype=rest[0].dtype)


if _library.loaded():
    _register_fakes()
