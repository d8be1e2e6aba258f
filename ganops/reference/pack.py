"""Packing of samples in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from ganops._common.pack import check


def pack(x: Tensor, degree: int) -> Tensor:
    """The same function as :func:`ganops.pack`, in plain PyTorch."""
    check(x, degree)
    count, features, *rest = x.shape
    return x.reshape(count // degree, degree * features, *rest)
