"""Samples of a generator in files: a picture, arrays, a folder of images, an animation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganops._files import write_atomically
from ganops._optional import require
from ganops.training import report
from ganops.training.examples import draw
from ganops.training.folder import check_folder, check_output

__all__ = ["ENDINGS", "check_place", "write"]

#: The formats, with the ending of a file of each; a folder has none.
ENDINGS = {"grid": ".png", "npy": ".npy", "npz": ".npz", "gif": ".gif", "folder": ""}

_NAME = re.compile(r"[0-9]{6,}\.png")
_BATCH = 500  # images in memory while a folder is written
_FRAME = 60  # milliseconds


def _bytes(images: Tensor) -> np.ndarray:
    """Images (N, C, H, W) in [-1, 1] as uint8 (N, H, W, C)."""
    return (images.float().clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def check_place(path: Path, form: str, shape: tuple[int, ...], overwrite: bool) -> None:
    """Check that samples of this shape, without N, can be written there in this format. Folders are created.

    A file may exist only with ``overwrite``. A folder must be empty; with ``overwrite`` it may hold images of an
    earlier call, which are deleted, and nothing else.

    Raises:
        ValueError: the samples are no images and the format is for images, the place is taken, or it cannot be written.
    """
    if form in ("folder", "gif") and (len(shape) != 3 or shape[0] not in (1, 3)):
        raise ValueError(
            f"format {form!r} is for images with 1 or 3 channels, and these samples are {shape}; choose npy"
        )
    if form != "folder":
        check_output(path, overwrite)
        return
    if path.exists() and not path.is_dir():
        raise ValueError(f"out: {path} is no folder; choose another --out, or another --format")
    check_folder(path)
    names = sorted(file.name for file in path.iterdir())
    other = [name for name in names if not (overwrite and _NAME.fullmatch(name))]
    if other:
        advice = (
            "choose another --out" if overwrite else "add --overwrite to replace images there, or choose another --out"
        )
        raise ValueError(f"out: folder {path} is not empty ({', '.join(other[:3])}); {advice}")
    for name in names:
        (path / name).unlink()


def write(
    path: Path,
    form: str,
    generator: nn.Module,
    z: Tensor,
    condition: Tensor | None = None,
    *,
    end: Tensor | None = None,
    frames: int = 48,
) -> None:
    """Draw samples and write them.

    Args:
        path: the file, or for ``folder`` the folder, see `check_place`.
        form: one of `ENDINGS`.
        generator: maps z, and a condition if it has one, to samples.
        z: (N, latent_dim).
        condition: (N, …) or None.
        end: for ``gif``, the latents of the opposite side of the walk, (N, latent_dim).
        frames: number of frames of the gif.
    """
    if form == "folder":
        _write_folder(path, generator, z, condition)
    elif form == "gif":
        assert end is not None
        _write_animation(path, generator, z, end, condition, frames)
    elif form == "grid":
        report.write_sample_picture(path, draw(generator, z, condition))
    elif form == "npy":
        samples = draw(generator, z, condition)
        write_atomically(path, lambda file: np.save(file, samples.numpy()))
    else:
        samples = draw(generator, z, condition)
        arrays = {"arr_0": _bytes(samples) if samples.ndim == 4 else samples.numpy()}
        if condition is not None and not condition.is_floating_point():
            arrays["arr_1"] = condition.numpy()
        write_atomically(path, lambda file: np.savez(file, **arrays))


def _write_folder(path: Path, generator: nn.Module, z: Tensor, condition: Tensor | None) -> None:
    image = require("PIL.Image", "writing images")
    digits = max(6, len(str(len(z) - 1)))
    number = 0
    for begin in range(0, len(z), _BATCH):
        part = slice(begin, begin + _BATCH)
        for array in _bytes(draw(generator, z[part], None if condition is None else condition[part])):
            picture = image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array)
            picture.save(path / f"{number:0{digits}}.png")
            number += 1


def _walk(z: Tensor, end: Tensor, frames: int) -> Iterator[Tensor]:
    """Latents on the ellipse z·cos t + end·sin t, in equal steps. Each is N(0, I), as z and end are."""
    for i in range(frames):
        angle = 2 * math.pi * i / frames
        yield z * math.cos(angle) + end * math.sin(angle)


def _write_animation(
    path: Path, generator: nn.Module, z: Tensor, end: Tensor, condition: Tensor | None, frames: int
) -> None:
    image = require("PIL.Image", "drawing animations")
    pictures = [
        image.fromarray((report.zoomed_grid(draw(generator, latents, condition)) * 255).round().byte().numpy())
        for latents in _walk(z, end, frames)
    ]
    write_atomically(
        path,
        lambda file: pictures[0].save(
            file, format="GIF", save_all=True, append_images=pictures[1:], duration=_FRAME, loop=0
        ),
    )
