"""Layers by which a discriminator sees its batch as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganops import ops
from ganops._common import checks


class MinibatchDiscrimination(nn.Module):
    """Appends :func:`ganops.minibatch_discrimination` to the features: (N, A) to (N, A + kernels).

    Args:
        in_features: A.
        kernels: B, how many comparisons.
        dimensions: C, of the space in which each compares.

    The weight (A, B, C) starts at N(0, 1/(A·C²)): features of unit variance are then about distance 1 apart, where
    exp(−distance) has a slope.
    """

    def __init__(self, in_features: int, kernels: int = 32, dimensions: int = 8) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("kernels", kernels), ("dimensions", dimensions)):
            checks.whole("MinibatchDiscrimination", name, value, minimum=1)
        self.weight = nn.Parameter(torch.randn(in_features, kernels, dimensions) / (in_features**0.5 * dimensions))

    def forward(self, x: Tensor) -> Tensor:
        """(N, A) to (N, A + kernels)."""
        return torch.cat([x, ops.minibatch_discrimination(x, self.weight)], dim=1)

    def extra_repr(self) -> str:
        """The sizes, for the module's text."""
        in_features, kernels, dimensions = self.weight.shape
        return f"{in_features}, kernels={kernels}, dimensions={dimensions}"


class MinibatchStddev(nn.Module):
    """:func:`ganops.minibatch_stddev` with its group size fixed: one more feature or channel."""

    def __init__(self, group_size: int = 4) -> None:
        super().__init__()
        self.group_size = checks.whole("MinibatchStddev", "group_size", group_size, minimum=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, …) to (N, C + 1, …)."""
        return ops.minibatch_stddev(x, self.group_size)

    def extra_repr(self) -> str:
        """The setting, for the module's text."""
        return f"group_size={self.group_size}"
