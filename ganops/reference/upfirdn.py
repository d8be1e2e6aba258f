"""Resampling by a filter in plain PyTorch: zeros inserted, padded, a grouped convolution, every down-th place kept."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from ganops._common.upfirdn import Factors, Resampling, factors, padded, prepare, same_padding


def upfirdn1d(
    x: Tensor,
    f: Tensor | None,
    up: Factors = 1,
    down: Factors = 1,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """The same function as :func:`ganops.upfirdn1d`, in plain PyTorch."""
    how = prepare("upfirdn1d", x, f, up, down, padding, gain, axes=1)
    as_image = Resampling(how.filter[None], [*how.up, 1], [*how.down, 1], [*how.padding, 0, 0])
    return _upfirdn(x.unsqueeze(2), as_image, flip_filter, gain).squeeze(2)


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Factors = 1,
    down: Factors = 1,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """The same function as :func:`ganops.upfirdn2d`, in plain PyTorch."""
    how = prepare("upfirdn2d", x, f, up, down, padding, gain, axes=2)
    return _upfirdn(x, how, flip_filter, gain)


def _upfirdn(x: Tensor, how: Resampling, flip: bool, gain: float) -> Tensor:
    n, channels, height, width = x.shape
    (up_x, up_y), (down_x, down_y) = how.up, how.down
    f = how.filter if flip else how.filter.flip(tuple(range(how.filter.dim())))
    if min(n, channels) == 0:
        return x.new_zeros(n, channels, *how.sizes(x.shape)[::-1]) + x.sum()  # in the graph
    wide = x.to(f.dtype).reshape(n, channels, height, 1, width, 1)
    wide = functional.pad(wide, [0, up_x - 1, 0, 0, 0, up_y - 1]).reshape(n, channels, height * up_y, width * up_x)
    wide = padded(wide, how.padding)
    for kernel in [f] if f.dim() == 2 else [f[None], f[:, None]]:
        wide = functional.conv2d(wide, kernel.expand(channels, 1, *kernel.shape), groups=channels)
    return (gain * wide[:, :, ::down_y, ::down_x]).to(x.dtype)


def filter2d(x: Tensor, f: Tensor | None, padding: Factors = 0, flip_filter: bool = False, gain: float = 1.0) -> Tensor:
    """The same function as :func:`ganops.filter2d`, in plain PyTorch."""
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
    """The same function as :func:`ganops.upsample2d`, in plain PyTorch."""
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
    """The same function as :func:`ganops.downsample2d`, in plain PyTorch."""
    padding = same_padding("downsample2d", x, f, 1, down, padding)
    return upfirdn2d(x, f, down=down, padding=padding, flip_filter=flip_filter, gain=gain)
