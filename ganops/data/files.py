"""Your own images: a folder of files, or one of torchvision's data sets, as one tensor in memory.

Images are float32 in [-1, 1], with one channel if all of them are grey and three otherwise.
"""

from __future__ import annotations

import inspect
import itertools
import numbers
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ganops._common import checks
from ganops._memory import available_memory
from ganops._optional import require
from ganops.data import image_files, memory
from ganops.data.dataset import Dataset
from ganops.data.image_files import named

__all__ = ["folder", "stacked", "torchvision_set"]

OnBad = Literal["error", "skip"]
Labels = Literal["none", "folders"]


def folder(path: str, size: int | None = None, on_bad: OnBad = "error", labels: Labels = "none") -> Dataset:
    """Read the images in a folder and in all folders below it, in the order of their names.

    Formats are PNG, JPEG, WebP, BMP, GIF, TIFF, PPM, AVIF and JPEG 2000; of files with several pictures the first is
    taken. Photographs are rotated as their EXIF data say, transparent pixels become white, 16 bits become 8. Links are
    followed, each folder is read once, and names that begin with a dot are skipped. Files that look like images and are
    left out by these rules are listed in one warning.

    Args:
        path: the folder.
        size: scale each image so that its shorter side has this length, and crop the middle square. None: keep the
            images as they are; all must then have one size.
        on_bad: what to do about images and folders that cannot be read: ``error`` raises an error that names them,
            ``skip`` leaves them out and warns with their number and names.
        labels: ``folders``: the class of an image is the folder directly below `path` that it lies in, counted from 0
            in the order of their names; ``none``: no classes.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder has no images; some cannot be read; they differ in size and no `size` is given; or they
            need more memory than this process may use, which is known before they are decoded.
        MemoryError: memory ran out while decoding. It is never treated as a bad image.

    >>> folder("photos", size=64).shape                                            # doctest: +SKIP
    (3, 64, 64)
    """
    checks.choice("folder", "on_bad", on_bad, get_args(OnBad))
    checks.choice("folder", "labels", labels, get_args(Labels))
    if size is not None:
        size = checks.whole("folder", "size", size, minimum=1)
    root = Path(path).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise FileNotFoundError(f"folder: {path} {what}; give a folder with images")
    found = image_files.find(root)
    if labels == "folders":
        loose = [file for file in found.files if file.parent == root]
        if loose:
            raise ValueError(
                f"folder: labels are the folders below {path}; these files lie in none: {named(loose, root)}"
            )
    good, bad = _read_all(found.files, size, path)
    bad += found.unreadable
    total = f"{len(found.files) + len(found.unreadable):,} images and folders"
    if bad and (on_bad == "error" or not good):
        fix = "repair or remove them" + (", or leave them out with on_bad=skip" if good else "")
        raise ValueError(f"folder: {len(bad):,} of the {total} in {path} cannot be read: {named(bad, root)}; {fix}")
    if not good:
        raise ValueError(_no_images(root, found))
    _check_one_size(good, root)
    files = [file for file, _ in good]
    left_out = [f"{rule}: {named(paths, root)}" for rule, paths in found.left_out.items()]
    left_out += [f"{len(bad):,} of the {total}, which cannot be read: {named(bad, root)}"] if bad else []
    classes = None
    if labels == "folders":
        names = [file.relative_to(root).parts[0] for file in files]
        number = {name: i for i, name in enumerate(sorted(set(names)))}
        classes = torch.tensor([number[name] for name in names], dtype=torch.int64, device="cpu")
        empty = [root / name for name in sorted(found.top - set(names))]
        left_out += [f"class folders without images: {named(empty, root)}"] if empty else []
    if left_out:
        warnings.warn(f"folder: left out of {path}: {'. '.join(left_out)}", stacklevel=2)
    return Dataset(f"folder:{path}", stacked([image for _, image in good]), labels=classes)


def _read_all(
    files: list[Path], size: int | None, path: str
) -> tuple[list[tuple[Path, np.ndarray]], list[tuple[Path, str]]]:
    """Read the headers, then the pixels if all fit into memory: (files with pixels, files with why there are none)."""
    with ThreadPoolExecutor(_workers()) as pool:  # decoders release the interpreter's lock
        headers = list(zip(files, pool.map(image_files.probe, files), strict=True))
    opened = {file: header for file, header in headers if not isinstance(header, str)}
    bad = [(file, header) for file, header in headers if isinstance(header, str)]
    if not opened:
        return [], bad
    with ThreadPoolExecutor(_workers_that_fit(list(opened.values()), size, path)) as pool:
        images = list(zip(opened, pool.map(image_files.read, opened, itertools.repeat(size)), strict=True))
    good = [(file, image) for file, image in images if not isinstance(image, str)]
    return good, bad + [(file, image) for file, image in images if isinstance(image, str)]


def _check_one_size(images: list[tuple[Path, np.ndarray]], root: Path) -> None:
    first_file, first = images[0]
    for file, image in images:
        if image.shape[:2] != first.shape[:2]:
            (h, w), (other_h, other_w) = first.shape[:2], image.shape[:2]
            raise ValueError(
                f"folder: {named([first_file], root)} is {w}x{h} and {named([file], root)} is {other_w}x{other_h} "
                "(width x height); all images must have one size: scale and crop them with the option size, e.g. "
                f"folder:{root}?size=64"
            )


def _workers() -> int:
    return min(32, (os.cpu_count() or 1) + 4)


def _workers_that_fit(headers: list[image_files.Header], size: int | None, path: str) -> int:
    """Return how many images can be decoded at a time; ValueError if the data set does not fit into memory."""
    height, width = (size, size) if size is not None else headers[0][1::-1]
    channels = 1 if all(header.grey for header in headers) else 3
    need = _stack_bytes(len(headers), channels, height, width)
    # The decoder's output, two copies while transparency is removed, and the result.
    each = (4 + 4 + 4 + 3) * max(header.width * header.height for header in headers)
    memory.check_fits(
        f"folder:{path}",
        f"{len(headers):,} images of {width}x{height}",
        need + each,
        f"choose a smaller size, e.g. folder:{path}?size=64",
    )
    return int(max(1, min(_workers(), (available_memory() - need) // each)))


def _no_images(root: Path, found: image_files.Found) -> str:
    rest = [f"{rule}: {named(paths, root)}" for rule, paths in found.left_out.items()]
    rest += [f"{len(found.others):,} other files: {named(found.others, root)}"] if found.others else []
    return f"folder: {root} has no images (.png, .jpg, .webp, ...); " + ("; ".join(rest) or "it is empty")


def torchvision_set(
    path: str, root: str = "data", split: str = "train", size: int | None = None, download: bool = False
) -> Dataset:
    """Read one of torchvision's image data sets, with its labels if they are whole numbers.

    Args:
        path: the name of its class in ``torchvision.datasets``, such as ``CIFAR10``.
        root: the folder that holds it, as torchvision lays it out.
        split: ``train``, ``test``, or another value that the data set's ``split`` takes.
        size: as for `folder`.
        download: let torchvision download the data if they are not in `root`. The default never downloads.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
        ValueError: the name is unknown, the data are not in `root`, or they need more memory than this process may use.
    """
    try:
        sets = require("torchvision.datasets", f"data 'torchvision:{path}'")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"data 'torchvision:{path}' needs the package 'torchvision', which is not installed: "
            "pip install torchvision",
            name="torchvision",
        ) from None
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
        entries = make(**options)
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"torchvision:{path}: cannot be read from root {root!r} ({' '.join(str(error).split())}); give the folder "
            f"that holds it, torchvision:{path}?root=DIR, or have it fetched with &download=yes"
        ) from error
    if not len(entries):
        raise ValueError(f"torchvision:{path}: the data set in root {root!r} is empty")
    name, count = f"torchvision:{path}", len(entries)
    entry = entries[0]
    if not (isinstance(entry, tuple) and isinstance(entry[0], require("PIL.Image", f"data '{name}'").Image)):
        raise ValueError(f"{name}: its entries are no pairs of image and target, got {type(entry).__name__}")
    first = image_files.pixels(entry[0], size)
    need = _stack_bytes(count, 3 if first.ndim == 3 else 1, *first.shape[:2])
    memory.check_fits(name, f"{count:,} images", need, f"choose a smaller size, e.g. {name}?size=64")
    images, targets = [], []
    for i in range(count):
        image, target = entries[i][:2]
        images.append(image_files.pixels(image, size))
        targets.append(target)
        if images[-1].shape[:2] != first.shape[:2]:
            raise ValueError(f"{name}: the images differ in size; choose one, e.g. {name}?size=64")
    labels = None
    if all(isinstance(target, numbers.Integral) for target in targets):
        labels = torch.tensor([int(target) for target in targets], dtype=torch.int64, device="cpu")
    return Dataset(name, stacked(images), labels=labels)


def _stack_bytes(count: int, channels: int, height: int, width: int) -> int:
    """The memory that images and the tensor made from them need: uint8 and float32."""
    return (1 + 4) * count * channels * height * width


def stacked(images: Sequence[np.ndarray]) -> Tensor:
    """Convert uint8 images (H, W) or (H, W, 3) of one size to (N, C, H, W) in [-1, 1]; C is 1 if all are grey."""
    channels = 3 if any(image.ndim == 3 for image in images) else 1
    samples = torch.empty(len(images), channels, *images[0].shape[:2], dtype=torch.float32, device="cpu")
    for sample, pixels in zip(samples, images, strict=True):
        values = torch.from_numpy(pixels)
        sample.copy_(values.permute(2, 0, 1) if pixels.ndim == 3 else values)
    return samples.mul_(2 / 255).sub_(1)
