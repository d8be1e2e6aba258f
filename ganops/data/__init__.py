"""Data sets that need no download, as one tensor in memory, and your own images, decoded when they are used.

>>> from ganops import data
>>> ring = data.load("ring8")
>>> ring.samples.shape, ring.num_modes
(torch.Size([100000, 2]), 8)
>>> len(data.load("ring8?size=500&seed=3"))
500
>>> data.open("folder:photos?size=64")[0].shape                                    # doctest: +SKIP
torch.Size([3, 64, 64])
"""

from __future__ import annotations

from ganops.data.arrow_sets import hugging_face
from ganops.data.colour_images import emoji, patches
from ganops.data.dataset import Dataset, Kind
from ganops.data.digit_images import digits, mnist, mnist_half, mnist_outline, stacked_mnist
from ganops.data.files import folder
from ganops.data.images import DataError, Images
from ganops.data.points import gaussian1d, grid9, grid25, ring8, swiss_roll
from ganops.data.shards import Shards, web_dataset
from ganops.data.sources import LOCATED, SOURCES, Source, base_name, file_name, load, open, reference, source
from ganops.data.torchvision_sets import torchvision_set

__all__ = [
    "LOCATED",
    "SOURCES",
    "DataError",
    "Dataset",
    "Images",
    "Kind",
    "Shards",
    "Source",
    "base_name",
    "digits",
    "emoji",
    "file_name",
    "folder",
    "gaussian1d",
    "grid9",
    "grid25",
    "hugging_face",
    "load",
    "mnist",
    "mnist_half",
    "mnist_outline",
    "open",
    "patches",
    "reference",
    "ring8",
    "source",
    "stacked_mnist",
    "swiss_roll",
    "torchvision_set",
    "web_dataset",
]
