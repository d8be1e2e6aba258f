"""Data sets that need no download at run time: real digits and 2-D mixtures, each held in memory as one tensor.

>>> from ganops import data
>>> ring = data.load("ring8")
>>> ring.samples.shape, ring.num_modes
(torch.Size([100000, 2]), 8)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ganops import _checks
from ganops.data.dataset import Dataset, Kind
from ganops.data.images import digits, mnist
from ganops.data.points import grid25, ring8, swiss_roll

__all__ = ["SOURCES", "Dataset", "Kind", "Source", "digits", "grid25", "load", "mnist", "ring8", "source", "swiss_roll"]


@dataclass(frozen=True)
class Source:
    """A named data set before it is loaded."""

    load: Callable[[], Dataset]
    kind: Kind
    summary: str


#: Every data set by name. A new one is one line here and one function beside it.
SOURCES: dict[str, Source] = {
    "mnist": Source(mnist, "images", "5,000 real handwritten digits, 1x28x28, 500 a class"),
    "digits": Source(digits, "images", "1,797 real handwritten digits, 1x8x8"),
    "ring8": Source(ring8, "points", "8 Gaussians on a circle of radius 1, sigma 0.01"),
    "grid25": Source(grid25, "points", "25 Gaussians on the grid {-4, -2, 0, 2, 4} squared, sigma 0.05"),
    "swiss_roll": Source(swiss_roll, "points", "a spiral in the plane, noise 0.033"),
}


def source(name: str) -> Source:
    """The entry of `SOURCES` called `name`; a `ValueError` with the nearest names if there is none."""
    _checks.choice("data", "name", name, SOURCES)
    return SOURCES[name]


def load(name: str) -> Dataset:
    """Load the data set called `name` (see `SOURCES`)."""
    return source(name).load()
