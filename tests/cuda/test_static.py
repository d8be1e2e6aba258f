"""What the CUDA compiler can say without a card: every kernel compiles for every architecture, and none spills.

The compiler's report is kept beside the object files and made anew when a source changes. GANOPS_STATIC_ARCHITECTURES
("90" or "75;90") takes fewer architectures. GANOPS_UPDATE_DOCS=1 writes the table of docs/proof.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tables

ROOT = Path(__file__).parents[2]
NVCC = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
STEMS = sorted(path.stem for path in (ROOT / "csrc" / "cuda").glob("*.cu"))
ARCHITECTURES = os.environ.get("GANOPS_STATIC_ARCHITECTURES", "75;80;86;89;90;100;120").split(";")

pytestmark = pytest.mark.skipif(NVCC is None, reason="no nvcc: set the PATH to one to check the CUDA kernels")


def known_architectures() -> list[str]:
    listed = subprocess.run([NVCC, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout.split()
    return [name for name in ARCHITECTURES if f"compute_{name}" in listed]


def report(stem: str, architecture: str) -> str:
    """What nvcc says of one file for one architecture: ptxas' resources of each kernel, then the PTX."""
    folders = [ROOT / "csrc" / name for name in ("cuda", "math", "kernels")]
    inputs = [path for folder in folders for path in sorted(folder.iterdir()) if path.suffix != ".cu"]
    inputs.append(ROOT / "csrc" / "cuda" / f"{stem}.cu")
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in inputs) + str(NVCC).encode()).hexdigest()[:16]
    kept = ROOT / "build" / "static" / f"{stem}-sm_{architecture}-{digest}.txt"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        # The device's half alone: the host's is compiled where the library is.
        command = [NVCC, "-std=c++20", "-O3", f"-arch=sm_{architecture}", "-Werror=all-warnings", "-Xptxas=-v"]
        work = kept.with_suffix("")
        work.mkdir(exist_ok=True)
        command += ["-cubin", str(inputs[-1]), "--keep", "-o", "x.cubin"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        kept.write_text(done.stderr + "\n" + next(work.glob("*.ptx")).read_text())
        shutil.rmtree(work)
    return kept.read_text()


@pytest.fixture(scope="module")
def reports() -> dict[tuple[str, str], str]:
    pairs = [(stem, architecture) for architecture in known_architectures() for stem in STEMS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(pairs, pool.map(lambda pair: report(*pair), pairs), strict=True))


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
    print(f"{kernels} kernels for {', '.join('sm_' + a for a in known_architectures())}: no spills, no local memory")


def test_hot_loops_access_sixteen_bytes(reports: dict[tuple[str, str], str]) -> None:
    """Each kernel over elements reads, and where it writes elements writes, vectors of 128 bits."""
    writes_none = ("sum_kernel", "partial_kernel", "closeness_kernel")
    for (stem, architecture), text in reports.items():
        for entry in re.split(r"(?=\.entry )", text)[1:]:
            name = entry[: entry.index("(")]
            # One number a sample, or a tensor; channels, or a group's samples, of any number, far from one another.
            if re.search(r"(finish|advance|tails)_kernel|(write|value|first|second)_kernelI.*Li0E", name):
                continue
            wide = r"(\.\w+)*\.(v4\.(u32|b32|f32)|v2\.(u64|b64|f64))"
            assert re.search(r"ld\.global" + wide, entry), f"{stem}, sm_{architecture}: {name} loads"
            if not any(part in name for part in writes_none):
                assert re.search(r"st\.global" + wide, entry), f"{stem}, sm_{architecture}: {name} stores"


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
    head = [f"nvcc {release}", *(f"sm_{a}" for a in known_architectures()), "shared"]
    rows = []
    for name in sorted(registers):
        spans = ({min(found), max(found)} for found in registers[name].values())
        rows.append([name, *("–".join(map(str, sorted(span))) for span in spans), shared[name]])
    text = tables.table(head, rows)
    if not tables.UPDATE and tables.committed("registers").splitlines()[:1] != text.splitlines()[:1]:
        pytest.skip(f"docs/proof.md was written with another compiler or for other architectures: {head}")
    tables.check("registers", text)
