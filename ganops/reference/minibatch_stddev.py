"""Minibatch standard deviation in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops import _checks
from ganops.reference.interpolate import accumulate_dtype

EPS = 1e-8  # under the square root, as in the paper's code: where a group is all alike, a zero gradient and no NaN


def check(x: Tensor, group_size: int) -> int:
    """Checks the arguments of ``minibatch_stddev`` and returns the size of a group in this batch."""
    _checks.tensor("minibatch_stddev", "x", x)
    if x.dim() < 2:
        raise ValueError(f"minibatch_stddev: x must be (N, F) or (N, C, H, W), got shape {tuple(x.shape)}")
    _checks.whole("minibatch_stddev", "group_size", group_size, minimum=1)
    count = x.shape[0]
    group = max(1, min(group_size, count))
    if count % group:
        divisors = [n for n in range(2, count + 1) if count % n == 0]
        raise ValueError(
            f"minibatch_stddev: a batch of {count} cannot be divided into groups of {group}; choose a group_size of "
            f"{', '.join(map(str, divisors[:6]))}, or another batch size"
        )
    return group


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
