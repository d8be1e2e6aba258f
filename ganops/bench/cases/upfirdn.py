"""StyleGAN2's resampling: maps enlarged, reduced and blurred by the filter [1, 3, 3, 1]."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

import ganops
from ganops.bench.case import (
    BACKWARD,
    BOTH,
    COMPILE,
    EAGER,
    FORWARD,
    POPULAR,
    Case,
    Floor,
    Inputs,
    Rival,
    Suite,
    Traffic,
    generator,
    size_of,
)

_FILTER = (1, 3, 3, 1)

Resample = Callable[[Tensor, Tensor], Tensor]


def _taps(f: Tensor, channels: int) -> Tensor:
    return f.flip(0, 1)[None, None].expand(channels, 1, -1, -1)


def _axes(f: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The filter for rows and that for columns; f, whose sum is 1, is their product."""
    line = f.sum(0).flip(0)
    return line.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1), line.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)


def popular(up: int, down: int, padding: tuple[int, int, int, int]) -> Resample:
    """The plain form of StyleGAN2's code: zeros inserted, padded, one convolution, every ``down``-th pixel."""

    def resample(x: Tensor, f: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        if up > 1:
            x = functional.pad(x.reshape(n, channels, height, 1, width, 1), [0, up - 1, 0, 0, 0, up - 1])
            x = x.reshape(n, channels, up * height, up * width)
        x = functional.conv2d(functional.pad(x, padding), _taps(f * up**2, channels), groups=channels)
        return x[:, :, ::down, ::down] if down > 1 else x

    return resample


def _enlarge(x: Tensor, f: Tensor) -> Tensor:
    rows, columns = _axes(2 * f, x.shape[1])
    x = functional.conv_transpose2d(x, rows, stride=(1, 2), padding=(0, 1), groups=x.shape[1])
    return functional.conv_transpose2d(x, columns, stride=(2, 1), padding=(1, 0), groups=x.shape[1])


def _reduce(x: Tensor, f: Tensor) -> Tensor:
    rows, columns = _axes(f, x.shape[1])
    x = functional.conv2d(x, rows, stride=(1, 2), padding=(0, 1), groups=x.shape[1])
    return functional.conv2d(x, columns, stride=(2, 1), padding=(1, 0), groups=x.shape[1])


def _blur(x: Tensor, f: Tensor) -> Tensor:
    rows, columns = _axes(f, x.shape[1])
    x = functional.conv2d(functional.pad(x, (2, 1, 2, 1)), rows, groups=x.shape[1])
    return functional.conv2d(x, columns, groups=x.shape[1])


#: By variant: ours, the plain form, the fewest passes and their code, the ratio of the numbers of pixels.
_VARIANTS: dict[str, tuple[Resample, Resample, Resample, str, float]] = {
    "up 2": (ganops.upsample2d, popular(2, 1, (2, 1, 2, 1)), _enlarge, "conv_transpose2d along each axis", 4.0),
    "down 2": (ganops.downsample2d, popular(1, 2, (1, 1, 1, 1)), _reduce, "conv2d with a stride along each axis", 0.25),
    "filter": (ganops.filter2d, popular(1, 1, (2, 1, 2, 1)), _blur, "pad; conv2d along each axis", 1.0),
}


def _case(variant: str, shape: tuple[int, ...], phases: dict[str, Suite]) -> Case:
    ours, plain, fewest, code, growth = _VARIANTS[variant]

    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        x = torch.randn(shape, device=device, generator=random).requires_grad_(differentiable)
        f = ganops.setup_filter(_FILTER, device=device)
        f = f.outer(f) if f.dim() == 1 else f
        with torch.no_grad():
            upstream = torch.randn(ours(x, f).shape, device=device, generator=random)
        return Inputs((x, f), (x,), upstream)

    tensor = torch.Size(shape).numel() * 4
    moved = round((1 + growth) * tensor)
    text = "zeros inserted; pad; conv2d; [::down]"
    return Case(
        op="upfirdn2d",
        variant=variant,
        size=size_of(shape),
        ours=ours,
        rivals=(
            Rival("step by step", POPULAR, text, plain),
            Rival("along each axis", EAGER, code, fewest),
            Rival("compile", COMPILE, f"torch.compile: {text}", plain, compiled=True),
        ),
        inputs=inputs,
        phases=phases,
        traffic={FORWARD: Traffic(moved, moved), BACKWARD: Traffic(moved, moved), BOTH: Traffic(2 * moved, 2 * moved)},
    )


FLOORS = (
    Floor("upfirdn2d/up 2/16x64x32x32/float32/both", {POPULAR: 9, COMPILE: 6}),
    Floor("upfirdn2d/down 2/16x64x64x64/float32/both", {POPULAR: 9, COMPILE: 6}),
    Floor("upfirdn2d/filter/16x64x64x64/float32/both", {POPULAR: 6.5, COMPILE: 4.5}),
)


def cases() -> Iterator[Case]:
    """Maps of a block in the middle of StyleGAN2."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _case("up 2", (16, 64, 32, 32), {FORWARD: default, BACKWARD: full, BOTH: quick})
    yield _case("down 2", (16, 64, 64, 64), {FORWARD: full, BACKWARD: full, BOTH: default})
    yield _case("filter", (16, 64, 64, 64), {FORWARD: full, BACKWARD: full, BOTH: default})
