"""Distances between two sets of points, such as features of generated and of real samples."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops import theory
from ganops._common import checks
from ganops._seeds import cpu_generator

__all__ = ["frechet_distance", "kernel_distance", "precision_recall", "sliced_wasserstein"]

_ROWS = 1000  # of a distance matrix at a time


def sliced_wasserstein(a: Tensor, b: Tensor, *, projections: int = 200, seed: int = 0) -> float:
    """Return the mean W1 between the projections of two sets of points onto random directions, in the points' units.

    On the line it is W1 itself. In F dimensions a shift by v gives about |v| sqrt(2 / (pi F)) for large F, and 2/pi |v|
    in the plane. (Rabin et al. 2011; for GANs Deshpande et al. 2018.)

    Args:
        a, b: (N, F) and (M, F).
        projections: the number of directions.
        seed: of the directions.

    >>> sliced_wasserstein(torch.zeros(5, 1), torch.full((5, 1), 3.0))
    3.0
    """
    projections = checks.whole("sliced_wasserstein", "projections", projections, minimum=1)
    generator = cpu_generator("sliced_wasserstein", seed)
    a, b = _clouds("sliced_wasserstein", a, b)
    if a.shape[1] == 1:
        return theory.wasserstein_1(a, b).item()
    shape = (a.shape[1], projections)
    directions = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").double()
    directions /= directions.norm(dim=0)
    a, b = a @ directions, b @ directions
    if len(a) == len(b):
        return (a.sort(dim=0).values - b.sort(dim=0).values).abs().mean().item()
    return torch.stack([theory.wasserstein_1(x, y) for x, y in zip(a.T, b.T, strict=True)]).mean().item()


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the squared W2 between the Gaussians with the mean and covariance of two sets of points: FID's formula.

    (Heusel et al. 2017, arXiv:1706.08500.) Few samples bias it upwards: compare only values from equal numbers.

    Args:
        a, b: (N, F) and (M, F), at least two each.
    """
    a, b = _clouds("frechet_distance", a, b, least=2)
    moments = [part for x in (a, b) for part in (x.mean(dim=0), torch.cov(x.T).reshape(x.shape[1], x.shape[1]))]
    return theory.gaussian_wasserstein_2(*moments).item() ** 2


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x.y / F + 1)^3: KID on all pairs.

    (Binkowski et al. 2018, arXiv:1801.01401.) It is zero in expectation for equal distributions, so it can be negative.

    Args:
        a, b: (N, F) and (M, F), at least two each.
    """
    a, b = _clouds("kernel_distance", a, b, least=2)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.trace()) / (len(x) * (len(x) - 1))  # a point is no evidence about itself

    return (within(a) + within(b) - 2 * kernel(a, b).mean()).item()


def precision_recall(fake: Tensor, real: Tensor, *, neighbours: int = 5) -> dict[str, float]:
    """Measure fidelity and diversity separately, by the balls from each point to its k-th neighbour in its own set.

    (Kynkaanniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797.)

    Args:
        fake: (N, F).
        real: (M, F).
        neighbours: k, below N and M.

    Returns:
        ``precision``: share of the fakes that lie in a ball of some real point. ``recall``: share of the real points
        that lie in a ball of some fake. ``density``: mean number of real balls that hold a fake, over k: 1 for equal
        distributions, above 1 where fakes crowd where real points are dense. ``coverage``: share of the real balls
        that hold a fake; for equal distributions and numbers about 1 - 2^-k (97 % for k = 5).
    """
    fake, real = _clouds("precision_recall", fake, real)
    neighbours = checks.whole("precision_recall", "neighbours", neighbours, minimum=1)
    least = min(len(fake), len(real))
    if neighbours >= least:
        raise ValueError(
            f"precision_recall: neighbours must be below {least}, the size of the smaller set, got {neighbours}"
        )
    radius_real, radius_fake = _radii(real, neighbours), _radii(fake, neighbours)
    in_real = torch.zeros(len(fake), dtype=torch.int64, device="cpu")  # in how many real balls each fake lies
    recalled, covered = [], []
    for rows, radius in zip(real.split(_ROWS), radius_real.split(_ROWS), strict=True):
        distance = _distances(rows, fake)
        inside = distance <= radius[:, None]
        in_real += inside.sum(dim=0)
        covered.append(inside.any(dim=1))
        recalled.append((distance <= radius_fake).any(dim=1))
    return {
        "precision": (in_real > 0).double().mean().item(),
        "recall": torch.cat(recalled).double().mean().item(),
        "density": in_real.double().mean().item() / neighbours,
        "coverage": torch.cat(covered).double().mean().item(),
    }


def nearest(a: Tensor, b: Tensor, *, same: bool = False) -> tuple[Tensor, Tensor]:
    """Return the distance from each row of `a` (N, F) to the nearest row of `b` (M, F), and its index: both (N,).

    With `same` the two are one set, and no row is its own neighbour.
    """
    values, indices = [], []
    for first, rows in zip(range(0, len(a), _ROWS), a.split(_ROWS), strict=True):
        distance = _distances(rows, b)
        if same:
            own = torch.arange(len(rows), device=rows.device)
            distance[own, first + own] = torch.inf
        value, index = distance.min(dim=1)
        values.append(value)
        indices.append(index)
    return torch.cat(values), torch.cat(indices)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # cdist uses a matrix product. Its cancellation costs half the digits; in float64 eight remain.
    return torch.cdist(a, b)


def _radii(x: Tensor, k: int) -> Tensor:
    """Return the distance of each row to its k-th neighbour, not counting the row itself."""
    # kthvalue takes four times as long for a small k.
    nearest = [_distances(rows, x).topk(k + 1, dim=1, largest=False, sorted=False).values for rows in x.split(_ROWS)]
    return torch.cat(nearest).amax(dim=1)


def _clouds(function: str, a: Tensor, b: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Check two sets and return them as (N, F) float64 on the CPU."""
    for name, x in (("first", a), ("second", b)):
        checks.tensor(function, f"the {name} set", x)
        if x.ndim != 2 or len(x) < least:
            raise ValueError(
                f"{function}: the {name} set must be (N, F) with N at least {least}, got {tuple(x.shape)}; "
                "flatten images or take their features first"
            )
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{function}: the sets are {a.shape[1]} and {b.shape[1]} wide; both must have the same width")
    a, b = (x.detach().cpu().double() for x in (a, b))
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ValueError(f"{function}: the sets have NaN or infinite values; all must be finite")
    return a, b
