"""DCGAN (Radford et al. 2016, arXiv:1511.06434) for images of any size from 4x4."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from ganops.models.conditional import LabelledGenerator, label_width
from ganops.models.layers import Norm, Upsampling, halving, normalised, upsampling, with_head

__all__ = ["dcgan", "initialise", "sides_of"]


def sides_of(height: int, width: int) -> list[tuple[int, int]]:
    """Return the sides of the feature maps, the image's first: halved and rounded down until the shorter is at most 4.

    They are halved at least twice if the result is at least 2. Examples: 28, 14, 7, 3; 32, 16, 8, 4; 8, 4, 2. The last
    map must be this small so that each logit depends on the whole image through several nonlinear layers: a D that
    stops at 7x7 sums local scores and accepts strokes that form no digit.
    """
    sides = [(height, width)]
    while min(sides[-1]) > 4 or (len(sides) < 3 and min(sides[-1]) == 4):
        sides.append((sides[-1][0] // 2, sides[-1][1] // 2))
    return sides


def initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02) and batch-norm scales from N(1, 0.02), as the paper's code does.

    Weights under spectral normalisation keep PyTorch's default: they are recomputed from another tensor, and their
    scale has no effect.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def dcgan(
    shape: tuple[int, ...],
    *,
    latent_dim: int,
    width: int = 32,
    discriminator_width: int | None = None,
    generator_norm: Norm = "batch",
    discriminator_norm: Norm = "none",
    pack: int = 1,
    classes: int | None = None,
    upsample: Upsampling = "transposed",
    minibatch_discrimination: bool = False,
    minibatch_stddev: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """Build D of strided convolutions down to about 4x4 and G of transposed convolutions up from there.

    The largest feature map has `width` channels; they double with each halving. G has normalisation, ReLU, and a tanh
    at the end. D has LeakyReLU(0.2), no normalisation on its first layer (as in the paper), and logits (N, 1).

    Args:
        shape: (C, H, W), both sides at least 4.
        latent_dim: length of z; G takes (N, latent_dim).
        width: channels of the largest feature map.
        discriminator_width: the same for D; None: `width`.
        generator_norm, discriminator_norm, pack, classes, upsample, minibatch_discrimination, minibatch_stddev: see
            `ganops.models.build`.
    """
    if len(shape) != 3:
        raise ValueError(f"dcgan: samples must be images (C, H, W), got {shape}; use model 'mlp' for points")
    channels, *image = shape
    if min(image) < 4:
        raise ValueError(f"dcgan: both sides of an image must be at least 4, got {image[0]}x{image[1]}")
    sides = sides_of(*image)
    sizes = [channels] + [width * 2**i for i in range(len(sides) - 1)]
    base = (sizes[-1], *sides[-1])

    up: list[nn.Module] = [nn.Linear(latent_dim + label_width(classes), math.prod(base)), nn.Unflatten(1, base)]
    up += normalised(nn.Identity(), base[0], "none" if generator_norm == "spectral" else generator_norm)
    up.append(nn.ReLU())
    for i in reversed(range(1, len(sizes))):
        norm = "none" if i == 1 else generator_norm
        up += upsampling(sizes[i], sizes[i - 1], sides[i], sides[i - 1], norm, upsample)
        up.append(nn.Tanh() if i == 1 else nn.ReLU())

    down: list[nn.Module] = []
    sizes = [pack * channels] + [(discriminator_width or width) * 2**i for i in range(len(sides) - 1)]
    for i, (a, b) in enumerate(pairwise(sizes)):
        norm = "none" if i == 0 and discriminator_norm != "spectral" else discriminator_norm
        down += halving(a, b, norm, upsample)
    generator = nn.Sequential(*up)
    discriminator = with_head(
        [*down, nn.Flatten()],
        sizes[-1] * math.prod(sides[-1]),
        discriminator_norm,
        classes=classes,
        pack=pack,
        minibatch_discrimination=minibatch_discrimination,
        minibatch_stddev=minibatch_stddev,
    )
    generator.apply(initialise)
    discriminator.apply(initialise)
    return generator if classes is None else LabelledGenerator(generator, classes), discriminator
