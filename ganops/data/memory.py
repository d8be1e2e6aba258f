"""Whether a data set fits into memory."""

from __future__ import annotations

from ganops._memory import available_memory

__all__ = ["check_fits"]


def check_fits(name: str, what: str, need: float, fix: str) -> None:
    """Raise ValueError if `need` bytes are more than this process may use.

    Args:
        name: the data set.
        what: the data that needs the memory, plural.
        need: bytes.
        fix: what the user can do about it.
    """
    have = available_memory()
    if need > have:
        raise ValueError(
            f"{name}: {what} need {need / 2**30:,.1f} GiB of memory and this process may use {have / 2**30:,.1f} GiB; "
            f"{fix}"
        )
