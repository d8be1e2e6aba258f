"""What a run is looked at with: the real samples, conditions and metrics of its data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganops.data import Dataset
from ganops.training import evaluation, report
from ganops.training.batches import Batch
from ganops.training.config import TrainingConfig

__all__ = ["Examples", "draw"]

_PAIRS = 32  # in the picture of an image-to-image run


class Examples:
    """Real samples and conditions for metrics, pictures and the monitor. They are kept on the CPU.

    Args:
        config: of the run.
        dataset: the data; None if the trainer was given anything but a `ganops.data.Dataset`.
        held_out: for paired data, the pairs that the networks are not trained on; else None.
    """

    def __init__(self, config: TrainingConfig, dataset: Dataset | None, held_out: Dataset | None) -> None:
        self.config = config
        self.dataset = dataset
        self.held_out = held_out

    @property
    def classes(self) -> int | None:
        """Number of classes of a class-conditional run; None otherwise."""
        if self.config.conditional and self.dataset is not None and self.held_out is None:
            return self.dataset.classes
        return None

    def conditions(self, count: int, last: Batch | None) -> Tensor | None:
        """Conditions for `count` samples: every class in turn, the held-out images in turn, or those of the `last`
        batch; None in a run without conditions."""
        if not self.config.conditional:
            return None
        turn = torch.arange(count, device="cpu")
        if self.held_out is not None:
            return self.held_out.conditions[turn % len(self.held_out)]
        if self.dataset is not None:
            return turn % self.dataset.classes
        if last is None:
            raise ValueError("sample: condition is missing, and no batch has been seen from which it could be taken")
        return last.condition.cpu()[turn % len(last.condition)]

    def real_batch(self, count: int, random: torch.Generator, last: Batch | None) -> Batch:
        """Up to `count` real samples and their conditions: drawn from the data set, or those of the `last` batch.

        Their number is divisible into packs, and if possible into the groups of four of `ganops.minibatch_stddev`.
        """
        if self.dataset is not None:
            chosen = torch.randint(len(self.dataset), (count,), generator=random, device=random.device)
            conditions = None
            if self.config.conditional:
                paired = self.dataset.conditions
                conditions = (self.dataset.labels if paired is None else paired)[chosen]
            batch = Batch(self.dataset.samples[chosen], conditions)
        elif last is not None:
            batch = Batch(*(None if part is None else part[:count] for part in last))
        else:
            raise ValueError("observe: real is missing, and no batch has been seen from which samples could be taken")
        whole = 4 * self.config.pack if len(batch.samples) >= 4 * self.config.pack else self.config.pack
        used = len(batch.samples) // whole * whole
        return Batch(*(None if part is None else part[:used] for part in batch))

    def measure(self, sample: Callable[[int, Tensor | None], Tensor], *, last: bool = False) -> dict[str, Any]:
        """The metrics of a generator, see `evaluation.measure`; empty without a data set."""
        if self.dataset is None:
            return {}
        return evaluation.measure(sample, self.dataset, self.held_out, self.classes, last=last)

    def draw_picture(self, path: Path, sample: Callable[[int, Tensor | None], Tensor]) -> None:
        """Draw samples of a generator: beside their conditions and targets for paired data, else as they are.

        Args:
            path: of the picture.
            sample: returns samples for a count and conditions; None: conditions of its own choice.
        """
        if self.held_out is None:
            report.write_samples(path, lambda count: sample(count, None), self.dataset, self.classes)
            return
        chosen = torch.linspace(0, len(self.held_out) - 1, min(len(self.held_out), _PAIRS), device="cpu").long()
        pairs = self.held_out.part(chosen)
        report.write_triples(path, pairs.conditions, sample(len(pairs), pairs.conditions), pairs.samples)


@torch.no_grad()
def draw(network: nn.Module, z: Tensor, condition: Tensor | None = None, batch: int = 500) -> Tensor:
    """``network(z)``, or ``network(z, condition)``, in evaluation mode, on the CPU. The network's mode is restored.

    Args:
        network: a generator.
        z: (N, latent_dim), on the network's device.
        condition: (N, …) for a conditional generator.
        batch: samples computed at once.

    Raises:
        ValueError: `condition` and `z` differ in length.
    """
    if condition is not None and len(condition) != len(z):
        raise ValueError(f"condition must have one entry for each of the {len(z)} samples, got {len(condition)}")
    inputs = [z.split(batch)] if condition is None else [z.split(batch), condition.to(z.device).split(batch)]
    training = network.training
    network.eval()
    try:
        return torch.cat([network(*parts).cpu() for parts in zip(*inputs, strict=True)])
    finally:
        network.train(training)
