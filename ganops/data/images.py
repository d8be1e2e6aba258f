"""Images that stay where they are and are decoded when they are used: a `torch.utils.data.Dataset`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ganops._memory import available_memory
from ganops.data import image_files, memory
from ganops.data.dataset import Dataset, Kind
from ganops.data.framing import Framing

__all__ = [
    "DataError",
    "Drawn",
    "Images",
    "OnBad",
    "Reader",
    "kept_in_memory",
    "opened",
    "reference_count",
    "scaled",
    "with_channels",
]

T = TypeVar("T")
OnBad = Literal["error", "skip"]

#: Replacements that are tried for an image that cannot be read.
_TRIES = 10

# The most real images that metrics compare samples with, and the most memory for them as float32.
_REFERENCE = {"labelled": 5000, "unlabelled": 1000}
_REFERENCE_BYTES = 2**28


class DataError(ValueError):
    """Data that could be read before cannot be read any more, or differ from what they were."""


class Reader(Protocol):
    """Where images come from. Readers are copied to the processes that decode."""

    #: An upper bound of the memory that decoding one image takes, in bytes; 0: unknown.
    decode_bytes: int
    #: Whether several threads may read at a time.
    threads: bool

    def __len__(self) -> int: ...

    def read(self, index: int, decode: Callable[[Any], T]) -> T | str:
        """``decode(picture)`` of an image, or the reason why it cannot be read."""
        ...

    def name(self, index: int) -> str:
        """What to call an image in messages."""
        ...

    def fingerprint(self) -> str:
        """A hash that changes with the images."""
        ...


class Drawn(NamedTuple):
    """A batch of images.

    Attributes:
        samples: (N, C, H, W) uint8; None if an image cannot be read or replaced.
        labels: (N,) int64; None if there are no classes.
        bad: images that cannot be read, each with the reason.
    """

    samples: Tensor | None
    labels: Tensor | None
    bad: list[tuple[str, str]]


class Images(torch.utils.data.Dataset[Any]):
    """Images that are decoded when they are used. `ganops.data.open` makes one from ``folder:PATH`` and the like.

    It is a map-style data set: ``images[i]`` is a uint8 tensor (C, H, W), or a pair of it and its class, framed anew
    with random numbers from torch's default generator.

    Args:
        name: the name, for messages and files.
        reader: where the images come from.
        framing: scale, crop and flip.
        on_bad: what to do about an image that cannot be read: ``error``, or ``skip`` to take another one instead.
        shape: (C, H, W).

    Attributes:
        labels: the class of each image, (N,) int64; None: no classes. `with_labels` sets it.
        classes: number of classes.

    >>> images = ganops.data.open("folder:photos?size=64")                         # doctest: +SKIP
    >>> len(images), images.shape
    (20000, (3, 64, 64))
    """

    kind: Kind = "images"
    conditions = None

    def __init__(
        self,
        name: str,
        reader: Reader,
        framing: Framing,
        on_bad: OnBad,
        shape: tuple[int, int, int],
    ) -> None:
        self.name = name
        self.reader = reader
        self.framing = framing
        self.on_bad: OnBad = on_bad
        self.shape = shape
        self.labels: Tensor | None = None
        self.classes: int | None = None

    def with_labels(self, labels: Tensor | None, classes: int | None = None) -> Images:
        """Set the class of each image, (N,) int64, and their number, by default the largest plus one."""
        self.labels = labels
        self.classes = int(labels.max()) + 1 if labels is not None and classes is None else classes
        return self

    @property
    def kept(self) -> bool:
        """Whether the decoded images are kept in memory."""
        return isinstance(self.reader, _Kept)

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Any:
        number = int(torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu"))
        drawn = self.draw([range(len(self))[index]], [number])
        if drawn.samples is None:
            raise DataError(self.failure(drawn.bad))
        image = drawn.samples[0]
        return image if drawn.labels is None else (image, int(drawn.labels[0]))

    def draw(self, indices: Sequence[int], numbers: Sequence[int]) -> Drawn:
        """The images `indices`, with one random number in [0, 2^63) each for crop, flip and replacement.

        The result depends on nothing else. It does not raise an error for an image that cannot be read, so that the
        process that decodes can report it to the one that trains.
        """
        pixels, used, bad = [], [], []
        for index, number in zip(indices, numbers, strict=True):
            tries = 0
            image = self._read(index)
            while isinstance(image, str):
                bad.append((self.reader.name(index), image))
                tries += 1
                if self.on_bad == "error" or tries > _TRIES:
                    return Drawn(None, None, bad)
                index = (number + tries * 0x9E3779B97F4A7C15) % len(self)  # an even spread: the golden ratio of 2^64
                image = self._read(index)
            pixels.append(self.framing.vary(image, number))
            used.append(index)
        # In a worker process default_collate stacks into shared memory, without a copy.
        samples = default_collate([torch.from_numpy(image) for image in pixels]).permute(0, 3, 1, 2)
        return Drawn(samples, None if self.labels is None else self.labels[used], bad)

    def _read(self, index: int) -> np.ndarray | str:
        """The image before its random framing, (H, W, C), or the reason why there is none."""
        image = self.reader.read(index, self.framing.decode)
        if isinstance(image, str):
            return image
        image = with_channels(image, self.shape[0])
        if not isinstance(image, str) and self.framing.size is None and image.shape[:2] != self.shape[1:]:
            (height, width), (_, wanted, across) = image.shape[:2], self.shape
            return f"it is {width}x{height} and the others are {across}x{wanted}; scale them with the option size"
        return image

    def failure(self, bad: list[tuple[str, str]]) -> str:
        """The message for images that cannot be read."""
        name, reason = bad[-1]
        message = f"{self.name}: {name} cannot be read ({reason})"
        if self.on_bad == "error":
            return f"{message}; repair it, or have such images replaced by others with on_bad=skip"
        return f"{message}, nor can {_TRIES} others that were tried in its place; are the data still there?"

    def check(self) -> None:
        """Raise a ValueError if an image differs from the others in size or has colour among grey ones."""
        for index in range(len(self)):
            image = self._read(index)
            if isinstance(image, str):
                raise ValueError(f"{self.name}: {self.reader.name(index)} cannot be used: {image}")

    def fingerprint(self) -> str:
        """A hash that changes with the images: for a folder of the paths and sizes of the files."""
        return self.reader.fingerprint()

    def in_memory(self, count: int | None = None) -> Dataset:
        """Decode the images, or a random sample of them that is always the same, into a `Dataset` of float32.

        Crops and flips are drawn once for each image. Images that cannot be read are replaced as in training.

        Args:
            count: how many; None, or more than there are: all, in their order.

        Raises:
            ValueError: they need more memory than this process may use.
            DataError: an image cannot be read.
        """
        generator = torch.Generator(device="cpu").manual_seed(0)
        chosen = torch.arange(len(self), device="cpu")
        if count is not None and count < len(self):
            order = torch.randperm(len(self), generator=generator, dtype=torch.int64, device="cpu")
            chosen = order[:count].sort().values
        numbers = torch.randint(2**63 - 1, (len(chosen),), generator=generator, dtype=torch.int64, device="cpu")
        channels, height, width = self.shape
        need = (1 + 4) * len(chosen) * channels * height * width
        memory.check_fits(
            self.name, f"{len(chosen):,} images of {width}x{height} as float32", need, "choose a smaller size"
        )
        pairs = list(zip(chosen.tolist(), numbers.tolist(), strict=True))
        with ThreadPoolExecutor(threads_that_fit(self.reader, need)) as pool:
            drawn = list(pool.map(lambda pair: self.draw(*([value] for value in pair)), pairs))
        for each in drawn:
            if each.samples is None:
                raise DataError(self.failure(each.bad))
        samples = torch.empty(len(drawn), channels, height, width, dtype=torch.float32, device="cpu")
        for sample, each in zip(samples, drawn, strict=True):
            sample.copy_(each.samples[0])
        labels = None if self.labels is None else torch.cat([each.labels for each in drawn])
        return Dataset(self.name, scaled(samples), labels=labels, classes=self.classes)


def scaled(pixels: Tensor) -> Tensor:
    """Scale pixels in [0, 255], floating point, to [-1, 1] in place."""
    return pixels.mul_(2 / 255).sub_(1)


def with_channels(image: np.ndarray, channels: int) -> np.ndarray | str:
    """An image (H, W) or (H, W, 3) as (H, W, channels); a reason if it has colour and there is one channel."""
    if image.ndim == 3 and channels == 1:
        return "it has colour and the images of this data set are grey"
    return image if image.ndim == 3 else np.repeat(image[:, :, None], channels, axis=2)


def chosen_channels(reader: Reader) -> int:
    """1 if a thousand images from all over a data set are grey, otherwise 3; those that cannot be read do not count."""
    indices = range(0, len(reader), max(1, len(reader) // 1000))
    grey = [reader.read(index, image_files.is_grey) for index in indices]
    return 1 if all(answer is True for answer in grey if not isinstance(answer, str)) else 3


def reference_count(shape: Sequence[int], *, labelled: bool) -> int:
    """The number of real images that are kept for metrics: 5,000 with labels or 1,000 without, at most 256 MiB."""
    most = _REFERENCE["labelled" if labelled else "unlabelled"]
    return max(64, min(most, _REFERENCE_BYTES // (4 * int(np.prod(shape)))))


def threads_that_fit(reader: Reader, need: float) -> int:
    """The number of images to decode at a time, when `need` bytes are used for the results."""
    if not reader.threads:
        return 1
    most = min(32, (os.cpu_count() or 1) + 4)
    if not reader.decode_bytes:
        return most
    return int(max(1, min(most, (available_memory() - need) // reader.decode_bytes)))


class _Kept:
    """A reader of decoded images in memory."""

    decode_bytes, threads = 0, True

    def __init__(self, images: list[np.ndarray], names: list[str], fingerprint: str) -> None:
        self._images = images
        self._names = names
        self._fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int, decode: Callable[[Any], np.ndarray]) -> np.ndarray | str:
        return self._images[index]

    def name(self, index: int) -> str:
        return self._names[index]

    def fingerprint(self) -> str:
        return self._fingerprint


def kept_in_memory(reader: Reader, framing: Framing, need: float) -> tuple[Reader, list[int], list[tuple[int, str]]]:
    """Decode all images of a reader, up to their random framing, and keep them as uint8.

    Args:
        reader: where the images come from.
        framing: as in `Images`.
        need: bytes of the results.

    Returns:
        A reader of the images in memory, the indices that they had in `reader`, and the indices of those that cannot be
        read, with the reasons.
    """
    with ThreadPoolExecutor(threads_that_fit(reader, need)) as pool:
        found = list(pool.map(lambda index: reader.read(index, framing.decode), range(len(reader))))
    good = [index for index, image in enumerate(found) if not isinstance(image, str)]
    bad = [(index, image) for index, image in enumerate(found) if isinstance(image, str)]
    names = [reader.name(index) for index in good]
    return _Kept([found[index] for index in good], names, reader.fingerprint()), good, bad


def opened(name: str, reader: Reader, framing: Framing, on_bad: OnBad, limit: float) -> tuple[Images, list[int] | None]:
    """The images of a reader whose headers are not read in advance, decoded at once if they need at most `limit` bytes.

    There is one channel if a thousand images from all over the data set are grey, otherwise there are three.

    Returns:
        The images, and the indices in `reader` of those that are kept in memory; None: they are decoded when used.

    Raises:
        ValueError: there are none, or one that is decoded cannot be read.
    """
    if not len(reader):
        raise ValueError(f"{name}: the data set is empty")
    size, first = reader.read(0, lambda picture: picture.size), reader.read(0, framing.decode)
    if isinstance(size, str) or isinstance(first, str):
        raise ValueError(f"{name}: {reader.name(0)} cannot be read: {first}")
    channels, kept = chosen_channels(reader), None
    need = len(reader) * channels * framing.pixels(*size)
    if need <= limit:
        kept_reader, kept, bad = kept_in_memory(reader, framing, need)
        if bad and on_bad == "error":
            raise ValueError(
                f"{name}: {len(bad):,} of the {len(reader):,} images cannot be read, the first is "
                f"{reader.name(bad[0][0])} ({bad[0][1]}); leave them out with on_bad=skip"
            )
        if bad:
            warnings.warn(
                f"{name}: left out {len(bad):,} of the {len(reader):,} images, which cannot be read, the first is "
                f"{reader.name(bad[0][0])} ({bad[0][1]})",
                stacklevel=3,
            )
        reader = kept_reader
    height, width = first.shape[:2] if framing.size is None else (framing.size, framing.size)
    images = Images(name, reader, framing, on_bad, (channels, height, width))
    if kept is not None:
        images.check()
    return images, kept
