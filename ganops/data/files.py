"""Your own images: a folder of files, or one of torchvision's data sets, as one tensor in memory.

Images are float32 in [-1, 1]: one channel if all of them are grey, three otherwise.
"""

from __future__ import annotations

import inspect
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
from ganops._optional import require
from ganops.data.dataset import Dataset

__all__ = ["folder", "torchvision_set"]

OnBad = Literal["error", "skip"]
Labels = Literal["none", "folders"]
_NAMED = 5  # files that a message names


def folder(path: str, size: int | None = None, on_bad: OnBad = "error", labels: Labels = "none") -> Dataset:
    """The images in a folder and in the folders below it, in the order of their names.

    Photographs are turned as their EXIF data says; transparent pixels are put on white; 16-bit grey becomes 8-bit.

    Args:
        path: the folder.
        size: scale each image so that its shorter side has this length, and cut out the middle square. None: as they
            are, which must then be one size.
        on_bad: what to do about files with an image's ending that cannot be read: ``error`` names them, ``skip`` leaves
            them out and warns with their number and names.
        labels: ``folders``: the class of an image is the folder directly below `path` that it lies in, counted from 0
            in the order of their names; ``none``: no classes.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no images in it, files that cannot be read, different sizes and no `size`, or more than fits into
            memory.
    """
    checks.choice("folder", "on_bad", on_bad, get_args(OnBad))
    checks.choice("folder", "labels", labels, get_args(Labels))
    if size is not None and size < 1:
        raise ValueError(f"folder: size must be at least 1, got {size}")
    root = Path(path).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise FileNotFoundError(f"folder: {path} {what}; a folder with images is wanted")
    files = _image_files(root)
    if labels == "folders":
        for file in files:
            if file.parent == root:
                raise ValueError(f"folder: labels are the folders below {path}, and {file.name} lies in none")

    def read(file: Path) -> np.ndarray | str:
        try:
            return _read(file, size)
        # A damaged file can raise nearly anything in Pillow's decoders (OSError, SyntaxError, struct.error, ...).
        except Exception as error:
            return str(error).replace(str(file), file.name) or type(error).__name__

    with ThreadPoolExecutor() as pool:  # decoders release the interpreter's lock
        found = list(pool.map(read, files))
    bad = [(file, result) for file, result in zip(files, found, strict=True) if isinstance(result, str)]
    good = [(file, result) for file, result in zip(files, found, strict=True) if not isinstance(result, str)]
    if bad:
        list_ = "; ".join(f"{file} ({reason})" for file, reason in bad[:_NAMED])
        list_ += f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        text = f"{len(bad)} of the {len(files)} images in {path} cannot be read: {list_}"
        if on_bad == "error" or not good:
            fix = "; mend or remove them" + (", or leave them out with on_bad=skip" if good else "")
            raise ValueError(f"folder: {text}{fix}")
        warnings.warn(f"folder: left out: {text}", stacklevel=2)
    first_file, first = good[0]
    for file, image in good:
        if image.shape[:2] != first.shape[:2]:
            (h, w), (other_h, other_w) = first.shape[:2], image.shape[:2]
            raise ValueError(
                f"folder: {first_file} is {w}x{h} and {file} is {other_w}x{other_h} (width x height); all must be one "
                f"size: have them scaled and cut with a size, e.g. folder:{path}?size=64"
            )
    names = sorted({file.relative_to(root).parts[0] for file, _ in good})
    classes = torch.tensor([names.index(file.relative_to(root).parts[0]) for file, _ in good])
    return Dataset(
        f"folder:{path}",
        _stack([image for _, image in good], f"folder:{path}"),
        labels=classes if labels == "folders" else None,
    )


def torchvision_set(
    path: str, root: str = "data", split: str = "train", size: int | None = None, download: bool = False
) -> Dataset:
    """One of the image data sets that torchvision knows by name, with its labels if they are whole numbers.

    Args:
        path: the name of its class in ``torchvision.datasets``, such as ``CIFAR10``.
        root: folder that holds it, as torchvision lays it out.
        split: ``train``, ``test``, or what else the data set's own ``split`` takes.
        size: as for `folder`.
        download: have torchvision fetch it where it is not there. Never done unless asked for.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
        ValueError: an unknown name, or the data is not in `root`.
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
    images, targets = zip(*(entries[i][:2] for i in range(len(entries))), strict=True)
    pixels = [_pixels(image, size) for image in images]
    if len({image.shape[:2] for image in pixels}) > 1:
        raise ValueError(f"torchvision:{path}: the images differ in size; give one, torchvision:{path}?size=64")
    labelled = all(isinstance(target, int) for target in targets)
    return Dataset(
        f"torchvision:{path}",
        _stack(pixels, f"torchvision:{path}"),
        labels=torch.tensor(targets) if labelled else None,
    )


def _image_files(root: Path) -> list[Path]:
    image = require("PIL.Image", "data 'folder:'")
    endings = {ending for ending, kind in image.registered_extensions().items() if kind in image.OPEN}
    every = [Path(parent) / name for parent, _, names in os.walk(root) for name in names if not name.startswith(".")]
    files = sorted(file for file in every if file.suffix.lower() in endings)
    if not files:
        others = f"; it holds {len(every)} other files, such as {min(every)}" if every else "; it is empty"
        raise ValueError(f"folder: {root} holds no images (.png, .jpg, .webp, ...){others}")
    return files


def _read(file: Path, size: int | None) -> np.ndarray:
    image = require("PIL.Image", "data 'folder:'")
    with warnings.catch_warnings():
        warnings.simplefilter("error", image.DecompressionBombWarning)
        with image.open(file) as opened:
            return _pixels(opened, size)


def _pixels(picture: Any, size: int | None) -> np.ndarray:
    """A Pillow image to (H, W) grey or (H, W, 3) colour, uint8."""
    image, operations = require("PIL.Image", "images"), require("PIL.ImageOps", "images")
    picture = operations.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # Pillow would cut off at 255 what goes to 65,535
        picture = image.fromarray((np.asarray(picture).astype(np.float64) / 257).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {picture.mode} have no known white; save it with 8 or 16 bits a channel")
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.has_transparency_data:
        ground = image.new("RGBA", picture.size, "white")
        picture = image.alpha_composite(ground, picture.convert("RGBA"))
    picture = picture.convert("L" if grey else "RGB")
    if size is not None:
        picture = operations.fit(picture, (size, size), image.Resampling.LANCZOS)
    return np.array(picture)  # a copy: Pillow's own memory is read-only


def _stack(images: Sequence[np.ndarray], name: str) -> Tensor:
    """Arrays of one height and width to (N, C, H, W) in [-1, 1]."""
    channels = 3 if any(image.ndim == 3 for image in images) else 1
    height, width = images[0].shape[:2]
    need, have = 4 * len(images) * channels * height * width, _memory()
    if need > have:
        raise ValueError(
            f"{name}: {len(images):,} images of {width}x{height} take {need / 2**30:.1f} GiB as float32 and this "
            f"machine has {have / 2**30:.1f}; choose a smaller size, e.g. {name.partition('?')[0]}?size=64"
        )
    samples = torch.empty(len(images), channels, height, width)
    for sample, pixels in zip(samples, images, strict=True):
        values = torch.from_numpy(pixels)
        sample.copy_(values.permute(2, 0, 1) if pixels.ndim == 3 else values)
    return samples.mul_(2 / 255).sub_(1)


def _memory() -> float:
    """Bytes of memory that this machine has; no bound where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
