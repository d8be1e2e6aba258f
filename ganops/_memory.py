"""How much memory there is, and how running out of it looks."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["MemoryBudget", "available_memory", "format_bytes", "is_out_of_memory"]

_CGROUP = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
_REFUSALS = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")


def available_memory() -> float:
    """The bytes of memory that this process may use: the machine's, or its control group's limit if that is lower.

    Infinite if the system does not tell.
    """
    limits = _group_limits()
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=float("inf"))


def _group_limits() -> list[float]:
    """The limits of this process's control groups and of those above them (versions 2 and 1)."""
    try:
        lines = _CGROUP.read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            base, name = _ROOT, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = _ROOT / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = base / group.lstrip("/")
        files += [parent / name for parent in (folder, *folder.parents) if parent == base or base in parent.parents]
    limits = []
    for file in files:
        try:
            limits.append(float(file.read_text()))
        except (OSError, ValueError):  # inside a container the group's path is often not there; "max" is no limit
            continue
    return limits


def format_bytes(count: float) -> str:
    """A number of bytes with a unit, for messages."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out. On a CPU torch raises a plain RuntimeError for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _REFUSALS)


class MemoryBudget(TorchFunctionMode):
    """Refuse to create tensors that add up to more than `limit` bytes, before they are allocated; a context manager.

    An allocation that succeeds is no proof that the memory is there: many systems hand out more than they have, and end
    the process when it is used.

    Raises:
        MemoryError: names the size of the tensor.
    """

    _CREATES = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn)

    def __init__(self, limit: float) -> None:
        super().__init__()
        self._limit = limit
        self._used = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> Any:
        """Count what `function` creates, then call it."""
        options = {} if options is None else options
        if function in self._CREATES:
            size = options.get("size", arguments)
            sizes = size[0] if len(size) == 1 and isinstance(size[0], Sequence) else size
            self._used += 4 * math.prod(sizes)
            if self._used > self._limit:
                shape = "x".join(map(str, sizes))
                raise MemoryError(f"a tensor of {shape} numbers exceeds the {format_bytes(self._limit)} for it")
        return function(*arguments, **options)
