"""The folder of a run: whose it is, who uses it, and the files in it."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ganops._files import check_folder, lock_folder, remove_stale_parts, write_atomically
from ganops.training import report
from ganops.training.checkpoint import is_checkpoint, load_checkpoint

__all__ = ["RUN_FILES", "OwnedFolder", "RunFolder", "check_output"]

#: The folder of TensorBoard's event files.
TENSORBOARD = "tensorboard"
#: Every file that a run may write.
RUN_FILES = (
    "checkpoint.pt", "best.pt", "best.pt.damaged", "diverged.pt",
    "config.json", "metrics.json", "evaluation.json", "samples.png", "curves.png", "history.csv", "monitor.csv",
)  # fmt: skip

_MARK = ".ganops-run"  # lists the files that are ours
_LOCK = ".ganops-lock"
_FORMAT = "ganops-run-1"


def check_output(path: Path, overwrite: bool) -> None:
    """Check that a single file can be written, and that it replaces nothing but a file of the run in its folder.

    Args:
        path: the file; its folder is created.
        overwrite: whether it may replace any file.
    """
    check_folder(path.parent)
    if path.exists() and not overwrite and path.name not in OwnedFolder(path.parent, RUN_FILES).marked():
        raise ValueError(f"out: {path} already exists; add --overwrite to replace it, or choose another --out")


def _path(out: str | Path) -> Path:
    if not str(out).strip():
        raise ValueError("out is empty (an unset variable?); name a folder, or '.' for the working directory")
    return Path(out)


class OwnedFolder:
    """A folder in which files of certain names are ours, and those that we did not write are never replaced.

    A hidden file, the mark, lists the files that we may replace. The first use of a folder adds the names that are not
    taken by then; a folder with a file of such a name that is not ours is refused.

    Args:
        path: the folder; it need not exist.
        files: the names of the files that will be written.
        folders: the names of the folders that will be written to.
    """

    def __init__(self, path: str | Path, files: Iterable[str], folders: Iterable[str] = ()) -> None:
        self.path = _path(path)
        self.folders = frozenset(folders)
        self.files = (*files, *self.folders)
        self._users = 0

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def marked(self) -> set[str]:
        """The names of the files that are ours."""
        try:
            mark = json.loads((self / _MARK).read_text())
        except (OSError, ValueError):
            return set()
        names = mark.get("files") if isinstance(mark, dict) and mark.get("format") == _FORMAT else None
        return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()

    def foreign(self) -> list[str]:
        """The names of files and folders that stand in the way and are not ours."""
        ours = self.marked()
        return [
            name
            for name in self.files
            if os.path.lexists(self / name) and (name not in ours or (self / name).is_dir() != (name in self.folders))
        ]

    def check(self) -> None:
        """Raise a `ValueError` if files that are not ours stand in the way. Nothing is written."""
        foreign = self.foreign()
        if foreign:
            raise ValueError(
                f"out: folder {str(self.path)!r} holds files that a run would replace and ganops did not write "
                f"({', '.join(foreign)}); choose another --out, or move them"
            )

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Create and lock the folder, mark our files in it, and delete temporary files of killed processes.

        Can be nested within one process through the same object.

        Raises:
            ValueError: it cannot be written, is in use, or `check` fails.
        """
        if self._users:
            yield
            return
        self.check()
        check_folder(self.path)
        with lock_folder(self.path, _LOCK):
            self.check()  # again, now that nobody else writes
            names = self.marked() | set(self.files)
            if names != self.marked():
                mark = json.dumps({"format": _FORMAT, "files": sorted(names)}, indent=1) + "\n"
                write_atomically(self / _MARK, lambda file: file.write(mark.encode()))
            remove_stale_parts(self.path, (*self.files, _MARK))
            self._users += 1
            try:
                yield
            finally:
                self._users -= 1


class RunFolder(OwnedFolder):
    """Where a run writes its checkpoints, numbers and pictures.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, RUN_FILES, (TENSORBOARD,))

    def foreign(self) -> list[str]:
        """As in `OwnedFolder`. Runs older than the mark are recognised by their files."""
        found = super().foreign()
        return [] if found and self._is_unmarked_run() else found

    def _is_unmarked_run(self) -> bool:
        if self.marked() or not is_checkpoint(self / "checkpoint.pt"):
            return False
        try:
            config = json.loads((self / "config.json").read_text())
        except FileNotFoundError:
            return True
        except (OSError, ValueError):
            return False
        return isinstance(config, dict) and {"steps", "batch_size", "latent_dim"} <= config.keys()

    def check_unused(self) -> None:
        """Raise a `ValueError` if there is a run already. Nothing is written."""
        if (self / "checkpoint.pt").exists():
            raise ValueError(
                f"out: folder {str(self.path)!r} already holds a run; add --resume to continue it, --overwrite to "
                "replace it, or choose another --out"
            )

    def clear(self) -> None:
        """Delete the files of an earlier run."""
        for name in self.files:
            if name in self.folders:
                for events in (self / name).glob("events.out.tfevents.*"):
                    events.unlink()
            else:
                (self / name).unlink(missing_ok=True)

    def begin(self, config: dict[str, Any], *, fresh: bool) -> None:
        """Prepare for a run under `config`; `fresh`: it begins with its first step."""
        report.write_json(self / "config.json", config)
        if fresh:
            for name in ("best.pt", "diverged.pt"):  # of an earlier run, which this one may never replace
                (self / name).unlink(missing_ok=True)

    def find_best(self) -> dict[str, Any] | None:
        """The metrics stored in ``best.pt``; None if there are none. A damaged file is set aside with a warning.

        They are not in ``checkpoint.pt``: a run that stops is evaluated once more after its last checkpoint.
        """
        path = self / "best.pt"
        if not path.exists():
            return None
        try:
            state = load_checkpoint(path)
        except ValueError as error:
            aside = self / "best.pt.damaged"
            os.replace(path, aside)
            warnings.warn(
                f"{path} is damaged and was renamed to {aside.name}; the run continues without its earlier best state "
                f"({error})",
                stacklevel=2,
            )
            return None
        return state.get("best")

    def write_numbers(self, history: list[dict[str, float]], monitored: list[dict[str, float]]) -> None:
        """Write ``history.csv``, ``monitor.csv`` if there is anything in it, and ``curves.png``."""
        report.write_history(self / "history.csv", history)
        if monitored:
            report.write_history(self / "monitor.csv", monitored)
        report.write_curves(self / "curves.png", history)

    def write_metrics(self, summary: dict[str, Any]) -> None:
        """Write ``metrics.json``."""
        report.write_json(self / "metrics.json", summary)
