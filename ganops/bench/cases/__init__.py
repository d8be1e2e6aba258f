"""The cases, one module per op family (its *stem*): ``cases()`` yields them, ``FLOORS`` holds the speeds to keep.

A new op is a new module here; nothing lists them.
"""

from __future__ import annotations

import importlib
import pkgutil
from fnmatch import fnmatchcase
from types import ModuleType

from ganops.bench.case import Floor, Row, Suite


def stems() -> list[str]:
    """The op families that have cases."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def family(stem: str) -> ModuleType:
    """The case module of a stem."""
    return importlib.import_module(f"{__name__}.{stem}")


def rows(families: list[str], suite: Suite) -> list[Row]:
    """The rows of ``suite`` in these families, in the order of their files."""
    return [
        Row(case, phase)
        for stem in families
        for case in family(stem).cases()
        for phase, since in case.phases.items()
        if since <= suite
    ]


def floors(families: list[str]) -> list[tuple[Floor, Row]]:
    """Each row that has a floor, with it."""
    every = {stem: rows([stem], Suite.FULL) for stem in families}
    return [
        (floor, row)
        for stem in families
        for floor in family(stem).FLOORS
        for row in every[stem]
        if fnmatchcase(row.name, floor.rows)
    ]
