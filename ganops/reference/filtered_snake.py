"""The anti-aliased Snake in plain PyTorch: a transposed convolution, the Snake on the fine grid, a convolution."""

from __future__ import annotations

from torch import Tensor

from ganops._common.filtered_snake import downsampled, prepare, upsampled


def filtered_snake(
    x: Tensor,
    alpha: Tensor,
    beta: Tensor | None = None,
    up_filter: Tensor | None = None,
    down_filter: Tensor | None = None,
    ratio: int = 2,
    *,
    logscale: bool = False,
) -> Tensor:
    """The same function as :func:`ganops.filtered_snake`, in plain PyTorch."""
    how = prepare("filtered_snake", x, alpha, beta, up_filter, down_filter, ratio, logscale)
    u = upsampled(x.to(how.alpha.dtype), how.up, how.ratio)
    v = u + how.q[:, None] * (how.alpha[:, None] * u).sin().square()
    return downsampled(v, how.down, how.ratio).to(x.dtype)
