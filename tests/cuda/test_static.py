"""What the CUDA compiler can say without a card: every kernel compiles without a warning, and none spills.

Of the architectures that the library here was built for, the build's own logs are read; without a build that is up to
date the compiler is asked for one architecture of each generation. GANOPS_STATIC_ARCHITECTURES ("90" or "75;86") names
others, whose reports are kept in build/static and made anew when a source changes. GANOPS_UPDATE_DOCS=1 takes all seven
and writes the table of docs/proof.md.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tables

ROOT = Path(__file__).parents[2]
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
STEMS = sorted(path.stem for path in (ROOT / "csrc" / "cuda").glob("*.cu"))
ALL = ("75", "80", "86", "89", "90", "100", "120")
GENERATIONS = ("75", "80", "90", "120")
BUILD = ROOT / "build" / "libganops_cuda"

pytestmark = pytest.mark.skipif(NVCC is None, reason="no nvcc: set the PATH to one to check the CUDA kernels")


@functools.cache
def built(stem: str) -> dict[str, str]:
    """{architecture: ptxas' words} from the build's log, empty where the build is older than a source."""
    log = BUILD / f"cuda_{stem}.o.log"
    if not log.exists():
        return {}
    ninja = [sys.executable, "-m", "ninja", "-C", BUILD, "-n", log.with_suffix("")]
    if "no work to do" not in subprocess.run(ninja, capture_output=True, text=True).stdout:
        return {}
    text = log.read_text()
    assert "warning" not in text, f"{log}: {text}"
    found: dict[str, str] = {}
    for entry in re.split(r"(?=ptxas info\s*: Compiling entry function)", text)[1:]:
        architecture = re.search(r"for 'sm_(\d+)'", entry)[1]
        found[architecture] = found.get(architecture, "") + entry
    return found


@functools.cache
def architectures() -> list[str]:
    wished = os.environ.get("GANOPS_STATIC_ARCHITECTURES")
    if not wished and not tables.UPDATE and (common := set.intersection(*(set(built(stem)) for stem in STEMS))):
        return sorted(common, key=int)
    names = wished.split(";") if wished else ALL if tables.UPDATE else GENERATIONS
    known = subprocess.run([NVCC, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout.split()
    return [name for name in names if f"compute_{name}" in known]


def compiled(stem: str, architecture: str, what: str) -> str:
    """The PTX of one file (`what` is "ptx"), or what ptxas says of it ("cubin")."""
    folders = [ROOT / "csrc" / name for name in ("cuda", "math", "kernels")]
    inputs = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix != ".cu"]
    inputs.append(ROOT / "csrc" / "cuda" / f"{stem}.cu")
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in inputs) + str(NVCC).encode()).hexdigest()[:16]
    kept = ROOT / "build" / "static" / f"{stem}-sm_{architecture}-{digest}.{what}.txt"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        # The device's half alone: the host's is compiled where the library is.
        command = [NVCC, "-std=c++20", "-O3", f"-arch=sm_{architecture}", "-Werror=all-warnings", "-Xptxas=-v"]
        output = kept.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, f"-{what}", inputs[-1], "-o", output], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if what == "cubin":
            output.write_text(done.stderr)
        output.replace(kept)
    return kept.read_text()


def side_by_side(function: Callable[[str, str], str], pairs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(pairs, pool.map(lambda pair: function(*pair), pairs), strict=True))


@pytest.fixture(scope="module")
def reports() -> dict[tuple[str, str], str]:
    """ptxas' words on each file for each architecture."""
    return side_by_side(
        lambda stem, architecture: built(stem).get(architecture) or compiled(stem, architecture, "cubin"),
        [(stem, architecture) for architecture in architectures() for stem in STEMS],
    )


@pytest.fixture(scope="module")
def ptx() -> dict[str, str]:
    """The PTX of each file, for the newest architecture: no source asks which it is compiled for."""
    newest = architectures()[-1]
    found = side_by_side(lambda stem, name: compiled(stem, name, "ptx"), [(stem, newest) for stem in STEMS])
    return {stem: text for (stem, _), text in found.items()}


def test_no_spills_and_no_local_memory(reports: dict[tuple[str, str], str]) -> None:
    kernels = 0
    for (stem, architecture), text in reports.items():
        blocks = re.findall(r"Function properties for (\S+)\n\s*(.*)\n", text)
        assert blocks, f"no kernel of {stem} was reported for sm_{architecture}"
        for name, properties in blocks:
            kernels += 1
            numbers = [int(number) for number in re.findall(r"(\d+) bytes", properties)]
            assert not any(numbers), f"{stem}, sm_{architecture}, {name}: {properties}"
        assert "cumulative stack size" not in text, f"{stem}, sm_{architecture}: a kernel uses local memory"
    print(f"{kernels} kernels for {', '.join('sm_' + a for a in architectures())}: no spills, no local memory")


def test_no_source_asks_for_an_architecture() -> None:
    """Only whether the compiler is at the device's half: what is true of one architecture's PTX is of all."""
    for path in (ROOT / "csrc").glob("*/*"):
        assert set(re.findall(r".*__CUDA_ARCH.*", path.read_text())) <= {"#ifdef __CUDA_ARCH__"}, path


def test_hot_loops_access_sixteen_bytes(ptx: dict[str, str]) -> None:
    """Each kernel over elements reads, and where it writes elements writes, vectors of 128 bits."""
    writes_none = ("sum_kernel", "partial_kernel", "closeness_kernel")
    for stem, text in ptx.items():
        for entry in re.split(r"(?=\.entry )", text)[1:]:
            name = entry[: entry.index("(")]
            # One number a sample, or a tensor; channels, or a group's samples, of any number, far from one another.
            if re.search(r"(finish|advance|tails)_kernel|(write|value|first|second)_kernelI.*Li0E", name):
                continue
            wide = r"(\.\w+)*\.(v4\.(u32|b32|f32)|v2\.(u64|b64|f64))"
            assert re.search(r"ld\.global" + wide, entry), f"{stem}: {name} loads"
            if not any(part in name for part in writes_none):
                assert re.search(r"st\.global" + wide, entry), f"{stem}: {name} stores"


def kernel_name(stem: str, mangled: str) -> str:
    """The stem, the kernel, and what it sums or writes, without the dtype: ``gradient_penalty partial Product``."""
    kernel, arguments = re.search(r"\d+([a-z_]+)_kernelI(.*?)Ev", mangled).groups()
    what = re.search(r"\d((?!Half|BFloat)[A-Z][A-Za-z]+)I", arguments)
    number = re.search(r"Li(\d+)E", arguments)
    return " ".join([stem, kernel, *([what[1]] if what else []), *([number[1]] if number else [])])


def test_table(reports: dict[tuple[str, str], str]) -> None:
    """Registers of a thread, the least and the most of the four dtypes; bytes of shared memory of a block."""
    registers: dict[str, dict[str, list[int]]] = {}
    shared: dict[str, int] = {}
    for (stem, architecture), text in reports.items():
        for mangled, used in re.findall(r"Function properties for (\S+)\n.*\n.*: Used (.*)", text):
            name = kernel_name(stem, mangled)
            found = registers.setdefault(name, {}).setdefault(architecture, [])
            found.append(int(re.search(r"(\d+) registers", used)[1]))
            bytes_used = re.search(r"(\d+) bytes smem", used)
            shared[name] = max(shared.get(name, 0), int(bytes_used[1]) if bytes_used else 0)
    version = subprocess.run([NVCC, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release (\S+),", version)[1]
    head = [f"nvcc {release}", *(f"sm_{a}" for a in architectures()), "shared"]
    rows = []
    for name in sorted(registers):
        spans = ({min(found), max(found)} for found in registers[name].values())
        rows.append([name, *("–".join(map(str, sorted(span))) for span in spans), shared[name]])
    if tables.UPDATE:
        tables.write("registers", tables.table(head, rows))
    committed = tables.committed("registers")
    if f"| {head[0]} |" not in committed:
        pytest.skip(f"docs/proof.md was written with another compiler than {head[0]}")
    page = tables.cells(committed)
    assert page.keys() == registers.keys(), "docs/proof.md: run this test again with GANOPS_UPDATE_DOCS=1"
    for name, *found in rows:
        wanted = [page[name][column] for column in head[1:]]
        assert list(map(str, found)) == wanted, f"docs/proof.md, {name}: run this test again with GANOPS_UPDATE_DOCS=1"
