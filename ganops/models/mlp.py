"""Dense generator and discriminator, for points and for small images."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from ganops.models.layers import Norm, normalised

__all__ = ["mlp"]


def mlp(
    shape: tuple[int, ...],
    *,
    latent_dim: int,
    width: int = 256,
    depth: int = 3,
    generator_norm: Norm = "batch",
    discriminator_norm: Norm = "none",
) -> tuple[nn.Module, nn.Module]:
    """`depth` hidden layers of `width` units in each network; ReLU in G, LeakyReLU(0.2) in D.

    G ends in tanh for images (C, H, W) and is linear for points (F,). The WGAN-GP toys have depth 3, width 512 and no
    normalisation (Gulrajani et al. 2017, appendix); weights keep PyTorch's default initialisation.
    """
    features = math.prod(shape)
    if features < 1:
        raise ValueError(f"mlp: shape {shape} holds no elements")

    def hidden(first: int, norm: Norm, activation: nn.Module) -> list[nn.Module]:
        sizes = [first] + [width] * depth
        return [part for a, b in pairwise(sizes) for part in (*normalised(nn.Linear(a, b), b, norm), activation)]

    generator = nn.Sequential(*hidden(latent_dim, generator_norm, nn.ReLU()), nn.Linear(width, features))
    if len(shape) > 1:
        generator.extend([nn.Tanh(), nn.Unflatten(1, shape)])
    last = normalised(nn.Linear(width, 1), 1, "spectral" if discriminator_norm == "spectral" else "none")
    discriminator = nn.Sequential(nn.Flatten(), *hidden(features, discriminator_norm, nn.LeakyReLU(0.2)), *last)
    return generator, discriminator
