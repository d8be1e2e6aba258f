"""Builds the two compiled libraries and the one wheel that holds them.

``ganops/lib/libganops_cpu.so`` always; ``ganops/lib/libganops_cuda.so`` where nvcc is found. Neither touches Python's
C API, and both use only PyTorch's stable ABI of version 2.10, so one wheel serves every Python and every later torch.

Environment:
  GANOPS_CUDA=0|1        never build the CUDA library | fail if it cannot be built
  TORCH_CUDA_ARCH_LIST   the architectures to build for, e.g. "8.0;9.0+PTX"
  CUDA_HOME              where nvcc is, if not on the PATH
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
TORCH_TARGET_VERSION = "0x020a000000000000"  # 2.10
DEFAULT_ARCHITECTURES = ("75", "80", "86", "89", "90", "100", "120")
STEMS = (
    "adversarial_loss",
    "interpolate",
    "gradient_penalty",
    "clip_weights",
    "diff_augment",
    "minibatch_discrimination",
    "minibatch_stddev",
    "optimizers",
    "upfirdn",
)

COMMON = ["-std=c++20", "-O3", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra"]
# Lets loops become vector code; no result changes by it (no fast-math).
VECTOR = ["-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
INSTRUCTION_SETS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = [
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
        "-mprefer-vector-width=512",
    ]


def find_nvcc() -> Path | None:
    """The CUDA compiler to use, or None where no CUDA library is to be built."""
    wish = os.environ.get("GANOPS_CUDA")
    if wish not in (None, "", "0", "1"):
        sys.exit(f"GANOPS_CUDA must be 0 or 1, got {wish!r}")
    if wish == "0":
        return None
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    candidates = [Path(home) / "bin" / "nvcc" for home in homes if home]
    if found := shutil.which("nvcc"):
        candidates.append(Path(found).resolve())
    nvcc = next((path for path in candidates if path.exists()), None)
    if nvcc is None and wish == "1":
        sys.exit("GANOPS_CUDA=1, but no nvcc was found: set CUDA_HOME or put nvcc on the PATH")
    return nvcc


def architectures(nvcc: Path) -> list[str]:
    """nvcc's flags for the architectures of TORCH_CUDA_ARCH_LIST, or for a spread of cards plus PTX for later ones."""
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout
    names = os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(";", " ").split()
    if not names:
        supported = [name for name in DEFAULT_ARCHITECTURES if f"compute_{name}\n" in known]
        names = [*supported[:-1], f"{supported[-1]}+PTX"]
    flags = []
    for name in names:
        number = name.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if name.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


class BuildLibraries(build_ext):
    """Compiles with ninja: incremental, parallel, and with each source's own flags."""

    def get_ext_filename(self, fullname: str) -> str:
        """Plain shared libraries: no Python version in the name."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Writes build.ninja for one library and runs it."""
        import torch

        out = Path(self.get_ext_fullpath(ext.name)).absolute()
        for folder in (out.parent, ROOT / "ganops" / "lib"):  # an editable install copies into the second
            folder.mkdir(parents=True, exist_ok=True)
        work = (ROOT / "build" / ext.name.rpartition(".")[2]).absolute()
        work.mkdir(parents=True, exist_ok=True)
        torch_home = Path(torch.__file__).parent
        cuda = ext.name.endswith("cuda")
        nvcc = find_nvcc() if cuda else None

        compiler = os.environ.get("CXX", "g++")
        wrapper = [*COMMON, f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}", f"-isystem{torch_home / 'include'}"]
        link = ["-shared", f"-L{torch_home / 'lib'}", "-Wl,--no-as-needed", "-ltorch_cpu", "-Wl,--as-needed", "-Wl,-s"]
        objects: list[tuple[str, Path, list[str]]] = []  # (rule, source, flags)
        source = ROOT / "csrc"
        if cuda:
            home = nvcc.parent.parent
            wrapper += ["-DGANOPS_BACKEND_CUDA", f"-isystem{home / 'include'}"]
            built_for = ",".join(flag.rpartition("code=")[2] for flag in architectures(nvcc))
            wrapper += [f"-DGANOPS_ARCHITECTURES={built_for}"]
            device = ["-std=c++20", "-O3", "-Xcompiler=-fPIC,-fvisibility=hidden", "-lineinfo", "--threads=0"]
            device += ["-Xptxas=-v", *architectures(nvcc)]
            objects += [("cuda", source / "cuda" / f"{stem}.cu", device) for stem in STEMS]
            # The runtime is linked in: the wheel then needs nothing but the driver and torch.
            link += [f"-L{home / 'lib64'}", "-lcudart_static", "-ldl", "-lrt", "-lpthread"]
        else:
            for name, flags in INSTRUCTION_SETS.items():
                flags = [*COMMON, *VECTOR, *flags, f"-DGANOPS_ISA={name}"]
                objects += [("cxx", source / "cpu" / f"{stem}.cpp", flags) for stem in STEMS]
            objects += [("cxx", source / "cpu" / "isa.cpp", COMMON)]
        names = ["backend", *STEMS, "schemas"] if not cuda else ["backend", *STEMS]
        objects += [("cxx", source / "torch" / f"{stem}.cpp", wrapper) for stem in names]

        lines = [
            "ninja_required_version = 1.5",
            f"cxx = {compiler}",
            f"nvcc = {nvcc or ''}",
            "rule cxx",
            "  command = $cxx -MMD -MF $out.d $flags -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule cuda",
            "  command = $nvcc -MMD -MF $out.d $flags -c $in -o $out > $out.log 2>&1 || (cat $out.log; false)",
            "  depfile = $out.d",
            "  deps = gcc",
            "rule link",
            "  command = $cxx $in $flags -o $out",
        ]
        outputs = []
        for rule, path, flags in objects:
            isa = next((f"_{flag.rpartition('=')[2]}" for flag in flags if "GANOPS_ISA=" in flag), "")
            target = work / f"{path.parent.name}{isa}_{path.stem}.o"
            outputs.append(str(target))
            lines += [f"build {target}: {rule} {path}", f"  flags = {' '.join(map(str, flags))}"]
        lines += [f"build {out}: link {' '.join(outputs)}", f"  flags = {' '.join(map(str, link))}", ""]
        (work / "build.ninja").write_text("\n".join(lines))
        ninja = [sys.executable, "-m", "ninja"] if importlib.util.find_spec("ninja") else ["ninja"]
        subprocess.run([*ninja, "-C", work, "--quiet"], check=True)


class StableWheel(bdist_wheel):
    """One wheel for every Python: compiled code, but none of it bound to Python's ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        """py3-none-PLATFORM."""
        return "py3", "none", super().get_tag()[2]


libraries = [Extension("ganops.lib.libganops_cpu", [])]
if find_nvcc() is not None:
    libraries.append(Extension("ganops.lib.libganops_cuda", []))

setup(ext_modules=libraries, cmdclass={"build_ext": BuildLibraries, "bdist_wheel": StableWheel})
