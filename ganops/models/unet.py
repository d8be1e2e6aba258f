"""Image to image (pix2pix, Isola et al. 2017, arXiv:1611.07004): a U-Net generator and a PatchGAN discriminator."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ganops.models.dcgan import initialise, sides_of
from ganops.models.layers import Norm, Upsampling, halving, normalised, upsampling

__all__ = ["PatchDiscriminator", "UNet", "unet"]

_MOST = 8  # channels grow to eight times the width, as in the paper


class UNet(nn.Module):
    """A generator that goes down to about 4x4 and up again; each map on the way up is joined by that on the way down.

    z is added at the smallest map. In training half of the features of the first layer up are dropped at random (the
    paper's only noise, which according to its authors changes little).

    Args:
        condition_shape: (C', H, W) of the input image.
        shape: (C, H, W) of the output image, in [-1, 1].
        latent_dim: length of z.
        width: channels of the largest feature map.
        norm: normalisation of all maps except the first and the last.
        upsample: how maps are enlarged.
    """

    def __init__(
        self,
        condition_shape: tuple[int, ...],
        shape: tuple[int, ...],
        latent_dim: int,
        width: int,
        norm: Norm,
        upsample: Upsampling,
    ) -> None:
        super().__init__()
        sides = sides_of(*shape[1:])
        sizes = [condition_shape[0]] + [width * min(2**i, _MOST) for i in range(len(sides) - 1)]
        self.down = nn.ModuleList()
        for i, (a, b) in enumerate(pairwise(sizes)):
            layer = normalised(nn.Conv2d(a, b, 4, stride=2, padding=1), b, "none" if i == 0 else norm)
            self.down.append(nn.Sequential(*layer, nn.LeakyReLU(0.2)))
        self.noise = nn.Linear(latent_dim, sizes[-1])
        self.up = nn.ModuleList()
        for i in reversed(range(1, len(sizes))):
            innermost, last = i == len(sizes) - 1, i == 1
            channels = sizes[i] * (1 if innermost else 2)
            features = shape[0] if last else sizes[i - 1]
            layer = upsampling(channels, features, sides[i], sides[i - 1], "none" if last else norm, upsample)
            rest = [nn.Tanh()] if last else [nn.ReLU(), *([nn.Dropout(0.5)] if innermost else [])]
            self.up.append(nn.Sequential(*layer, *rest))

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """Make images (N, C, H, W) from z (N, latent_dim) and images (N, C', H, W)."""
        maps = [condition]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        x = maps.pop() + self.noise(z)[:, :, None, None]
        for layer in self.up[:-1]:
            x = torch.cat([layer(x), maps.pop()], dim=1)
        return self.up[-1](x)


class PatchDiscriminator(nn.Module):
    """One logit for each patch of the pair (sample, condition): it enforces texture and leaves the rest to the L1 loss.

    Args:
        channels: channels of the sample and its condition together.
        halvings: number of strided convolutions; with two a logit sees 18x18 pixels, with three 38x38.
        width: channels of the first map.
        norm: normalisation of all maps except the first; ``spectral`` normalises all layers.
        upsample: ``filtered`` low-passes before each strided convolution.
    """

    def __init__(
        self, channels: int, halvings: int, width: int, norm: Norm, upsample: Upsampling = "transposed"
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = [channels] + [width * min(2**i, _MOST) for i in range(halvings)]
        for i, (a, b) in enumerate(pairwise(sizes)):
            own = "none" if i == 0 and norm != "spectral" else norm
            layers += halving(a, b, own, upsample)
        # 3x3 keeps a side of one pixel; the paper has 4x4.
        head = normalised(nn.Conv2d(sizes[-1], 1, 3, padding=1), 1, "spectral" if norm == "spectral" else "none")
        self.layers = nn.Sequential(*layers, *head)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the logits (N, 1, H', W') of images (N, C, H, W) with conditions (N, C', H, W)."""
        return self.layers(torch.cat([x, condition], dim=1))


def unet(
    shape: tuple[int, ...],
    *,
    condition_shape: tuple[int, ...],
    latent_dim: int,
    width: int = 32,
    discriminator_width: int | None = None,
    generator_norm: Norm = "batch",
    discriminator_norm: Norm = "none",
    upsample: Upsampling = "transposed",
) -> tuple[nn.Module, nn.Module]:
    """Build a `UNet` and a `PatchDiscriminator` for images of at least 8x8.

    Args:
        shape: (C, H, W) of the samples.
        condition_shape: (C', H, W) of the input images.
        latent_dim: length of z.
        width: channels of the largest feature maps.
        discriminator_width: the same for D; None: `width`.
        generator_norm, discriminator_norm, upsample: see `ganops.models.build`.
    """
    if len(shape) != 3 or min(shape[1:]) < 8:
        raise ValueError(f"unet: samples must be images (C, H, W) of at least 8x8, got {shape}")
    if condition_shape[1:] != shape[1:]:
        raise ValueError(
            f"unet: conditions {condition_shape} and samples {shape} must have the same height and width; resize one"
        )
    halvings = 3 if min(shape[1:]) >= 64 else 2
    generator = UNet(condition_shape, shape, latent_dim, width, generator_norm, upsample)
    channels = shape[0] + condition_shape[0]
    discriminator = PatchDiscriminator(channels, halvings, discriminator_width or width, discriminator_norm, upsample)
    generator.apply(initialise)
    discriminator.apply(initialise)
    return generator, discriminator
