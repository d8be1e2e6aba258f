"""Numbers that say how good samples are, and how varied. Nothing is downloaded.

>>> from ganops import data, metrics
>>> digits = data.load("digits")
>>> metrics.evaluate(samples, digits)["frechet_distance"]                      # doctest: +SKIP
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganops.data import Dataset
from ganops.metrics.distances import frechet_distance, kernel_distance, precision_recall, sliced_wasserstein
from ganops.metrics.images import class_coverage, image_metrics, label_accuracy, stacked_metrics
from ganops.metrics.inception import inception_fid
from ganops.metrics.judge import Classifier, classifier
from ganops.metrics.points import mode_metrics

__all__ = [
    "Classifier",
    "class_coverage",
    "classifier",
    "evaluate",
    "frechet_distance",
    "image_metrics",
    "inception_fid",
    "kernel_distance",
    "label_accuracy",
    "mode_metrics",
    "precision_recall",
    "sliced_wasserstein",
    "stacked_metrics",
]


def evaluate(
    samples: Tensor, dataset: Dataset, labels: Tensor | None = None, targets: Tensor | None = None
) -> dict[str, object]:
    """The metrics that suit `dataset`, for samples of a generator.

    Points: ``sliced_wasserstein`` to as many real points (W1 on the line), what `precision_recall` returns, and
    `mode_metrics` where modes are known. Labelled images: `image_metrics`. Stacked digits: `stacked_metrics`.

    Args:
        samples: generated samples, shaped like ``dataset.samples``.
        dataset: the data they imitate. Nothing known about it gives an empty dictionary.
        labels: the class that was asked for in each sample, (N,) int64, for a conditional generator: adds what
            `label_accuracy` returns.
        targets: the real image that goes with each sample, (N, C, H, W), for an image-to-image generator: adds
            ``l1``, the mean absolute difference of pixels in [-1, 1].
    """
    result: dict[str, object] = {}
    if dataset.kind == "points":
        result = _point_metrics(samples, dataset, labels)
    elif dataset.name == "stacked_mnist":
        result = stacked_metrics(samples, labels)
    elif dataset.labels is not None:
        result = image_metrics(samples, dataset, labels)
    if targets is not None:
        if targets.shape != samples.shape:
            raise ValueError(
                f"evaluate: targets {tuple(targets.shape)} and samples {tuple(samples.shape)} must have the same shape"
            )
        result["l1"] = (samples.cpu() - targets.cpu()).abs().double().mean().item()
    return result


_NEIGHBOURS = 5
_CLOUD = 2500  # points compared in pairs


def _point_metrics(samples: Tensor, dataset: Dataset, labels: Tensor | None) -> dict[str, object]:
    result: dict[str, object] = {}
    centres, modes = dataset.centres, dataset.modes
    if centres is not None and modes is not None and dataset.sigma is not None:
        result |= mode_metrics(samples, centres, dataset.sigma, dataset.centre_mode)
        if labels is not None:
            found = modes[torch.cdist(samples.cpu().double(), centres.double()).argmin(dim=1)]
            result |= label_accuracy(found, labels, dataset.num_modes)
    if not samples.isfinite().all():
        return result  # the distances have no value; the modes count such samples as bad
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
    real = dataset.samples[order[: len(samples)]]
    result["sliced_wasserstein"] = sliced_wasserstein(samples, real)
    least = min(len(samples), len(real))
    if least > _NEIGHBOURS:
        result |= precision_recall(samples[:_CLOUD], real[:_CLOUD], neighbours=_NEIGHBOURS)
    return result
