"""``ganops doctor``: run a training function once and list what it computes and does not use."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ganops._watch import watch

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Watches the function that the arguments name. Returns 0 if nothing is wasted, 1 if something is."""
    parser = argparse.ArgumentParser(
        prog="ganops doctor",
        description="Runs one step of a training function and lists in plain words what is computed and not used: "
        "gradients nobody reads, graphs of real samples, networks trained in eval mode, batch norm under a gradient "
        "penalty, waits for the device, critics run again on the same points.",
    )
    parser.add_argument(
        "function", metavar="FILE.py:FUNCTION", help="or MODULE:FUNCTION; it is called without arguments"
    )
    parser.add_argument("--warmup", type=int, default=0, metavar="N", help="calls before the one that is watched")
    options = parser.parse_args(list(arguments))
    if options.warmup < 0:
        raise ValueError(f"doctor: --warmup must be at least 0, got {options.warmup}")
    step = _function(options.function)
    for _ in range(options.warmup):
        step()
    with watch() as report:
        step()
    print(report)
    return 1 if report.findings else 0


def _function(text: str) -> Callable[[], Any]:
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"doctor: expected FILE.py:FUNCTION or MODULE:FUNCTION, got {text!r}")
    module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(f"doctor: {place} has no function {name!r}; it has {', '.join(names) or 'none'}")
    return function


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"doctor: there is no file {path}")
    sys.path.insert(0, str(path.parent.resolve()))  # as for a script
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module
