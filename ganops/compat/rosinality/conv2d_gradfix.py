"""``op/conv2d_gradfix.py``: convolutions that could be differentiated twice when torch's could not. Now they can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.functional import conv2d, conv_transpose2d

__all__ = ["conv2d", "conv_transpose2d", "no_weight_gradients"]


@contextmanager
def no_weight_gradients() -> Iterator[None]:
    """Nothing: ``torch.autograd.grad`` computes the gradients that it is asked for and no others."""
    yield
