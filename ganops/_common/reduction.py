"""How per-sample or per-element values become a result."""

from __future__ import annotations

from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")


def reduce(values: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or the values themselves."""
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()
