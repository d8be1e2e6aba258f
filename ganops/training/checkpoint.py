"""Checkpoints: written whole or not at all, and read with `weights_only=True`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

__all__ = ["FORMAT", "load_checkpoint", "save_checkpoint", "write_atomically"]

#: What a checkpoint says it is. Raised when a reader of the old one could not read the new one.
FORMAT = "ganops-checkpoint-1"


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    A reader, or a crash at any moment, finds either the old file or the new one, whole.

    Raises:
        OSError: it cannot be written (the disk is full, for one); says what stands at `path` now.
    """
    try:
        _write(path, write)
    except (OSError, RuntimeError) as error:
        # torch.save reports what the file below it raised as a RuntimeError of its own, or in its place.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        kept = "the file of that name is the earlier one, whole" if path.exists() else "no such file was left"
        raise OSError(
            cause.errno,
            f"{path} could not be written ({cause.strerror or cause}); {kept}; free some space or use another folder",
        ) from error


def _write(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # the bytes reach the disk before the name does
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp makes files that nobody else may read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path` atomically."""
    write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, or the ``checkpoint.pt`` of a run's folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is truncated, damaged, or not a checkpoint of this library.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoint.pt"
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: {path} does not exist; give a run's folder or its checkpoint.pt")
    with path.open("rb") as file:  # a file that may not be read is another matter than one that holds nonsense
        try:
            state = torch.load(file, map_location=device, weights_only=True)
        # For a damaged file torch raises RuntimeError, UnpicklingError, EOFError, KeyError, OSError, ...
        except Exception as error:
            raise ValueError(
                f"checkpoint: {path} ({path.stat().st_size:,} bytes) is truncated or damaged and cannot be read "
                f"({type(error).__name__}); restore it from a copy, or train again with --overwrite"
            ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"checkpoint: {path} is not a checkpoint of this version (found {found!r}, wanted {FORMAT!r})")
    return state
