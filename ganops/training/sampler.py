"""The global order of a data set: a function of the seed and the epoch, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ganops.training.noise import cpu_generator

__all__ = ["BatchSampler", "Key"]

#: An index, and a number in [0, 2^63) for whatever is random about that sample in that epoch.
Key = tuple[int, int]


class BatchSampler(torch.utils.data.Sampler[list[Key]]):
    """Batches of `Key`s without end: every epoch has its own order, and an incomplete last batch is left out.

    The order of an epoch follows from (seed, epoch), and the number of a key from (seed, epoch, index). Neither depends
    on the number of processes: all of them go through the same global batches, and each takes its contiguous part.

    Args:
        count: number of samples.
        batch_size: samples of a global batch, at most `count`.
        seed: of the order and the numbers.
        epoch: where to begin.
        used: samples of that epoch to leave out.
        rank: the part of each batch to take, below `world_size`.
        world_size: number of parts; `batch_size` is divisible by it.

    >>> one, two = (BatchSampler(10, 4, seed=0, rank=rank, world_size=2) for rank in (0, 1))
    >>> whole = BatchSampler(10, 4, seed=0)
    >>> next(iter(one)) + next(iter(two)) == next(iter(whole))
    True
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        *,
        epoch: int = 0,
        used: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size > count:
            raise ValueError(f"batch_size must be at most the {count} samples of the data, got {batch_size}")
        if batch_size % world_size:
            raise ValueError(f"batch_size must be divisible by the {world_size} processes, got {batch_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in [0, {world_size}), got {rank}")
        self._count = count
        self._batch_size = batch_size
        self._seed = seed
        self._begin = (epoch, used)
        part = batch_size // world_size
        self._part = slice(rank * part, (rank + 1) * part)

    def _order(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The order of an epoch, and the number of each index."""
        (seed,) = np.random.SeedSequence([self._seed, epoch]).generate_state(1, np.uint64)
        generator = cpu_generator(int(seed))
        order = torch.randperm(self._count, generator=generator, dtype=torch.int64, device="cpu")
        numbers = torch.randint(2**63 - 1, (self._count,), generator=generator, dtype=torch.int64, device="cpu")
        return order, numbers

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, used = self._begin
        while True:
            order, numbers = self._order(epoch)
            while used + self._batch_size <= self._count:
                part = order[used : used + self._batch_size][self._part]
                yield list(zip(part.tolist(), numbers[part].tolist(), strict=True))
                used += self._batch_size
            epoch, used = epoch + 1, 0
