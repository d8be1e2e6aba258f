"""Toy distributions in the plane and on the line, on which mode collapse can be seen and counted.

Ring and grid are those of PacGAN (Lin et al. 2018, arXiv:1712.04086, section 4.1): 100,000 points drawn once.
The points belong to the data set, not to a run: they are the same for every training seed, and do not depend on torch's
default dtype or device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganops._common import checks
from ganops._seeds import cpu_generator
from ganops.data.dataset import Dataset
from ganops.data.memory import check_fits

__all__ = ["gaussian1d", "grid9", "grid25", "ring8", "swiss_roll"]

_SIZE = 100_000
_SEED = 20_180_101
_CPU = torch.device("cpu")


def _size(name: str, size: int) -> int:
    """`size` as an int, if that many points fit into memory."""
    size = checks.whole(name, "size", size, minimum=1)
    # Samples, labels, and the numbers that they are made from.
    check_fits(name, f"{size:,} points", 32 * size, "choose a smaller size")
    return size


def _normal(size: int, width: int, generator: torch.Generator) -> Tensor:
    return torch.randn(size, width, generator=generator, dtype=torch.float32, device=_CPU)


def _mixture(name: str, centres: Tensor, sigma: float, size: int, seed: int, scale: float = 1.0) -> Dataset:
    """`size` draws from the equal mixture of N(centre, sigma^2 I), all lengths times `scale`."""
    scale = checks.number(name, "scale", scale, above=0)
    size = _size(name, size)
    centres, sigma = scale * centres, scale * sigma
    generator = cpu_generator(name, seed)
    labels = torch.randint(len(centres), (size,), generator=generator, dtype=torch.int64, device=_CPU)
    samples = centres[labels] + sigma * _normal(size, 2, generator)
    return Dataset(name, samples, labels=labels, classes=len(centres), centres=centres, sigma=sigma)


def _axis(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=_CPU)


def ring8(size: int = _SIZE, seed: int = _SEED, scale: float = 1.0) -> Dataset:
    """Eight Gaussians, sigma 0.01, evenly spaced on the unit circle, all lengths times `scale`."""
    # 2 pi k / 8 for k = 0..7. linspace(0, 2 pi, 8) would end where it starts: seven modes, one of them doubled.
    angle = 2 * math.pi * torch.arange(8, device=_CPU).to(torch.float32) / 8
    return _mixture("ring8", torch.stack([angle.cos(), angle.sin()], dim=1), 0.01, size, seed, scale)


def grid9(size: int = _SIZE, seed: int = _SEED) -> Dataset:
    """Nine Gaussians, sigma 0.05, on the grid {-2, 0, 2} x {-2, 0, 2}: a smaller `grid25`, for shorter runs."""
    axis = _axis(-2, 0, 2)
    return _mixture("grid9", torch.cartesian_prod(axis, axis), 0.05, size, seed)


def grid25(size: int = _SIZE, seed: int = _SEED, scale: float = 1.0) -> Dataset:
    """Twenty-five Gaussians, sigma 0.05, on the grid {-4, -2, 0, 2, 4} squared, all lengths times `scale`."""
    axis = _axis(-4, -2, 0, 2, 4)
    return _mixture("grid25", torch.cartesian_prod(axis, axis), 0.05, size, seed, scale)


def gaussian1d(mean: float = 2.0, sigma: float = 1.0, size: int = _SIZE, seed: int = _SEED) -> Dataset:
    """N(mean, sigma^2) on the line, samples (N, 1); by default N(2, 1).

    Against a generator that starts at N(0, 1), the optimal discriminator is sigmoid(2 x - 2) and W1 is 2.
    """
    mean = checks.number("gaussian1d", "mean", mean)
    sigma = checks.number("gaussian1d", "sigma", sigma, above=0)
    samples = mean + sigma * _normal(_size("gaussian1d", size), 1, cpu_generator("gaussian1d", seed))
    return Dataset("gaussian1d", samples, centres=_axis(mean)[None], sigma=sigma)


_ARCS = 20  # the roll has no modes: it is cut into this many arcs of equal probability


def swiss_roll(size: int = _SIZE, seed: int = _SEED) -> Dataset:
    """The spiral of WGAN-GP (Gulrajani et al. 2017): (t cos t, t sin t)/7.5, t ~ U[1.5 pi, 4.5 pi), noise 0.25/7.5.

    Its "modes", by which coverage is counted, are 20 consecutive arcs of equal probability (t is uniform).
    """
    size = _size("swiss_roll", size)
    generator = cpu_generator("swiss_roll", seed)

    def curve(u: Tensor) -> Tensor:
        t = 1.5 * math.pi * (1 + 2 * u)
        return torch.stack([t * t.cos(), t * t.sin()], dim=1) / 7.5

    sigma = 0.25 / 7.5
    u = torch.rand(size, generator=generator, dtype=torch.float32, device=_CPU)
    samples = curve(u) + sigma * _normal(size, 2, generator)
    # 2,000 centres along 17 units of length are 0.009 apart, a quarter of sigma, so they stand for the curve itself.
    along = (torch.arange(2000, device=_CPU).to(torch.float32) + 0.5) / 2000
    return Dataset(
        "swiss_roll",
        samples,
        labels=(u * _ARCS).long(),
        classes=_ARCS,
        centres=curve(along),
        centre_mode=(along * _ARCS).long(),
        sigma=sigma,
    )
