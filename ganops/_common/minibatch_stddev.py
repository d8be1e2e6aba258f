"""The checks of what ``minibatch_stddev`` is given."""

from __future__ import annotations

from torch import Tensor

from ganops._common import checks

EPS = 1e-8  # under the square root, as in the paper's code: where a group is all alike, a zero gradient and no NaN


def check(x: Tensor, group_size: int) -> int:
    """Checks the arguments of ``minibatch_stddev`` and returns the size of a group in this batch."""
    checks.dense("minibatch_stddev", "x", x)
    if x.dim() < 2:
        raise ValueError(f"minibatch_stddev: x must be (N, F) or (N, C, H, W), got shape {tuple(x.shape)}")
    checks.whole("minibatch_stddev", "group_size", group_size, minimum=1)
    count = x.shape[0]
    group = max(1, min(group_size, count))
    if count % group:
        divisors = [n for n in range(2, count + 1) if count % n == 0]
        raise ValueError(
            f"minibatch_stddev: a batch of {count} cannot be divided into groups of {group}; choose a group_size of "
            f"{', '.join(map(str, divisors[:6]))}, or another batch size"
        )
    return group
