"""The type of a data set in memory: one tensor of samples, with labels, conditions and modes where it has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Dataset", "Kind"]

#: ``points``: samples (N, F). ``images``: samples (N, C, H, W) in [-1, 1].
Kind = Literal["points", "images"]

_HELD_OUT = 10


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        name: the name, for messages and files.
        samples: float32, (N, F) points or (N, C, H, W) images in [-1, 1].
        labels: the class of each sample, (N,) int64 in [0, classes); None if there are no classes. The labels of a
            mixture are the components that the samples were drawn from.
        classes: the number of classes; the default is the largest label plus one.
        conditions: the input image of each sample in an image-to-image task, (N, C', H', W') in [-1, 1]; otherwise
            None.
        centres: the ridge of a mixture's density, (M, F), in the units of `samples`; otherwise None.
        centre_mode: the mode of each centre, (M,) int64 in [0, K); None means one mode per centre. Every mode has
            probability 1/K.
        sigma: standard deviation of the samples about their centre, per coordinate, in the units of `samples`.

    Raises:
        TypeError: samples are not a tensor.
        ValueError: labels or conditions do not match the samples.

    >>> import torch
    >>> Dataset("mine", torch.zeros(4, 2), labels=torch.tensor([0, 2, 1, 0])).classes
    3
    """

    name: str
    samples: Tensor
    labels: Tensor | None = None
    centres: Tensor | None = None
    centre_mode: Tensor | None = None
    sigma: float | None = None
    classes: int | None = None
    conditions: Tensor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.samples, Tensor):
            raise TypeError(f"Dataset {self.name!r}: samples must be a tensor, got {type(self.samples).__name__}")
        for name in ("labels", "conditions"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.samples):
                raise ValueError(
                    f"Dataset {self.name!r}: {name} ({len(value)}) and samples ({len(self.samples)}) must have the "
                    "same length"
                )
        if self.conditions is not None and self.conditions.ndim != 4:
            raise ValueError(
                f"Dataset {self.name!r}: conditions must be images (N, C, H, W), got {tuple(self.conditions.shape)}"
            )
        if self.labels is None:
            return
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise ValueError(
                f"Dataset {self.name!r}: labels must be (N,) int64, got {tuple(self.labels.shape)} {self.labels.dtype}"
            )
        if self.classes is None:
            object.__setattr__(self, "classes", int(self.labels.max()) + 1 if len(self.labels) else 0)
        if len(self.labels) and not (self.labels.min() >= 0 and self.labels.max() < self.classes):
            raise ValueError(
                f"Dataset {self.name!r}: labels must lie in [0, {self.classes}), got {int(self.labels.min())} to "
                f"{int(self.labels.max())}"
            )

    def __len__(self) -> int:
        return len(self.samples)

    def part(self, chosen: slice | Tensor) -> Dataset:
        """Select samples by slice, index (M,) or mask (N,), with their labels and conditions."""
        fields = {name: getattr(self, name) for name in ("samples", "labels", "conditions")}
        return replace(self, **{name: None if value is None else value[chosen] for name, value in fields.items()})

    def split(self) -> tuple[Dataset, Dataset]:
        """Return a part to train on and a held-out part, which has every tenth sample."""
        held_out = torch.arange(len(self), device=self.samples.device) % _HELD_OUT == _HELD_OUT - 1
        return self.part(~held_out), self.part(held_out)

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
        """The mode of each centre, (M,) int64; None if the data set has no known modes."""
        if self.centres is None or self.centre_mode is not None:
            return self.centre_mode
        return torch.arange(len(self.centres), device=self.centres.device)

    @property
    def num_modes(self) -> int:
        """K, the number of modes; 0 if they are not known."""
        modes = self.modes
        return 0 if modes is None else int(modes.max()) + 1
