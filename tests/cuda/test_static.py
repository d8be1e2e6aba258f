"""What the CUDA compiler can say without a card: every kernel compiles without a warning, none spills, and those that
move memory keep enough of it in flight.

Of the architectures that the library here was built for, the build's own logs are read; without a build that is up to
date the compiler is asked for one architecture of each generation. GANOPS_STATIC_ARCHITECTURES ("90" or "75;86") names
others, whose reports are kept in build/static and made anew when a source changes. GANOPS_UPDATE_DOCS=1 takes all seven
and writes the tables of docs/proof.md. Machine code is read for sm_90 (sass.py).
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

import sass
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


def release() -> str:
    """The compiler's."""
    version = subprocess.run([NVCC, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"release (\S+),", version)[1]


def compiled(stem: str, architecture: str, what: str) -> str:
    """Of one file the PTX (`what` is "ptx"), what ptxas says of it ("cubin"), or its machine code ("sass")."""
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
        form = "ptx" if what == "ptx" else "cubin"
        done = subprocess.run([*command, f"-{form}", inputs[-1], "-o", output], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if what == "cubin":
            output.write_text(done.stderr)
        if what == "sass":
            output.write_text(sass.disassemble(output))
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


@pytest.fixture(scope="module")
def machine_code() -> dict[str, dict[str, sass.Kernel]]:
    """{stem: {mangled name: kernel}} for sm_90."""
    if sass.tools() is None:
        pytest.skip("no cuobjdump: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")

    def text(stem: str, architecture: str) -> str:
        if architecture in built(stem):
            return sass.disassemble(BUILD / f"cuda_{stem}.o")
        return compiled(stem, architecture, "sass")

    found = side_by_side(text, [(stem, "90") for stem in STEMS])
    return {stem: sass.read(text) for (stem, _), text in found.items()}


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


# Kernels that are not in a hurry: one number a sample or a tensor; channels, or a group's samples, of any number, which
# are read element by element; a gradient of signs, which reads two bits an element; a filtered leaky ReLU, which does
# two hundred multiplications an element; and sums of a few partial sums for each channel.
UNHURRIED = re.compile(
    r"(advance|tails|lrelu|add_columns)_kernel|(write|value|first|second)_kernelI.*Li0E|feature_matching.*first_kernelI.*Lb1E"
)
# Arithmetic takes the time here: N·(N − 1)·B·C differences, of tiles that lie in shared memory.
COMPUTES = ("minibatch_discrimination",)
# Not yet at these limits. The table in docs/proof.md shows what they have in flight.
BELOW_LIMITS = ("filtered_snake", "filtered_lrelu", "upfirdn", "bias_act columns", "bias_act sample_sum")


def test_no_source_asks_for_an_architecture() -> None:
    """Only whether the compiler is at the device's half: what is true of one architecture's PTX is of all."""
    for path in (ROOT / "csrc").glob("*/*"):
        assert set(re.findall(r".*__CUDA_ARCH.*", path.read_text())) <= {"#ifdef __CUDA_ARCH__"}, path


def test_hot_loops_access_sixteen_bytes(ptx: dict[str, str]) -> None:
    """Each kernel over elements reads, and where it writes elements writes, vectors of 128 bits."""
    writes_none = re.compile("sum_kernel|closeness_kernel|feature_matching.*value_kernel")
    for stem, text in ptx.items():
        for entry in re.split(r"(?=\.entry )", text)[1:]:
            name = entry[: entry.index("(")]
            if UNHURRIED.search(name):
                continue
            wide = r"(\.\w+)*\.(v4\.(u32|b32|f32)|v2\.(u64|b64|f64))"
            assert re.search(r"ld\.global" + wide, entry), f"{stem}: {name} loads"
            if not writes_none.search(name):
                assert re.search(r"st\.global" + wide, entry), f"{stem}: {name} stores"


# What a kernel's boolean template arguments are.
FLAGS = {
    "adversarial_loss": ("paired", "each"),
    "feature_matching": ("l1",),
    "filtered_lrelu": ("slope",),
    "diff_augment sum": ("adjoint",),
    "diff_augment write": ("channels_last",),
}


def kernel_name(stem: str, mangled: str) -> str:
    """The stem, the kernel, and what it sums or writes, without the dtype: ``gradient_penalty sample_sum Product``."""
    kernel, arguments = re.search(r"\d+([a-z_]+)_kernelI(.*?)Ev", mangled).groups()
    what = re.search(r"\d((?!Half|BFloat)[A-Z][A-Za-z]+)I", arguments)
    number = re.search(r"Li(\d+)E", arguments)
    flags = FLAGS.get(f"{stem} {kernel}", FLAGS.get(stem, ()))
    set_flags = [name for name, value in zip(flags, re.findall(r"Lb([01])E", arguments), strict=False) if value == "1"]
    return " ".join([stem, kernel, *([what[1]] if what else []), *([number[1]] if number else []), *set_flags])


# KB of loads that keep a multiprocessor's memory busy: an H100 needs the first, an H200 the second.
H100, H200 = 32, 48
# Of five tensors, an optimiser's rule may keep two less: their loads are not made then.
LEAST_OF_FIVE = 3


def loads_together(stem: str, kernel: sass.Kernel) -> int:
    """The 16-byte loads of a thread that are always under way together."""
    least = min(kernel.batches, default=0)
    return least * LEAST_OF_FIVE // 5 if stem == "optimizers" else least


def test_batches_are_read() -> None:
    """Loads that wait for each other are told from those that do not."""
    load, use, store = "LDG.E.128 R{0}, desc[UR4][R2.64]", "FADD R{0}, R{0}, R1", "STG.E.128 desc[UR4][R2.64], R{0}"

    def code(*instructions: str) -> str:
        return "\n".join(f"        /*{16 * i:04x}*/  {text} ;  /* 0x0 */" for i, text in enumerate(instructions))

    one, other = ([text.format(register) for text in (load, use, store)] for register in (4, 8))
    assert sass.batches(code(*one, *other)) == (1, 1)
    assert sass.batches(code(one[0], other[0], *one[1:], *other[1:])) == (2,)
    assert sass.batches(code("@P0 " + one[0], "@P0 BRA 0x40", other[0], other[1], one[2])) == (2,)
    assert sass.batches(code(one[0], "@P0 BRA 0x0", other[0], "EXIT")) == (1, 1)


def test_enough_in_flight(machine_code: dict[str, dict[str, sass.Kernel]]) -> None:
    """Four 16-byte loads or more of a thread before it uses the first, 48 KB of a multiprocessor; 32 in float64."""
    checked = 0
    for stem, kernels in machine_code.items():
        for mangled, kernel in kernels.items():
            name = kernel_name(stem, mangled)
            assert kernel.local == 0, f"{name} uses local memory"
            if UNHURRIED.search(mangled) or name.startswith((*COMPUTES, *BELOW_LIMITS)):
                continue
            checked += 1
            loads = loads_together(stem, kernel)
            assert loads >= 4, f"{name}: {kernel.batches} loads together"
            wanted = H100 if re.search(r"_kernelI(\w*?I)?d", mangled) else H200
            assert kernel.in_flight(loads) >= wanted, f"{name}: {kernel}, {mangled}"
    assert checked > 100


def test_table_of_loads(machine_code: dict[str, dict[str, sass.Kernel]]) -> None:
    """For each kernel over the four dtypes: least loads of a thread, most registers, least blocks and KB in flight."""
    found: dict[str, list[tuple[int, int, int, float]]] = {}
    for stem, kernels in machine_code.items():
        for mangled, kernel in kernels.items():
            if UNHURRIED.search(mangled) or stem in COMPUTES:
                continue
            loads = loads_together(stem, kernel)
            line = (loads, kernel.registers, kernel.blocks, kernel.in_flight(loads))
            found.setdefault(kernel_name(stem, mangled), []).append(line)
    rows = []
    for name in sorted(found):
        loads, registers, blocks, flight = zip(*found[name], strict=True)
        rows.append([name, min(loads), max(registers), min(blocks), f"{min(flight):g}", H100, H200])
    head = f"sm_90, nvcc {release()}"
    text = tables.table([head, "loads", "registers", "blocks", "KB in flight", "H100 needs", "H200 needs"], rows)
    if not tables.UPDATE and f"| {head} |" not in tables.committed("flight"):
        pytest.skip("docs/proof.md was written with another compiler")
    tables.check("flight", text)


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
    head = [f"nvcc {release()}", *(f"sm_{a}" for a in architectures()), "shared"]
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
