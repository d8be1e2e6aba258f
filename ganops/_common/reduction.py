"""How the values of samples, elements or listed tensors become a result."""

from __future__ import annotations

import torch
from torch import Tensor

# In the order of the enums in csrc/kernels/common.h.
REDUCTIONS = ("mean", "sum", "none")

# Over a list of tensors.
SCALE_REDUCTIONS = ("sum", "mean", "none")


def reduce(values: Tensor, reduction: str) -> Tensor:
    """The mean, the sum, or the values themselves."""
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()


def reduce_scales(values: list[Tensor], scale_reduction: str) -> Tensor:
    """The sum or the mean of the values of a list of tensors, or these as one tensor."""
    stacked = torch.stack(values)
    return stacked if scale_reduction == "none" else stacked.sum() if scale_reduction == "sum" else stacked.mean()
