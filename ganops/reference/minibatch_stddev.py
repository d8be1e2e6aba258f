"""Minibatch standard deviation in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common.dtypes import accumulate_dtype
from ganops._common.minibatch_stddev import EPS, check


def minibatch_stddev(x: Tensor, group_size: int = 4) -> Tensor:
    """The same function as :func:`ganops.minibatch_stddev`, in plain PyTorch."""
    group = check(x, group_size)
    count, _, *rest = x.shape
    if x.numel() == 0:
        return torch.cat([x, x.new_zeros(count, 1, *rest)], dim=1)
    # Sample i belongs to group i mod (N / group). Variance over the group, mean over all that a sample has.
    grouped = x.to(accumulate_dtype(x.dtype)).reshape(group, count // group, -1)
    grouped = grouped - grouped[:1].detach()  # no derivative changes, and samples alike have the variance 0 to the bit
    deviation = (grouped.var(0, correction=0) + EPS).sqrt().mean(1)
    column = deviation.repeat(group).reshape(count, 1, *(1 for _ in rest)).expand(count, 1, *rest)
    return torch.cat([x, column.to(x.dtype)], dim=1)
