"""The leaky ReLU on a finer grid: checks of its arguments, and the slope of its activation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype
from ganops._common.upfirdn import Factors, check_filter, check_signal, paddings

#: Those of the kernels, see csrc/kernels/filtered_lrelu.h; the reference runs beyond them.
MOST_FACTOR, MOST_TAPS = 4, 24


class Lrelu(NamedTuple):
    """Checked arguments, the tensors in the accumulation dtype. ``clamp`` < 0: none."""

    b: Tensor
    up_filter: Tensor
    down_filter: Tensor
    up: int
    down: int
    padding: list[int]
    gain: float
    slope: float
    clamp: float
    flip: bool

    def in_kernels(self) -> bool:
        """Whether the kernels take these arguments: separable filters without a gradient."""
        filters = self.up_filter, self.down_filter
        return max(self.up, self.down) <= MOST_FACTOR and all(
            f.dim() == 1 and len(f) <= MOST_TAPS and not f.requires_grad for f in filters
        )

    def fine_sizes(self, height: int, width: int) -> tuple[int, int]:
        """The height and the width of the fine grid."""
        left, right, top, bottom = self.padding
        taps = self.up_filter.shape[0] - 1, self.up_filter.shape[-1] - 1
        return height * self.up + top + bottom - taps[0], width * self.up + left + right - taps[1]

    def sizes(self, height: int, width: int) -> tuple[int, int]:
        """The height and the width of the result; below 1 where the filters are longer than the padded image."""
        fine = self.fine_sizes(height, width)
        taps = self.down_filter.shape[0], self.down_filter.shape[-1]
        return (fine[0] - taps[0]) // self.down + 1, (fine[1] - taps[1]) // self.down + 1


def prepare(
    function: str,
    x: Tensor,
    fu: Tensor | None,
    fd: Tensor | None,
    b: Tensor | None,
    up: int,
    down: int,
    padding: Factors,
    gain: float,
    slope: float,
    clamp: float | None,
    flip_filter: bool,
) -> Lrelu:
    """Checks the arguments of ``filtered_lrelu``."""
    check_signal(function, x, 2)
    wide = accumulate_dtype(x.dtype)
    one = x.new_ones((1,), dtype=wide) if fu is None or fd is None else None
    fu = one if fu is None else check_filter(function, "fu", fu, x, (1, 2))
    fd = one if fd is None else check_filter(function, "fd", fd, x, (1, 2))
    if b is None:
        b = x.new_zeros((x.shape[1],), dtype=wide)
    else:
        checks.tensor(function, "b", b)
        if b.dtype not in (wide, x.dtype):
            raise TypeError(f"{function}: b must be {wide} for x of {x.dtype}, got {b.dtype}; convert it, b.to({wide})")
        if b.device != x.device:
            raise ValueError(f"{function}: b ({b.device}) and x ({x.device}) must be on the same device; move one")
        if b.shape != x.shape[1:2]:
            raise ValueError(
                f"{function}: b must have one number for each of x's {x.shape[1]} channels, shape ({x.shape[1]},), "
                f"got {tuple(b.shape)}"
            )
    how = Lrelu(
        b.to(wide),
        fu,
        fd,
        checks.whole(function, "up", up, minimum=1),
        checks.whole(function, "down", down, minimum=1),
        paddings(function, padding, 2),
        checks.number(function, "gain", gain),
        checks.number(function, "slope", slope),
        -1.0 if clamp is None else checks.number(function, "clamp", clamp, minimum=0.0),
        bool(flip_filter),
    )
    if min(how.sizes(*x.shape[2:])) < 1:
        raise ValueError(
            f"{function}: the filters of {fu.shape[-1]} and {fd.shape[-1]} taps are longer than x, of size "
            f"{' x '.join(map(str, x.shape[2:]))}, upsampled by {up} and padded by {how.padding}; use shorter filters "
            "or more padding"
        )
    return how


def slope_of(u: Tensor, gain: float, slope: float, clamp: float) -> Tensor:
    """The derivative of the activation at u."""
    # Of numbers alone torch.where would make float32, whatever u is.
    found = torch.where(u > 0, torch.full_like(u, gain), torch.full_like(u, gain * slope))
    return found if clamp < 0 else torch.where((u * found).abs() <= clamp, found, 0.0)
