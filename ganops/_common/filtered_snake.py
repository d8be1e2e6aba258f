"""The anti-aliased Snake: checks of its arguments, its usual filters, and its linear parts in PyTorch's operations."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype
from ganops._common.upfirdn import check_filter, check_signal

#: Those of the kernels, see csrc/kernels/filtered_snake.h; the reference runs beyond them.
MOST_RATIO, MOST_TAPS = 8, 32

#: What keeps the division by β finite.
EPS = 1e-9


class Snake(NamedTuple):
    """Checked arguments: α, q = 1/(β + 1e-9) and the filters in the accumulation dtype."""

    alpha: Tensor
    q: Tensor
    up: Tensor
    down: Tensor
    ratio: int

    def in_kernels(self) -> bool:
        """Whether the kernels take these arguments. A filter's gradient is left to the reference."""
        few = max(len(self.up), len(self.down)) <= MOST_TAPS and self.ratio <= MOST_RATIO
        return few and not (self.up.requires_grad or self.down.requires_grad)


def kaiser_sinc(ratio: int, taps: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The usual filter: a sinc of cutoff 0.5/ratio under a Kaiser window for a transition of half width 0.6/ratio.

    Kaiser's formulas give the window's β from the attenuation that so many taps reach. The sum of the taps is 1.
    """
    attenuation = 2.285 * (taps // 2 - 1) * math.pi * 4 * 0.6 / ratio + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation >= 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    wide = {"dtype": torch.float64, "device": device}
    window = torch.kaiser_window(taps, periodic=False, beta=beta, **wide)
    place = torch.arange(taps, **wide) - (taps - 1) / 2
    filter = window * torch.sinc(place / ratio)
    return (filter / filter.sum()).to(dtype)


def usual_taps(ratio: int) -> int:
    """The length of the usual filter: 12 at ratio 2."""
    return 6 * ratio // 2 * 2


def prepare(
    function: str,
    x: Tensor,
    alpha: Tensor,
    beta: Tensor | None,
    up_filter: Tensor | None,
    down_filter: Tensor | None,
    ratio: int,
    logscale: bool,
) -> Snake:
    """Checks the arguments of ``filtered_snake``."""
    check_signal(function, x, 1)
    ratio = checks.whole(function, "ratio", ratio, minimum=1)
    wide = accumulate_dtype(x.dtype)
    usual = None
    if up_filter is None or down_filter is None:
        usual = kaiser_sinc(ratio, usual_taps(ratio), wide, x.device)
    up = usual if up_filter is None else check_filter(function, "up_filter", up_filter, x, (1,))
    down = usual if down_filter is None else check_filter(function, "down_filter", down_filter, x, (1,))
    alpha = _check_parameter(function, "alpha", alpha, x)
    beta = alpha if beta is None else _check_parameter(function, "beta", beta, x)
    if logscale:
        alpha, beta = alpha.exp(), beta.exp()
    return Snake(alpha, 1 / (beta + EPS), up, down, ratio)


def _check_parameter(function: str, name: str, value: Tensor, x: Tensor) -> Tensor:
    """The parameter in the accumulation dtype of ``x``; raises unless it has that dtype or that of ``x``."""
    checks.tensor(function, name, value)
    wide = accumulate_dtype(x.dtype)
    if value.dtype not in (wide, x.dtype):
        raise TypeError(
            f"{function}: {name} must be {wide} for x of {x.dtype}, got {value.dtype}; convert it, {name}.to({wide})"
        )
    if value.device != x.device:
        raise ValueError(
            f"{function}: {name} ({value.device}) and x ({x.device}) must be on the same device; move one, e.g. "
            f"{name}.to({str(x.device)!r})"
        )
    if value.shape != x.shape[1:2]:
        raise ValueError(
            f"{function}: {name} must have one number for each of x's {x.shape[1]} channels, shape ({x.shape[1]},), "
            f"got {tuple(value.shape)}"
        )
    return value.to(wide)


def upsampled(x: Tensor, filter: Tensor, ratio: int) -> Tensor:
    """U x: (N, C, T) to (N, C, ratio·T)."""
    if x.numel() == 0:
        return x.repeat_interleave(ratio, 2)
    taps, length = len(filter), x.shape[2]
    margin, centre = taps // ratio + 1, (taps - ratio) // 2
    wide = _as_signals(_repeat_edges(x, margin, margin))
    found = functional.conv_transpose1d(wide, ratio * filter[None, None], stride=ratio)
    begin = centre + margin * ratio
    return found.narrow(-1, begin, ratio * length).reshape(*x.shape[:2], -1)


def downsampled(v: Tensor, filter: Tensor, ratio: int) -> Tensor:
    """D v: (N, C, ratio·T) to (N, C, T)."""
    if v.numel() == 0:
        return v[..., ::ratio]
    before = (len(filter) - 1) // 2
    wide = _as_signals(_repeat_edges(v, before, len(filter) - 1 - before))
    return functional.conv1d(wide, filter[None, None], stride=ratio).reshape(*v.shape[:2], -1)


def upsampled_adjoint(w: Tensor, filter: Tensor, ratio: int) -> Tensor:
    """The transpose of :func:`upsampled`."""
    if w.numel() == 0:
        return w[..., ::ratio]
    taps, length = len(filter), w.shape[2] // ratio
    margin, centre = taps // ratio + 1, (taps - ratio) // 2
    before = centre + margin * ratio
    after = (length + 2 * margin - 1) * ratio + taps - before - ratio * length
    wide = _as_signals(functional.pad(w, [before, after]))
    found = functional.conv1d(wide, ratio * filter[None, None], stride=ratio).reshape(*w.shape[:2], -1)
    return _fold_edges(found, margin, margin)


def downsampled_adjoint(grad: Tensor, filter: Tensor, ratio: int) -> Tensor:
    """The transpose of :func:`downsampled`."""
    if grad.numel() == 0:
        return grad.repeat_interleave(ratio, 2)
    before = (len(filter) - 1) // 2
    found = functional.conv_transpose1d(_as_signals(grad), filter[None, None], stride=ratio)
    found = functional.pad(found, [0, ratio - 1]).reshape(*grad.shape[:2], -1)
    return _fold_edges(found, before, len(filter) - 1 - before)


def _as_signals(x: Tensor) -> Tensor:
    return x.reshape(-1, 1, x.shape[-1])


def _repeat_edges(x: Tensor, before: int, after: int) -> Tensor:
    first, last = x.narrow(-1, 0, 1), x.narrow(-1, x.shape[-1] - 1, 1)
    return torch.cat([first.expand(*x.shape[:-1], before), x, last.expand(*x.shape[:-1], after)], -1)


def _fold_edges(z: Tensor, before: int, after: int) -> Tensor:
    """The transpose of :func:`_repeat_edges`."""
    length = z.shape[-1] - before - after
    first, last = z.narrow(-1, 0, before), z.narrow(-1, before + length, after)
    first, last = first.sum(-1, keepdim=True), last.sum(-1, keepdim=True)
    return z.narrow(-1, before, length) + functional.pad(first, [0, length - 1]) + functional.pad(last, [length - 1, 0])
