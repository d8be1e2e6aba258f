"""The pictures and numbers of a run, each file written atomically."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganops._files import write_atomically
from ganops._optional import require
from ganops.data import Dataset

__all__ = [
    "image_grid",
    "strict",
    "write_curves",
    "write_history",
    "write_json",
    "write_sample_picture",
    "write_samples",
    "write_triples",
    "zoomed_grid",
]

_GRID = 64  # images in samples.png
_MOST_COLUMNS = 20  # a column for each class, up to so many classes
_CLOUD = 10_000  # points in samples.png


def strict(value: Any) -> Any:
    """`value` as strict JSON can hold it: NaN and infinities become null, tuples lists."""
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: dict[str, Any]) -> None:
    """`content` as strict JSON."""
    text = json.dumps(strict(content), indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Rows of numbers as CSV; a number that a row does not have is empty."""
    text = io.StringIO()
    names = dict.fromkeys(name for row in history for name in row) or ["step"]
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def _figure(**options: Any) -> Any:
    """A matplotlib figure that needs no display and none of pyplot's global state."""
    require("matplotlib", "drawing pictures")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained", **options)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def write_curves(path: Path, history: list[dict[str, float]]) -> None:
    """The losses over the steps."""
    figure = _figure(figsize=(8, 4))
    axes = figure.add_subplot(xlabel="generator step", ylabel="loss")
    steps = [row["step"] for row in history]
    for name, label in (
        ("discriminator_loss", "discriminator"),
        ("generator_loss", "generator"),
        ("penalty", "gradient penalty (weighted)"),
    ):
        if history and name in history[0]:
            axes.plot(steps, [row.get(name, math.nan) for row in history], label=label, linewidth=1)
    if history:
        axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    _save(figure, path)


def image_grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Images (N, C, H, W) in [-1, 1], C = 1 or 3, as one picture (rows·(H+1)+1, columns·(W+1)+1, 3) in [0, 1].

    One pixel of mid-grey separates them; about a square unless `columns` is given.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be (N, 1, H, W) or (N, 3, H, W), got {tuple(images.shape)}")
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    picture = torch.full(
        (3, rows * (height + 1) + 1, columns * (width + 1) + 1), 0.5, device="cpu", dtype=torch.float32
    )
    for i, image in enumerate(images.float().clamp(-1, 1) * 0.5 + 0.5):
        top, left = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        picture[:, top : top + height, left : left + width] = image
    return picture.permute(1, 2, 0)


def zoomed_grid(images: Tensor, columns: int | None = None) -> Tensor:
    """`image_grid`, enlarged by a whole factor to about 700 pixels: 28x28 digits are stamps on today's screens."""
    picture = image_grid(images, columns)
    zoom = max(1, round(700 / max(picture.shape[:2])))
    return picture.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)


def _write_images(path: Path, images: Tensor, columns: int | None = None) -> None:
    picture = zoomed_grid(images, columns)
    require("matplotlib", "drawing pictures")
    from matplotlib.image import imsave

    write_atomically(path, lambda file: imsave(file, picture.numpy(), format="png"))


def _write_points(path: Path, fake: Tensor, dataset: Dataset | None) -> None:
    """Densities of real and fake side by side, on the same axes and the same colour scale."""
    clouds = [("generated", fake)]
    if dataset is not None:
        clouds.insert(0, (f"real ({dataset.name})", dataset.samples[:_CLOUD].cpu()))
    # Limits from the real data (the first cloud), so that one outlier does not shrink the picture to a dot.
    reference = clouds[0][1]
    reference = reference[torch.isfinite(reference).all(dim=1)]
    low, high = (reference.amin(0), reference.amax(0)) if len(reference) else reference.new_tensor([[-1, -1], [1, 1]])
    margin = 0.15 * (high - low).max().clamp(min=1e-3)
    limits = [(float(a - margin), float(b + margin)) for a, b in zip(low, high, strict=True)]
    figure = _figure(figsize=(5 * len(clouds), 5))
    for i, (title, points) in enumerate(clouds):
        axes = figure.add_subplot(1, len(clouds), i + 1, title=title, aspect="equal")
        finite = points[torch.isfinite(points).all(dim=1)]
        counts, _ = torch.histogramdd(
            finite.double(), bins=[150, 150], range=[edge for limit in limits for edge in limit]
        )
        # Square root, so that a mode with a hundredth of the samples is visible.
        axes.imshow(
            counts.T.sqrt().numpy(),
            origin="lower",
            extent=[*limits[0], *limits[1]],
            cmap="viridis",
            interpolation="nearest",
        )
        if dataset is not None and dataset.centres is not None and dataset.centre_mode is None and i:
            axes.plot(*dataset.centres.T.cpu().numpy(), "o", mfc="none", mec="white", ms=9, mew=0.6, alpha=0.7)
    _save(figure, path)


def _write_line(path: Path, fake: Tensor, dataset: Dataset | None) -> None:
    """Histograms of real and fake numbers; numbers outside the picture are missing from the area."""
    clouds = [("generated", fake, "#D55E00")]
    if dataset is not None:
        clouds.insert(0, (f"real ({dataset.name})", dataset.samples[:_CLOUD].cpu(), "#0072B2"))
    finite = [points[torch.isfinite(points)].double() for _, points, _ in clouds]
    # The middle 99 % of each: a generator that is far off is visible, and one outlier does not shrink the rest.
    ends = [points.quantile(points.new_tensor([0.005, 0.995])) for points in finite if len(points)]
    low, high = (float(torch.cat(ends).min()), float(torch.cat(ends).max())) if ends else (-1.0, 1.0)
    margin = 0.15 * max(high - low, 1e-3 * max(abs(low), abs(high), 1.0))
    edges = torch.linspace(low - margin, high + margin, 101, dtype=torch.float64, device="cpu")
    figure = _figure(figsize=(8, 4.5))
    axes = figure.add_subplot(xlabel="x", ylabel="density")
    for (label, points, colour), inside in zip(clouds, finite, strict=True):
        counts, _ = torch.histogram(inside, edges)
        density = counts / (max(len(points), 1) * (edges[1] - edges[0]))
        axes.stairs(density.numpy(), edges.numpy(), fill=True, color=colour, alpha=0.25)
        axes.stairs(density.numpy(), edges.numpy(), color=colour, linewidth=1.5, label=label)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    _save(figure, path)


def write_samples(
    path: Path, sample: Callable[[int], Tensor], dataset: Dataset | None, classes: int | None = None
) -> None:
    """Draw samples: a grid of images with 1 or 3 channels, or the density of points on the line or in the plane beside
    the data's. For samples of another shape nothing is written.

    Args:
        path: of the picture.
        sample: returns samples for a count, with the classes of a conditional generator in turn.
        dataset: the data that they imitate.
        classes: number of classes of a conditional generator; each has a column.
    """
    shape = tuple(sample(1).shape[1:])
    if shape in ((1,), (2,)):
        write_sample_picture(path, sample(_CLOUD), dataset)
    elif len(shape) == 3 and shape[0] in (1, 3):
        columns = classes if classes is not None and classes <= _MOST_COLUMNS else None
        write_sample_picture(path, sample(_GRID if columns is None else 8 * columns), columns=columns)


def write_triples(path: Path, conditions: Tensor, made: Tensor, targets: Tensor) -> None:
    """For each pair the condition, the sample made from it, and the target, side by side; four to a row."""
    triples = [images.cpu().float() for images in (conditions, made, targets)]
    channels = max(images.shape[1] for images in triples)
    triples = [images.expand(-1, channels, -1, -1) if images.shape[1] == 1 else images for images in triples]
    write_sample_picture(path, torch.stack(triples, dim=1).flatten(0, 1), columns=12)


def write_sample_picture(
    path: Path, samples: Tensor, dataset: Dataset | None = None, columns: int | None = None
) -> None:
    """Draw `samples`: (N, 1) and (N, 2) as a density, (N, C, H, W) as a grid."""
    if samples.shape[1:] == (1,):
        _write_line(path, samples, dataset)
    elif samples.shape[1:] == (2,):
        _write_points(path, samples, dataset)
    else:
        _write_images(path, samples, columns)
