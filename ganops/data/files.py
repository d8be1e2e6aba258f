"""Your own images: a folder of files."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ganops._common import checks
from ganops._memory import available_memory
from ganops.data import image_files
from ganops.data.framing import Crop, Framing
from ganops.data.image_files import named
from ganops.data.images import Images, OnBad, Reader, T, kept_in_memory, scaled

__all__ = ["FileReader", "folder", "memory_limit", "stacked"]

Labels = Literal["none", "folders"]


def folder(
    path: str,
    size: int | None = None,
    on_bad: OnBad = "error",
    labels: Labels = "none",
    resize: int | None = None,
    crop: Crop = "center",
    flip: bool = False,
    memory: float = 1.0,
) -> Images:
    """The images in a folder and in all folders below it, in the order of their names.

    Formats are PNG, JPEG, WebP, BMP, GIF, TIFF, PPM, AVIF and JPEG 2000; of files with several pictures the first is
    taken. Photographs are rotated as their EXIF data say, transparent pixels become white, 16 bits become 8. The images
    have one channel if all of them are grey and three otherwise. Links are followed, each folder is read once, and
    names that begin with a dot are skipped. Files that look like images and are left out by these rules are listed in
    one warning.

    The headers of all files are read at once. A small data set is decoded at once too, see `memory`; the images of a
    larger one are decoded whenever they are used, and a damaged one is then found when it is first needed.

    Args:
        path: the folder.
        size: scale each image so that its shorter side has this length, and crop a square. Smaller images are scaled
            up, with a warning. None: keep the images as they are; all must then have one size.
        on_bad: what to do about images and folders that cannot be read: ``error`` raises an error that names them,
            ``skip`` leaves them out and warns with their number and names. An image that is found to be bad in training
            is replaced by another one.
        labels: ``folders``: the class of an image is the folder directly below `path` that it lies in, counted from 0
            in the order of their names; ``none``: no classes.
        resize: scale the shorter side to this length before the square of side `size` is cropped.
        crop: ``center``: the middle of the image; ``random``: another place each time.
        flip: mirror half of the images left to right, chosen anew each time.
        memory: GiB up to which the decoded images (uint8) are kept in memory, at most half of the memory that this
            process may use. 0: they are always decoded when they are used.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder has no images; some cannot be read; they differ in size and no `size` is given; or an
            option is out of range.
        MemoryError: memory ran out while decoding. It is never treated as a bad image.

    >>> folder("photos", size=64).shape                                            # doctest: +SKIP
    (3, 64, 64)
    """
    checks.choice("folder", "on_bad", on_bad, get_args(OnBad))
    checks.choice("folder", "labels", labels, get_args(Labels))
    framing = Framing(size, resize, crop, flip)
    limit = memory_limit("folder", memory)
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
    with ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 4)) as pool:  # decoders release the interpreter's lock
        headers = list(zip(found.files, pool.map(image_files.probe, found.files), strict=True))
    bad = [(file, header) for file, header in headers if isinstance(header, str)]
    files = {file: header for file, header in headers if not isinstance(header, str)}
    reader: Reader = FileReader(root, list(files), list(files.values()))
    channels = 1 if all(header.grey for header in files.values()) else 3
    good = list(files)
    if files:
        need = channels * sum(framing.pixels(header.width, header.height) for header in files.values())
        if need <= limit:
            reader, kept, unreadable = kept_in_memory(reader, framing, need)
            bad += [(good[index], reason) for index, reason in unreadable]
            good = [good[index] for index in kept]
    bad += found.unreadable
    total = f"{len(found.files) + len(found.unreadable):,} images and folders"
    if bad and (on_bad == "error" or not good):
        fix = "repair or remove them" + (", or leave them out with on_bad=skip" if good else "")
        raise ValueError(f"folder: {len(bad):,} of the {total} in {path} cannot be read: {named(bad, root)}; {fix}")
    if not good:
        raise ValueError(_no_images(root, found))
    sides = [size, size] if size is not None else _one_size(reader, good, [files[file] for file in good], root)
    left_out = [f"{rule}: {named(paths, root)}" for rule, paths in found.left_out.items()]
    left_out += [f"{len(bad):,} of the {total}, which cannot be read: {named(bad, root)}"] if bad else []
    classes = None
    if labels == "folders":
        names = [file.relative_to(root).parts[0] for file in good]
        number = {name: i for i, name in enumerate(sorted(set(names)))}
        classes = torch.tensor([number[name] for name in names], dtype=torch.int64, device="cpu")
        empty = [root / name for name in sorted(found.top - set(names))]
        left_out += [f"class folders without images: {named(empty, root)}"] if empty else []
    if left_out:
        warnings.warn(f"folder: left out of {path}: {'. '.join(left_out)}", stacklevel=2)
    if framing.scaled is not None:
        small = [file for file in good if min(files[file][:2]) < framing.scaled]
        if small:
            warnings.warn(
                f"folder: {len(small):,} of the {len(good):,} images in {path} have a side below {framing.scaled} and "
                f"are scaled up: {named(small, root)}",
                stacklevel=2,
            )
    return Images(f"folder:{path}", reader, framing, on_bad, (channels, *sides)).with_labels(classes)


class FileReader:
    """Reads the images of a folder.

    Args:
        root: the folder.
        files: paths below it.
        headers: of the files.
    """

    threads = True

    def __init__(self, root: Path, files: Sequence[Path], headers: Sequence[image_files.Header]) -> None:
        self._root = root
        # An array is shared with the processes that decode; a list would be copied to each as its reference counts
        # change.
        self._files = np.array([os.fsencode(file.relative_to(root)) for file in files], dtype=np.bytes_)
        self._lengths = np.array([header.length for header in headers], dtype=np.int64)
        # The decoder's output, two copies while transparency is removed, and the result.
        self.decode_bytes = (4 + 4 + 4 + 3) * max((header.width * header.height for header in headers), default=0)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int, decode: Callable[[Any], T]) -> T | str:
        """See `ganops.data.images.Reader`. A file that has changed its length since it was found is bad."""
        return image_files.read(self._root / os.fsdecode(bytes(self._files[index])), decode, int(self._lengths[index]))

    def name(self, index: int) -> str:
        """The path below the folder."""
        return image_files.printable(os.fsdecode(bytes(self._files[index])))

    def fingerprint(self) -> str:
        """A hash of the paths below the folder and of the lengths of the files."""
        digest = hashlib.blake2b(digest_size=16)
        for file, length in zip(self._files.tolist(), self._lengths.tolist(), strict=True):
            digest.update(file + f"\0{length}\0".encode())
        return digest.hexdigest()


def memory_limit(name: str, gib: float) -> float:
    """The bytes up to which decoded images stay in memory, for the option ``memory`` of a data set called `name`."""
    return min(checks.number(name, "memory", gib, minimum=0) * 2**30, available_memory() / 2)


def _one_size(reader: Reader, files: Sequence[Path], headers: Sequence[image_files.Header], root: Path) -> list[int]:
    """Height and width of all images; a ValueError names two that differ."""
    framing = Framing()
    first = reader.read(0, framing.decode)
    if isinstance(first, str):
        raise ValueError(f"folder: {root} has an image that cannot be read: {named([(files[0], first)], root)}")
    if isinstance(reader, FileReader):
        # Whether an image is rotated is known when it is decoded.
        sizes = [(header.height, header.width) for header in headers]
        differ = [i for i, size in enumerate(sizes) if sorted(size) != sorted(sizes[0])]
    else:
        sizes = [reader.read(i, framing.decode).shape[:2] for i in range(len(reader))]
        differ = [i for i, size in enumerate(sizes) if size != sizes[0]]
    if differ:
        (h, w), (other_h, other_w) = sizes[0], sizes[differ[0]]
        raise ValueError(
            f"folder: {named(files[:1], root)} is {w}x{h} and {named([files[differ[0]]], root)} is "
            f"{other_w}x{other_h} (width x height); all images must have one size: scale and crop them with the option "
            f"size, e.g. folder:{root}?size=64"
        )
    return list(first.shape[:2])


def _no_images(root: Path, found: image_files.Found) -> str:
    rest = [f"{rule}: {named(paths, root)}" for rule, paths in found.left_out.items()]
    rest += [f"{len(found.others):,} other files: {named(found.others, root)}"] if found.others else []
    return f"folder: {root} has no images (.png, .jpg, .webp, ...); " + ("; ".join(rest) or "it is empty")


def stacked(images: Sequence[np.ndarray]) -> Tensor:
    """Convert uint8 images (H, W) or (H, W, 3) of one size to (N, C, H, W) in [-1, 1]; C is 1 if all are grey."""
    channels = 3 if any(image.ndim == 3 for image in images) else 1
    samples = torch.empty(len(images), channels, *images[0].shape[:2], dtype=torch.float32, device="cpu")
    for sample, pixels in zip(samples, images, strict=True):
        values = torch.from_numpy(pixels)
        sample.copy_(values.permute(2, 0, 1) if pixels.ndim == 3 else values)
    return scaled(samples)
