"""The compiler's own sanitizers on emulated kernels: they follow from thread to thread, and find what they should.

They need a second build of everything, so they run where ``GANOPS_SANITIZER_TESTS=1``. What they find ends the process,
hence one process a case. The op suite under them: ``python tests/emulation/sanitize.py -m pytest tests/ops``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import build
import sanitize

if os.environ.get("GANOPS_SANITIZER_TESTS", "0") in ("", "0"):
    pytest.skip("a second build of the kernels: set GANOPS_SANITIZER_TESTS=1", allow_module_level=True)

HERE = Path(__file__).parent
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import build
from pathlib import Path
emulator = build.load(Path(sys.argv[2]))
for case in sys.argv[3:]:
    for seed in range(3):
        emulator.set_seed(seed)
        emulator.run(case)
"""


@pytest.fixture(scope="module")
def faults() -> Path:
    return build.build_faults(sanitize=True)


def run(library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=build.ROOT,
        env=sanitize.environment(library) | {"PYTHONPATH": str(build.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("out of bounds/faulty", "AddressSanitizer: heap-buffer-overflow"),
        ("shared index/faulty", "index 32 out of bounds for type 'float [32]'"),
        ("misaligned plain vector/faulty", "misaligned address"),
        ("32-bit index/faulty", "signed integer overflow"),
    ],
)
def test_fault_is_found(faults: Path, case: str, text: str) -> None:
    done = run(faults, "-c", RUN, str(HERE), str(faults), case)
    assert done.returncode != 0
    assert text in done.stdout
    assert ".cu:" in done.stdout


def test_healthy_twins_pass(faults: Path) -> None:
    names = [name for name in build.load(build.build_faults()).cases() if not name.endswith("/faulty")]
    done = run(faults, "-c", RUN, str(HERE), str(faults), *names)
    assert done.returncode == 0, done.stdout


def test_fibers_left_behind_do_no_harm(faults: Path) -> None:
    """A fault leaves the other threads of its block where they were; the next launch takes their stacks."""
    script = RUN.replace(
        "        emulator.run(case)", "        try: emulator.run(case)\n        except RuntimeError: pass"
    )
    cases = ["divergent barrier/faulty", "missing barrier/healthy", "return before a barrier/faulty", "large reduction"]
    done = run(faults, "-c", script, str(HERE), str(faults), *cases)
    assert done.returncode == 0, done.stdout


def test_kernels() -> None:
    """All but the huge tensors, whose shadow would be huge too."""
    arguments = ["-m", "pytest", "-q", "-x", str(HERE / "test_kernels.py"), "-k", "not traffic and not 32_bits"]
    done = run(build.build(sanitize=True), *arguments)
    assert done.returncode == 0, done.stdout
