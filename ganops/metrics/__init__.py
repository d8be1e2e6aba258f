"""Metrics of the quality and variety of samples. Nothing is downloaded.

>>> from ganops import data, metrics
>>> digits = data.load("digits")
>>> metrics.evaluate(samples, digits)["frechet_distance"]                      # doctest: +SKIP
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganops.data import Dataset
from ganops.metrics.distances import frechet_distance, kernel_distance, precision_recall, sliced_wasserstein
from ganops.metrics.image_classifier import Classifier, classifier
from ganops.metrics.images import class_coverage, image_metrics, label_accuracy, shuffled, stacked_metrics
from ganops.metrics.inception import inception_fid
from ganops.metrics.points import mode_metrics
from ganops.metrics.pyramid import pyramid_wasserstein

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
    "pyramid_wasserstein",
    "sliced_wasserstein",
    "stacked_metrics",
]


def evaluate(
    samples: Tensor, dataset: Dataset, labels: Tensor | None = None, targets: Tensor | None = None
) -> dict[str, object]:
    """Measure samples of a generator with the metrics for `dataset`.

    Points: ``sliced_wasserstein`` to as many real points (W1 on the line), the results of `precision_recall`, and of
    `mode_metrics` if modes are known. Labelled images: `image_metrics`. Stacked digits: `stacked_metrics`. Images
    without labels: `pyramid_wasserstein` to as many real images, at most 1,000 of each.

    Args:
        samples: generated samples, shaped like ``dataset.samples``.
        dataset: the real data.
        labels: the requested class of each sample, (N,) int64, for conditional generators: adds the results of
            `label_accuracy`.
        targets: the real image for each sample, (N, C, H, W), for image-to-image generators: adds ``l1``, the mean
            absolute difference of pixels in [-1, 1].

    Raises:
        ValueError: shapes do not match, or images have NaN or infinite values.
    """
    result: dict[str, object] = {}
    if dataset.kind == "points":
        result = _point_metrics(samples, dataset, labels)
    elif dataset.name == "stacked_mnist":
        result = stacked_metrics(samples, labels)
    elif dataset.labels is not None:
        result = image_metrics(samples, dataset, labels)
    elif targets is None and min(dataset.shape[1:]) >= 7:
        real = dataset.samples[shuffled(len(dataset))[: min(len(samples), _IMAGES)]]
        result |= pyramid_wasserstein(samples[:_IMAGES], real, patches=_PATCHES, projections=_PROJECTIONS)
    if targets is not None:
        if targets.shape != samples.shape:
            raise ValueError(
                f"evaluate: targets {tuple(targets.shape)} and samples {tuple(samples.shape)} must have the same shape"
            )
        result["l1"] = (samples.cpu() - targets.cpu()).abs().double().mean().item()
    return result


_IMAGES, _PATCHES, _PROJECTIONS = 1000, 32, 256  # a few seconds where the paper's numbers take minutes
_NEIGHBOURS = 5
_CLOUD = 2500  # points that are compared in pairs


def _point_metrics(samples: Tensor, dataset: Dataset, labels: Tensor | None) -> dict[str, object]:
    result: dict[str, object] = {}
    centres, modes = dataset.centres, dataset.modes
    if centres is not None and modes is not None and dataset.sigma is not None:
        result |= mode_metrics(samples, centres, dataset.sigma, dataset.centre_mode)
        if labels is not None:
            found = modes.cpu()[torch.cdist(samples.cpu().double(), centres.cpu().double()).argmin(dim=1)]
            result |= label_accuracy(found, labels, dataset.num_modes)
    if not samples.isfinite().all():
        return result  # the distances have no value; `mode_metrics` counts such samples as bad
    real = dataset.samples[shuffled(len(dataset))[: len(samples)]]
    result["sliced_wasserstein"] = sliced_wasserstein(samples, real)
    least = min(len(samples), len(real))
    if least > _NEIGHBOURS:
        result |= precision_recall(samples[:_CLOUD], real[:_CLOUD], neighbours=_NEIGHBOURS)
    return result
