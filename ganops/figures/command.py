"""The command ``ganops figure``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganops._common import checks
from ganops.figures.table import FIGURES
from ganops.training.folder import check_output

__all__ = ["main"]


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """Which picture to draw, and the file to write."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = ""
    """The picture; ganops figure lists all."""
    out: Path | None = None
    """The PNG; None: NAME.png."""
    steps: int | None = None
    """Training steps, for pictures that train; None: the picture's default."""
    seed: int | None = None
    """Seed, for pictures with random numbers; None: 0."""
    run: Path | None = None
    """A run's folder, for pictures of a trained generator."""
    twin: Path | None = None
    """Another run's folder, for image-to-image: adds a row of its images."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace an existing file."""


def main(arguments: Sequence[str]) -> int:
    """Draw the picture named by the arguments and print its numbers; without arguments list all. Returns 0."""
    if not arguments:
        print(
            "\n".join(
                [
                    "usage: ganops figure NAME [--out FILE] [--overwrite] [--steps N] [--seed S] [--run DIR]",
                    "                          [--twin DIR]",
                    "",
                    *_listed(),
                ]
            )
        )
        return 0
    options = tyro.cli(
        FigureOptions,
        prog="ganops figure",
        description="Draw a picture:\n" + "\n".join(_listed()),
        args=list(arguments),
    )
    checks.choice("", "figure", options.name, FIGURES)
    draw = FIGURES[options.name].draw
    known = inspect.signature(draw).parameters
    chosen = {}
    for name in ("steps", "seed", "run", "twin"):
        value = getattr(options, name)
        if value is None:
            if name in known and known[name].default is inspect.Parameter.empty:
                raise ValueError(f"figure {options.name}: --{name} is missing; {FIGURES[options.name].summary}")
            continue
        if name not in known:
            raise ValueError(f"figure {options.name} takes no --{name}; its options are {_options(options.name)}")
        chosen[name] = value
    if chosen.get("steps", 1) < 1:
        raise ValueError(f"figure: steps must be at least 1, got {options.steps}")
    path = options.out or Path(f"{options.name}.png")
    if path.suffix != ".png":
        raise ValueError(f"figure: out must end in .png, got {str(path)!r}")
    check_output(path, options.overwrite)
    picture = draw(**chosen)
    check_output(path, options.overwrite)  # drawing can take minutes
    picture.save(path)
    for name, value in picture.numbers.items():
        print(f"  {name:<32} {value:.4g}")
    print(path)
    return 0


def _options(name: str) -> str:
    known = [f"--{option}" for option in inspect.signature(FIGURES[name].draw).parameters]
    return ", ".join(["--out", *known])


def _listed() -> list[str]:
    return [f"  {name:<22} {entry.summary} ({_options(name)})" for name, entry in FIGURES.items()]
