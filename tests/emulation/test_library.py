"""The emulated build of csrc/cuda and csrc/torch, in a process of its own, where it replaces the CPU library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import build

HERE = Path(__file__).parent


def run(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=build.ROOT,
        env={**os.environ, "GANOPS_BACKEND": "emulated", "PYTHONPATH": str(build.ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("file", ["test_kernels.py", "test_traffic.py"])
def test_emulated(file: str) -> None:
    build.build()
    run("-m", "pytest", "-q", "-x", str(HERE / file))
