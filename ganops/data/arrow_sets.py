"""Data sets of the Hugging Face library ``datasets`` on this machine: Parquet and Arrow files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from ganops._common import checks
from ganops._optional import require
from ganops.data import image_files
from ganops.data.files import memory_limit
from ganops.data.framing import Crop, Framing
from ganops.data.images import Images, OnBad, T, opened

__all__ = ["hugging_face"]


def hugging_face(
    path: str,
    size: int | None = None,
    split: str = "train",
    image: str = "",
    label: str = "",
    on_bad: OnBad = "error",
    resize: int | None = None,
    crop: Crop = "center",
    flip: bool = False,
    memory: float = 1.0,
) -> Images:
    """The images in a local data set of Hugging Face's ``datasets``. Nothing is downloaded.

    Args:
        path: a folder that ``save_to_disk`` wrote, a ``.parquet`` or ``.arrow`` file, or a folder with such files, as a
            repository of the Hub has them. ``datasets`` converts Parquet files to Arrow once, in its cache.
        split: the split; in a folder of files, those whose names begin with it, or all if there are none.
        image: the column with the images, encoded (as the library's type ``Image`` has them); empty: the only column
            of that type, or one named image, img, jpg or png.
        label: the column with the classes, whole numbers; empty: the only column of type ``ClassLabel``, or one named
            label; without these there are no classes.
        size, on_bad, resize, crop, flip, memory: as for `folder`. The images have one channel if a thousand from all
            over the data set are grey, otherwise three.

    Raises:
        ModuleNotFoundError: ``datasets`` is not installed.
        FileNotFoundError: there is nothing at `path`.
        ValueError: there are no such files, splits or columns, or an option is out of range.
    """
    name = f"hf:{path}"
    checks.choice("hf", "on_bad", on_bad, get_args(OnBad))
    framing, limit = Framing(size, resize, crop, flip), memory_limit("hf", memory)
    library: Any = require("datasets", f"data '{name}'", extra="data")
    require("PIL.Image", f"data '{name}'")
    place = Path(path).expanduser()
    if not place.exists():
        raise FileNotFoundError(f"{name}: {path} does not exist; give a folder or a .parquet or .arrow file")
    table, files = _opened(library, place, split, name)
    column = _image_column(library, table, image, name)
    rows = table.select_columns([column]).cast_column(column, library.Image(decode=False))
    images, kept = opened(name, _Rows(rows, column, files), framing, on_bad, limit)
    labels, classes = _labels(library, table, label, name)
    return images.with_labels(labels if labels is None or kept is None else labels[kept], classes)


def _opened(library: Any, place: Path, split: str, name: str) -> tuple[Any, list[Path]]:
    """The data set and the files that it comes from."""
    if place.is_dir() and (place / "dataset_dict.json").exists():
        splits = library.load_from_disk(str(place))
        checks.choice(name, "split", split, list(splits))
        place /= split
    if place.is_dir() and (place / "state.json").exists():
        return library.load_from_disk(str(place)), sorted(place.glob("*.arrow"))
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.suffix in (".parquet", ".arrow"))
    files = [file for file in files if file.name.startswith(split)] or files
    kinds = {file.suffix for file in files}
    if len(kinds) != 1 or not kinds <= {".parquet", ".arrow"}:
        found = " and ".join(sorted(kinds)) if kinds else "no .parquet or .arrow files"
        raise ValueError(f"{name}: it must be or hold files of one kind, .parquet or .arrow, got {found}")
    texts = [str(file) for file in files]
    if kinds == {".parquet"}:
        return library.Dataset.from_parquet(texts), files
    return library.concatenate_datasets([library.Dataset.from_file(text) for text in texts]), files


def _image_column(library: Any, table: Any, asked: str, name: str) -> str:
    if asked:
        checks.choice(name, "image", asked, table.column_names)
        return asked
    typed = [column for column, feature in table.features.items() if isinstance(feature, library.Image)]
    named = [column for column in ("image", "img", "jpg", "png") if column in table.column_names]
    if len(typed) == 1 or (not typed and named):
        return (typed or named)[0]
    raise ValueError(
        f"{name}: which column has the images? Give it with the option image; there are {', '.join(table.column_names)}"
    )


def _labels(library: Any, table: Any, asked: str, name: str) -> tuple[Tensor | None, int | None]:
    """The classes of all rows and their number."""
    typed = [column for column, feature in table.features.items() if isinstance(feature, library.ClassLabel)]
    if asked:
        checks.choice(name, "label", asked, table.column_names)
    column = asked or (typed[0] if len(typed) == 1 else "label" if "label" in table.column_names else "")
    if not column:
        return None, None
    values = np.asarray(table[column][:])
    if values.dtype.kind not in "iu" or values.ndim != 1:
        if not asked:
            return None, None
        raise ValueError(f"{name}: column {column!r} must hold whole numbers, got {values.dtype}")
    classes = table.features[column].num_classes if column in typed else int(values.max()) + 1
    if values.min() < 0 or values.max() >= classes:
        raise ValueError(f"{name}: column {column!r} must hold classes from 0 to {classes - 1}, got {values.min()}")
    return torch.from_numpy(values.astype(np.int64)), classes


class _Rows:
    """Reads the rows of a data set whose images are not decoded by the library: which formats are read is ours."""

    decode_bytes, threads = 0, True

    def __init__(self, rows: Any, column: str, files: list[Path]) -> None:
        self._rows = rows
        self._column = column
        self._files = files

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int, decode: Callable[[Any], T]) -> T | str:
        try:
            entry = self._rows[index][self._column]
        except OSError as error:  # the file is gone, or ends too early
            return f"{type(error).__name__}: {error}"
        if entry is None:
            return "the row has no image"
        if entry["bytes"] is not None:
            return image_files.read_bytes(entry["bytes"], self.name(index), decode)
        return image_files.read(Path(entry["path"]), decode)

    def name(self, index: int) -> str:
        return f"row {index:,}"

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for file in self._files:
            digest.update(f"{file.name}\0{os.stat(file).st_size}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()
