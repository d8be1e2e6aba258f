"""Metrics of images in the feature space of a small classifier of the real ones (`ganops.metrics.image_classifier`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ganops import data
from ganops.data import Dataset
from ganops.metrics.distances import frechet_distance, kernel_distance, nearest, precision_recall
from ganops.metrics.image_classifier import Classifier, classifier

__all__ = ["class_coverage", "image_metrics", "label_accuracy", "stacked_metrics"]

COVERED = 0.04  # share of the samples from which a class counts as covered (an even spread over ten gives 0.1)
_REFERENCE = 5000  # the most real images that samples are compared with


@dataclass(frozen=True)
class _Reference:
    """Numbers of the real images, computed once per data set."""

    classifier: Classifier
    pixels: Tensor
    features: Tensor
    nearest_real: float
    frechet_real: float


_REFERENCES: dict[Classifier, _Reference] = {}


def _reference(dataset: Dataset) -> _Reference:
    network = classifier(dataset)
    if network not in _REFERENCES:
        real = dataset.samples[shuffled(len(dataset))[:_REFERENCE]].cpu()
        pixels, features = real.flatten(1), network.features(real)
        few = pixels[:1000]
        halves = features[: len(features) // 2], features[len(features) // 2 :]
        _REFERENCES[network] = _Reference(
            network, pixels, features, nearest(few, few, same=True)[0].median().item(), frechet_distance(*halves)
        )
    return _REFERENCES[network]


def shuffled(count: int) -> Tensor:
    """The numbers below `count` in an order that is always the same."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0), dtype=torch.int64, device="cpu")


def image_metrics(samples: Tensor, dataset: Dataset, labels: Tensor | None = None) -> dict[str, object]:
    """Measure which classes the samples show, how close they are to real images, and how varied they are.

    Args:
        samples: generated images, (N, C, H, W) in [-1, 1], at least 10.
        dataset: labelled real images of the same shape.
        labels: the requested class of each sample, (N,) int64, for conditional generators.

    Returns:
        The results of `class_coverage`; ``judge_accuracy``: the classifier's accuracy on real images that it was not
        trained on; ``frechet_distance``, ``kernel_distance`` and the results of `precision_recall`, in the classifier's
        feature space (FID's, KID's and PRDC's formulas, but not comparable to values in Inception's space);
        ``frechet_distance_real``: the distance between two halves of the real images, a lower bound in practice;
        ``nearest_real_ratio``: median L2 distance in pixels from a sample to its nearest real image, divided by that
        from a real image to its nearest other one: about 1 for samples as typical as real images, well below 1 for
        copies or blur, above 1 for images unlike any real one; with `labels` the results of `label_accuracy`.
    """
    _check_images(samples, dataset, 10)
    real = _reference(dataset)
    samples = samples.float().cpu()
    features = real.classifier.features(samples)
    found = real.classifier.classes_of(features)
    result = class_coverage(found, dataset.classes or 0) | {
        "judge_accuracy": real.classifier.test_accuracy,
        "frechet_distance": frechet_distance(features, real.features),
        "frechet_distance_real": real.frechet_real,
        "kernel_distance": kernel_distance(features, real.features),
        **precision_recall(features, real.features, neighbours=min(5, len(features) - 1, len(real.features) - 1)),
        "nearest_real_ratio": nearest(samples.flatten(1), real.pixels)[0].median().item() / real.nearest_real,
    }
    return result if labels is None else result | label_accuracy(found, labels, dataset.classes or 0)


def class_coverage(found: Tensor, total: int) -> dict[str, object]:
    """Measure how samples of the classes `found`, (N,) int64 in [0, total), spread over the classes.

    Returns:
        ``classes``: the number of classes with at least 4 % of the samples; ``classes_total``; ``class_shares``: list
        of length `total`; ``class_entropy``: entropy of the shares over log `total`, 1 for an even spread.
    """
    shares = torch.bincount(found.cpu(), minlength=total).double() / len(found)
    entropy = torch.special.entr(shares).sum().item()
    return {
        "classes": int((shares >= min(COVERED, 0.4 / total)).sum()),
        "classes_total": total,
        "class_shares": shares.tolist(),
        "class_entropy": entropy / math.log(total) if total > 1 else 1.0,
    }


def label_accuracy(found: Tensor, labels: Tensor, total: int) -> dict[str, object]:
    """Measure how often a conditional generator makes the requested class.

    Args:
        found, labels: the class that each sample shows and the requested class, (N,) int64 in [0, total).
        total: number of classes.

    Returns:
        ``label_accuracy``: share of the samples where the two agree; ``label_accuracy_by_class``: the same for each
        requested class, a list of length `total` with None for classes that were not requested.
    """
    if found.shape != labels.shape:
        raise ValueError(
            f"label_accuracy: labels {tuple(labels.shape)} and samples {tuple(found.shape)} must have the same shape"
        )
    labels = labels.cpu()
    right = (found.cpu() == labels).double()
    asked = torch.bincount(labels, minlength=total)
    hits = torch.bincount(labels, weights=right, minlength=total)
    return {
        "label_accuracy": right.mean().item(),
        "label_accuracy_by_class": [(h / n).item() if n else None for h, n in zip(hits, asked, strict=True)],
    }


def stacked_metrics(samples: Tensor, labels: Tensor | None = None) -> dict[str, object]:
    """Count the modes of stacked MNIST: the classifier of `mnist` reads each channel; the three digits are the mode.

    PacGAN's protocol (Lin et al. 2018, arXiv:1712.04086, section 4.2), which uses 26,000 samples.

    Args:
        samples: (N, 3, 28, 28).
        labels: the requested number of each sample, 0 to 999, (N,) int64, for conditional generators.

    Returns:
        ``modes``: how many of the 1,000 numbers occur; ``modes_total``: 1,000; ``modes_real``: the expected number
        among as many real samples; ``reverse_kl``: KL(shares || even spread) in nats, which few samples bias upwards
        by about 1000 / (2 N); ``judge_accuracy``: the classifier's accuracy on single digits; with `labels` the
        results of `label_accuracy`.
    """
    if samples.ndim != 4 or samples.shape[1:] != (3, 28, 28) or len(samples) == 0:
        raise ValueError(f"stacked_metrics: samples must be (N, 3, 28, 28), got {tuple(samples.shape)}")
    check_finite("stacked_metrics", samples)
    network = classifier(data.load("mnist"))
    digits = torch.stack([network.classify(samples[:, i : i + 1]) for i in range(3)], dim=1)
    number = (digits * torch.tensor([100, 10, 1], device="cpu")).sum(dim=1)
    shares = torch.bincount(number, minlength=1000).double() / len(number)
    entropy = torch.special.entr(shares).sum().item()
    result: dict[str, object] = {
        "modes": int((shares > 0).sum()),
        "modes_total": 1000,
        "modes_real": round(1000 * (1 - (1 - 1 / 1000) ** len(samples)), 1),
        "reverse_kl": math.log(1000) - entropy,
        "judge_accuracy": network.test_accuracy,
    }
    return result if labels is None else result | label_accuracy(number, labels, 1000)


def _check_images(samples: Tensor, dataset: Dataset, least: int) -> None:
    if samples.shape[1:] != dataset.samples.shape[1:]:
        raise ValueError(
            f"image_metrics: samples are {tuple(samples.shape[1:])} and real images {dataset.shape}; "
            "they must have the same shape"
        )
    if len(samples) < least:
        raise ValueError(f"image_metrics: samples must be at least {least}, got {len(samples)}")
    check_finite("image_metrics", samples)


def check_finite(function: str, samples: Tensor) -> None:
    """Raise ValueError if a sample has NaN or infinite values."""
    if not torch.isfinite(samples).all():
        raise ValueError(f"{function}: samples have NaN or infinite values; all must be finite")
