"""The error budget: no op's worst error may exceed what docs/proof.md commits to, on any backend this machine has.

measure.py says what is measured. GANOPS_UPDATE_DOCS=1 writes the page; with GANOPS_LARGE_TESTS=1 the sums of 10⁸ terms
are measured too.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import ganops
import tables

SCRIPT = Path(__file__).with_name("measure.py")
DTYPES = ("float16", "bfloat16", "float32", "float64")
LONG, LONG_EMULATED = 100_000_000, 10_000_000

# Columns: name, environment, arguments, and what build_info() must then say the kernels are.
BACKENDS: dict[str, tuple[dict[str, str], list[str], str]] = {
    "CPU baseline": ({"GANOPS_CPU_ISA": "baseline"}, [], "baseline"),
    "CPU AVX2": ({"GANOPS_CPU_ISA": "avx2"}, [], "avx2"),
    "CPU AVX-512": ({}, [], "avx512"),
    "CUDA, emulated": ({"GANOPS_BACKEND": "emulated"}, [], ""),
    "PyTorch": ({"GANOPS_BACKEND": "reference"}, ["--reference"], ""),
}


def available() -> dict[str, tuple[dict[str, str], list[str], str]]:
    order = ("baseline", "avx2", "avx512")
    best = ganops.build_info()["cpu"]["instruction_set"]
    return {
        name: backend
        for name, backend in BACKENDS.items()
        if not backend[2] or (best in order and order.index(backend[2]) <= order.index(best))
    }


def measured(backend: tuple[dict[str, str], list[str], str], *arguments: str) -> dict:
    environment, options, _ = backend
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GANOPS_")}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options, *arguments],
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def all_measured(*arguments: str) -> dict[str, dict]:
    with ThreadPoolExecutor(2) as pool:
        backends = available()
        return dict(zip(backends, pool.map(lambda b: measured(b, *arguments), backends.values()), strict=True))


def two_digits(error: float) -> str:
    """Rounded up, so that what is shown holds."""
    power = math.floor(math.log10(error)) - 1 if error > 0 else 0
    return f"{math.ceil(error / 10.0**power) * 10.0**power:.2g}"


def shown(error: float) -> str:
    """Rounded up: 0.5, 1.77, 23, 1.7e+07. Half a unit is a perfect rounding, and the truth's own last bits may say a
    little more."""
    if error in (0, math.inf):
        return f"{error:g}"
    if error <= 0.502:
        return "0.5"
    if error >= 1000:
        return two_digits(error)
    return f"{math.ceil(error * 100) / 100:.2f}" if error < 10 else str(math.ceil(error))


def judge(name: str, found: dict[str, dict[str, float]], shown: Callable[[float], str] = shown) -> None:
    """`found`: {backend: {what: error}}. Writes the table, or holds it against the page's; PyTorch's own column is for
    comparison alone."""
    if tables.UPDATE:
        assert set(found) == set(BACKENDS), "the page has a column for each backend: this machine lacks some"
        rows = [[what, *(shown(found[b][what]) for b in BACKENDS)] for what in found["PyTorch"]]
        tables.write(name, tables.table(["ulps", *BACKENDS], rows))
    budget = tables.cells(tables.committed(name))
    for backend, errors in found.items():
        if backend == "PyTorch":
            continue
        for what, error in errors.items():
            assert what in budget, f"{name}: docs/proof.md has no row {what!r}"
            allowed = max(float(budget[what][backend]), 0.502 if budget[what][backend] == "0.5" else 0)
            assert error <= allowed, f"{name}, {what}, {backend}: {error:.3f} ulps, the budget is {allowed}"


@pytest.fixture(scope="module")
def errors() -> dict[str, dict]:
    return all_measured()


@pytest.mark.parametrize("dtype", DTYPES)
def test_budget(errors: dict[str, dict], dtype: str) -> None:
    judge(f"errors {dtype}", {backend: found[dtype] for backend, found in errors.items()})


@pytest.mark.large
def test_long_sums() -> None:
    """D's loss over 2·10⁸ float32 logits (2·10⁷ on the emulator)."""
    found = {}
    for name, backend in available().items():
        terms = LONG_EMULATED if "emulated" in name else LONG
        found[name] = measured(backend, "--long", "--terms", str(terms))
    judge("errors of long sums", found, two_digits)


def test_the_measure_sees_errors() -> None:
    """The yardstick itself: a result one number beside the truth is one unit off, and a wrong infinity is endless."""
    sys.path.insert(0, str(SCRIPT.parent))
    import measure

    for dtype in measure.DTYPES:
        x = torch.tensor([1.5, -3.0, 1000.0], dtype=dtype)
        assert measure.ulps(x, measure.wide(x), dtype) == 0
        beside = torch.nextafter(x, torch.full_like(x, torch.inf)) if dtype.itemsize > 2 else None
        if beside is not None:
            assert measure.ulps(beside, measure.wide(x), dtype) == 1
        infinite = torch.tensor([torch.inf], dtype=dtype)
        assert measure.ulps(infinite, measure.wide(x[:1]), dtype) == math.inf
        assert measure.ulps(torch.tensor([torch.nan], dtype=dtype), measure.wide(x[:1]), dtype) == math.inf
        assert measure.ulps(infinite, measure.wide(x[:1]) * 1e4000, dtype) == 0
