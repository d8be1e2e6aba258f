"""Weight clipping in plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ganops._common import checks
from ganops._common.clip_weights import check, collect


def clip_weights_(parameters: nn.Module | Tensor | Iterable[Tensor], limit: float) -> None:
    """The same function as :func:`ganops.clip_weights_`, in plain PyTorch."""
    limit = checks.number("clip_weights_", "limit", limit, minimum=0)
    tensors = collect(parameters)
    check(tensors)
    with torch.no_grad():
        for value in tensors:
            if limit <= torch.finfo(value.dtype).max:  # else torch refuses the limit, and there is nothing to clip
                value.clamp_(-limit, limit)
