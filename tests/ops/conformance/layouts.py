"""Layouts of memory, as functions from a contiguous (N, C, H, W) tensor to one in that layout."""

from __future__ import annotations

import torch
from torch import Tensor


def _every_second(x: Tensor, dim: int) -> Tensor:
    """The same values with a gap after each along ``dim``; the gaps hold NaN, which must not show."""
    wide = x.new_full([2 * n if i == dim else n for i, n in enumerate(x.shape)], torch.nan)
    view = wide[tuple(slice(None, None, 2) if i == dim else slice(None) for i in range(x.dim()))]
    view.copy_(x)
    return view


def _offset(x: Tensor, by: int) -> Tensor:
    """Contiguous, but its first element is not at a 16-byte boundary."""
    flat = x.new_full([x.numel() + by], torch.nan)
    flat[by:] = x.flatten()
    return flat[by:].view(x.shape)


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(1, 3).contiguous().transpose(1, 3),
    "batch_innermost": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "every_second_column": lambda x: _every_second(x, 3),
    "every_second_sample": lambda x: _every_second(x, 0),
    "first_channel": lambda x: x[:, :1],
    "last_samples": lambda x: x[1:],
    "unaligned": lambda x: _offset(x, 1),
    "unaligned_by_3": lambda x: _offset(x, 3),
    "expanded_batch": lambda x: x[:1].expand_as(x),
    "expanded_channels": lambda x: x[:, :1].expand_as(x),
    "expanded_number": lambda x: x.flatten()[:1].reshape(1, 1, 1, 1).expand_as(x),
    "negative_bit": torch._neg_view,
}
OVERLAPPING = ("expanded_batch", "expanded_channels", "expanded_number")

# Such that no dimension is a multiple of a vector, and none equals another.
SHAPE = (6, 5, 3, 7)
