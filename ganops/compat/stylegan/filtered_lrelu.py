"""``torch_utils/ops/filtered_lrelu.py`` of StyleGAN3. ``impl`` and filters are as in ``upfirdn2d``."""

from __future__ import annotations

import math

from torch import Tensor

from ganops import ops
from ganops._common.dtypes import accumulate_dtype
from ganops._common.upfirdn import Factors
from ganops.compat.stylegan.upfirdn2d import as_filter

__all__ = ["filtered_lrelu"]


def filtered_lrelu(
    x: Tensor,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    b: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Factors = 0,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
    impl: str = "cuda",
) -> Tensor:
    """:func:`ganops.filtered_lrelu`, on any device. ``b`` may have any floating-point dtype."""
    fu, fd = (as_filter("filtered_lrelu", f, x, impl) for f in (fu, fd))
    if b is not None and b.is_floating_point() and b.dtype not in (x.dtype, accumulate_dtype(x.dtype)):
        b = b.to(x.dtype)
    return ops.filtered_lrelu(x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter)
