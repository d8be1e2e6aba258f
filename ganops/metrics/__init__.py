"""Numbers that say how good samples are, and how varied."""

from __future__ import annotations

from torch import Tensor

from ganops.data import Dataset
from ganops.metrics.images import image_metrics
from ganops.metrics.points import mode_metrics

__all__ = ["evaluate", "image_metrics", "mode_metrics"]


def evaluate(samples: Tensor, dataset: Dataset) -> dict[str, object]:
    """The metrics that suit `dataset`: `mode_metrics` where modes are known, `image_metrics` for labelled images.

    Args:
        samples: generated samples, shaped like ``dataset.samples``.
        dataset: the data they imitate. Nothing known about it gives an empty dictionary.
    """
    if dataset.kind == "points" and dataset.centres is not None and dataset.sigma is not None:
        return mode_metrics(samples, dataset.centres, dataset.sigma, dataset.centre_mode)
    if dataset.kind == "images" and dataset.labels is not None:
        return image_metrics(samples, dataset.samples, dataset.labels)
    return {}
