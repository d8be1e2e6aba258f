"""Dtype rules: what sums are held in, and what ``torch.autocast`` changes."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

#: The dtypes that ``torch.autocast`` widens in losses.
HALVES = frozenset({torch.float16, torch.bfloat16})


def accumulate_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums, norms and interpolation weights: float64 for float64, float32 for all others."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def autocasts(value: Tensor) -> bool:
    """Whether ``torch.autocast`` is at work on the tensor's kind of device."""
    kind = value.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def without_autocast(value: Tensor) -> Tensor:
    """Under ``torch.autocast`` half-precision input becomes float32, as in torch's own losses; otherwise unchanged."""
    return value.float() if value.dtype in HALVES and autocasts(value) else value


def promoted(*values: Tensor) -> tuple[Tensor, ...]:
    """Under ``torch.autocast`` tensors of several dtypes become the widest of these, as for ``torch.cat``; otherwise,
    and where one is no tensor, unchanged."""
    if len({getattr(value, "dtype", None) for value in values}) == 1:
        return values
    if all(isinstance(value, Tensor) and value.is_floating_point() for value in values):
        dtypes = {value.dtype for value in values}
        if len(dtypes) > 1 and autocasts(values[0]):
            widest = functools.reduce(torch.promote_types, dtypes)
            return tuple(value.to(widest) for value in values)
    return values
