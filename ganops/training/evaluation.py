"""How good a run's samples are: which metrics, on how many samples, and by which of them the best state is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ganops.metrics import evaluate

if TYPE_CHECKING:
    from ganops.training.trainer import Trainer

__all__ = ["metrics", "score"]

_SAMPLES = {"points": 2500, "images": 1000}  # PacGAN's number for points
_STACKED = 26_000  # and for the thousand modes of stacked digits, at the end of a run

#: By what states are compared: the first that a data set has. Higher is better.
_SCORES: tuple[tuple[str, Callable[[dict[str, Any]], float]], ...] = (
    ("l1", lambda m: -m["l1"]),
    ("frechet_distance", lambda m: -m["frechet_distance"]),
    # Both matter: one perfect mode is no success, nor are eight smeared ones.
    ("high_quality", lambda m: m["high_quality"] * m["modes"] / m["modes_total"]),
    ("reverse_kl", lambda m: -m["reverse_kl"]),
    ("sliced_wasserstein", lambda m: -m["sliced_wasserstein"]),
)


def metrics(trainer: Trainer, *, last: bool = False) -> dict[str, Any]:
    """The metrics of a trainer's samples; nothing where its data is no `ganops.data.Dataset`.

    Paired data is measured on the pairs that were held out.

    Args:
        trainer: the run.
        last: at its end, where more may be spent.
    """
    dataset, held_out = trainer.dataset, trainer.held_out
    if dataset is None:
        return {}
    if held_out is not None:
        samples = trainer.sample(len(held_out), condition=held_out.conditions)
        return evaluate(samples, dataset, labels=held_out.labels, targets=held_out.samples)
    count = _STACKED if last and dataset.name == "stacked_mnist" else _SAMPLES[dataset.kind]
    return evaluate(trainer.sample(count), dataset, labels=trainer.conditions(count))


def score(found: dict[str, Any]) -> float | None:
    """One number to compare two states of a run by, higher is better; None where nothing was measured."""
    for name, value in _SCORES:
        if found.get(name) is not None:
            return value(found)
    return None
