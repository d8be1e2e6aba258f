"""For running the op tests on the emulated kernels: a test whose kernels had a fault fails with the fault's text.

``GANOPS_BACKEND=emulated PYTHONPATH=tests python -m pytest -p emulation.plugin tests/ops``. With another backend it
does nothing. The summary says how much ran.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def emulator() -> ModuleType | None:
    """The module of the library that ganops has loaded, None where that is not an emulated one."""
    if os.environ.get("GANOPS_BACKEND") != "emulated":
        return None
    specification = importlib.util.spec_from_file_location(
        "ganops_emulation_build", Path(__file__).with_name("build.py")
    )
    assert specification is not None
    assert specification.loader is not None
    build = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(build)
    named = os.environ.get("GANOPS_EMULATED_LIBRARY")
    return build.load(Path(named) if named else build.build())


the_emulator = emulator()
_total = {"launches": 0, "threads": 0, "read_bytes": 0, "written_bytes": 0}


@pytest.fixture(autouse=True)
def _no_emulation_fault() -> Iterator[None]:
    if the_emulator is None:
        yield
        return
    the_emulator.reset()
    yield
    for counter in the_emulator.counters().values():
        for key in _total:
            _total[key] += counter[key]
    the_emulator.raise_faults()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # one of several processes (pytest-xdist)
        session.config.workeroutput["emulated"] = _total


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for key, count in getattr(node, "workeroutput", {}).get("emulated", {}).items():
        _total[key] += count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if the_emulator is None:
        return
    checks = "every access checked" if the_emulator.instrumented() else "under AddressSanitizer"
    terminalreporter.write_line(
        f"emulated CUDA: {_total['launches']:,} launches of {_total['threads']:,} threads, "
        f"{_total['read_bytes'] / 1e6:,.0f} MB read, {_total['written_bytes'] / 1e6:,.0f} MB written, "
        f"seed {the_emulator.seed()}, {checks}"
    )
