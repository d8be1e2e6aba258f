"""Class coverage of image samples, judged by their nearest real neighbours.

A nearest-neighbour judge in pixel space is modest, needs no training and no weights to download, and is measured
with every result: `judge_accuracy` says how far its verdicts can be trusted on this data.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganops._optional import require

__all__ = ["image_metrics"]

_NEIGHBOURS = 3
_COVERED = 0.02  # a class counts as covered from this share of the samples (an even spread over ten gives 0.1)


def image_metrics(samples: Tensor, real: Tensor, labels: Tensor) -> dict[str, object]:
    """Which classes the samples show, and how close they come to real images.

    A 3-nearest-neighbour classifier is fitted on four fifths of the real images and judged on the remaining fifth.

    Args:
        samples: generated images, (N, C, H, W).
        real: real images, (M, C, H, W), in the same range.
        labels: (M,) int64, 0 to K - 1.

    Returns:
        ``classes``: how many of the K classes hold at least 2 % of the samples; ``classes_total``: K;
        ``class_shares``: list of length K; ``class_entropy``: entropy of the shares over log K, 1 for an even spread;
        ``nearest_real_ratio``: median L2 distance from a sample to its nearest real image, over that from a held-out
        real image to it: about 1 for samples as typical as real ones, well below 1 for copies (or blur), above 1 for
        images unlike any digit; ``judge_accuracy``: of the classifier on the held-out fifth.
    """
    if samples.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"image_metrics: samples are {tuple(samples.shape[1:])} and real images {tuple(real.shape[1:])}; "
            "they must have the same shape"
        )
    if not torch.isfinite(samples).all():
        raise ValueError("image_metrics: samples hold NaN or infinity; finite pixels are wanted")
    neighbors = require("sklearn.neighbors", "image metrics")
    x, y = real.flatten(1).cpu().numpy(), labels.cpu()
    total = int(y.max()) + 1
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).numpy()
    held, kept = order[: len(x) // 5], order[len(x) // 5 :]
    judge = neighbors.KNeighborsClassifier(_NEIGHBOURS).fit(x[kept], y[kept].numpy())
    fake = samples.flatten(1).float().cpu().numpy()
    shares = torch.bincount(torch.from_numpy(judge.predict(fake)), minlength=total).double() / len(fake)

    def nearest(images: object) -> float:
        return torch.from_numpy(judge.kneighbors(images, n_neighbors=1)[0]).median().item()

    return {
        "classes": int((shares >= _COVERED).sum()),
        "classes_total": total,
        "class_shares": shares.tolist(),
        "class_entropy": -torch.special.xlogy(shares, shares).sum().item() / math.log(total),
        "nearest_real_ratio": nearest(fake) / nearest(x[held]),
        "judge_accuracy": float(judge.score(x[held], y[held].numpy())),
    }
