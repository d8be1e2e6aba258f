"""Checkpoints: written whole or not at all, and read with `weights_only=True`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ganops._files import write_atomically

__all__ = ["FORMAT", "load_checkpoint", "save_checkpoint"]

#: What a checkpoint says it is. Raised when a reader of the old one could not read the new one.
FORMAT = "ganops-checkpoint-1"


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
