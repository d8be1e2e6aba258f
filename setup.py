"""Builds the two compiled libraries and the one wheel that holds them.

``ganops/lib/libganops_cpu.so`` always; ``ganops/lib/libganops_cuda.so`` where nvcc is found. Neither touches Python's
C API, and both use only PyTorch's stable ABI of version 2.10, so one wheel serves every Python and every later torch.

Environment:
  GANOPS_CUDA=0|1        never build the CUDA library | fail if it cannot be built
  TORCH_CUDA_ARCH_LIST   the architectures to build for, as torch spells them: "8.0;9.0+PTX", "Ampere", "native"
  CUDA_HOME              where nvcc is, if not on the PATH
  CXX                    the C++ compiler, if not g++
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))  # pip's isolated builds do not have the sources on the path

import toolchain  # noqa: E402

TORCH_TARGET_VERSION = "0x020a000000000000"  # 2.10
STEMS = (
    "adversarial_loss",
    "interpolate",
    "gradient_penalty",
    "clip_weights",
    "diff_augment",
    "minibatch_discrimination",
    "minibatch_stddev",
    "optimizers",
    "feature_matching",
    "upfirdn",
    "filtered_snake",
    "filtered_lrelu",
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


class BuildLibraries(build_ext):
    """Compiles with ninja: incremental, parallel, and with each source's own flags."""

    def get_ext_filename(self, fullname: str) -> str:
        """Plain shared libraries: no Python version in the name."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Writes build.ninja for one library and runs it."""
        out = Path(self.get_ext_fullpath(ext.name)).absolute()
        for folder in (out.parent, ROOT / "ganops" / "lib"):  # an editable install copies into the second
            folder.mkdir(parents=True, exist_ok=True)
        work = ROOT / "build" / ext.name.rpartition(".")[2]
        work.mkdir(parents=True, exist_ok=True)
        torch, compiler = toolchain.torch_home(), toolchain.cxx()
        nvcc = toolchain.find_nvcc() if ext.name.endswith("cuda") else None

        wrapper = [*COMMON, f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}", f"-isystem{torch / 'include'}"]
        link = ["-shared", f"-L{torch / 'lib'}", "-Wl,--no-as-needed", "-ltorch_cpu", "-Wl,--as-needed", "-Wl,-s"]
        objects: list[tuple[str, str, Path, list[str]]] = []  # (rule, object's name, source, flags)
        source = ROOT / "csrc"
        if nvcc:
            cuda, architectures = toolchain.cuda_of(nvcc), toolchain.architectures(nvcc)
            wrapper += ["-DGANOPS_BACKEND_CUDA", *([f"-isystem{cuda.include}"] if cuda.include else [])]
            built_for = ",".join(flag.rpartition("code=")[2] for flag in architectures)
            wrapper += [f"-DGANOPS_ARCHITECTURES={built_for}"]
            device = ["-std=c++20", "-O3", "-Xcompiler=-fPIC,-fvisibility=hidden", "-lineinfo", "--threads=0"]
            device += ["-Xptxas=-v", *architectures]
            device += [f"-ccbin={toolchain.host_compiler(compiler)}"] if os.environ.get("CXX") else []
            objects += [("cuda", f"cuda_{stem}", source / "cuda" / f"{stem}.cu", device) for stem in STEMS]
            # The runtime is linked in: the wheel then needs nothing but the driver and torch.
            link += [f"-L{cuda.libraries}", "-lcudart_static", "-ldl", "-lrt", "-lpthread"]
        else:
            for isa, flags in INSTRUCTION_SETS.items():
                flags = [*COMMON, *VECTOR, *flags, f"-DGANOPS_ISA={isa}"]
                objects += [("cxx", f"cpu_{isa}_{stem}", source / "cpu" / f"{stem}.cpp", flags) for stem in STEMS]
            objects += [("cxx", "cpu_isa", source / "cpu" / "isa.cpp", COMMON)]
        names = ["backend", *STEMS, *([] if nvcc else ["schemas"])]
        objects += [("cxx", f"torch_{name}", source / "torch" / f"{name}.cpp", wrapper) for name in names]

        lines = [
            "ninja_required_version = 1.5",
            f"cxx = {toolchain.flags(compiler)}",
            f"nvcc = {toolchain.flags([nvcc or ''])}",
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
        for rule, name, path, flags in objects:
            outputs.append(toolchain.escaped(work / f"{name}.o"))
            lines += [f"build {outputs[-1]}: {rule} {toolchain.escaped(path)}", f"  flags = {toolchain.flags(flags)}"]
        lines += [f"build {toolchain.escaped(out)}: link {' '.join(outputs)}", f"  flags = {toolchain.flags(link)}", ""]
        (work / "build.ninja").write_text("\n".join(lines))
        done = subprocess.run([*toolchain.ninja(), "-C", work, "--quiet"], check=False)
        if done.returncode != 0:
            toolchain.fail(f"{out.name} could not be built; the compiler's words are above")


class StableWheel(bdist_wheel):
    """One wheel for every Python: compiled code, but none of it bound to Python's ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        """py3-none-PLATFORM."""
        return "py3", "none", super().get_tag()[2]


libraries = [Extension("ganops.lib.libganops_cpu", [])]
if toolchain.find_nvcc() is not None:
    libraries.append(Extension("ganops.lib.libganops_cuda", []))

setup(ext_modules=libraries, cmdclass={"build_ext": BuildLibraries, "bdist_wheel": StableWheel})
