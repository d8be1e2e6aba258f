"""Lists of tensors, as the in-place operators take them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import attrgetter

import torch
from torch import Tensor

from ganops._common.checks import FLOATS
from ganops._transforms import OPERATOR_TYPES, is_compiling

_kind = attrgetter("dtype", "device", "layout")
_dtype = attrgetter("dtype")


def of_one_kind(tensors: Collection[object]) -> bool:
    """Whether these are dense tensors of one dtype that has kernels and of one device, and of no subclass."""
    if not OPERATOR_TYPES.issuperset(map(type, tensors)):
        return False
    kinds = set(map(_kind, tensors))
    if len(kinds) != 1:
        return not kinds
    dtype, _, layout = kinds.pop()
    return dtype in FLOATS and layout == torch.strided


def of_dtype(dtype: torch.dtype, tensors: Iterable[Tensor]) -> bool:
    """Whether these are tensors of that dtype, and of no subclass."""
    tensors = list(tensors)
    return OPERATOR_TYPES.issuperset(map(type, tensors)) and {dtype}.issuperset(map(_dtype, tensors))


def is_whole(tensor: Tensor) -> bool:
    """Whether kernels may go through the tensor's memory as it is: dense, and without a pending negation."""
    if not is_compiling() and tensor.is_neg():
        return False
    return tensor.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense.default(tensor)
