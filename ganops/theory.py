"""The theory of GANs as functions: optimal discriminators, divergences, the value of the game, Wasserstein distances.

Arguments are `torch.distributions`, densities on a grid, probability vectors, or samples, as each function's docstring
states. All functions are differentiable where the mathematics is. Results are on the device of the arguments. Notation:
p_d is the data's density and p_g the generator's; logarithms are natural, so divergences are in nats.

>>> from torch.distributions import Normal
>>> from ganops import theory
>>> data, generated = Normal(2.0, 1.0), Normal(0.0, 1.0)
>>> theory.optimal_discriminator(data, generated, torch.tensor([0.0, 1.0, 2.0]))    # sigmoid(2 x - 2)
tensor([0.1192, 0.5000, 0.8808])
>>> theory.wasserstein_1(data, generated)
tensor(2.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import overload

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, Normal, kl_divergence
from torch.nn import functional as F

__all__ = [
    "game_value",
    "gaussian_wasserstein_2",
    "jsd",
    "kl",
    "optimal_discriminator",
    "optimal_logit",
    "wasserstein_1",
    "wasserstein_2",
]

_REACH = 12.0  # an integration grid ends this many standard deviations beyond the means: 1 - Phi(12) < 1e-32
_POINTS = 20_001


def optimal_logit(data: Distribution, generated: Distribution, x: Tensor) -> Tensor:
    """Return the optimal discriminator's logit, log p_d(x) - log p_g(x), for x of the distributions' event shape.

    The optimal critic of any f-GAN is a function of it, which depends on the divergence.
    """
    return data.log_prob(x) - generated.log_prob(x)


def optimal_discriminator(data: Distribution, generated: Distribution, x: Tensor) -> Tensor:
    """Return D*(x) = p_d(x) / (p_d(x) + p_g(x)) (Goodfellow et al. 2014, arXiv:1406.2661, proposition 1).

    It is the sigmoid of `optimal_logit`, which is accurate where both densities underflow. For N(2, 1) against N(0, 1)
    it is sigmoid(2x - 2); sigmoid(2 - 2x), which some lecture notes have, is the probability that x is *generated*.
    """
    return optimal_logit(data, generated, x).sigmoid()


@overload
def kl(p: Distribution, q: Distribution, x: Tensor | None = None) -> Tensor: ...
@overload
def kl(p: Tensor, q: Tensor, x: Tensor | None = None) -> Tensor: ...
def kl(p: Distribution | Tensor, q: Distribution | Tensor, x: Tensor | None = None) -> Tensor:
    """Return the Kullback-Leibler divergence KL(p || q) = E_p log(p/q), in nats.

    Args:
        p, q: two one-dimensional distributions, two densities at the points `x`, or, without `x`, two probability
            vectors (..., K) that sum to one.
        x: points of evaluation, (P,) ascending. For distributions None means PyTorch's closed form if there is one,
            otherwise a grid that ends 12 standard deviations beyond both means.

    Returns:
        (), or (...) for vectors: zero for equal arguments, infinite if p has mass where q has none.

    >>> kl(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]))
    tensor(0.1438)
    """
    _check_pair("kl", p, q)
    if isinstance(p, Distribution) and isinstance(q, Distribution):
        if x is None:
            try:
                return kl_divergence(p, q)
            except NotImplementedError:
                x = _grid(p, q)
        log_p, log_q = p.log_prob(x), q.log_prob(x)
        return _expectation(log_p, log_p - log_q, x)
    _check_grid("kl", p, x)
    return _integrate(torch.xlogy(p, p) - torch.xlogy(p, q), x)


@overload
def jsd(p: Distribution, q: Distribution, x: Tensor | None = None) -> Tensor: ...
@overload
def jsd(p: Tensor, q: Tensor, x: Tensor | None = None) -> Tensor: ...
def jsd(p: Distribution | Tensor, q: Distribution | Tensor, x: Tensor | None = None) -> Tensor:
    """Return the Jensen-Shannon divergence, KL(p || m)/2 + KL(q || m)/2 with m = (p + q)/2, in nats.

    It lies in [0, log 2]. For disjoint supports it is log 2 at any distance, so its gradient is zero there. Arguments
    are those of `kl`.
    """
    _check_pair("jsd", p, q)
    if isinstance(p, Distribution) and isinstance(q, Distribution):
        x = _grid(p, q) if x is None else x
        # log(p/m) = log 2 + log sigmoid(log p - log q), which cannot underflow or overflow.
        return math.log(2) + game_value(p, q, x=x) / 2
    _check_grid("jsd", p, x)
    m = (p + q) / 2
    return (kl(p, m, x) + kl(q, m, x)) / 2


def game_value(
    data: Distribution,
    generated: Distribution,
    discriminator: Callable[[Tensor], Tensor] | None = None,
    x: Tensor | None = None,
) -> Tensor:
    """Return V(D, G) = E_data log D(x) + E_generated log(1 - D(x)), for one-dimensional distributions.

    For the optimal discriminator it is -log 4 + 2 JSD(data, generated); its minimum, -log 4, is reached when the two
    distributions are equal (Goodfellow et al. 2014, theorem 1).

    Args:
        data, generated: p_d and p_g.
        discriminator: a function from x (P,) to P logits (no sigmoid); None: the optimal discriminator.
        x: grid (P,) to integrate over, ascending; None: a grid that ends 12 standard deviations beyond both means.
    """
    x = _grid(data, generated) if x is None else x
    logit = optimal_logit(data, generated, x) if discriminator is None else discriminator(x).reshape(x.shape)
    of_data = _expectation(data.log_prob(x), F.logsigmoid(logit), x)
    return of_data + _expectation(generated.log_prob(x), F.logsigmoid(-logit), x)


def wasserstein_1(a: Distribution | Tensor, b: Distribution | Tensor) -> Tensor:
    """Return W1 between two distributions on the line, or between two sets of samples.

    Args:
        a, b: two `Normal` (closed form), two other one-dimensional distributions with a cdf (integrated numerically),
            or two tensors of samples, (N,) and (M,) or (N, 1) and (M, 1) (exact).

    Returns:
        (): for equally many samples the mean of |sorted(a) - sorted(b)|; for N(m, s^2) and N(m', s^2) |m - m'|.
    """
    _check_pair("wasserstein_1", a, b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        a, b = _line("wasserstein_1", "a", a), _line("wasserstein_1", "b", b)
        if len(a) == len(b):
            return (a - b).abs().mean()
        return _area_between(a, b)
    if isinstance(a, Normal) and isinstance(b, Normal):
        # The optimal coupling pairs equal quantiles: W1 = E|m + s Z|, Z ~ N(0, 1), the mean of a folded normal.
        m, s = a.loc - b.loc, (a.scale - b.scale).abs()
        safe = torch.where(s > 0, s, torch.ones_like(s))  # else the branch that is not used has a NaN gradient
        folded = s * math.sqrt(2 / math.pi) * torch.exp(-((m / safe) ** 2) / 2) + m * torch.erf(m / safe / math.sqrt(2))
        return torch.where(s > 0, folded, m.abs())
    x = _grid(a, b)
    return torch.trapezoid((a.cdf(x) - b.cdf(x)).abs(), x)


def wasserstein_2(a: Distribution | Tensor, b: Distribution | Tensor) -> Tensor:
    """Return W2 between two Gaussians (`Normal` or `MultivariateNormal`), or between equally many samples on the line.

    Returns:
        (): the distance, not its square. For N(m, s^2) and N(m', s'^2) it is the root of (m - m')^2 + (s - s')^2.
    """
    _check_pair("wasserstein_2", a, b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        a, b = _line("wasserstein_2", "a", a), _line("wasserstein_2", "b", b)
        if len(a) != len(b):
            raise ValueError(f"wasserstein_2: a ({len(a)}) and b ({len(b)}) must have the same length")
        return (a - b).square().mean().sqrt()
    if isinstance(a, Normal) and isinstance(b, Normal):
        return torch.hypot(a.loc - b.loc, a.scale - b.scale)
    if isinstance(a, MultivariateNormal) and isinstance(b, MultivariateNormal):
        return gaussian_wasserstein_2(a.mean, a.covariance_matrix, b.mean, b.covariance_matrix)
    raise TypeError(
        f"wasserstein_2: a ({type(a).__name__}) and b ({type(b).__name__}) must both be Normal, both "
        "MultivariateNormal, or both samples"
    )


def gaussian_wasserstein_2(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> Tensor:
    """Return W2 between N(mean_a, covariance_a) and N(mean_b, covariance_b), for means (F,) and covariances (F, F).

    The square is |m_a - m_b|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)) (Dowson & Landau 1982), the Frechet distance
    of FID. Singular covariances are allowed.
    """
    values, vectors = torch.linalg.eigh(covariance_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    # This matrix is symmetric and positive, so its eigenvalues are real. A B, with which the formula is often written,
    # has the same eigenvalues, but in floating point they come out complex.
    cross = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0).sqrt().sum()
    square = (mean_a - mean_b).square().sum() + covariance_a.trace() + covariance_b.trace() - 2 * cross
    return square.clamp(min=0).sqrt()


def _area_between(a: Tensor, b: Tensor) -> Tensor:
    """Integrate |F_a - F_b| over the line, for the empirical distribution functions of sorted samples."""
    every = torch.cat([a, b]).sort().values
    middle = every[:-1].contiguous()
    below = [torch.searchsorted(part.detach(), middle.detach(), right=True).to(every.dtype) for part in (a, b)]
    return (every.diff() * (below[0] / len(a) - below[1] / len(b)).abs()).sum()


def _line(function: str, name: str, samples: Tensor) -> Tensor:
    """Check samples (N,) or (N, 1) and sort them."""
    if samples.ndim == 2 and samples.shape[1] == 1:
        samples = samples[:, 0]
    if samples.ndim != 1 or len(samples) == 0:
        raise ValueError(
            f"{function}: {name} must be one-dimensional samples, (N,) with N at least 1, got {tuple(samples.shape)}; "
            "for points in more dimensions use ganops.metrics.sliced_wasserstein"
        )
    return samples.sort().values


def _integrate(values: Tensor, x: Tensor | None) -> Tensor:
    return values.sum(dim=-1) if x is None else torch.trapezoid(values, x)


def _expectation(log_density: Tensor, values: Tensor, x: Tensor) -> Tensor:
    """Integrate density times values over the grid; where the density is zero, the values do not matter."""
    density = log_density.exp()
    return torch.trapezoid(torch.where(density > 0, density * values, torch.zeros_like(density)), x)


def _grid(a: Distribution, b: Distribution) -> Tensor:
    """Return points that cover both distributions, float64 (float32 sums of 20,000 terms lose four digits)."""
    ends = []
    for distribution in (a, b):
        mean, deviation = distribution.mean.detach().double(), distribution.stddev.detach().double()
        if mean.ndim:
            raise ValueError(f"theory: distributions must be one-dimensional, got the batch shape {tuple(mean.shape)}")
        ends.append((mean - _REACH * deviation, mean + _REACH * deviation))
    low, high = min(float(e[0]) for e in ends), max(float(e[1]) for e in ends)
    if not math.isfinite(high - low):
        raise ValueError("theory: the distributions have no finite mean and deviation; give a grid x")
    return torch.linspace(low, high, _POINTS, dtype=torch.float64, device=a.mean.device)


def _check_pair(function: str, p: object, q: object) -> None:
    if isinstance(p, Tensor) != isinstance(q, Tensor) or not isinstance(p, Tensor | Distribution):
        raise TypeError(
            f"{function}: both arguments must be torch.distributions or both tensors, got {type(p).__name__} and "
            f"{type(q).__name__}"
        )


def _check_grid(function: str, p: Tensor, x: Tensor | None) -> None:
    if x is not None and p.shape[-1:] != x.shape:
        raise ValueError(
            f"{function}: densities {tuple(p.shape)} and points x {tuple(x.shape)} must have the same length"
        )
