"""The batches of whatever data a trainer is given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from ganops.data import Dataset, Images, Shards, reference
from ganops.training.batches import Batches, LoaderBatches, TensorBatches
from ganops.training.config import TrainingConfig
from ganops.training.inputs import check_loader
from ganops.training.streams import IterableBatches, StreamBatches, default_workers

__all__ = ["TrainingData", "open_data", "reference_of"]

#: What a trainer takes.
TrainingData = Dataset | Images | Shards | Tensor | torch.utils.data.Dataset | Iterable[Any]


def open_data(data: TrainingData, config: TrainingConfig, device: torch.device) -> tuple[Batches, Dataset | None]:
    """The batches of a trainer's data, and for a data set with images as conditions the pairs that are held out.

    Raises:
        TypeError: `data` is nothing that batches can be taken from.
        ValueError: it has no conditions and `config` needs them, or it is smaller than a batch.
    """
    named = isinstance(data, Dataset | Images | Shards)
    if named and config.conditional and data.conditions is None and data.classes is None:
        raise ValueError(
            f"conditional needs labels, and data {data.name!r} has none; choose labelled data such as mnist"
        )
    if isinstance(data, Dataset):
        held_out = conditions = None
        if config.conditional:
            if data.conditions is not None:
                data, held_out = data.split()
            conditions = (data.labels if data.conditions is None else data.conditions).to(device)
        return TensorBatches(data.samples.to(device), config.batch_size, config.seed, conditions), held_out
    if isinstance(data, Tensor):
        if config.conditional:
            raise ValueError(
                "conditional needs a condition for each sample, and data is a tensor; give a ganops.data.Dataset "
                "with labels, or a DataLoader of (samples, labels)"
            )
        return TensorBatches(data.to(device), config.batch_size, config.seed), None
    workers = default_workers() if config.workers is None else config.workers
    if isinstance(data, Images) and data.kept:
        workers = 0
    options = {"conditional": config.conditional, "workers": workers}
    if isinstance(data, IterableDataset):
        return IterableBatches(data, config.batch_size, config.seed, device, **options), None
    if isinstance(data, torch.utils.data.Dataset) and hasattr(data, "__len__"):
        return StreamBatches(data, config.batch_size, config.seed, device, **options), None
    if not hasattr(data, "__iter__"):
        raise TypeError(
            "data must be a ganops.data.Dataset, a tensor, a torch.utils.data.Dataset with a length or an iterable of "
            f"batches, got {type(data).__name__}"
        )
    check_loader(data)
    return LoaderBatches(data, device, config.conditional), None


def reference_of(data: TrainingData) -> Dataset | None:
    """The real samples that a run is compared with, see `ganops.data.reference`; None for a user's own data."""
    return reference(data) if isinstance(data, Dataset | Images | Shards) else None
