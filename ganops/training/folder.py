"""The folder of a run and the files in it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ganops.training import report
from ganops.training.checkpoint import load_checkpoint

__all__ = ["RUN_FILES", "RunFolder", "check_folder"]

#: Every file that a run may write.
RUN_FILES = (
    "checkpoint.pt", "best.pt", "diverged.pt",
    "config.json", "metrics.json", "evaluation.json", "samples.png", "curves.png", "history.csv", "monitor.csv",
)  # fmt: skip


def check_folder(path: Path) -> None:
    """Create the folder if it does not exist, and check that files can be written to it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(
            f"out: folder {str(path)!r} cannot be written ({error.strerror or error}); choose another one"
        ) from error


class RunFolder:
    """Where a run writes its checkpoints, numbers and pictures.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def clear(self) -> None:
        """Delete the files of an earlier run."""
        check_folder(self.path)
        for name in RUN_FILES:
            (self / name).unlink(missing_ok=True)

    def begin(self, config: dict[str, Any], *, fresh: bool) -> None:
        """Prepare for a run under `config`; `fresh`: it begins with its first step."""
        check_folder(self.path)
        report.write_json(self / "config.json", config)
        if fresh:
            for name in ("best.pt", "diverged.pt"):  # of an earlier run, which this one may never replace
                (self / name).unlink(missing_ok=True)

    def find_best(self) -> dict[str, Any] | None:
        """The metrics stored in ``best.pt``; None if there is no such file.

        They are not in ``checkpoint.pt``: a run that stops is evaluated once more after its last checkpoint.
        """
        path = self / "best.pt"
        return load_checkpoint(path)["best"] if path.exists() else None

    def write_numbers(self, history: list[dict[str, float]], monitored: list[dict[str, float]]) -> None:
        """Write ``history.csv``, ``monitor.csv`` if there is anything in it, and ``curves.png``."""
        report.write_history(self / "history.csv", history)
        if monitored:
            report.write_history(self / "monitor.csv", monitored)
        report.write_curves(self / "curves.png", history)

    def write_metrics(self, summary: dict[str, Any]) -> None:
        """Write ``metrics.json``."""
        report.write_json(self / "metrics.json", summary)
