"""The metrics of a generator: which, on how many samples, and the score by which the best state is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganops.data.images import reference_count
from ganops.metrics import evaluate

if TYPE_CHECKING:
    from ganops.data import Dataset

__all__ = ["measure", "score"]

_SAMPLES = {"points": 2500, "images": 1000}  # PacGAN's number for points
_STACKED = 26_000  # and for the thousand modes of stacked digits, at the end of a run

#: The numbers by which states are compared, each of some metrics; the first one whose metrics are there is used. Higher
#: is better.
_SCORES: tuple[tuple[tuple[str, ...], Callable[..., float]], ...] = (
    (("frechet_distance",), lambda distance: -distance),
    (("l1",), lambda distance: -distance),  # last resort for pairs: a blurred image has the least
    # One perfect mode is no success, nor are eight blurred ones.
    (("high_quality", "modes", "modes_total"), lambda quality, modes, total: quality * modes / max(total, 1)),
    (("reverse_kl",), lambda divergence: -divergence),
    (("sliced_wasserstein",), lambda distance: -distance),
)


def measure(
    sample: Callable[[int, Tensor | None], Tensor],
    dataset: Dataset,
    held_out: Dataset | None,
    classes: int | None,
    *,
    last: bool = False,
) -> dict[str, Any]:
    """The metrics of a generator.

    Args:
        sample: returns samples for a count and conditions, (N, …) or None.
        dataset: the data that the samples imitate.
        held_out: for paired data, the pairs to measure on; None for a generator from noise alone.
        classes: number of classes of a class-conditional generator; None: it has none.
        last: whether this is the end of a run, where more samples are drawn.
    """
    if held_out is not None:
        samples = sample(len(held_out), held_out.conditions)
        return evaluate(samples, dataset, labels=held_out.labels, targets=held_out.samples)
    count = _SAMPLES[dataset.kind]
    if dataset.kind == "images":
        count = min(count, reference_count(dataset.shape, labelled=False))  # large images need much memory
    if last and dataset.name == "stacked_mnist":
        count = _STACKED
    labels = None if classes is None else torch.arange(count, device="cpu") % classes
    return evaluate(sample(count, labels), dataset, labels=labels)


def score(found: dict[str, Any]) -> float | None:
    """One number to compare two states of a run by, higher is better; None if nothing was measured."""
    for names, value in _SCORES:
        metrics = [found.get(name) for name in names]
        if all(isinstance(metric, int | float) for metric in metrics):
            return value(*metrics)
    return None
