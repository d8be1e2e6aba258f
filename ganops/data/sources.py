"""Data sets by name. A name may bring options, as in a URL: ``ring8?size=500&seed=3``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ganops import _checks
from ganops.data import digit_images, points
from ganops.data.dataset import Dataset, Kind

__all__ = ["SOURCES", "Source", "base_name", "load", "source"]


@dataclass(frozen=True)
class Source:
    """A named data set before it is loaded."""

    load: Callable[..., Dataset]
    kind: Kind
    summary: str


#: Every data set by name. A new one is one line here and one function beside it; its keyword arguments are the
#: options of the name.
SOURCES: dict[str, Source] = {
    "mnist": Source(digit_images.mnist, "images", "5,000 real handwritten digits, 1x28x28, 500 a class"),
    "digits": Source(digit_images.digits, "images", "1,797 real handwritten digits, 1x8x8"),
    "stacked_mnist": Source(digit_images.stacked_mnist, "images", "three of the 5,000 digits as channels: 1,000 modes"),
    "mnist_outline": Source(digit_images.mnist_outline, "images", "pairs: the outline of a digit, and the digit"),
    "mnist_half": Source(digit_images.mnist_half, "images", "pairs: the upper half of a digit, and the whole"),
    "ring8": Source(points.ring8, "points", "8 Gaussians on a circle of radius 1, sigma 0.01"),
    "grid9": Source(points.grid9, "points", "9 Gaussians on the grid {-2, 0, 2} squared, sigma 0.05"),
    "grid25": Source(points.grid25, "points", "25 Gaussians on the grid {-4, -2, 0, 2, 4} squared, sigma 0.05"),
    "swiss_roll": Source(points.swiss_roll, "points", "a spiral in the plane, noise 0.033"),
    "gaussian1d": Source(points.gaussian1d, "points", "one Gaussian on the line, N(2, 1)"),
}


def _parse(name: str) -> tuple[str, dict[str, str]]:
    """``ring8?size=500&seed=3`` to ``("ring8", {"size": "500", "seed": "3"})``."""
    base, _, query = name.partition("?")
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"data: name {name!r}: option {part!r} has no value; write {key}=VALUE")
        options[key] = value
    return base, options


def _typed(name: str, load: Callable[..., Dataset], options: dict[str, str]) -> dict[str, Any]:
    """The options with the types of `load`'s keyword arguments; a `ValueError` for one that it does not have."""
    parameters = inspect.signature(load).parameters
    typed: dict[str, Any] = {}
    for key, text in options.items():
        if not parameters:
            raise ValueError(f"data: name {name!r}: {name.partition('?')[0]} has no options, got {key!r}")
        _checks.choice(f"data: name {name!r}", "option", key, parameters)
        wanted = str(parameters[key].annotation)
        kind = int if wanted.startswith("int") else float if wanted.startswith("float") else str
        try:
            typed[key] = kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"data: name {name!r}: option {key} must be {what}, got {text!r}") from None
        if key == "size" and typed[key] < 1:
            raise ValueError(f"data: name {name!r}: option size must be at least 1, got {text!r}")
    return typed


def base_name(name: str) -> str:
    """The name without its options: the key in `SOURCES`."""
    return name.partition("?")[0]


def source(name: str) -> Source:
    """The entry of `SOURCES` called `name` with its options bound, or a `ValueError` that names the nearest."""
    base, options = _parse(name)
    _checks.choice("data", "name", base, SOURCES)
    found = SOURCES[base]
    if not options:
        return found
    return replace(found, load=functools.partial(found.load, **_typed(name, found.load, options)))


def load(name: str) -> Dataset:
    """Load the data set called `name` (see `SOURCES`)."""
    return source(name).load()
