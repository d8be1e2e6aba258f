"""Toys on which mode collapse can be seen and counted.

Ring and grid are those of PacGAN (Lin et al. 2018, arXiv:1712.04086, section 4.1): 100,000 points drawn once.
The points are a property of the data set and not of a run: the same for every training seed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganops.data.dataset import Dataset

__all__ = ["gaussian1d", "grid9", "grid25", "ring8", "swiss_roll"]

_SIZE = 100_000
_SEED = 20_180_101


def _mixture(name: str, centres: Tensor, sigma: float, size: int, seed: int, scale: float = 1.0) -> Dataset:
    """`size` draws from the equal mixture of N(centre, sigma^2 I), all lengths times `scale`."""
    if not scale > 0:
        raise ValueError(f"{name}: scale must be above 0, got {scale}")
    centres, sigma = scale * centres, scale * sigma
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(centres), (size,), generator=generator)
    samples = centres[labels] + sigma * torch.randn(size, 2, generator=generator)
    return Dataset(name, samples, labels=labels, classes=len(centres), centres=centres, sigma=sigma)


def ring8(size: int = _SIZE, seed: int = _SEED, scale: float = 1.0) -> Dataset:
    """Eight Gaussians, sigma 0.01, evenly spaced on the unit circle, all lengths times `scale`."""
    # 2 pi k / 8 for k = 0..7. A linspace(0, 2 pi, 8) ends where it starts: seven modes, one of them doubled.
    angle = 2 * math.pi * torch.arange(8) / 8
    return _mixture("ring8", torch.stack([angle.cos(), angle.sin()], dim=1), 0.01, size, seed, scale)


def grid9(size: int = _SIZE, seed: int = _SEED) -> Dataset:
    """Nine Gaussians, sigma 0.05, on the grid {-2, 0, 2} x {-2, 0, 2}: the 25-mode grid for a shorter run."""
    axis = torch.tensor([-2.0, 0.0, 2.0])
    return _mixture("grid9", torch.cartesian_prod(axis, axis), 0.05, size, seed)


def grid25(size: int = _SIZE, seed: int = _SEED, scale: float = 1.0) -> Dataset:
    """Twenty-five Gaussians, sigma 0.05, on the grid {-4, -2, 0, 2, 4} squared, all lengths times `scale`."""
    axis = torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0])
    return _mixture("grid25", torch.cartesian_prod(axis, axis), 0.05, size, seed, scale)


def gaussian1d(mean: float = 2.0, sigma: float = 1.0, size: int = _SIZE, seed: int = _SEED) -> Dataset:
    """N(mean, sigma^2) on the line, samples (N, 1); by default N(2, 1).

    Against a generator that begins at N(0, 1), the optimal discriminator is then sigmoid(2 x - 2) and W1 is 2.
    """
    if not sigma > 0:
        raise ValueError(f"gaussian1d: sigma must be above 0, got {sigma}")
    generator = torch.Generator().manual_seed(seed)
    samples = mean + sigma * torch.randn(size, 1, generator=generator)
    return Dataset("gaussian1d", samples, centres=torch.tensor([[mean]]), sigma=sigma)


_ARCS = 20  # the roll has no modes: it is cut into this many arcs of equal probability


def swiss_roll(size: int = _SIZE, seed: int = _SEED) -> Dataset:
    """The spiral of WGAN-GP (Gulrajani et al. 2017): (t cos t, t sin t)/7.5, t ~ U[1.5 pi, 4.5 pi), noise 0.25/7.5.

    So that coverage can be counted here too, its "modes" are 20 consecutive arcs of equal probability (t is uniform).
    """
    generator = torch.Generator().manual_seed(seed)

    def curve(u: Tensor) -> Tensor:
        t = 1.5 * math.pi * (1 + 2 * u)
        return torch.stack([t * t.cos(), t * t.sin()], dim=1) / 7.5

    sigma = 0.25 / 7.5
    u = torch.rand(size, generator=generator)
    samples = curve(u) + sigma * torch.randn(size, 2, generator=generator)
    # 2,000 centres along 17 units of length: 0.009 apart, a quarter of sigma, so they stand for the curve itself.
    along = (torch.arange(2000) + 0.5) / 2000
    return Dataset(
        "swiss_roll",
        samples,
        labels=(u * _ARCS).long(),
        classes=_ARCS,
        centres=curve(along),
        centre_mode=(along * _ARCS).long(),
        sigma=sigma,
    )
