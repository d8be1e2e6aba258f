"""The operations of StyleGAN2's PyTorch versions that rosinality's and BasicSR's repositories compile."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ganops import ops
from ganops._common.dtypes import accumulate_dtype
from ganops._common.upfirdn import Factors


def upfirdn2d(input: Tensor, kernel: Tensor, up: Factors = 1, down: Factors = 1, pad: Sequence[int] = (0, 0)) -> Tensor:
    """:func:`ganops.upfirdn2d` with the kernel (h, w) in any floating-point dtype, and ``pad`` (before, after) of both
    axes or (left, right, top, bottom)."""
    padding = list(pad) * 2 if len(pad) == 2 else pad
    kernel = kernel.to(accumulate_dtype(input.dtype)) if kernel.is_floating_point() else kernel
    return ops.upfirdn2d(input, kernel, up, down, padding)


def fused_leaky_relu(
    input: Tensor, bias: Tensor | None = None, negative_slope: float = 0.2, scale: float = 2**0.5
) -> Tensor:
    """scale · leaky_relu(input + bias), ``bias`` (C,) along dimension 1: :func:`ganops.bias_act`."""
    return ops.bias_act(input, bias, act="lrelu", alpha=negative_slope, gain=scale)
