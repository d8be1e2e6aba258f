"""How good a run's samples are: which metrics, on how many samples, and by which of them the best state is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganops.metrics import evaluate

if TYPE_CHECKING:
    from ganops.data import Dataset
    from ganops.training.trainer import Trainer

__all__ = ["measure", "metrics", "score"]

_SAMPLES = {"points": 2500, "images": 1000}  # PacGAN's number for points
_STACKED = 26_000  # and for the thousand modes of stacked digits, at the end of a run

#: By what states are compared: the first that a data set has. Higher is better.
_SCORES: tuple[tuple[str, Callable[[dict[str, Any]], float]], ...] = (
    ("frechet_distance", lambda m: -m["frechet_distance"]),
    ("l1", lambda m: -m["l1"]),  # of pairs that have no other: it is least for a blur
    # Both matter: one perfect mode is no success, nor are eight smeared ones.
    ("high_quality", lambda m: m["high_quality"] * m["modes"] / m["modes_total"]),
    ("reverse_kl", lambda m: -m["reverse_kl"]),
    ("sliced_wasserstein", lambda m: -m["sliced_wasserstein"]),
)


def metrics(trainer: Trainer, *, last: bool = False) -> dict[str, Any]:
    """`measure` for a trainer's samples; nothing where its data is no `ganops.data.Dataset`.

    Args:
        trainer: the run.
        last: at its end, where more may be spent.
    """
    dataset = trainer.dataset
    if dataset is None:
        return {}
    classes = dataset.classes if trainer.config.conditional and trainer.held_out is None else None
    return measure(lambda n, c: trainer.sample(n, condition=c), dataset, trainer.held_out, classes, last=last)


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
        sample: so many samples under such conditions, (N, …) or None.
        dataset: what it imitates.
        held_out: of paired data the pairs that it is measured on; None: it begins with noise.
        classes: of a generator that is told the class; None: it is told none.
        last: at a run's end, where more may be spent.
    """
    if held_out is not None:
        samples = sample(len(held_out), held_out.conditions)
        return evaluate(samples, dataset, labels=held_out.labels, targets=held_out.samples)
    count = _STACKED if last and dataset.name == "stacked_mnist" else _SAMPLES[dataset.kind]
    labels = None if classes is None else torch.arange(count) % classes
    return evaluate(sample(count, labels), dataset, labels=labels)


def score(found: dict[str, Any]) -> float | None:
    """One number to compare two states of a run by, higher is better; None where nothing was measured."""
    for name, value in _SCORES:
        if found.get(name) is not None:
            return value(found)
    return None
