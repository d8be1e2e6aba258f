"""What a data set is: one tensor, and what is known about where its mass lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Dataset", "Kind"]

#: ``points``: samples (N, 2). ``images``: samples (N, C, H, W) in [-1, 1].
Kind = Literal["points", "images"]


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        name: what it is called.
        samples: float32, (N, 2) points or (N, C, H, W) images in [-1, 1].
        labels: the class of each sample, (N,) int64; None where there are no classes.
        centres: where the density of a 2-D mixture has its ridge, (M, 2), in the units of `samples`; else None.
        centre_mode: which mode each centre belongs to, (M,) int64 in [0, K); None means one mode per centre.
            Every mode has probability 1/K.
        sigma: standard deviation of the samples about their centre, per coordinate, in the units of `samples`.
    """

    name: str
    samples: Tensor
    labels: Tensor | None = None
    centres: Tensor | None = None
    centre_mode: Tensor | None = None
    sigma: float | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def kind(self) -> Kind:
        """``points`` or ``images``, from the shape of the samples."""
        return "images" if self.samples.ndim == 4 else "points"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.samples.shape[1:])

    @property
    def modes(self) -> Tensor | None:
        """The mode of each centre, (M,) int64; None where the data set has no known modes."""
        if self.centres is None or self.centre_mode is not None:
            return self.centre_mode
        return torch.arange(len(self.centres))

    @property
    def num_modes(self) -> int:
        """K, the number of modes; 0 where they are not known."""
        modes = self.modes
        return 0 if modes is None else int(modes.max()) + 1
