"""Arguments of the resampling functions: factors, padding, filters, and the checks of them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype

#: Those of the kernels, see csrc/kernels/upfirdn.h; the reference runs beyond them.
MOST_FACTOR, MOST_TAPS = 8, 32

_LARGEST = 2**31 - 1  # factor or padding

Factors = int | Sequence[int]


class Resampling(NamedTuple):
    """Checked arguments. Lists are of x, or of x and y: up, down, and the padding before and after."""

    filter: Tensor
    up: list[int]
    down: list[int]
    padding: list[int]

    def taps(self) -> list[int]:
        """The lengths of the filter along x, or along x and y."""
        lengths = list(self.filter.shape[::-1])
        return lengths * (len(self.up) // len(lengths))

    def sizes(self, shape: Sequence[int]) -> list[int]:
        """The output's sizes along x, or along x and y; below 1 where the filter is longer than the padded signal."""
        sizes = list(shape[:1:-1])
        return [
            (size * up + sum(self.padding[2 * i : 2 * i + 2]) - taps) // down + 1
            for i, (size, up, down, taps) in enumerate(zip(sizes, self.up, self.down, self.taps(), strict=True))
        ]

    def in_kernels(self) -> bool:
        """Whether the kernels take these factors and filters."""
        return max(*self.up, *self.down) <= MOST_FACTOR and max(self.taps()) <= MOST_TAPS

    def adjoint(self, shape: Sequence[int], out: Sequence[int]) -> Resampling:
        """The transposed resampling, from the output's shape back to the input's; it reads the filter flipped."""
        padding = []
        for i, (size, back, taps) in enumerate(zip(shape[:1:-1], out[:1:-1], self.taps(), strict=True)):
            before = self.padding[2 * i]
            padding += [taps - 1 - before, size * self.up[i] - back * self.down[i] + before - self.up[i] + 1]
        return Resampling(self.filter, self.down, self.up, padding)


def whole_numbers(function: str, name: str, value: Factors, counts: tuple[int, ...], minimum: int | None) -> list[int]:
    """``value`` as a list; raises unless it is a whole number or as many as a count says."""
    values = [value] if isinstance(value, Integral) and not isinstance(value, bool) else value
    wanted = " or ".join(f"{count} of them" for count in counts)
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise TypeError(f"{function}: {name} must be a whole number or {wanted}, got {value!r}")
    if len(values) != 1 and len(values) not in counts:
        raise ValueError(f"{function}: {name} must be a whole number or {wanted}, got {value!r}")
    for number in values:
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise TypeError(f"{function}: {name} must be a whole number or {wanted}, got {value!r}")
        if minimum is not None and number < minimum:
            raise ValueError(f"{function}: {name} must be at least {minimum}, got {value!r}")
        if abs(number) > _LARGEST:
            raise ValueError(f"{function}: {name} must be at most {_LARGEST}, got {value!r}")
    return list(map(int, values))


def factors(function: str, name: str, value: Factors, axes: int) -> list[int]:
    """A factor for each axis, x first."""
    numbers = whole_numbers(function, name, value, (axes,), 1)
    return numbers * axes if len(numbers) == 1 else numbers


def paddings(function: str, value: Factors, axes: int) -> list[int]:
    """The padding before and after each axis, x first: of all alike, of each axis, or as it is."""
    numbers = whole_numbers(function, "padding", value, (axes, 2 * axes), None)
    if len(numbers) == 1:
        return numbers * (2 * axes)
    return numbers if len(numbers) == 2 * axes else [number for number in numbers for _ in range(2)]


def check_filter(function: str, name: str, f: Tensor, x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The filter in the accumulation dtype of ``x``; raises unless it has that dtype or that of ``x``."""
    checks.dense(function, name, f)
    wide = accumulate_dtype(x.dtype)
    if f.dtype not in (wide, x.dtype):
        raise TypeError(
            f"{function}: {name} must be {wide} for x of {x.dtype}, got {f.dtype}; convert it, {name}.to({wide})"
        )
    if f.device != x.device:
        raise ValueError(
            f"{function}: {name} ({f.device}) and x ({x.device}) must be on the same device; move one, e.g. "
            f"{name}.to({str(x.device)!r})"
        )
    if f.dim() not in dims or f.numel() == 0:
        wanted = " or ".join({1: "(taps,)", 2: "(height, width)"}[dim] for dim in dims)
        raise ValueError(f"{function}: {name} must have the shape {wanted}, got {tuple(f.shape)}")
    return f.to(wide)


def check_signal(function: str, x: Tensor, axes: int) -> None:
    """Raises unless ``x`` is a batch of signals or images."""
    checks.dense(function, "x", x)
    if x.dim() != axes + 2:
        wanted = "signals (N, C, T)" if axes == 1 else "images (N, C, H, W)"
        raise ValueError(f"{function}: x must be {wanted}, got shape {tuple(x.shape)}")


def prepare(
    function: str,
    x: Tensor,
    f: Tensor | None,
    up: Factors,
    down: Factors,
    padding: Factors,
    flip_filter: bool,
    gain: float,
    axes: int,
) -> Resampling:
    """Checks the arguments of ``upfirdn1d`` and ``upfirdn2d``."""
    check_signal(function, x, axes)
    if f is None:
        f = x.new_ones((1,), dtype=accumulate_dtype(x.dtype))
    f = check_filter(function, "f", f, x, (1, 2)[:axes])
    if axes == 2 and f.dim() == 1 and (f.requires_grad or len(f) == 1):
        f = f[:, None] * f  # the gradient of a separable filter is that of its matrix
    how = Resampling(
        f, factors(function, "up", up, axes), factors(function, "down", down, axes), paddings(function, padding, axes)
    )
    checks.flag(function, "flip_filter", flip_filter)
    checks.number(function, "gain", gain)
    if min(how.sizes(x.shape)) < 1:
        raise ValueError(
            f"{function}: the filter of {' x '.join(map(str, how.taps()[::-1]))} taps is longer than x, of size "
            f"{' x '.join(map(str, x.shape[2:]))}, upsampled by {up} and padded by {padding}; use a shorter filter or "
            "more padding"
        )
    return how


def padded(x: Tensor, padding: Sequence[int]) -> Tensor:
    """Images with zeros around them; negative padding crops, also what other padding has added."""
    left, right, top, bottom = padding
    grown = functional.pad(x, [max(side, 0) for side in padding])
    height, width = grown.shape[2:]
    return grown[..., max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]


def same_padding(function: str, x: Tensor, f: Tensor | None, up: Factors, down: Factors, padding: Factors) -> list[int]:
    """The padding with as much more as keeps the image's extent and centres the filter."""
    check_signal(function, x, 2)
    taps = (1,) if f is None else check_filter(function, "f", f, x, (1, 2)).shape[::-1]
    ups, downs = factors(function, "up", up, 2), factors(function, "down", down, 2)
    more = []
    for length, grow, shrink in zip(taps * (3 - len(taps)), ups, downs, strict=True):
        more += [(length + grow - shrink) // 2, (length - grow * shrink) // 2]
    return [a + b for a, b in zip(paddings(function, padding, 2), more, strict=True)]


def setup_filter(
    f: Tensor | Sequence | float | None,
    device: torch.device | str = "cpu",
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1.0,
    separable: bool | None = None,
) -> Tensor:
    """A filter for :func:`ganops.upfirdn2d` and its kin, in float32.

    Args:
        f: Numbers (h, w), (taps,) for the outer product with themselves, one number, or None for the identity;
            a tensor, an array or a list.
        device: Where the filter is to be.
        normalize: Divides by the sum, so that a constant image keeps its value.
        flip_filter: Turns the filter round.
        gain: The factor by which an image that passes is amplified.
        separable: Whether (taps,) stays so or becomes its matrix; by default it stays from eight taps on.

    Returns:
        A filter (h, w), or (taps,), whose product with itself is meant.

    Raises:
        ValueError: If ``f`` has more than two dimensions or no numbers, or if ``separable`` is asked of a matrix.

    Example:
        >>> ganops.setup_filter([1, 3, 3, 1]).shape
        torch.Size([4, 4])
    """
    taps = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32)
    if taps.dim() > 2 or taps.numel() == 0:
        raise ValueError(f"setup_filter: f must have the shape (h, w), (taps,) or (), got {tuple(taps.shape)}")
    taps = taps.reshape(1) if taps.dim() == 0 else taps
    if separable is None:
        separable = taps.dim() == 1 and len(taps) >= 8
    if separable and taps.dim() == 2:
        raise ValueError("setup_filter: a matrix is not separable; pass its row of taps, or separable=False")
    if not separable and taps.dim() == 1:
        taps = taps.outer(taps)
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(tuple(range(taps.dim())))
    return (taps * gain ** (taps.dim() / 2)).to(device)
