"""Bias, activation, gain and clamp in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common.bias_act import prepare
from ganops._common.dtypes import accumulate_dtype


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """The same function as :func:`ganops.bias_act`, in plain PyTorch."""
    setting = prepare(x, b, dim, act, alpha, gain, clamp)
    u = x.to(accumulate_dtype(x.dtype))
    if b is not None:
        u = u + setting.per_channel(b, x)
    y = setting.scaled(u).to(x.dtype)
    if clamp is None:
        return y
    # At the limit itself the gradient is 0: a result that lies there does not say from where it was clamped.
    return torch.where(y.abs() >= clamp, y.detach().clamp(-clamp, clamp), y)
