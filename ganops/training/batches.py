"""Endless real batches with a state: a resumed run sees the batches that it would have seen."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ganops.training import schema
from ganops.training.noise import cpu_generator

__all__ = [
    "Batch",
    "Batches",
    "LoaderBatches",
    "TensorBatches",
    "global_rng_state",
    "set_global_rng_state",
]


class Batch(NamedTuple):
    """Real samples (N, *shape) and their conditions: labels (N,), images (N, C, H, W), or None."""

    samples: Tensor
    condition: Tensor | None = None


class Batches(Protocol):
    """The source of a trainer's real samples."""

    def next(self) -> Batch:
        """The next real batch."""
        ...

    def prepare(self, count: int) -> None:
        """Read the next `count` batches in advance, so that data that cannot be read raise an error between two steps
        and not within one. Batches that come from memory or from a user's loader are read when they are asked for."""

    def close(self) -> None:
        """Release what reading in advance needs, such as processes."""

    def state_dict(self) -> dict[str, Any]:
        """The position in the sequence, in types that `torch.load(weights_only=True)` accepts."""
        ...

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise a `ValueError` if `load_state_dict` cannot continue from this state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        ...


class TensorBatches(Batches):
    """Shuffled batches of a tensor in memory, in a new order each epoch; an incomplete last batch is left out.

    Args:
        samples: (N, *shape), on the device of the batches.
        batch_size: at most N.
        seed: of the order.
        conditions: (N, …), the condition of each sample; None: no conditions.
    """

    def __init__(self, samples: Tensor, batch_size: int, seed: int, conditions: Tensor | None = None) -> None:
        if batch_size > len(samples):
            raise ValueError(f"batch_size must be at most the {len(samples)} samples of the data, got {batch_size}")
        self._samples = samples
        self._conditions = conditions
        self._batch_size = batch_size
        self._generator = cpu_generator(seed)
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        # The order follows from this state, so checkpoints store the state.
        self._epoch_state = self._generator.get_state()
        order = torch.randperm(len(self._samples), generator=self._generator, device=self._generator.device)
        self._order = order.to(self._samples.device)
        self._used = 0

    def next(self) -> Batch:
        """The next batch, of batch_size samples."""
        if self._used + self._batch_size > len(self._order):
            self._begin_epoch()
        chosen = self._order[self._used : self._used + self._batch_size]
        self._used += self._batch_size
        return Batch(self._samples[chosen], None if self._conditions is None else self._conditions[chosen])

    def state_dict(self) -> dict[str, Any]:
        """The random state at the beginning of the epoch, and the number of samples used since."""
        return {"epoch_state": self._epoch_state, "used": self._used}

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise a `ValueError` if `load_state_dict` cannot continue from this state."""
        schema.check(state, schema.TENSOR_BATCHES, "resume: the checkpoint's batches")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue in the middle of that epoch; with fewer samples than before perhaps in the next one."""
        self._generator.set_state(state["epoch_state"])
        self._begin_epoch()
        self._used = state["used"]


class LoaderBatches(Batches):
    """Batches of any iterable that can be iterated again, such as a `torch.utils.data.DataLoader`.

    A batch may be a tensor, or a tuple, list or mapping, of which the first entry is used, and the second one if
    `conditional`; other entries are ignored.
    To resume, the epoch is repeated from its initial random state and the batches already used are skipped. That is
    exact for loaders that draw from the global generators of torch, NumPy and Python in this process, or from the
    loader's own `generator`. The ``state_dict`` of a loader that has one (torchdata) is used instead.
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
                    "data gave no batch; it must be an iterable that can be iterated again and has at least one batch, "
                    "such as a DataLoader (not an iterator that is used up)"
                ) from None
        self._used += 1
        return batch

    def next(self) -> Batch:
        """The next batch of the loader, on the device."""
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

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise a `ValueError` if `load_state_dict` cannot continue from this state."""
        place = "resume: the checkpoint's batches"
        if hasattr(self._loader, "state_dict"):
            schema.check(state, schema.STATEFUL_LOADER, place)
            return
        schema.check(state, schema.LOADER_BATCHES, place)
        length = len(self._loader) if hasattr(self._loader, "__len__") else None
        if length is not None and state["used"] > length:
            raise ValueError(f"{place}: {state['used']} batches of an epoch are used, and the loader has {length}")
        own = self._own_generator
        if own is not None and state["epoch_state"] is not None and state["epoch_state"]["own"] is not None:
            schema.check(state["epoch_state"]["own"], schema.generator_state(own.device), f"{place}: epoch_state.own")

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
        # Plain numbers, since torch.load(weights_only=True) refuses NumPy arrays.
        "numpy": [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def set_global_rng_state(state: dict[str, Any]) -> None:
    """Set what `global_rng_state` returned."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        for device, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda, device)
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
    random.setstate(state["python"])
