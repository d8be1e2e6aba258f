"""Weight clipping in plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ganops._common.clip_weights import bounds_within, check, collect, limits


def clip_weights_(
    parameters: nn.Module | Tensor | Iterable[Tensor],
    limit: float | tuple[float, float],
    *,
    normalization: bool = False,
) -> None:
    """The same function as :func:`ganops.clip_weights_`, in plain PyTorch."""
    low, high = limits(limit)
    tensors = collect(parameters, normalization)
    check(tensors, low, high)
    with torch.no_grad():
        for value in tensors:
            bounds = bounds_within(value.dtype, low, high)
            if bounds is not None:
                value.clamp_(*bounds)
