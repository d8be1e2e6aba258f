"""DCGAN (Radford et al. 2016, arXiv:1511.06434) for images of any size that halves at least once."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from ganops.models.layers import Norm, normalised

__all__ = ["dcgan"]


def _halvings(height: int, width: int) -> int:
    """Down to side 4 or an odd side, and at least twice if the sides allow: 32, 16, 8, 4; 28, 14, 7; 8, 4, 2."""
    count = 0
    while height % 2 == width % 2 == 0 and (min(height, width) > 4 or count < 2):
        height, width, count = height // 2, width // 2, count + 1
    return count


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
        shape: (C, H, W), both sides even.
        latent_dim: length of z; G takes (N, latent_dim).
        width: channels of the largest feature map.
    """
    if len(shape) != 3:
        raise ValueError(f"dcgan: samples must be images (C, H, W), got {shape}; model 'mlp' serves points")
    channels, height, breadth = shape
    halvings = _halvings(height, breadth)
    if halvings == 0:
        raise ValueError(f"dcgan: both sides of an image must be even, got {height}x{breadth}")
    sizes = [channels] + [width * 2**i for i in range(halvings)]
    base = (sizes[-1], height >> halvings, breadth >> halvings)
    units = base[0] * base[1] * base[2]

    def stage(layer: nn.Module, features: int, norm: Norm, activation: nn.Module) -> list[nn.Module]:
        return [*normalised(layer, features, norm), activation]

    # 4x4 kernels with stride 2 and padding 1 halve or double a side exactly, and 4 being a multiple of 2 every output
    # pixel of the transposed convolution gathers equally many inputs: no checkerboard from uneven overlap.
    ups: list[nn.Module] = [nn.Linear(latent_dim, units), nn.Unflatten(1, base)]
    if generator_norm not in ("none", "spectral"):
        ups += normalised(nn.Identity(), base[0], generator_norm)
    ups.append(nn.ReLU())
    down: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(reversed(sizes))):
        layer = nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)
        last = i == halvings - 1
        ups += [layer, nn.Tanh()] if last else stage(layer, b, generator_norm, nn.ReLU())
    for i, (a, b) in enumerate(pairwise(sizes)):
        first = i == 0 and discriminator_norm != "spectral"
        layer = nn.Conv2d(a, b, 4, stride=2, padding=1)
        down += stage(layer, b, "none" if first else discriminator_norm, nn.LeakyReLU(0.2))
    out = nn.Linear(units, 1)
    head = normalised(out, 1, "spectral" if discriminator_norm == "spectral" else "none")
    generator, discriminator = nn.Sequential(*ups), nn.Sequential(*down, nn.Flatten(), *head)
    generator.apply(_initialise)
    discriminator.apply(_initialise)
    return generator, discriminator
