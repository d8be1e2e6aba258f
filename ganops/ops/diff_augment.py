"""Differentiable augmentation of images, for both that D sees: the real ones and the generated ones."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops.reference.diff_augment import diff_augment as reference_diff_augment


def diff_augment(
    x: Tensor, policy: str = "color,translation,cutout", *, generator: torch.Generator | None = None
) -> Tensor:
    """Random changes of each image through which gradients flow (Zhao et al. 2020, arXiv:2006.10738).

    Apply it to real **and** generated images, in D's step and in G's: D then cannot learn few images by heart, and G
    does not learn the augmentation. Per image, with u ~ U[0, 1):

    - ``color``: brightness x + (u − ½); saturation: the distance from the mean over channels times 2u; then
      contrast: the distance from the image's mean times u + ½;
    - ``translation``: by up to ⅛ of each side, zeros come in;
    - ``cutout``: a box of half the sides, its middle anywhere, becomes zero.

    Args:
        x: Images (N, C, H, W), zero being mid-grey, as in [−1, 1]; float16, bfloat16, float32 or float64.
        policy: Names of the above, separated by commas, applied in that order; empty: none.
        generator: The random generator to draw with, on any device.

    Returns:
        Images of the same shape and dtype. Differentiable to any order. Computed in plain PyTorch.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    return reference_diff_augment(x, policy, generator=generator)
