"""WebDataset shards on this machine: tar files with images, read from beginning to end."""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch.utils.data import default_collate

from ganops._common import checks
from ganops._optional import require
from ganops.data import image_files, memory
from ganops.data.dataset import Dataset, Kind
from ganops.data.framing import Crop, Framing
from ganops.data.images import DataError, Drawn, OnBad, scaled, with_channels

__all__ = ["Shards", "web_dataset"]

_IMAGES = ("jpg", "jpeg", "png", "webp", "ppm", "bmp", "gif", "tif", "tiff", "avif", "jp2")
_BUFFER = 1000  # encoded images that are shuffled among each other


class _Entry(NamedTuple):
    """An image of a shard, or the reason why there is none."""

    name: str
    image: np.ndarray | str
    label: int | None


class Shards(torch.utils.data.IterableDataset[Any]):
    """Images of WebDataset shards, in another order each epoch. `ganops.data.open` makes one from ``wds:PATTERN``.

    The shards are shuffled, and images within a buffer of 1,000. The processes of a `DataLoader` take shards in turn,
    so the order depends on their number.

    Args:
        name: the name, for messages and files.
        files: the shards.
        framing: scale, crop and flip.
        on_bad: what to do about an image that cannot be read: ``error``, or ``skip`` to leave it out.
        shape: (C, H, W).
        classes: number of classes, which the files ``.cls`` give; None: no classes.
    """

    kind: Kind = "images"
    conditions = None
    labels = None

    def __init__(
        self,
        name: str,
        files: list[Path],
        framing: Framing,
        on_bad: OnBad,
        shape: tuple[int, int, int],
        classes: int | None,
    ) -> None:
        self.name = name
        self.files = files
        self.framing = framing
        self.on_bad: OnBad = on_bad
        self.shape = shape
        self.classes = classes
        self._seeds = (0, 0)

    def set_epoch(self, epoch: int, seed: int = 0) -> None:
        """Choose the order of the next iteration."""
        self._seeds = (seed, epoch)

    def __iter__(self) -> Iterator[_Entry]:
        worker = torch.utils.data.get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        order = random.Random(f"{self._seeds}").sample(self.files, len(self.files))
        draws = random.Random(f"{self._seeds} {first}/{step}")
        library = require("webdataset", f"data '{self.name}'", extra="data")
        shuffled = library.shuffle(_BUFFER, initial=_BUFFER, rng=draws)(self._encoded(order[first::step]))
        for sample in shuffled:
            yield self._decoded(sample, draws.getrandbits(63))

    def _encoded(self, files: list[Path]) -> Iterator[dict[str, Any]]:
        """The files of each image by ending, as bytes; for a shard that cannot be read its key and the reason."""
        readers = require("webdataset.tariterators", f"data '{self.name}'", extra="data")
        for file in files:
            try:
                with open(file, "rb") as stream:
                    yield from readers.group_by_keys(readers.tar_file_expander([{"url": str(file), "stream": stream}]))
            except (OSError, EOFError, tarfile.TarError, ValueError) as error:
                yield {"__key__": file.name, "__bad__": str(error.args[0] if error.args else type(error).__name__)}

    def _decoded(self, sample: dict[str, Any], number: int) -> _Entry:
        name = image_files.printable(sample["__key__"])
        if "__bad__" in sample:
            return _Entry(name, f"the shard cannot be read to its end ({sample['__bad__']})", None)
        ending = next((ending for ending in _IMAGES if ending in sample), None)
        if ending is None:
            return _Entry(name, f"it has no image ({', '.join(_IMAGES)})", None)
        image = image_files.read_bytes(sample[ending], name, self.framing.decode)
        if not isinstance(image, str):
            image = with_channels(image, self.shape[0])
        if not isinstance(image, str):
            image = self.framing.vary(image, number)
            if image.shape[:2] != self.shape[1:]:
                image = "its size differs from the first image's; scale them with the option size"
        label = None
        if self.classes is not None and not isinstance(image, str):
            text = sample.get("cls", b"").decode(errors="replace").strip()
            label = int(text) if text.isdecimal() else -1
            if not 0 <= label < self.classes:
                image = f"its .cls must be a class from 0 to {self.classes - 1}, got {text!r}"
        return _Entry(name, image, label)

    def collate(self, entries: list[_Entry]) -> Drawn:
        """A batch of entries; images that cannot be read are left out, or there is no batch, as `on_bad` says."""
        good = [entry for entry in entries if not isinstance(entry.image, str)]
        bad = [(entry.name, entry.image) for entry in entries if isinstance(entry.image, str)]
        if bad and self.on_bad == "error":
            return Drawn(None, None, bad)
        channels, height, width = self.shape
        pixels = torch.zeros((0, height, width, channels), dtype=torch.uint8, device="cpu")
        if good:
            pixels = default_collate([torch.from_numpy(entry.image) for entry in good])
        labels = None
        if self.classes is not None:
            labels = torch.tensor([entry.label for entry in good], dtype=torch.int64, device="cpu")
        return Drawn(pixels.permute(0, 3, 1, 2), labels, bad)

    def failure(self, bad: list[tuple[str, str]]) -> str:
        """The message for images that cannot be read."""
        name, reason = bad[-1]
        return f"{self.name}: {name} cannot be read ({reason}); repair it, or leave such images out with on_bad=skip"

    def fingerprint(self) -> str:
        """A hash of the names and lengths of the shards."""
        digest = hashlib.blake2b(digest_size=16)
        for file in self.files:
            digest.update(f"{file.name}\0{os.stat(file).st_size}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def in_memory(self, count: int | None = None) -> Dataset:
        """Decode the first `count` images, or all, into a `Dataset` of float32; for errors see `Images.in_memory`."""
        draws = random.Random(0)
        entries: list[_Entry] = []
        used, (channels, height, width) = 0, self.shape
        for sample in self._encoded(self.files):
            entry = self._decoded(sample, draws.getrandbits(63))
            used += 5 * channels * height * width
            memory.check_fits(self.name, "the images as float32", used, "choose a smaller size")
            entries.append(entry)
            if count is not None and len(entries) == count:
                break
        drawn = self.collate(entries)
        if drawn.samples is None:
            raise DataError(self.failure(drawn.bad))
        if not len(drawn.samples):
            raise DataError(f"{self.name}: no image can be read; {self.failure(drawn.bad)}")
        samples = scaled(drawn.samples.to(torch.float32, memory_format=torch.contiguous_format))
        return Dataset(self.name, samples, labels=drawn.labels, classes=self.classes)


def web_dataset(
    path: str,
    size: int | None = None,
    classes: int | None = None,
    on_bad: OnBad = "error",
    resize: int | None = None,
    crop: Crop = "center",
    flip: bool = False,
) -> Shards:
    """The images of WebDataset shards: tar files on this machine, in which the files of a sample have one name.

    A run that is resumed begins the epoch again.

    Args:
        path: a pattern such as ``shards/train-{000..099}.tar`` or ``shards/*.tar``, or a folder with shards.
        classes: the number of classes, if each image has a file ``.cls`` with its class; None: no classes.
        size, resize, crop, flip: as for `folder`. The images have one channel if the first hundred are grey.
        on_bad: ``error`` stops at an image that cannot be read, ``skip`` leaves it out and warns.

    Raises:
        ModuleNotFoundError: ``webdataset`` is not installed.
        FileNotFoundError: there are no such files.
        ValueError: there is no image, or an option is out of range.
    """
    name = f"wds:{path}"
    checks.choice("wds", "on_bad", on_bad, get_args(OnBad))
    framing = Framing(size, resize, crop, flip)
    if classes is not None:
        classes = checks.whole("wds", "classes", classes, minimum=1)
    expand = require("braceexpand", f"data '{name}'", extra="data").braceexpand
    require("webdataset", f"data '{name}'", extra="data")
    require("PIL.Image", f"data '{name}'")
    files: list[Path] = []
    for pattern in expand(str(Path(path).expanduser())):
        pattern = os.path.join(glob.escape(pattern), "*.tar") if os.path.isdir(pattern) else pattern
        found = [Path(pattern)] if os.path.lexists(pattern) else sorted(map(Path, glob.glob(pattern)))
        if not found or not all(file.is_file() for file in found):
            raise FileNotFoundError(
                f"{name}: {pattern} is no file; give tar files on this machine, e.g. wds:shards/train-{{000..099}}.tar"
            )
        files += found
    shards = Shards(name, files, framing, on_bad, (3, 1, 1), classes)
    images, grey = [], []
    for sample in itertools.islice(shards._encoded(files), 100):
        for content in (sample[ending] for ending in _IMAGES if ending in sample):
            grey.append(image_files.read_bytes(content, name, image_files.is_grey))
            if not images:
                images += [image_files.read_bytes(content, name, framing.decode)]
    images = [image for image in images if not isinstance(image, str)]
    if not images:
        raise ValueError(f"{name}: the first hundred samples of {files[0].name} have no image that can be read")
    sides = images[0].shape[:2] if size is None else (size, size)
    shards.shape = (1 if all(answer is True for answer in grey if not isinstance(answer, str)) else 3, *sides)
    return shards
