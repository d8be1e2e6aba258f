"""The checks of what ``minibatch_discrimination`` is given."""

from __future__ import annotations

from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import promoted


def check(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Checks the arguments of ``minibatch_discrimination``, and returns them in one dtype."""
    checks.dense("minibatch_discrimination", "x", x)
    checks.dense("minibatch_discrimination", "weight", weight)
    x, weight = promoted(x, weight)
    checks.same_kind("minibatch_discrimination", "x", x, "weight", weight)
    if x.dim() != 2 or weight.dim() != 3 or x.shape[1] != weight.shape[0]:
        raise ValueError(
            f"minibatch_discrimination: x must be (N, A) and weight (A, B, C) with the same A, got {tuple(x.shape)} "
            f"and {tuple(weight.shape)}"
        )
    return x, weight
