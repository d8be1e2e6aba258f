"""How good a run's samples are: which metrics, on how many samples, and by which of them the best state is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ganops.metrics import evaluate

if TYPE_CHECKING:
    from ganops.training.trainer import Trainer

__all__ = ["metrics", "score"]

_SAMPLES = {"points": 2500, "images": 1000}  # PacGAN's number for points

#: By what states are compared: the first that a data set has. Higher is better.
_SCORES: tuple[tuple[str, Callable[[dict[str, Any]], float]], ...] = (
    ("l1_held_out", lambda m: -m["l1_held_out"]),
    # Both matter: one perfect mode is no success, nor are eight smeared ones.
    ("modes", lambda m: m["high_quality"] * m["modes"] / m["modes_total"]),
    # An even spread over the classes, of samples about as far from the nearest real one as real ones are.
    ("class_entropy", lambda m: m["class_entropy"] - abs(math.log(max(m["nearest_real_ratio"], 1e-6)))),
)


def metrics(trainer: Trainer) -> dict[str, Any]:
    """The metrics of a trainer's samples; nothing where its data is no `ganops.data.Dataset`.

    For paired data ``l1_held_out``: the mean absolute difference, in units of [-1, 1], between what the generator makes
    of the conditions that were held out and what they were taken from.
    """
    dataset, held_out = trainer.dataset, trainer.held_out
    if dataset is None:
        return {}
    if held_out is None:
        return evaluate(trainer.sample(_SAMPLES[dataset.kind]), dataset)
    samples = trainer.sample(len(held_out), condition=held_out.conditions)
    found = {"l1_held_out": (samples - held_out.samples.cpu()).abs().mean().item()}
    return found | evaluate(samples, dataset)


def score(found: dict[str, Any]) -> float | None:
    """One number to compare two states of a run by, higher is better; None where nothing was measured."""
    for name, value in _SCORES:
        if found.get(name) is not None:
            return value(found)
    return None
