"""The style of all pictures: readable on a slide, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

import torch
from torch import Tensor

from ganops._files import write_atomically
from ganops._optional import require
from ganops.training.report import image_grid

__all__ = ["BLACK", "COLOURS", "GREY", "Picture", "blank", "mean", "new_figure", "show_images", "styled", "tiled"]

#: Okabe and Ito's palette (2008): blue, vermilion, green, orange, purple, sky.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
BLACK, GREY = "#222222", "#777777"

P = ParamSpec("P")

_STYLE = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2.2,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Picture:
    """A figure and the numbers that it shows.

    Attributes:
        figure: a `matplotlib.figure.Figure`.
        numbers: the numbers, by name.
    """

    figure: Any
    numbers: dict[str, float]

    def save(self, path: str | Path) -> None:
        """Write a PNG of 120 dots per inch in 128 colours (a quarter of the bytes). An error leaves no partial file."""
        image = require("PIL.Image", "drawing pictures")
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=120)
        few = image.open(drawn).convert("RGB").quantize(128, method=image.Quantize.MEDIANCUT)
        write_atomically(Path(path), lambda file: few.save(file, format="png", optimize=True))


def styled(draw: Callable[P, Picture]) -> Callable[P, Picture]:
    """Wrap a function that draws a picture: it draws in the style of this module, and with tensors on the CPU.

    A picture must not depend on torch's default device, which other code in the process may have set.
    """

    @functools.wraps(draw)
    def with_style(*args: P.args, **kwargs: P.kwargs) -> Picture:
        mpl = require("matplotlib", "drawing pictures")
        with mpl.rc_context(_STYLE), torch.device("cpu"):
            return draw(*args, **kwargs)

    return with_style


def new_figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (9.6, 4.8), **options: Any) -> Any:
    """Return a figure and its axes, as ``pyplot.subplots`` does, without pyplot's global state or a display."""
    require("matplotlib", "drawing pictures")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def blank(axes: Any) -> None:
    """Remove ticks and frame, for pictures in a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def tiled(images: Tensor, columns: int) -> Tensor:
    """Tile images (N, C, H, W) in [-1, 1], C = 1 or 3, into one picture (height, width, 3) in [0, 1], row by row."""
    return image_grid(images, columns)


def show_images(axes: Any, images: Tensor, columns: int) -> None:
    """Show images (N, C, H, W) as a grid of `columns` columns, in axes without a frame."""
    blank(axes)
    axes.imshow(tiled(images, columns).clamp(0, 1).numpy(), interpolation="nearest")


def mean(values: list[float]) -> float:
    """Return the mean of a few numbers."""
    return torch.tensor(values, dtype=torch.float64).mean().item()
