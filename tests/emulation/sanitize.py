"""Runs Python on the emulated kernels under AddressSanitizer and UndefinedBehaviorSanitizer.

``python tests/emulation/sanitize.py -m pytest tests/ops`` builds the sanitized kernels if need be, preloads the
sanitizers into Python (which is not built with them), and stops at the first error.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import build


def preload() -> str:
    """The sanitizer's library, and the C++ library, whose exceptions it must find at the start."""
    paths = []
    for name in ("libasan.so", "libstdc++.so"):
        command = [os.environ.get("CXX", "g++"), f"-print-file-name={name}"]
        path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        if not Path(path).is_absolute():
            raise RuntimeError(f"the compiler has no {name}")
        paths.append(path)
    return " ".join(paths)


def environment(library: Path) -> dict[str, str]:
    """Python itself leaks at exit, and torch loads libraries whose symbols come in several versions."""
    return {
        **os.environ,
        "GANOPS_BACKEND": "emulated",
        "GANOPS_EMULATED_LIBRARY": str(library),
        "LD_PRELOAD": preload(),
        "ASAN_OPTIONS": "detect_leaks=0:detect_odr_violation=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }


if __name__ == "__main__":
    variables = environment(build.build(sanitize=True))
    os.execve(sys.executable, [sys.executable, *sys.argv[1:]], variables)
