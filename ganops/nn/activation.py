"""A bias and an activation in one pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganops import ops
from ganops._common import checks


class FusedLeakyReLU(nn.Module):
    """scale · leaky_relu(x + bias), by :func:`ganops.bias_act`.

    Its arguments, and the name and shape of its parameter, are those of the module of this name in StyleGAN2's PyTorch
    versions, so that their checkpoints load.

    Args:
        channel: C, the size of dimension 1 of what it is given.
        bias: Whether there is a bias (C,), which starts at 0.
        negative_slope: The slope below 0, at least 0.
        scale: The factor; √2 keeps the second moment of normal numbers.

    Example:
        >>> ganops.nn.FusedLeakyReLU(8)(torch.randn(2, 8, 4, 4)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(self, channel: int, bias: bool = True, negative_slope: float = 0.2, scale: float = 2**0.5) -> None:
        super().__init__()
        channel = checks.whole("FusedLeakyReLU", "channel", channel, minimum=1)
        if not isinstance(bias, bool):
            raise TypeError(
                f"FusedLeakyReLU: bias must be True or False, got {bias!r}; pass negative_slope and scale by name"
            )
        self.bias = nn.Parameter(torch.zeros(channel)) if bias else None
        self.negative_slope = checks.number("FusedLeakyReLU", "negative_slope", negative_slope, minimum=0)
        self.scale = checks.number("FusedLeakyReLU", "scale", scale)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, …) to the same shape."""
        return ops.bias_act(input, self.bias, act="lrelu", alpha=self.negative_slope, gain=self.scale)

    def extra_repr(self) -> str:
        """The settings, for the module's text."""
        size = "bias=False" if self.bias is None else f"{len(self.bias)}"
        return f"{size}, negative_slope={self.negative_slope:g}, scale={self.scale:g}"
