"""Mode coverage of 2-D samples, as PacGAN measures it (Lin et al. 2018, arXiv:1712.04086, section 4.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganops._common import checks

__all__ = ["mode_metrics"]


def mode_metrics(
    samples: Tensor, centres: Tensor, sigma: float, centre_mode: Tensor | None = None
) -> dict[str, object]:
    """Measure the modes captured, the share of high-quality samples, and the reverse KL.

    A sample is of high quality if it lies within 3 sigma (Euclidean) of its nearest centre; a mode is captured if at
    least one high-quality sample belongs to it. Of N(centre, sigma^2 I) itself, 1 - exp(-9/2) = 98.9 % qualify.

    Args:
        samples: (N, 2); the papers use N = 2,500.
        centres: (M, 2).
        sigma: standard deviation per coordinate, in the units of `samples`.
        centre_mode: (M,) int64, the mode of each centre, 0 to K - 1, in which each mode occurs; None: every centre is a
            mode.

    Returns:
        ``modes``: how many of the K are captured; ``modes_total``: K; ``high_quality``: in [0, 1];
        ``reverse_kl``: log K - H(shares of the modes among high-quality samples), in nats: 0 for an even spread,
        log K for a single mode, None if no sample is of high quality; ``mode_tv``: total variation between those
        shares and the even spread, half the sum of |share - 1/K|: 0 to 1 - 1/K;
        ``mode_shares``: those shares, a list of length K (all zero if no sample is of high quality).
    """
    sigma = checks.number("mode_metrics", "sigma", sigma, minimum=0)
    if samples.ndim != 2 or samples.shape[1:] != centres.shape[1:]:
        raise ValueError(
            f"mode_metrics: samples {tuple(samples.shape)} and centres {tuple(centres.shape)} must have the same width"
        )
    if len(samples) == 0:
        raise ValueError("mode_metrics: samples is empty; it must have at least one row")
    samples, centres = samples.double().cpu(), centres.double().cpu()
    mode_of = torch.arange(len(centres), device=centres.device) if centre_mode is None else centre_mode.cpu()
    total = int(mode_of.max()) + 1
    # Squared differences, not the |a|^2 - 2ab + |b|^2 expansion: 3 sigma is small against the coordinates.
    distance, nearest = torch.cdist(samples, centres, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    good = distance <= 3 * sigma  # False for NaN samples
    counts = torch.bincount(mode_of[nearest[good]], minlength=total)
    shares = counts.double() / counts.sum().clamp(min=1)
    entropy = -torch.special.xlogy(shares, shares).sum().item()
    return {
        "modes": int((counts > 0).sum()),
        "modes_total": total,
        "high_quality": good.double().mean().item(),
        "reverse_kl": math.log(total) - entropy if counts.any() else None,
        "mode_tv": (shares - 1 / total).abs().sum().item() / 2 if counts.any() else None,
        "mode_shares": shares.tolist(),
    }
