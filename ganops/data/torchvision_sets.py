"""torchvision's image data sets, where they lie on this machine."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ganops._common import checks
from ganops._optional import require
from ganops.data.files import memory_limit
from ganops.data.framing import Crop, Framing
from ganops.data.images import Images, OnBad, T, opened

__all__ = ["torchvision_set"]


def torchvision_set(
    path: str,
    root: str = "data",
    split: str = "train",
    size: int | None = None,
    download: bool = False,
    on_bad: OnBad = "error",
    resize: int | None = None,
    crop: Crop = "center",
    flip: bool = False,
    memory: float = 1.0,
) -> Images:
    """One of torchvision's image data sets, with its labels if they are whole numbers.

    Args:
        path: the name of its class in ``torchvision.datasets``, such as ``CIFAR10``.
        root: the folder that holds it, as torchvision lays it out.
        split: ``train``, ``test``, or another value that the data set's ``split`` takes.
        download: let torchvision download the data if they are not in `root`. The default never downloads.
        size, on_bad, resize, crop, flip, memory: as for `folder`. Images above the limit `memory` have labels if the
            data set lists them in its attribute ``targets``.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
        ValueError: the name is unknown, the data are not in `root`, or an option is out of range.
    """
    checks.choice("torchvision", "on_bad", on_bad, get_args(OnBad))
    framing, limit = Framing(size, resize, crop, flip), memory_limit("torchvision", memory)
    name = f"torchvision:{path}"
    entries = _entries(path, root, split, download)
    if not len(entries):
        raise ValueError(f"{name}: the data set in root {root!r} is empty")
    entry = entries[0]
    if not (isinstance(entry, tuple) and isinstance(entry[0], require("PIL.Image", f"data '{name}'").Image)):
        raise ValueError(f"{name}: its entries are no pairs of image and target, got {type(entry).__name__}")
    images, kept = opened(name, _Entries(entries), framing, on_bad, limit)
    labels = _labels(getattr(entries, "targets", None), len(entries))
    if kept is None:
        return images.with_labels(labels)
    if labels is None:
        labels = _labels([entries[i][1] for i in range(len(entries))], len(entries))
    return images.with_labels(None if labels is None else labels[kept])


def _entries(path: str, root: str, split: str, download: bool) -> Any:
    """torchvision's own data set."""
    try:
        sets = require("torchvision.datasets", f"data 'torchvision:{path}'", extra="data")
    except (RuntimeError, OSError) as error:  # its compiled half is built for one release of torch
        raise ValueError(
            f"torchvision:{path}: torchvision is installed and fails to import ({error}); install the release that "
            f"goes with torch {torch.__version__}"
        ) from error
    checks.choice("torchvision", "data set", path, sets.__all__)
    make = getattr(sets, path)
    parameters = inspect.signature(make).parameters
    options: dict[str, Any] = {"root": str(Path(root).expanduser())}
    if "train" in parameters:
        checks.choice(f"torchvision:{path}", "split", split, ("train", "test"))
        options["train"] = split == "train"
    elif "split" in parameters:
        options["split"] = split
    if "download" in parameters:
        options["download"] = download
    try:
        return make(**options)
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"torchvision:{path}: cannot be read from root {root!r} ({' '.join(str(error).split())}); give the folder "
            f"that holds it, torchvision:{path}?root=DIR, or have it fetched with &download=yes"
        ) from error


def _labels(targets: Any, count: int) -> Tensor | None:
    """The targets as a tensor, if they are one whole number for each image."""
    if targets is None or len(targets) != count:
        return None
    values = targets.tolist() if isinstance(targets, Tensor | np.ndarray) else list(targets)
    if not all(isinstance(value, numbers.Integral) for value in values):
        return None
    return torch.tensor([int(value) for value in values], dtype=torch.int64, device="cpu")


class _Entries:
    """Reads the images of a torchvision data set, one at a time: it may use a database that has one reader."""

    decode_bytes, threads = 0, False

    def __init__(self, entries: Any) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, index: int, decode: Callable[[Any], T]) -> T | str:
        try:
            return decode(self._entries[index][0])
        except (OSError, SyntaxError, ValueError) as error:
            return str(error) or type(error).__name__

    def name(self, index: int) -> str:
        return f"image {index:,}"

    def fingerprint(self) -> str:
        return f"{type(self._entries).__name__} {len(self)}"
