"""Image files on disk: which files of a folder are images, what their headers say, and their pixels.

Files are opened in threads and in the processes of a `DataLoader`, so nothing here touches state of the whole process,
such as the filters of `warnings`.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np

from ganops._optional import require

__all__ = [
    "FORMATS",
    "Found",
    "Header",
    "find",
    "is_grey",
    "named",
    "pixels",
    "printable",
    "probe",
    "read",
    "read_bytes",
]

#: Pillow's names of the formats that are read. Some others would start programs (EPS starts Ghostscript) or are videos.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")

T = TypeVar("T")

# Endings of images that Pillow does not know, so that these files are reported as left out.
_OTHER_IMAGES = (".heic", ".heif", ".jxl", ".svg", ".exr", ".hdr", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw")
_NAMED = 5  # paths that a message names
_MOST_OTHERS = 100_000  # files and folders that are no images; more only beside as many images
_NOT_THE_FILE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@dataclass
class Found:
    """The result of `find`.

    Attributes:
        files: the images, sorted by path.
        unreadable: folders, links and files that cannot be opened, each with the reason.
        left_out: paths that are not read by rule, by that rule.
        others: files without an image's ending.
        top: the names of the folders directly below the root that are read.
    """

    files: list[Path] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)
    top: set[str] = field(default_factory=set)


class Header(NamedTuple):
    """Width and height in pixels as stored, whether the image has no colour, and the length of the file in bytes."""

    width: int
    height: int
    grey: bool
    length: int


def find(root: Path) -> Found:
    """List the images in a folder and all folders below it.

    Links are followed. Every folder is read once: a link to a folder that is read anyway is left out, so loops end.
    Names that begin with a dot, special files (pipes, devices) and other image formats are left out.

    Raises:
        ValueError: most of very many files are no images, as in ``/``, which would take minutes to look through.
    """
    image = require("PIL.Image", "data 'folder:'")
    known = {ending: kind for ending, kind in image.registered_extensions().items() if kind in image.OPEN}
    endings = {ending for ending, kind in known.items() if kind in FORMATS}
    foreign = {*known, *_OTHER_IMAGES} - endings
    found = Found()
    seen: set[tuple[int, int]] = set()
    # Folders of the tree come before links to folders: a link must not take the place of the folder itself.
    folders, links = deque([root]), deque[Path]()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                found.left_out.setdefault("links to folders that are read already", []).append(folder)
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            found.unreadable.append((folder, error.strerror or str(error)))
            continue
        if folder.parent == root:
            found.top.add(folder.name)
        for path in (folder / name for name in names):
            _sort_in(path, endings, foreign, found, folders, links)
        rest = len(found.others) + len(found.unreadable) + len(seen)
        if rest > max(_MOST_OTHERS, len(found.files)):
            raise ValueError(
                f"folder: {root} holds more than {_MOST_OTHERS:,} files and folders that are no images, and "
                f"{len(found.files):,} images so far; give the folder of the images"
            )
    found.files.sort()
    return found


def _sort_in(
    path: Path, endings: set[str], foreign: set[str], found: Found, folders: deque[Path], links: deque[Path]
) -> None:
    """Put one entry of a folder where it belongs."""
    ending = path.suffix.lower()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.name.startswith("."):
            return
        # Without an ending it may have been a folder of images, on a disk that is not mounted now.
        if ending in endings or not ending:
            found.unreadable.append((path, error.strerror or str(error)))
        else:
            found.others.append(path)
        return
    rule = None
    if path.name.startswith("."):
        rule = "hidden" if stat.S_ISDIR(mode) or ending in endings else None
    elif stat.S_ISDIR(mode):
        (links if path.is_symlink() else folders).append(path)
    elif ending in endings:
        if stat.S_ISREG(mode):
            found.files.append(path)
        else:
            rule = "not regular files"
    elif ending in foreign:
        rule = f"formats that are not read ({', '.join(FORMATS)} are)"
    else:
        found.others.append(path)
    if rule is not None:
        found.left_out.setdefault(rule, []).append(path)


def named(paths: Sequence[Path | tuple[Path, str]], root: Path) -> str:
    """The first paths of a list, relative to `root`, with their reasons, and the number of the rest, all printable."""
    pairs = [each if isinstance(each, tuple) else (each, "") for each in paths[:_NAMED]]
    texts = [f"{path.relative_to(root)}{f' ({reason})' if reason else ''}" for path, reason in pairs]
    texts += [f"and {len(paths) - _NAMED:,} more"] if len(paths) > _NAMED else []
    return printable("; ".join(texts))


def printable(text: str) -> str:
    """Escape what cannot be printed: file names may hold control characters, and bytes that are no text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def probe(file: Path) -> Header | str:
    """Return what the header of an image file says, or the reason why it cannot be read."""
    image = require("PIL.Image", "data 'folder:'")
    try:
        length = file.stat().st_size
        with image.open(file, formats=FORMATS) as opened:
            _check_pixels(opened)
            return Header(*opened.size, is_grey(opened), length)
    except Exception as error:
        return _reason(error, file)


def read(file: Path, decode: Callable[[Any], T], length: int | None = None) -> T | str:
    """Return ``decode(picture)`` for an image file, or the reason why it cannot be read.

    Args:
        file: its path.
        decode: a function of a `PIL.Image.Image`, such as `pixels`.
        length: its length in bytes when it was found; None: unknown.

    Raises:
        MemoryError: there is not enough memory to decode it, which says nothing about the file.
        OSError: too many files are open.
    """
    try:
        # Without O_NONBLOCK, a pipe that has taken the place of the file would wait for a writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return "it is not a regular file"
        with open(descriptor, "rb") as opened:
            if length is not None and status.st_size != length:
                return f"it had {length:,} bytes when it was found and has {status.st_size:,}"
            return _decoded(opened, decode)
    except Exception as error:
        return _reason(error, file)


def read_bytes(content: bytes, name: str, decode: Callable[[Any], T]) -> T | str:
    """Like `read`, for the content of a file that is called `name`."""
    try:
        return _decoded(io.BytesIO(content), decode)
    except Exception as error:
        return _reason(error, Path(name))


def _decoded(file: BinaryIO, decode: Callable[[Any], T]) -> T:
    image = require("PIL.Image", "images")
    with image.open(file, formats=FORMATS) as opened:
        _check_pixels(opened)
        return decode(opened)


def _check_pixels(picture: Any) -> None:
    width, height = picture.size
    most = require("PIL.Image", "data 'folder:'").MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise ValueError(f"{width}x{height} is more than the {most:,} pixels that PIL.Image.MAX_IMAGE_PIXELS allows")


def _reason(error: Exception, file: Path) -> str:
    """Why a file cannot be read; raises what is no fault of the file.

    A damaged file can raise nearly anything in Pillow's decoders (OSError, SyntaxError, struct.error, ...).
    """
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        raise MemoryError(
            f"folder: out of memory while decoding {named([file], file.parent)}; nothing is wrong with the file"
        ) from error
    if isinstance(error, OSError) and error.errno in _NOT_THE_FILE:
        raise error
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.replace(str(file), file.name).replace(repr(str(file)), file.name) or type(error).__name__


_GREY = ("1", "L", "LA", "La")


def is_grey(picture: Any) -> bool:
    """Whether a Pillow image that is not decoded yet has no colour."""
    # Pillow opens grey with alpha of 16 bits as RGBA.
    return picture.mode in _GREY or _white(picture) is not None or _layout(picture).startswith("LA;")


def _layout(picture: Any) -> str:
    """Pillow's name for the layout of the pixels in the file, such as "L;2"; known until they are decoded."""
    tiles = getattr(picture, "tile", [])
    return str(tiles[0][3]) if tiles else ""


def _white(picture: Any) -> int | None:
    """The value of white in an image with 16 bits per pixel; None for all others."""
    if picture.mode.startswith("I;16"):
        # Pillow keeps the numbers of a TIFF file with 12 bits as they are.
        bits = picture.tag_v2.get(258, (16,))[0] if picture.format == "TIFF" else 16
        return 2**bits - 1
    # Pillow scales the numbers of a PPM file to 16 bits.
    return 2**16 - 1 if picture.mode == "I" and picture.format in ("PPM", "PNG") else None


def _scale_transparent_colour(picture: Any) -> None:
    """Bring the colour of a PNG file that stands for transparency to 8 bits, as Pillow does with the pixels alone."""
    clear, layout = picture.info.get("transparency"), _layout(picture)
    if isinstance(clear, int) and layout in ("L;2", "L;4"):
        picture.info["transparency"] = clear * (85 if layout == "L;2" else 17)
    elif isinstance(clear, tuple) and layout == "RGB;16B":
        picture.info["transparency"] = tuple(value >> 8 for value in clear)


def pixels(picture: Any, size: int | None, *, whole: bool = False) -> np.ndarray:
    """Convert a Pillow image to (H, W) grey or (H, W, 3) colour, uint8.

    It is rotated as its EXIF data say (in place); transparent pixels become white.

    Args:
        picture: a `PIL.Image.Image`.
        size: scale the shorter side to this length and crop the middle square; None: keep the image as it is.
        whole: scale without the crop.

    Raises:
        ValueError: white has no known value in the image's mode.
    """
    image, operations = require("PIL.Image", "images"), require("PIL.ImageOps", "images")
    white, grey = _white(picture), is_grey(picture)
    _scale_transparent_colour(picture)
    operations.exif_transpose(picture, in_place=True)
    if white is not None:
        picture = image.fromarray(_eight_bits(picture, white))
    if picture.mode in ("I", "F"):
        raise ValueError(f"white has no known value in mode {picture.mode}; save it with 8 or 16 bits per channel")
    if picture.has_transparency_data:
        if picture.mode in ("La", "RGBa"):  # colour multiplied by opacity
            picture = picture.convert(picture.mode[:-1] + "A")
        ground = image.new("RGBA", picture.size, "white")
        picture = image.alpha_composite(ground, picture.convert("RGBA"))
    picture = picture.convert("L" if grey else "RGB")
    if size is not None and whole:
        shorter = min(picture.size)
        sides = tuple(size if side == shorter else round(side * size / shorter) for side in picture.size)
        picture = picture.resize(sides, image.Resampling.LANCZOS)
    elif size is not None:
        picture = operations.fit(picture, (size, size), image.Resampling.LANCZOS)
    return np.array(picture)  # a copy: Pillow's own memory is read-only


def _eight_bits(picture: Any, white: int) -> np.ndarray:
    """Grey from [0, white] to [0, 255], uint8. (Pillow's own conversion cuts off at 255.)"""
    table = (np.arange(2**16) * (255 / white)).round().clip(0, 255).astype(np.uint8)
    if picture.format == "TIFF" and picture.tag_v2.get(262) == 0:  # white is zero; Pillow inverts only 8 bits
        table = 255 - table
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        table[clear] = 255
    return table[np.asarray(picture)]
