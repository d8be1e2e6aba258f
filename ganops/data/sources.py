"""Data sets by name. A name can have options, as in a URL: ``ring8?size=500&seed=3``, ``folder:photos?size=64``."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ganops._common import checks
from ganops.data import arrow_sets, colour_images, digit_images, files, points, shards, torchvision_sets
from ganops.data.dataset import Dataset, Kind
from ganops.data.images import Images, reference_count
from ganops.data.shards import Shards

__all__ = ["LOCATED", "SOURCES", "Source", "base_name", "file_name", "load", "open", "reference", "source"]


@dataclass(frozen=True)
class Source:
    """A named data set before it is loaded."""

    load: Callable[..., Dataset | Images | Shards]
    kind: Kind
    summary: str


#: Every data set by name. To add one, write a function and add a line here; its keyword arguments become the options
#: of the name.
SOURCES: dict[str, Source] = {
    "mnist": Source(digit_images.mnist, "images", "5,000 real handwritten digits, 1x28x28, 500 a class"),
    "digits": Source(digit_images.digits, "images", "1,797 real handwritten digits, 1x8x8"),
    "stacked_mnist": Source(digit_images.stacked_mnist, "images", "three of the 5,000 digits as channels: 1,000 modes"),
    "mnist_outline": Source(digit_images.mnist_outline, "images", "pairs: the outline of a digit, and the digit"),
    "mnist_half": Source(digit_images.mnist_half, "images", "pairs: the upper half of a digit, and the whole"),
    "emoji": Source(colour_images.emoji, "images", "1,446 emoji in colour, 3x64x64; options size, font"),
    "patches": Source(colour_images.patches, "images", "crops of two photographs, 3x32x32; options size, count, seed"),
    "ring8": Source(points.ring8, "points", "8 Gaussians on a circle of radius 1, sigma 0.01"),
    "grid9": Source(points.grid9, "points", "9 Gaussians on the grid {-2, 0, 2} squared, sigma 0.05"),
    "grid25": Source(points.grid25, "points", "25 Gaussians on the grid {-4, -2, 0, 2, 4} squared, sigma 0.05"),
    "swiss_roll": Source(points.swiss_roll, "points", "a spiral in the plane, noise 0.033"),
    "gaussian1d": Source(points.gaussian1d, "points", "one Gaussian on the line, N(2, 1)"),
}

#: Data at a place that the name gives: ``folder:PATH``. The text after the colon is the function's first argument.
LOCATED: dict[str, Source] = {
    "folder": Source(
        files.folder, "images", "folder:PATH?size=64: your images; size, resize, crop, flip, labels, on_bad, memory"
    ),
    "hf": Source(
        arrow_sets.hugging_face, "images", "hf:PATH?size=64: Parquet or Arrow of datasets; also split, image, label"
    ),
    "wds": Source(shards.web_dataset, "images", "wds:PATTERN?size=64: WebDataset shards; also classes"),
    "torchvision": Source(
        torchvision_sets.torchvision_set, "images", "torchvision:CIFAR10?root=DIR: also split, size, download"
    ),
}


def _parse(name: str) -> tuple[str, str | None, dict[str, str]]:
    """Split ``folder:photos?size=64`` into ``("folder", "photos", {"size": "64"})``; the place can be None."""
    base, colon, rest = name.partition(":")
    located = bool(colon) and base in LOCATED
    # The options begin at the last question mark: an earlier one can belong to the path.
    place, mark, query = rest.rpartition("?") if located else name.partition("?")
    if not mark:
        place, query = (rest if located else name), ""
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"data: name {name!r}: option {part!r} has no value; write {key}=VALUE")
        options[key] = value
    return (base, place, options) if located else (place, None, options)


_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _typed(name: str, load: Callable[..., Any], options: dict[str, str], taken: int) -> dict[str, Any]:
    """Convert the options to the types of `load`'s keyword arguments; raises ValueError for unknown ones."""
    parameters = dict(list(inspect.signature(load).parameters.items())[taken:])
    typed: dict[str, Any] = {}
    for key, text in options.items():
        if not parameters:
            raise ValueError(f"data: name {name!r}: {base_name(name)} has no options, got {key!r}")
        checks.choice(f"data: name {name!r}", "option", key, parameters)
        wanted = str(parameters[key].annotation).partition(" ")[0]
        try:
            typed[key] = {"int": int, "float": float, "bool": _WORDS.__getitem__}.get(wanted, str)(text)
        except (ValueError, KeyError):
            what = {"int": "a whole number", "float": "a number", "bool": "yes or no"}[wanted]
            raise ValueError(f"data: name {name!r}: option {key} must be {what}, got {text!r}") from None
        if key == "size" and typed[key] < 1:
            raise ValueError(f"data: name {name!r}: option size must be at least 1, got {text!r}")
    return typed


def base_name(name: str) -> str:
    """Return the name without place and options: the key in `SOURCES` or `LOCATED`."""
    return _parse(name)[0]


def file_name(name: str) -> str:
    """Return the name in a form for file names: ``folder:/data/cats?size=64`` becomes ``folder-cats-size-64``."""
    base, place, options = _parse(name)
    parts = [base, *([place.rstrip("/").rpartition("/")[2]] if place else [])]
    parts += [part for key, value in options.items() if key not in ("root", "font") for part in (key, value)]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts)).strip("-.")


def source(name: str) -> Source:
    """Return the entry of `SOURCES` or `LOCATED` for `name`, with its place and options bound.

    Raises:
        ValueError: the name (the message has the nearest one) or an option is unknown, or an option's value is invalid.
    """
    base, place, options = _parse(name)
    if base in LOCATED:
        if not place:
            raise ValueError(f"data: name {name!r} has no place; write {LOCATED[base].summary.partition(': ')[0]}")
        found = LOCATED[base]
        return replace(found, load=functools.partial(found.load, place, **_typed(name, found.load, options, 1)))
    checks.choice("", "data", base, [*SOURCES, *(f"{key}:" for key in LOCATED)])
    found = SOURCES[base]
    if not options:
        return found
    return replace(found, load=functools.partial(found.load, **_typed(name, found.load, options, 0)))


def reference(data: Dataset | Images | Shards) -> Dataset:
    """The real samples that metrics, pictures and the monitor use: `data` itself if it is in memory as a `Dataset`.

    Of images that are decoded when they are used, at most 5,000 with labels or 1,000 without, and at most 256 MiB of
    float32: a random sample that is always the same, or the first ones of WebDataset shards.
    """
    if isinstance(data, Dataset):
        return data
    return data.in_memory(reference_count(data.shape, labelled=data.classes is not None))


def open(name: str) -> Dataset | Images | Shards:  # as PIL.Image.open
    """Open the data set with this name: one of `SOURCES`, or of `LOCATED` with its place.

    Those of `SOURCES` are a `Dataset` in memory. The images of the others are decoded when they are used.

    >>> open("mnist"), open("ring8?size=500"), open("folder:photos?size=64")   # doctest: +SKIP
    """
    return source(name).load()


def load(name: str) -> Dataset:
    """Load the data set with this name into memory, as float32; see `open` for images that do not fit.

    >>> load("mnist"), load("ring8?size=500"), load("folder:photos?size=64")   # doctest: +SKIP
    """
    opened = open(name)
    return opened if isinstance(opened, Dataset) else opened.in_memory()
