"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["write_atomically"]


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
