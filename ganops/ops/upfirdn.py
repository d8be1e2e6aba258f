"""Resampling by a filter: upsample, pad, filter, downsample in one pass, and the adjoint of it, which is another."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from ganops import _library
from ganops._common.upfirdn import Factors, Resampling, factors, padded, prepare, same_padding, setup_filter
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op
from ganops.reference.upfirdn import upfirdn1d as reference_upfirdn1d
from ganops.reference.upfirdn import upfirdn2d as reference_upfirdn2d

__all__ = ["downsample2d", "filter2d", "setup_filter", "upfirdn1d", "upfirdn2d", "upsample2d"]


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Factors = 1,
    down: Factors = 1,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Upsamples, pads, filters and downsamples each channel of images, in one pass.

    1. Inserts ``up`` − 1 zeros after every pixel, the last of a row and of a column too.
    2. Pads with zeros, or crops where ``padding`` is negative, in upsampled pixels.
    3. Convolves with ``f``, or correlates if ``flip_filter``, where the whole filter lies inside.
    4. Keeps every ``down``-th pixel, from the first on, times ``gain``.

    The output has the size (size·up + before + after − taps) // down + 1 along each axis. The gradient is an upfirdn
    with up and down exchanged and the filter turned round, so that every order of derivative is the same kernel.

    Args:
        x: Images (N, C, H, W); float16, bfloat16, float32 or float64.
        f: The filter: (h, w), or (taps,) for the outer product of the taps with themselves, or None for the identity.
            In the dtype of ``x`` or in float32 (float64 for float64 images), on the device of ``x``. Up to 32 taps and
            factors up to 8 have kernels. Of a separable filter that requires a gradient the matrix is used.
        up: The factor by which pixels are inserted, or one each for (x, y).
        down: The factor by which pixels are dropped, or one each for (x, y).
        padding: Of every side, of (x, y), or of (left, right, top, bottom).
        flip_filter: Correlates in place of convolving.
        gain: Factor of the result.

    Returns:
        Images (N, C, H', W') in the dtype of ``x``, and with its channels last if those of ``x`` are. Sums are in
        float32 for half precision. Differentiable to any order in ``x`` and in ``f``.

    Raises:
        ValueError: If the filter is longer than the padded image, a factor is below 1, shapes are not those above, or
            ``f`` is on another device.
        TypeError: If a tensor is not floating-point or the filter's dtype is not one of those above.

    Example:
        >>> f = ganops.setup_filter([1, 3, 3, 1])
        >>> ganops.upfirdn2d(torch.ones(1, 3, 8, 8), f, up=2, padding=(2, 1), gain=4).shape
        torch.Size([1, 3, 16, 16])
    """
    how = prepare("upfirdn2d", x, f, up, down, padding, flip_filter, gain, axes=2)
    if not (_library.has_kernel("upfirdn2d", x) and how.in_kernels()):
        return reference_upfirdn2d(x, f, up, down, padding, flip_filter, gain)
    return resample(x, how, flip_filter, gain)


def upfirdn1d(
    x: Tensor,
    f: Tensor | None,
    up: Factors = 1,
    down: Factors = 1,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """:func:`upfirdn2d` along one axis: signals (N, C, T), ``f`` (taps,), ``padding`` of both sides or (before, after).

    Returns:
        Signals (N, C, T') in the dtype of ``x``, T' = (T·up + before + after − taps) // down + 1.

    Raises:
        ValueError, TypeError: As :func:`upfirdn2d`.

    Example:
        >>> f = torch.tensor([0.25, 0.5, 0.25])
        >>> ganops.upfirdn1d(torch.ones(1, 2, 100), f, down=2, padding=1).shape
        torch.Size([1, 2, 50])
    """
    how = prepare("upfirdn1d", x, f, up, down, padding, flip_filter, gain, axes=1)
    if not (_library.has_kernel("upfirdn1d", x) and how.in_kernels()):
        return reference_upfirdn1d(x, f, up, down, padding, flip_filter, gain)
    return resample(x, how, flip_filter, gain)


def filter2d(x: Tensor, f: Tensor | None, padding: Factors = 0, flip_filter: bool = False, gain: float = 1.0) -> Tensor:
    """:func:`upfirdn2d` without a change of size: the filter is centred, and ``padding`` comes on top of that."""
    padding = same_padding("filter2d", x, f, 1, 1, padding)
    return upfirdn2d(x, f, padding=padding, flip_filter=flip_filter, gain=gain)


def upsample2d(
    x: Tensor,
    f: Tensor | None,
    up: Factors = 2,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """:func:`upfirdn2d` to ``up`` times the size: the filter is centred, ``padding`` comes on top of that, and the gain
    is ``up`` along each axis, so that a filter of sum 1 keeps the image's level."""
    padding = same_padding("upsample2d", x, f, up, 1, padding)
    gain = gain * math.prod(factors("upsample2d", "up", up, 2))
    return upfirdn2d(x, f, up=up, padding=padding, flip_filter=flip_filter, gain=gain)


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    down: Factors = 2,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """:func:`upfirdn2d` to a ``down``-th of the size: the filter is centred, and ``padding`` comes on top of that."""
    padding = same_padding("downsample2d", x, f, 1, down, padding)
    return upfirdn2d(x, f, down=down, padding=padding, flip_filter=flip_filter, gain=gain)


def resample(x: Tensor, how: Resampling, flip: bool, gain: float) -> Tensor:
    """upfirdn of checked arguments, by the kernels."""
    return apply(_Upfirdn, x, how.filter.contiguous(), how.up, how.down, how.padding, bool(flip), float(gain))


@autograd_op(_library.operator("upfirdn"))
class _Upfirdn(Function):
    """Linear in the signal and in the filter. The adjoint in the signal is the same operator."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, filter, up, down, padding, ctx.flip, ctx.gain = inputs
        ctx.numbers, ctx.shape = (up, down, padding), x.shape
        ctx.save_for_backward(filter, *((x,) if ctx.needs_input_grad[1] else ()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        filter, *signal = ctx.saved_tensors
        how = Resampling(filter, *ctx.numbers)
        grad_x = grad_filter = None
        if ctx.needs_input_grad[0]:
            adjoint = how.adjoint(ctx.shape, grad.shape)
            grad_x = apply(_Upfirdn, grad, filter, adjoint.up, adjoint.down, adjoint.padding, not ctx.flip, ctx.gain)
        if signal:
            grad_filter = _filter_gradient(grad, *signal, how, ctx.flip) * ctx.gain
        return grad_x, grad_filter, None, None, None, None, None


def _filter_gradient(grad: Tensor, x: Tensor, how: Resampling, flip: bool) -> Tensor:
    """The gradient of a filter, bilinear in ``grad`` and ``x``, in operations that autograd differentiates again.

    With the signal upsampled and padded, F[k] = Σ_o grad[o]·x[o·down + k]: channels and samples are what the
    convolution sums over, the gradient is its kernel.
    """
    if x.dim() == 3:
        image = Resampling(how.filter[None], [*how.up, 1], [*how.down, 1], [*how.padding, 0, 0])
        return _filter_gradient(grad.unsqueeze(2), x.unsqueeze(2), image, flip).squeeze(0)
    n, channels, height, width = x.shape
    if n * channels == 0:
        return torch.zeros_like(how.filter)
    (up_x, up_y), (down_x, down_y) = how.up, how.down
    signal = x.to(how.filter.dtype).reshape(1, n * channels, height, 1, width, 1)
    signal = functional.pad(signal, [0, up_x - 1, 0, 0, 0, up_y - 1]).reshape(1, -1, height * up_y, width * up_x)
    signal = padded(signal, how.padding)
    kernel = grad.to(how.filter.dtype).reshape(1, n * channels, *grad.shape[2:])
    found = functional.conv2d(signal, kernel, dilation=(down_y, down_x))[0, 0]
    found = found[: how.filter.shape[0], : how.filter.shape[1]]
    return found if flip else found.flip((0, 1))


def planes_like(x: Tensor, sizes: list[int]) -> Tensor:
    """What the kernels allocate for a result of the sizes (x, y) or (x,): with channels last if those of ``x`` are."""
    last = not x.is_contiguous() and _layout.is_channels_last(x)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty((*x.shape[:2], *sizes[::-1]), dtype=x.dtype, device=x.device, memory_format=layout)


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""

    @torch.library.register_fake("ganops::upfirdn")
    def _(x, filter, up, down, padding, flip, gain):
        return planes_like(x, Resampling(filter, up, down, padding).sizes(x.shape))


if _library.loaded():
    _register_fakes()
