"""How much memory there is, and how running out of it looks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["MemoryBudget", "available_memory", "format_bytes", "is_out_of_memory"]

_REFUSALS = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")


def available_memory(root: Path = Path("/")) -> float:
    """The memory that this process may use, in bytes: the least of RAM, cgroup limits and ``ulimit -v``.

    Args:
        root: where ``proc`` and ``sys`` are mounted.

    Returns:
        Infinity where the system tells none of them.
    """
    return min([*_machine(), *_cgroups(root), *_address_space()], default=float("inf"))


def _machine() -> Iterator[float]:
    try:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return


def _address_space() -> Iterator[float]:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft


def _cgroups(root: Path) -> Iterator[float]:
    """The limits of the process's control groups (versions 1 and 2) and of all groups above them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            mount, file = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, file = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path can be the host's, which does not exist here; the mount is then the own group.
        folder = mount / group.strip("/")
        for place in (folder, *folder.parents):
            text = _text(place / file)
            if text.isdigit():  # version 2 says "max" where there is no limit
                yield int(text)
            if place == mount:
                break


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


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
