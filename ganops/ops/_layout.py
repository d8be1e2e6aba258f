"""How results lie in memory: the rules of csrc/torch/tensors.h, for fake implementations.

A result has the strides of the input that it resembles, if that input is laid out as its kernel needs; otherwise it is
contiguous. ``torch.empty_like`` is no substitute: under fake tensors it changes the strides of dimensions of size 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def _packed(x: Tensor, order: Sequence[int]) -> bool:
    """Whether the elements fill one stretch of memory, dimension after dimension in this order, innermost first."""
    expected = 1
    for dimension in order:
        size = x.shape[dimension]
        if size != 1 and x.stride(dimension) != expected:
            return False
        expected *= size
    return True


def is_dense(x: Tensor) -> bool:
    """Whether the elements fill one stretch of memory, in any order of dimensions."""
    if x.is_contiguous() or x.numel() == 0:
        return True
    return _packed(x, sorted((d for d in range(x.dim()) if x.shape[d] != 1), key=x.stride))


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of each pixel of images or volumes are adjacent in memory."""
    return x.dim() in (4, 5) and _packed(x, (1, *range(x.dim() - 1, 1, -1), 0))


def _like(x: Tensor, keep: bool) -> Tensor:
    return x.new_empty_strided(x.shape, x.stride()) if keep else x.new_empty(x.shape)


def strides_like(x: Tensor) -> tuple[int, ...]:
    """The strides of a result of kernels that go through the elements of ``x`` in any order."""
    return x.stride() if is_dense(x) else torch.empty(x.shape, device="meta").stride()


def empty_like(x: Tensor) -> Tensor:
    """A result of kernels that go through the elements of ``x`` in any order."""
    return _like(x, is_dense(x))


def empty_like_samples(x: Tensor) -> Tensor:
    """A result of kernels to which each sample is one stretch of memory."""
    samples = x.shape[0]
    outermost = x.is_contiguous() or samples <= 1 or x.numel() == 0 or x.stride(0) == x.numel() // samples
    return _like(x, outermost and is_dense(x))


def empty_like_images(x: Tensor) -> Tensor:
    """A result of kernels that know images as planes or with their channels last."""
    return _like(x, x.is_contiguous() or is_channels_last(x))


def empty_with_channels(x: Tensor, channels: int) -> Tensor:
    """A result in one of these layouts with another number of channels."""
    shape = (x.shape[0], channels, *x.shape[2:])
    if x.is_contiguous() or not is_channels_last(x):
        return x.new_empty(shape)
    strides, stride = [0] * x.dim(), 1
    for dimension in (1, *range(x.dim() - 1, 1, -1), 0):
        strides[dimension] = stride
        stride *= max(shape[dimension], 1)
    return x.new_empty_strided(shape, strides)


def check_device(first: Tensor, *others: Tensor | None) -> None:
    """Raises RuntimeError unless all are on one device, as the operators do."""
    for other in others:
        torch._check(other is None or other.device == first.device, lambda: "ganops: tensors must be on one device")
