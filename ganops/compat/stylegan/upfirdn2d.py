"""``torch_utils/ops/upfirdn2d.py`` of StyleGAN2-ADA and StyleGAN3.

``impl`` is "cuda" or "ref" and changes nothing: there are kernels for the CPU too, and ganops chooses. Filters are
float32 there, whatever the images are.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ganops import ops
from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype
from ganops._common.upfirdn import Factors, factors, paddings, setup_filter

__all__ = ["downsample2d", "filter2d", "setup_filter", "upfirdn2d", "upsample2d"]


def as_filter(function: str, f: Tensor | None, x: Tensor, impl: str) -> Tensor | None:
    """The filter in a dtype that ops take beside ``x``; raises ValueError for another ``impl``."""
    checks.choice(function, "impl", impl, ("cuda", "ref"))
    return f if f is None or not f.is_floating_point() else f.to(accumulate_dtype(x.dtype))


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Factors = 1,
    down: Factors = 1,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "cuda",
) -> Tensor:
    """:func:`ganops.upfirdn2d`."""
    return ops.upfirdn2d(x, as_filter("upfirdn2d", f, x, impl), up, down, padding, flip_filter, gain)


def filter2d(
    x: Tensor, f: Tensor | None, padding: Factors = 0, flip_filter: bool = False, gain: float = 1, impl: str = "cuda"
) -> Tensor:
    """:func:`ganops.filter2d`."""
    return ops.filter2d(x, as_filter("filter2d", f, x, impl), padding, flip_filter, gain)


def upsample2d(
    x: Tensor,
    f: Tensor | None,
    up: Factors = 2,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "cuda",
) -> Tensor:
    """:func:`ganops.upsample2d`."""
    return ops.upsample2d(x, as_filter("upsample2d", f, x, impl), up, padding, flip_filter, gain)


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    down: Factors = 2,
    padding: Factors = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "cuda",
) -> Tensor:
    """:func:`ganops.downsample2d`."""
    return ops.downsample2d(x, as_filter("downsample2d", f, x, impl), down, padding, flip_filter, gain)


# What conv2d_resample.py and filtered_lrelu.py there import from this module.


def _parse_scaling(scaling: Factors) -> tuple[int, int]:
    x, y = factors("upfirdn2d", "scaling", scaling, 2)
    return x, y


def _parse_padding(padding: Factors) -> tuple[int, int, int, int]:
    left, right, top, bottom = paddings("upfirdn2d", padding, 2)
    return left, right, top, bottom


def _get_filter_size(f: Tensor | None) -> tuple[int, int]:
    """(width, height)."""
    shape: Sequence[int] = (1,) if f is None else f.shape
    return shape[-1], shape[0]
