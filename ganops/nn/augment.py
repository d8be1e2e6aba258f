"""Differentiable augmentation as a module: settings at construction, images and perhaps their numbers at the call."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganops import ops
from ganops._common.diff_augment import check_policy, check_probability, draw


class DiffAugment(nn.Module):
    """:func:`ganops.diff_augment` with its settings fixed.

    Args:
        policy: What is changed, see the function.
        p: The probability with which each change is made to each image. A tensor () becomes a buffer of the module, so
            that adaptive augmentation can move it (``module.p.copy_(…)``) and a checkpoint keeps it.
    """

    def __init__(self, policy: str = "color,translation,cutout", *, p: float | Tensor = 1.0) -> None:
        super().__init__()
        check_policy("DiffAugment", policy)
        check_probability("DiffAugment", p)
        self.policy = policy
        if isinstance(p, Tensor):
            self.register_buffer("p", p)
        else:
            self.p = p

    def draw(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The numbers for images ``x`` (N, C, H, W): (N, 7) float32, to be given to :meth:`forward`, once or often."""
        return draw(x, generator, self.p)

    def forward(
        self, x: Tensor, parameters: Tensor | None = None, *, return_parameters: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Images (N, C, H, W) to such images; with ``return_parameters`` the pair of them and of their numbers."""
        if parameters is None:
            if not return_parameters:
                return ops.diff_augment(x, self.policy, p=self.p)
            parameters = self.draw(x)
        result = ops.diff_augment(x, self.policy, parameters=parameters)
        return (result, parameters) if return_parameters else result

    def extra_repr(self) -> str:
        """The settings, for the module's text."""
        return f"{self.policy!r}, p={float(self.p)}"
