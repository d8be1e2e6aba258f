"""Sliced Wasserstein distance between patches of images, level by level of their Laplacian pyramids."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ganops._common import checks
from ganops._seeds import cpu_generator
from ganops.metrics.images import check_finite

__all__ = ["laplacian_pyramid", "pyramid_wasserstein"]

_PATCH = 7
_SMALLEST = 16  # side of the last level
_AT_ONCE = 128  # directions whose projections are in memory together


def pyramid_wasserstein(
    fake: Tensor, real: Tensor, *, patches: int = 128, projections: int = 512, seed: int = 0
) -> dict[str, float]:
    """Compare two sets of images by the patches of their Laplacian pyramids (Karras et al. 2018, arXiv:1710.10196).

    Each level shows one range of frequencies. From every image 7x7 patches are taken at random places of each level;
    the mean and deviation of each channel over a set's patches are normalised to 0 and 1; the distance of the two sets
    of patches is the mean W1 of their projections onto random directions, times 1000. It needs no labels and no
    network. It does not see colours and contrast as a whole, which the normalisation removes.

    Args:
        fake, real: (N, C, H, W) and (M, C, H, W), sides at least 7. The first min(N, M) of each are compared; the paper
            has 16,384.
        patches: patches per image and level.
        projections: the number of directions.
        seed: of the places and directions. Places are the same for both sets, so that equal sets have distance 0.

    Returns:
        ``swd``: the mean over the levels; ``swd_S`` for each level, where S is its shorter side: the images' own and
        its halves (rounded up) down to 16. Values fall with the numbers of images and patches: compare only values from
        equal numbers.

    Raises:
        TypeError: an argument is not a floating-point tensor or not a whole number.
        ValueError: the images differ in shape, are too small, too few, or not finite.

    >>> images = torch.rand(20, 3, 32, 32)
    >>> pyramid_wasserstein(images, images)
    {'swd': 0.0, 'swd_32': 0.0, 'swd_16': 0.0}
    """
    patches = checks.whole("pyramid_wasserstein", "patches", patches, minimum=1)
    projections = checks.whole("pyramid_wasserstein", "projections", projections, minimum=1)
    for name, images in (("fake", fake), ("real", real)):
        checks.tensor("pyramid_wasserstein", name, images)
        if images.ndim != 4 or len(images) == 0 or min(images.shape[2:]) < _PATCH:
            raise ValueError(
                f"pyramid_wasserstein: {name} must be images (N, C, H, W) of at least {_PATCH}x{_PATCH}, got "
                f"{tuple(images.shape)}"
            )
        check_finite("pyramid_wasserstein", images)
    if fake.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"pyramid_wasserstein: fake {tuple(fake.shape[1:])} and real {tuple(real.shape[1:])} images must have the "
            "same shape"
        )
    count = min(len(fake), len(real))
    fakes, reals = (laplacian_pyramid(images[:count].detach().cpu().float()) for images in (fake, real))
    distances = {
        f"swd_{min(a.shape[2:])}": _distance(a, b, patches, projections, cpu_generator("pyramid_wasserstein", seed))
        for a, b in zip(fakes, reals, strict=True)
    }
    return {"swd": sum(distances.values()) / len(distances), **distances}


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Split images (N, C, H, W) into levels, the finest first; enlarged to the images' size, the levels sum to them.

    Each level is the difference between the images and their enlarged half; the last, with sides of at least 16, is
    what remains (Burt & Adelson 1983).
    """
    levels = []
    while (min(images.shape[2:]) + 1) // 2 >= _SMALLEST:
        half = _smooth(images)[:, :, ::2, ::2]
        levels.append(images - enlarge(half, images.shape[2:]))
        images = half
    return [*levels, images]


def enlarge(images: Tensor, size: torch.Size) -> Tensor:
    """Double the sides of images to `size`, by the pyramid's filter."""
    large = images.new_zeros(*images.shape[:2], *size)
    large[:, :, ::2, ::2] = images
    return 4 * _smooth(large)


def _smooth(images: Tensor) -> Tensor:
    """Convolve with the binomial filter (1, 4, 6, 4, 1)/16 along both sides, mirrored at the borders."""
    channels = images.shape[1]
    row = images.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    weight = row.expand(channels, 1, 1, 5)
    smooth = F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), weight, groups=channels)
    return F.conv2d(smooth, weight.mT, groups=channels)


def _distance(a: Tensor, b: Tensor, patches: int, projections: int, generator: torch.Generator) -> float:
    """1000 times the sliced W1 between the normalised patches of two sets of as many images."""
    (count, _, height, width) = a.shape
    places = [
        torch.randint(side - _PATCH + 1, (count, patches), generator=generator, dtype=torch.int64, device="cpu")
        for side in (height, width)
    ]
    a, b = _descriptors(a, *places), _descriptors(b, *places)
    total, left = 0.0, projections
    while left:
        shape = (a.shape[1], min(left, _AT_ONCE))
        directions = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
        directions /= directions.norm(dim=0)
        # Rows of projections are sorted in place of columns: their numbers lie side by side.
        sorted_a, sorted_b = ((directions.T @ x.T).sort(dim=1).values for x in (a, b))
        total += (sorted_a - sorted_b).abs().double().mean(dim=1).sum().item()
        left -= shape[1]
    return 1000 * total / projections


def _descriptors(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Patches at the places (N, P) of images (N, C, H, W), normalised by channel, as (N P, C 7 7)."""
    windows = images.unfold(2, _PATCH, 1).unfold(3, _PATCH, 1)
    which = torch.arange(len(images), device="cpu")[:, None].expand_as(down)
    found = windows[which.flatten(), :, down.flatten(), right.flatten()]
    mean, deviation = found.mean(dim=(0, 2, 3), keepdim=True), found.std(dim=(0, 2, 3), correction=0, keepdim=True)
    # Patches of one grey have no deviation: they stay at zero.
    return ((found - mean) / deviation.clamp(min=1e-6)).flatten(1)
