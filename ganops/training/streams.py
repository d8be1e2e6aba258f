"""Batches of data that are decoded while the run trains, by the worker processes of torch's `DataLoader`."""

from __future__ import annotations

import os
import random
import signal
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info

from ganops.data import DataError, Images, Shards
from ganops.data.images import Drawn, scaled
from ganops.training import schema
from ganops.training.batches import Batch, Batches
from ganops.training.noise import cpu_generator
from ganops.training.sampler import BatchSampler, Key

__all__ = ["IterableBatches", "StreamBatches", "default_workers"]

_NAMED = 10  # the most images that cannot be read to warn of


def default_workers() -> int:
    """One worker process for each core that this process may use, at most eight."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


# -- in the worker processes -----------------------------------------------------------------------------------------


def _begin_worker(_: int) -> None:
    """Leave Ctrl-C, a lost terminal and the first SIGTERM to the process that trains: it finishes its step first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))


class _Keyed(torch.utils.data.Dataset[Any]):
    """A data set whose entries are asked for by `Key`, a whole batch at a time."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __getitem__(self, key: Key) -> Any:
        return self.__getitems__([key])

    def __getitems__(self, keys: list[Key]) -> Drawn:
        if isinstance(self._source, Images):
            return self._source.draw(*zip(*keys, strict=True))
        if get_worker_info() is not None:
            return _collated([self._entry(*key) for key in keys])
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()
        try:
            return _collated([self._entry(*key) for key in keys])
        finally:
            torch.set_rng_state(before[0])
            np.random.set_state(before[1])
            random.setstate(before[2])

    def _entry(self, index: int, number: int) -> Any:
        """An entry of a user's data set, whose random numbers come from torch's, NumPy's or Python's generator."""
        torch.default_generator.manual_seed(number)  # torch.manual_seed would seed the GPUs' generators as well
        np.random.seed(number % 2**32)
        random.seed(number)
        return self._source[index]


def _collated(entries: list[Any]) -> Drawn:
    """A batch of a user's entries: tensors, or sequences or mappings that begin with one and perhaps a condition."""
    rows = [_parts(entry) for entry in entries]
    return Drawn(*(default_collate([row[i] for row in rows]) if i < len(rows[0]) else None for i in range(2)), [])


def _parts(entry: Any) -> list[Any]:
    parts = list(entry.values()) if isinstance(entry, dict) else entry
    parts = list(parts[:2]) if isinstance(parts, tuple | list) else [parts]
    if not parts or not isinstance(parts[0], Tensor | np.ndarray):
        came = type(parts[0] if parts else entry).__name__
        raise TypeError(
            f"data: an entry of the data set must be a tensor or begin with one, got {came}; convert it in the data "
            "set, e.g. with a transform"
        )
    return parts


def _same(batch: Any) -> Any:
    return batch


# -- in the process that trains --------------------------------------------------------------------------------------


class _Position(NamedTuple):
    """A place in the sequence of batches: the epoch, and how much of it is used."""

    epoch: int = 0
    used: int = 0


class _Loaded(Batches):
    """What batches from a `DataLoader` have in common.

    Args:
        source: the data set.
        device: of the batches.
        conditional: whether the batches have conditions.
        workers: number of processes; 0: decode in this one.
    """

    def __init__(self, source: Any, device: torch.device, conditional: bool, workers: int) -> None:
        self._source = source
        self._device = device
        self._conditional = conditional
        self._workers = workers
        self._position = _Position()
        self._stream: Iterator[tuple[_Position, Drawn]] | None = None
        self._ready: deque[tuple[_Position, Drawn]] = deque()
        self._bad: set[str] = set()

    def _batches(self, begin: _Position) -> Iterator[tuple[_Position, Drawn]]:
        """Endless batches from a position on, each with the position after it."""
        raise NotImplementedError

    def _loader(self, dataset: Any, seed: int, **options: Any) -> DataLoader[Drawn]:
        return DataLoader(
            dataset,
            num_workers=self._workers,
            worker_init_fn=_begin_worker if self._workers else None,
            pin_memory=self._device.type == "cuda",
            generator=cpu_generator(seed),  # its own: the loader draws a seed for its workers
            **options,
        )

    def prepare(self, count: int) -> None:
        """See `Batches.prepare`.

        Raises:
            DataError: an image cannot be read, and ``on_bad`` is ``error``.
        """
        try:
            with torch.device("cpu"):
                while len(self._ready) < count:
                    if self._stream is None:
                        self._stream = self._batches(self._position)
                    position, drawn = next(self._stream)
                    self._ready.append((position, self._checked(drawn)))
        except BaseException:
            self.close()  # the next try begins with the same batch
            raise

    def _checked(self, drawn: Drawn) -> Drawn:
        """Report the images of a batch that cannot be read."""
        if drawn.samples is None:
            raise DataError(self._source.failure(drawn.bad))
        for name, reason in drawn.bad:
            if name in self._bad or len(self._bad) >= _NAMED:
                continue
            self._bad.add(name)
            last = " (further ones are left out without a warning)" if len(self._bad) == _NAMED else ""
            warnings.warn(
                f"{self._source.name}: {name} cannot be read ({reason}); another image takes its place{last}",
                stacklevel=2,
            )
        if self._conditional and drawn.labels is None:
            raise ValueError(
                "data: conditional needs entries (sample, label) or (sample, image), and the data set gives samples"
            )
        return drawn

    def next(self) -> Batch:
        """The next batch, on the device; images in uint8 are scaled to [-1, 1] there."""
        self.prepare(1)
        self._position, drawn = self._ready.popleft()
        samples = drawn.samples.to(self._device, non_blocking=True)
        if samples.dtype == torch.uint8 and samples.ndim == 4:
            samples = scaled(samples.to(torch.float32, memory_format=torch.contiguous_format))
        return Batch(samples, drawn.labels.to(self._device, non_blocking=True) if self._conditional else None)

    def close(self) -> None:
        """End the worker processes. They start again when the next batch is asked for."""
        self._stream = None
        self._ready.clear()

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and how much of it was used."""
        return self._position._asdict()

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise a `ValueError` if `load_state_dict` cannot continue from this state."""
        schema.check(state, schema.STREAM_BATCHES, "resume: the checkpoint's batches")

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.close()
        self._position = _Position(state["epoch"], state["used"])


class StreamBatches(_Loaded):
    """Shuffled batches of a map-style data set, in a new order each epoch; an incomplete last batch is left out.

    The order is a function of (seed, epoch), and what is random about a sample one of (seed, epoch, index); see
    `BatchSampler`. So the batches are the same with any number of workers, and a resumed run continues anywhere in an
    epoch with the samples that it would have seen, without reading those before.

    Args:
        source: `Images`, or any `torch.utils.data.Dataset` with a length. Its entries are tensors, or begin with one
            and perhaps a condition. What it draws from the global generators of torch, NumPy or Python is seeded for
            each entry.
        batch_size: samples of the batches of all processes together.
        seed: of order and samples.
        device, conditional, workers: of the batches, whether they have conditions, and how many processes decode.
        rank, world_size: the part of each batch to take, as in `BatchSampler`.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        conditional: bool = False,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(source, device, conditional, workers)
        self._options = (len(source), batch_size, seed)
        self._part = {"rank": rank, "world_size": world_size}
        BatchSampler(*self._options, **self._part)  # checks them

    def _batches(self, begin: _Position) -> Iterator[tuple[_Position, Drawn]]:
        count, batch_size, seed = self._options
        sampler = BatchSampler(*self._options, epoch=begin.epoch, used=begin.used, **self._part)
        epoch, used = begin
        for drawn in self._loader(_Keyed(self._source), seed, batch_sampler=sampler, collate_fn=_same):
            epoch, used = (epoch + 1, 0) if used + batch_size > count else (epoch, used)
            used += batch_size
            yield _Position(epoch, used), drawn


class IterableBatches(_Loaded):
    """Batches of a data set that can only be iterated: WebDataset shards, or a user's `IterableDataset` of samples.

    An incomplete last batch is left out. There is no position within an epoch to return to: a run that is resumed
    begins the epoch again, with a warning.

    Args:
        source: the data set. If it has a method ``set_epoch``, that is called before each epoch.
        batch_size: samples of a batch.
        seed: of the order of shards, and of the workers' random numbers.
        device, conditional, workers: as for `StreamBatches`; a user's data set has at most one worker, since it may not
            divide its samples among several.
    """

    def __init__(
        self,
        source: IterableDataset[Any],
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        conditional: bool = False,
        workers: int = 0,
    ) -> None:
        super().__init__(
            source, device, conditional, min(workers, len(source.files) if isinstance(source, Shards) else 1)
        )
        self._batch_size = batch_size
        self._seed = seed

    def _batches(self, begin: _Position) -> Iterator[tuple[_Position, Drawn]]:
        epoch = begin.epoch
        while True:
            used = 0
            for drawn in self._epoch(epoch):
                used += 1
                yield _Position(epoch, used), drawn
            if not used:
                raise ValueError(
                    f"data: an epoch has fewer than batch_size, {self._batch_size}, samples; give more data or a "
                    "smaller batch_size"
                )
            epoch += 1

    def _epoch(self, epoch: int) -> Iterator[Drawn]:
        source, size = self._source, self._batch_size
        if isinstance(source, Shards):
            source.set_epoch(epoch, self._seed)
        elif hasattr(source, "set_epoch"):
            source.set_epoch(epoch)
        (seed,) = np.random.SeedSequence([self._seed, epoch]).generate_state(1, np.uint64)
        collate = source.collate if isinstance(source, Shards) else _collated
        rest: Drawn | None = None
        # The last batch of each worker may be incomplete: their rests are put together.
        for drawn in self._loader(source, int(seed), batch_size=size, collate_fn=collate):
            if drawn.samples is None:
                yield drawn
                continue
            rest = drawn if rest is None else _joined(rest, drawn)
            if len(rest.samples) >= size:
                labels = (None, None) if rest.labels is None else (rest.labels[:size], rest.labels[size:])
                yield Drawn(rest.samples[:size], labels[0], rest.bad)
                rest = Drawn(rest.samples[size:], labels[1], []) if len(rest.samples) > size else None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the beginning of that epoch, with a warning."""
        super().load_state_dict({"epoch": state["epoch"], "used": 0})
        if state["used"]:
            warnings.warn(
                f"resume: {getattr(self._source, 'name', 'the data')} can only be read from the beginning, so epoch "
                f"{state['epoch'] + 1} begins again ({state['used']:,} of its batches were used); the run differs from "
                "an uninterrupted one",
                stacklevel=2,
            )


def _joined(first: Drawn, second: Drawn) -> Drawn:
    labels = None if first.labels is None else torch.cat([first.labels, second.labels])
    return Drawn(torch.cat([first.samples, second.samples]), labels, first.bad + second.bad)
