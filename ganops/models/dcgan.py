"""DCGAN (Radford et al. 2016, arXiv:1511.06434) for images of any size from 4x4."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from ganops.models.layers import Norm, normalised

__all__ = ["dcgan"]


def _sides(height: int, width: int) -> list[tuple[int, int]]:
    """The feature maps' sides, image first: halved, rounding down, until one is at most 4, and twice if that leaves 2.

    28, 14, 7, 3; 32, 16, 8, 4; 8, 4, 2. The last map is so small that every logit sees the whole image through several
    nonlinear layers: a D that stops at 7x7 adds up local verdicts and lets strokes through that form no digit.
    """
    sides = [(height, width)]
    while min(sides[-1]) > 4 or (len(sides) < 3 and min(sides[-1]) == 4):
        sides.append((sides[-1][0] // 2, sides[-1][1] // 2))
    return sides


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) weights, and N(1, 0.02) batch-norm scales, as in the paper's code.

    Spectrally normalised weights keep PyTorch's default (they are recomputed from another tensor, and their scale is
    divided away).
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
    generator_norm: Norm = "batch",
    discriminator_norm: Norm = "none",
) -> tuple[nn.Module, nn.Module]:
    """Strided convolutions down to about 4x4 in D, transposed ones up from there in G; no pooling, no dense hiding.

    Channels start at `width` beside the image and double with each halving. G: normalisation, ReLU, tanh at the end.
    D: LeakyReLU(0.2), no normalisation on its first layer (as in the paper), and raw logits (N, 1).

    Args:
        shape: (C, H, W), both sides at least 4.
        latent_dim: length of z; G takes (N, latent_dim).
        width: channels of the largest feature map.
    """
    if len(shape) != 3:
        raise ValueError(f"dcgan: samples must be images (C, H, W), got {shape}; model 'mlp' serves points")
    channels, *image = shape
    if min(image) < 4:
        raise ValueError(f"dcgan: both sides of an image must be at least 4, got {image[0]}x{image[1]}")
    sides = _sides(*image)
    sizes = [channels] + [width * 2**i for i in range(len(sides) - 1)]
    base = (sizes[-1], *sides[-1])
    units = base[0] * base[1] * base[2]

    # 4x4 kernels with stride 2 and padding 1 halve a side exactly, rounding down; transposed they double it, plus one
    # where rounding took one. 4 being a multiple of 2, every output pixel of the transposed convolution gathers equally
    # many inputs: no checkerboard from uneven overlap.
    up: list[nn.Module] = [nn.Linear(latent_dim, units), nn.Unflatten(1, base)]
    up += normalised(nn.Identity(), base[0], "none" if generator_norm == "spectral" else generator_norm)
    up.append(nn.ReLU())
    for i in reversed(range(1, len(sizes))):
        extra = (sides[i - 1][0] - 2 * sides[i][0], sides[i - 1][1] - 2 * sides[i][1])
        layer = nn.ConvTranspose2d(sizes[i], sizes[i - 1], 4, stride=2, padding=1, output_padding=extra)
        up += [layer, nn.Tanh()] if i == 1 else [*normalised(layer, sizes[i - 1], generator_norm), nn.ReLU()]

    down: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        norm = "none" if i == 0 and discriminator_norm != "spectral" else discriminator_norm
        down += [*normalised(nn.Conv2d(a, b, 4, stride=2, padding=1), b, norm), nn.LeakyReLU(0.2)]
    head = normalised(nn.Linear(units, 1), 1, "spectral" if discriminator_norm == "spectral" else "none")

    generator, discriminator = nn.Sequential(*up), nn.Sequential(*down, nn.Flatten(), *head)
    generator.apply(_initialise)
    discriminator.apply(_initialise)
    return generator, discriminator
