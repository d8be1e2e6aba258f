"""Endless real batches with a memory: a run that is resumed sees the batches that it would have seen."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["Batch", "Batches", "LoaderBatches", "TensorBatches", "global_rng_state", "set_global_rng_state"]


class Batch(NamedTuple):
    """Real samples (N, *shape) and what each is conditioned on: labels (N,), images (N, C, H, W), or None."""

    samples: Tensor
    condition: Tensor | None = None


class Batches(Protocol):
    """Where a trainer gets its real samples from."""

    def next(self) -> Batch:
        """The next real batch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Where in the sequence we are, in types that `torch.load(weights_only=True)` accepts."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        ...


class TensorBatches:
    """Shuffled batches of a tensor in memory, a new order each epoch; the rest below one batch is left out.

    Args:
        samples: (N, *shape), on the device where batches are wanted.
        batch_size: at most N.
        seed: of the order.
        conditions: (N, …), what each sample is conditioned on; None: nothing.
    """

    def __init__(self, samples: Tensor, batch_size: int, seed: int, conditions: Tensor | None = None) -> None:
        if batch_size > len(samples):
            raise ValueError(f"batch_size must be at most the {len(samples)} samples of the data, got {batch_size}")
        self._samples = samples
        self._conditions = conditions
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        # The order is a function of this state: the state is what a checkpoint keeps, not the order.
        self._epoch_state = self._generator.get_state()
        self._order = torch.randperm(len(self._samples), generator=self._generator).to(self._samples.device)
        self._used = 0

    def next(self) -> Batch:
        """The next batch, of batch_size samples."""
        if self._used + self._batch_size > len(self._order):
            self._begin_epoch()
        chosen = self._order[self._used : self._used + self._batch_size]
        self._used += self._batch_size
        return Batch(self._samples[chosen], None if self._conditions is None else self._conditions[chosen])

    def state_dict(self) -> dict[str, Any]:
        """The state from which the epoch's order follows, and how much of it is used."""
        return {"epoch_state": self._epoch_state, "used": self._used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue in the middle of that epoch."""
        self._generator.set_state(state["epoch_state"])
        self._begin_epoch()
        self._used = state["used"]


class LoaderBatches:
    """Batches of any iterable that can be iterated again, such as a `torch.utils.data.DataLoader`.

    A batch may be a tensor, or a tuple, list or mapping: then its first entry is taken, and its second one if it is to
    be `conditional`; what else it holds is ignored.
    To resume, the epoch is begun again from the random state it began with and the batches already used are skipped.
    That is exact for whatever draws from the global generators of torch, NumPy and Python in this process, or from
    the loader's own `generator`; a loader that offers `state_dict` itself (torchdata) is asked instead.
    """

    def __init__(self, loader: Iterable[Any], device: torch.device, conditional: bool = False) -> None:
        self._loader = loader
        self._device = device
        self._conditional = conditional
        self._iterator: Iterator[Any] | None = None
        self._epoch_state: dict[str, Any] | None = None
        self._used = 0

    @property
    def _own_generator(self) -> torch.Generator | None:
        return getattr(self._loader, "generator", None)

    def _begin_epoch(self) -> None:
        own = self._own_generator
        self._epoch_state = {"global": global_rng_state(), "own": None if own is None else own.get_state()}
        self._iterator = iter(self._loader)
        self._used = 0

    def _raw(self) -> Any:
        if self._iterator is None:
            self._begin_epoch()
        try:
            batch = next(self._iterator)  # type: ignore[arg-type]
        except StopIteration:
            self._begin_epoch()
            try:
                batch = next(self._iterator)  # type: ignore[arg-type]
            except StopIteration:
                raise ValueError(
                    "data gave no batch; an iterable that can be iterated again is wanted, such as a DataLoader with "
                    "at least one batch (not an iterator that is used up)"
                ) from None
        self._used += 1
        return batch

    def next(self) -> Batch:
        """The next batch that the loader gives, on the device."""
        batch = self._raw()
        parts = list(batch.values()) if isinstance(batch, dict) else batch
        parts = list(parts) if isinstance(parts, tuple | list) else [parts]
        parts = parts[: 1 + self._conditional]
        if not parts or not all(isinstance(part, Tensor) for part in parts):
            came = type(parts[-1] if parts else batch).__name__
            raise TypeError(f"data: a batch must be a tensor or begin with one, got {came}")
        if self._conditional and len(parts) < 2:
            raise ValueError(
                "data: conditional needs batches (samples, labels) or (samples, images), and the loader gives samples"
            )
        return Batch(*(part.to(self._device, non_blocking=True) for part in parts))

    def state_dict(self) -> dict[str, Any]:
        """The loader's own state, or the random state at the beginning of the epoch and the batches used since."""
        if hasattr(self._loader, "state_dict"):
            return {"loader": self._loader.state_dict()}
        return {"epoch_state": self._epoch_state, "used": self._used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue in the middle of that epoch."""
        if "loader" in state:
            self._loader.load_state_dict(state["loader"])  # type: ignore[attr-defined]
            self._iterator = None
            return
        self._iterator, self._used = None, 0
        if state["epoch_state"] is None:
            return
        set_global_rng_state(state["epoch_state"]["global"])
        if self._own_generator is not None and state["epoch_state"]["own"] is not None:
            self._own_generator.set_state(state["epoch_state"]["own"])
        self._begin_epoch()
        for _ in range(state["used"]):
            self._raw()


def global_rng_state() -> dict[str, Any]:
    """The state of the process-wide generators of torch (CPU, and each CUDA device in use), NumPy and Python."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        # As plain numbers: NumPy arrays are refused by torch.load(weights_only=True).
        "numpy": [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def set_global_rng_state(state: dict[str, Any]) -> None:
    """Set what `global_rng_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    random.setstate(state["python"])
