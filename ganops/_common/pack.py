"""The checks of what ``pack`` is given."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common import checks


def check(x: Tensor, degree: int) -> None:
    """Checks the arguments of ``pack``; samples may be of any dtype, labels included."""
    if not isinstance(x, Tensor):
        raise TypeError(f"pack: x must be a tensor, got {type(x).__name__}")
    if x.layout != torch.strided or x.is_nested:
        raise TypeError(f"pack: x must be a dense tensor, got {'a nested tensor' if x.is_nested else x.layout}")
    if x.dim() < 2:
        raise ValueError(
            f"pack: x must be (N, F) or (N, C, …), got shape {tuple(x.shape)}; labels (N,) become (N, 1) by x[:, None]"
        )
    checks.whole("pack", "degree", degree, minimum=1)
    if x.shape[0] % degree:
        raise ValueError(
            f"pack: a batch of {x.shape[0]} cannot be divided into packs of {degree}; "
            f"use a batch size that is a multiple of {degree}, and drop_last=True in a DataLoader"
        )
