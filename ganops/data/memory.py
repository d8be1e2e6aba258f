"""How much memory this process may use, and whether a data set fits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["check_fits", "limit"]


def limit(root: Path = Path("/")) -> float:
    """Return the memory that this process may use, in bytes: the least of RAM, cgroup limits and ``ulimit -v``.

    Args:
        root: where ``proc`` and ``sys`` are mounted.

    Returns:
        Infinity where the system tells none of them.
    """
    return min([*_machine(), *_cgroups(root), *_address_space()], default=float("inf"))


def check_fits(name: str, what: str, need: float, fix: str) -> None:
    """Raise ValueError if `need` bytes are more than `limit`.

    Args:
        name: the data set.
        what: the data that needs the memory, plural.
        need: bytes.
        fix: what the user can do about it.
    """
    have = limit()
    if need > have:
        raise ValueError(
            f"{name}: {what} need {need / 2**30:,.1f} GiB of memory and this process may use {have / 2**30:,.1f} GiB; "
            f"{fix}"
        )


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
