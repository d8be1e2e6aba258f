"""The anti-aliased activation of BigVGAN (NVIDIA/BigVGAN, ``alias_free_activation``), and its activations.

Its CUDA kernel is compiled at run time and has no backward; this one is compiled already and differentiable. Change
``from alias_free_activation.torch.act import Activation1d`` or ``from alias_free_activation.cuda.activation1d import
Activation1d`` to ``from ganops.compat.bigvgan import Activation1d``. Checkpoints load as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ganops.nn.filtered_snake import AntiAliased

__all__ = ["Activation1d", "Snake", "SnakeBeta"]


class Snake(nn.Module):
    """``Snake(in_features)(x)``: x + sin²(αx)/(α + 1e-9) on (N, C, T), in plain PyTorch."""

    def __init__(
        self, in_features: int, alpha: float = 1.0, alpha_trainable: bool = True, alpha_logscale: bool = False
    ) -> None:
        super().__init__()
        self.in_features, self.alpha_logscale = in_features, alpha_logscale
        self.alpha = self._parameter(alpha, alpha_trainable)

    def _parameter(self, value: float, trainable: bool) -> nn.Parameter:
        initial = torch.zeros(self.in_features) if self.alpha_logscale else torch.ones(self.in_features)
        return nn.Parameter(initial * value, requires_grad=trainable)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) to (N, C, T)."""
        alpha, beta = (p[:, None].exp() if self.alpha_logscale else p[:, None] for p in self._parameters_of_channels())
        return x + (alpha * x).sin().square() / (beta + 1e-9)

    def _parameters_of_channels(self) -> tuple[Tensor, Tensor]:
        return self.alpha, self.alpha


class SnakeBeta(Snake):
    """``SnakeBeta(in_features)(x)``: the same with a β of its own in place of the second α."""

    def __init__(
        self, in_features: int, alpha: float = 1.0, alpha_trainable: bool = True, alpha_logscale: bool = False
    ) -> None:
        super().__init__(in_features, alpha, alpha_trainable, alpha_logscale)
        self.beta = self._parameter(alpha, alpha_trainable)

    def _parameters_of_channels(self) -> tuple[Tensor, Tensor]:
        return self.alpha, self.beta


class Activation1d(AntiAliased):
    """``Activation1d(activation)(x)``: upsample, activation, downsample, fused.

    Args:
        activation: BigVGAN's ``Snake`` or ``SnakeBeta``, its own or those here: a module with ``alpha``,
            ``alpha_logscale`` and maybe ``beta``.
        up_ratio: How many points the fine grid has for each sample.
        down_ratio: The same as ``up_ratio``.
        up_kernel_size: The length of the filter that upsamples.
        down_kernel_size: The length of the filter that downsamples.
        fused: Accepted and not used.

    Raises:
        TypeError: If the activation has no ``alpha`` or no ``alpha_logscale``.
        ValueError: If the ratios differ.
    """

    def __init__(
        self,
        activation: nn.Module,
        up_ratio: int = 2,
        down_ratio: int = 2,
        up_kernel_size: int = 12,
        down_kernel_size: int = 12,
        fused: Any = True,
    ) -> None:
        if not (hasattr(activation, "alpha") and hasattr(activation, "alpha_logscale")):
            raise TypeError(
                f"Activation1d: activation must be a Snake or a SnakeBeta, with alpha and alpha_logscale, got "
                f"{type(activation).__name__}"
            )
        if up_ratio != down_ratio:
            raise ValueError(f"Activation1d: up_ratio and down_ratio must be equal, got {up_ratio} and {down_ratio}")
        super().__init__(activation, up_ratio, up_kernel_size, down_kernel_size)
        self.up_ratio, self.down_ratio = up_ratio, down_ratio
