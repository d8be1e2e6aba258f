"""Files that are written atomically, and folders that one process uses at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

__all__ = ["FolderInUseError", "check_folder", "lock_folder", "remove_stale_parts", "write_atomically"]

_PART = ".part"  # ending of the temporary files


class FolderInUseError(ValueError):
    """Another process, or another part of this one, holds the lock of a folder."""


def check_folder(path: Path) -> None:
    """Create the folder if it does not exist, and check that files can be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, RecursionError) as error:  # pathlib makes folders within folders by recursion
        reason = "too many folders within folders" if isinstance(error, RecursionError) else error.strerror or error
        raise ValueError(f"out: folder {str(path)[:200]!r} cannot be written ({reason}); choose another one") from error


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    A reader, or a crash at any moment, finds either the old file or the new one, complete. A symbolic link is followed.

    Raises:
        ValueError: `path` exists and is no regular file.
        OSError: it cannot be written, for example because the disk is full; names what is at `path` now.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise ValueError(f"{path} cannot be written: it is {what}; choose another name")
    try:
        _write(path, write)
    except (OSError, RuntimeError) as error:
        # torch.save raises its own RuntimeError, or another OSError, for an OSError of the file below it.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        kept = "the file of that name is the earlier one, complete" if path.exists() else "no such file was left"
        raise OSError(
            cause.errno,
            f"{path} could not be written ({cause.strerror or cause}); {kept}; free some space or use another folder",
        ) from error


def _write(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
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
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot
            raise
    finally:
        os.close(handle)


def remove_stale_parts(folder: Path, names: Iterable[str]) -> list[Path]:
    """Delete the temporary files of `names` that killed processes left in the folder. Hold its lock meanwhile.

    Returns:
        The deleted files.
    """
    found = [
        part
        for name in names
        for part in folder.glob(f".{name}.*{_PART}")
        if part.is_file() and not part.is_symlink() and len(part.name) == len(f".{name}.{_PART}") + _RANDOM
    ]
    for part in found:
        part.unlink(missing_ok=True)
    return found


_RANDOM = 8  # characters that tempfile puts between prefix and suffix


@contextlib.contextmanager
def lock_folder(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of a folder, the file `name` in it. The system releases it when the process ends, however it ends.

    Raises:
        FolderInUseError: another process holds it, or another part of this one.
    """
    with (folder / name).open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read(100).decode(errors="replace").strip()
            raise FolderInUseError(
                f"out: folder {str(folder)!r} is in use by {owner or 'another process'}; wait for it to end, or choose "
                "another --out"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            # A file system without locks (some network ones): nothing can be promised there.
        file.truncate(0)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the name of its owner
            file.write(f"process {os.getpid()} on {os.uname().nodename}\n".encode())
        try:
            yield
        finally:
            file.truncate(0)
