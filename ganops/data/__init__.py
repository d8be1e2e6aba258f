"""Data sets that need no download, and your own images, each as one tensor in memory.

>>> from ganops import data
>>> ring = data.load("ring8")
>>> ring.samples.shape, ring.num_modes
(torch.Size([100000, 2]), 8)
>>> len(data.load("ring8?size=500&seed=3"))
500
"""

from __future__ import annotations

from ganops.data.colour_images import emoji, patches
from ganops.data.dataset import Dataset, Kind
from ganops.data.digit_images import digits, mnist, mnist_half, mnist_outline, stacked_mnist
from ganops.data.files import folder, torchvision_set
from ganops.data.points import gaussian1d, grid9, grid25, ring8, swiss_roll
from ganops.data.sources import LOCATED, SOURCES, Source, base_name, file_name, load, source

__all__ = [
    "LOCATED",
    "SOURCES",
    "Dataset",
    "Kind",
    "Source",
    "base_name",
    "digits",
    "emoji",
    "file_name",
    "folder",
    "gaussian1d",
    "grid9",
    "grid25",
    "load",
    "mnist",
    "mnist_half",
    "mnist_outline",
    "patches",
    "ring8",
    "source",
    "stacked_mnist",
    "swiss_roll",
    "torchvision_set",
]
