"""Colour images without a download: emoji from an installed font, and crops of scikit-learn's two photographs.

Images are float32 in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganops._common import checks
from ganops._optional import require
from ganops._seeds import cpu_generator
from ganops.data.dataset import Dataset
from ganops.data.files import stacked
from ganops.data.memory import check_fits

__all__ = ["emoji", "patches"]

_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"  # of Debian and Ubuntu
_SEED = 20_151_106


def emoji(size: int = 64, font: str = _FONT) -> Dataset:
    """The emoji of the font Noto Color Emoji that are one code point each, on white, (N, 3, size, size).

    They are ordered by code point, without labels. Debian 12's font (version 2.042) has 1,446.

    Args:
        size: side of the images, 8 to 128 pixels; the font's bitmaps are 128 pixels high.
        font: path of the font's file.

    Raises:
        FileNotFoundError: there is no such file; the message has the command that installs the font.
        ValueError: it is not a font with colour bitmaps.
    """
    size = checks.whole("emoji", "size", size, minimum=8)
    if size > 128:
        raise ValueError(f"emoji: size must be 8 to 128, got {size}")
    path = Path(font).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"emoji: the font Noto Color Emoji is not at {font}; install it with: sudo apt-get install "
            "fonts-noto-color-emoji, or give the path of NotoColorEmoji.ttf, emoji?font=PATH"
        )
    images = list(_drawn(path, size))
    if not images:
        raise ValueError(f"emoji: Pillow draws nothing with {font}; its FreeType must be built with PNG support")
    return Dataset("emoji", stacked(images))


def _drawn(path: Path, size: int) -> Iterator[np.ndarray]:
    image, draw, fonts = (require(f"PIL.{name}", "data 'emoji'") for name in ("Image", "ImageDraw", "ImageFont"))
    points, pixels = _code_points(path)
    font = fonts.truetype(str(path), pixels, layout_engine=fonts.Layout.BASIC)
    for point in points:
        left, top, right, bottom = font.getbbox(chr(point))
        side = max(right - left, bottom - top)
        if side <= 0:
            continue
        square = image.new("RGBA", (side, side), (255, 255, 255, 0))
        place = ((side - right - left) // 2, (side - bottom - top) // 2)
        draw.Draw(square).text(place, chr(point), font=font, embedded_color=True)
        if square.getchannel("A").getbbox() is None:
            continue  # a blank, or a code point that only changes another
        white = image.new("RGBA", square.size, "white")
        whole = image.alpha_composite(white, square).convert("RGB")
        yield np.array(whole.resize((size, size), image.Resampling.LANCZOS))


def _code_points(path: Path) -> tuple[list[int], int]:
    """The code points of a font with colour bitmaps in ascending order, and its size in pixels."""
    tables: Any = require("fontTools.ttLib", "data 'emoji'")
    try:
        with tables.TTFont(path) as font:
            if "CBDT" not in font:
                raise ValueError(f"emoji: {path} is a font without colour bitmaps (CBDT); give NotoColorEmoji.ttf")
            return sorted(font["cmap"].getBestCmap()), font["CBLC"].strikes[0].bitmapSizeTable.ppemY
    except tables.TTLibError as error:
        raise ValueError(f"emoji: {path} is not a font ({error}); give NotoColorEmoji.ttf") from error


def patches(size: int = 32, count: int = 20_000, seed: int = _SEED) -> Dataset:
    """Random crops of scikit-learn's two sample photographs (640x427), (count, 3, size, size), without labels.

    A photograph and a place are drawn uniformly for each crop.

    Args:
        size: side of the crops, 1 to 427 pixels.
        count: the number of crops.
        seed: of the places.

    Raises:
        ValueError: an argument is out of range, or the crops need more memory than this process may use.

    >>> patches(size=64, count=100).shape
    (3, 64, 64)
    """
    size = checks.whole("patches", "size", size, minimum=1)
    count = checks.whole("patches", "count", count, minimum=1)
    photos = np.stack(require("sklearn.datasets", "data 'patches'").load_sample_images().images)
    _, height, width, _ = photos.shape
    if size > height:
        raise ValueError(f"patches: size must be at most {height}, got {size}")
    check_fits("patches", f"{count:,} crops of {size}x{size}", 15 * count * size**2, "choose a smaller count or size")
    generator = cpu_generator("patches", seed)

    def drawn(choices: int) -> list[int]:
        return torch.randint(choices, (count,), generator=generator, dtype=torch.int64, device="cpu").tolist()

    places = zip(drawn(len(photos)), drawn(height - size + 1), drawn(width - size + 1), strict=True)
    return Dataset("patches", stacked([photos[i, y : y + size, x : x + size] for i, y, x in places]))
