"""Random interpolation between real and fake samples in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common.dtypes import promoted
from ganops._common.interpolate import prepare


def interpolate(
    real: Tensor, fake: Tensor, weight: Tensor | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    """The same function as :func:`ganops.interpolate`, in plain PyTorch."""
    real, fake = promoted(real, fake)
    weight = prepare(real, fake, weight, generator)
    weight = weight.view(-1, *(1 for _ in real.shape[1:]))
    return (weight * real + (1 - weight) * fake).to(real.dtype)
