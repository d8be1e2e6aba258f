"""The leaky ReLU on a finer grid in plain PyTorch: bias, upfirdn, leaky ReLU, clamp, upfirdn."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ganops._common.filtered_lrelu import prepare
from ganops._common.upfirdn import Factors
from ganops.reference.upfirdn import upfirdn2d


def filtered_lrelu(
    x: Tensor,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    b: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Factors = 0,
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Tensor:
    """The same function as :func:`ganops.filtered_lrelu`, in plain PyTorch."""
    how = prepare("filtered_lrelu", x, fu, fd, b, up, down, padding, gain, slope, clamp, flip_filter)
    if x.shape[0] * x.shape[1] == 0:
        empty = x.new_zeros(*x.shape[:2], *how.sizes(*x.shape[2:]))
        return empty + x.sum() + how.b.sum().to(x.dtype)  # in the graph
    wide = x.to(how.b.dtype) + how.b[:, None, None]
    u = upfirdn2d(wide, how.up_filter, up=up, padding=how.padding, flip_filter=flip_filter, gain=up**2)
    u = functional.leaky_relu(u, slope) * gain
    if clamp is not None:
        u = u.clamp(-clamp, clamp)
    return upfirdn2d(u, how.down_filter, down=down, flip_filter=flip_filter).to(x.dtype)
