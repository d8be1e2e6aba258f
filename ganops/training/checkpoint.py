"""Checkpoints: written atomically, verified and read with `weights_only=True`."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from ganops._files import write_atomically
from ganops._memory import is_out_of_memory
from ganops.training import schema

__all__ = ["FORMAT", "is_checkpoint", "load_checkpoint", "save_checkpoint"]

#: The format's name in the file. It changes if older readers could not read a newer file.
FORMAT = "ganops-checkpoint-1"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` atomically."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, or the ``checkpoint.pt`` of a run's folder.

    The checksums of the file and the structure of the state are verified first.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is truncated, damaged, or not a checkpoint of this library.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoint.pt"
    if not path.exists():
        raise FileNotFoundError(f"checkpoint: {path} does not exist; give a run's folder or its checkpoint.pt")
    if not path.is_file():
        raise ValueError(f"checkpoint: {path} is no regular file; give a run's folder or its checkpoint.pt")
    with path.open("rb") as file:
        try:
            _verify(file)
            file.seek(0)
            state = torch.load(file, map_location=device, weights_only=True)
        # For a damaged file zipfile and torch raise RuntimeError, UnpicklingError, EOFError, KeyError, OSError, ...
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise ValueError(
                f"checkpoint: {path} ({path.stat().st_size:,} bytes) is truncated or damaged and cannot be read "
                f"({type(error).__name__}); restore it from a copy, or train again with --overwrite"
            ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"checkpoint: {path} is not a checkpoint of this version (found {found!r}, wanted {FORMAT!r})")
    try:
        schema.check(state, schema.CHECKPOINT, "")
    except ValueError as error:
        raise ValueError(f"checkpoint: {path} holds no state of a run: {error}") from None
    return state


def _verify(file: IO[bytes]) -> None:
    """Raise an error unless the archive is as torch writes it and its content has the right checksums.

    torch does not compare the checksums: it would load a flipped bit as another weight. Nor do they cover the table of
    contents, where a flipped bit can make an entry a folder, whose content torch leaves uninitialised.
    """
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            plain = entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size
            if not plain or entry.external_attr or entry.internal_attr or entry.flag_bits & 1:
                raise zipfile.BadZipFile(f"the entry of {entry.filename} is damaged")
        bad = archive.testzip()
    if bad is not None:
        raise zipfile.BadZipFile(f"the checksum of {bad} is wrong")


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of this library, damaged or not, as far as its first bytes tell."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(1 << 16)
