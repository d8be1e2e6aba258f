"""The penalty on gradient norms in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common.dtypes import accumulate_dtype, without_autocast
from ganops._common.gradient_penalty import check_gradient, check_settings
from ganops._common.reduction import reduce


def gradient_norm_penalty(
    gradient: Tensor, *, target: float = 1.0, one_sided: bool = False, reduction: str = "mean"
) -> Tensor:
    """The same function as :func:`ganops.gradient_norm_penalty`, in plain PyTorch."""
    target = check_settings("gradient_norm_penalty", target, reduction, one_sided)
    check_gradient(gradient)
    gradient = without_autocast(gradient)
    squared = gradient.to(accumulate_dtype(gradient.dtype)).square()
    if gradient.dim() > 1:
        squared = squared.flatten(1).sum(1)
    if target == 0:
        penalty = squared
    else:
        # A zero gradient has the zero subgradient, and that has the derivative zero: the square root is taken of 1
        # there, and its branch is cut off.
        nonzero = squared != 0
        norm = torch.where(nonzero, torch.where(nonzero, squared, 1).sqrt(), 0)
        excess = norm - target
        penalty = (excess.relu() if one_sided else excess).square()
    return reduce(penalty, reduction).to(gradient.dtype)
