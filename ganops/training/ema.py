"""The moving average of the generator."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["MovingAverage"]

# Every normalisation layer of torch, and most others, call them so. Other buffers (indices, masks, the vectors of
# spectral normalisation, counters) are no statistics, and their mean over time has no meaning.
_STATISTICS = ("running_mean", "running_var")


class MovingAverage(nn.Module):
    """A copy of a network whose parameters and running statistics are exponential moving averages of the network's.

    Trainable floating-point parameters and the floating-point buffers named ``running_mean`` and ``running_var`` are
    averaged. Everything else is copied.

    Args:
        network: the network; it is copied.
        decay: weight of the past in each update, in (0, 1). A young average would mostly remember the initial weights,
            so after t updates the decay is at most (1 + t) / (10 + t), a window of about t / 10 updates.

    Attributes:
        module: the averaged network.
        n_averaged: the number of updates, (), int64, on the CPU; nothing reads it.
    """

    n_averaged: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.module = copy.deepcopy(network)
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.int64, device="cpu"))

    def forward(self, *inputs: Any) -> Any:
        """The averaged network's output."""
        return self.module(*inputs)

    def decay_at(self, step: int) -> float:
        """The decay of the update after step number `step`, counted from 1; the first update copies."""
        return min(self.decay, (1 + step) / (10 + step)) if step > 1 else 0.0

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Average with `network` after its step number `step`."""
        averaged: tuple[list[Tensor], list[Tensor]] = ([], [])
        for mine, theirs, average in self._pairs(network):
            if average:
                averaged[0].append(mine)
                averaged[1].append(theirs)
            else:
                mine.copy_(theirs)
        if averaged[0]:
            get_ema_multi_avg_fn(self.decay_at(step))(*averaged, self.n_averaged)
        self.n_averaged.fill_(step)

    def _pairs(self, network: nn.Module) -> list[tuple[Tensor, Tensor, bool]]:
        """The tensors of the average and of `network`, and whether to average them."""
        pairs = [
            (mine.detach(), theirs.detach(), mine.is_floating_point() and theirs.requires_grad)
            for mine, theirs in zip(self.module.parameters(), network.parameters(), strict=True)
        ]
        theirs = dict(network.named_buffers())
        for name, mine in self.module.named_buffers():
            statistic = name.rpartition(".")[2] in _STATISTICS and mine.is_floating_point()
            pairs.append((mine, theirs[name], statistic))
        return pairs
