"""The build on machines that differ, with programs that stand in for nvcc, g++ and nvidia-smi."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
specification = importlib.util.spec_from_file_location("ganops_toolchain", ROOT / "tools" / "toolchain.py")
toolchain = importlib.util.module_from_spec(specification)
sys.modules[specification.name] = toolchain  # dataclasses look themselves up there
specification.loader.exec_module(toolchain)

NVCC = """
case "$*" in
*--list-gpu-arch*) for n in 75 80 86 87 89 90 100 103 110 120 121; do echo compute_$n; done ;;
*--dryrun*) printf '#$ TOP=%s\\n#$ INCLUDES=%s\\n#$ LIBRARIES=%s\\n' '{top}' '{includes}' '{libraries}' >&2 ;;
*) {compiles} ;;
esac
"""
# Writes what it is told to, if what it is given is there.
COMPILES = """
while [ $# -gt 0 ]; do
  case "$1" in
  -o) out="$2"; shift ;;
  -MF) printf '' > "$2"; shift ;;
  -c) test -f "$2" || { echo "no source: $2"; exit 1; }; shift ;;
  -dumpmachine) echo x86_64-linux-gnu ;;
  -) exit 0 ;;
  esac
  shift
done
if [ -n "$out" ]; then echo compiled > "$out"; fi
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a shell script that stands in for a program; the PATH has only such, and the shell's own."""
    for name in ("GANOPS_CUDA", "TORCH_CUDA_ARCH_LIST", "CUDA_HOME", "CUDA_PATH", "CXX"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat", "env"):
        (folder / tool).symlink_to(shutil.which(tool))
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str, where: Path = folder) -> Path:
        where.mkdir(parents=True, exist_ok=True)
        path = where / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def nvcc(program: Callable[..., Path]) -> Path:
    return program("nvcc", NVCC.format(top="", includes="", libraries="", compiles="exit 1"))


def message(call: Callable[[], object]) -> str:
    """The one line that a build ends with."""
    with pytest.raises(SystemExit) as stop:
        call()
    assert stop.value.code.startswith("ganops: ")
    assert "\n" not in stop.value.code
    return stop.value.code


# ------------------------------------------------------------------------------------------------- architectures


def names(flags: list[str]) -> str:
    """``90 90+PTX`` from nvcc's flags."""
    found = []
    for flag in flags:
        architecture, code = flag.removeprefix("-gencode=arch=compute_").split(",code=")
        assert code in (f"sm_{architecture}", f"compute_{architecture}")
        found.append(architecture + ("+PTX" if code.startswith("compute") else ""))
    return " ".join(found)


@pytest.mark.parametrize(
    ("spelling", "wanted"),
    [
        ("", "75 80 86 89 90 100 120 120+PTX"),
        ("8.0;9.0+PTX", "80 90 90+PTX"),
        ("8.0 8.6", "80 86"),
        ("8.0,8.6", "80 86"),
        ("8.0, 8.6; 8.0", "80 86"),
        ("9.0a", "90a"),
        ("10.0f 9.0A+ptx", "100f 90a 90a+PTX"),
        ("12.1", "121"),
        ("Ampere", "80 86 86+PTX"),
        ("Turing;Hopper", "75 75+PTX 90 90+PTX"),
        ("Ampere+Tegra", "87"),
        ("Blackwell", "100 103 120 121 121+PTX"),
        ("Common", "75 80 86 89 90 100 120 120+PTX"),
        ("All", "75 80 86 87 89 90 100 103 110 120 121 121+PTX"),
    ],
)
def test_architectures(nvcc: Path, monkeypatch: pytest.MonkeyPatch, spelling: str, wanted: str) -> None:
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", spelling)
    assert names(toolchain.architectures(nvcc)) == wanted


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("Amper", ["'amper' is no architecture", "ampere", "all or native"]),
        ("sm_90", ["'sm_90' is no architecture"]),
        ("90", ["'90' is no architecture", "8.0;9.0+PTX"]),
        ("Volta", ["does not compile for 7.0, but for 7.5, 8.0, 8.6"]),
        ("native", ["nvidia-smi finds no card"]),
    ],
)
def test_what_is_no_architecture(nvcc: Path, monkeypatch: pytest.MonkeyPatch, spelling: str, words: list[str]) -> None:
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", spelling)
    told = message(lambda: toolchain.architectures(nvcc))
    assert all(word in told for word in words), told


def test_native(nvcc: Path, program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "native")
    program("nvidia-smi", "echo 9.0; echo 8.6; echo 9.0")
    assert names(toolchain.architectures(nvcc)) == "86 90 90+PTX"


# ------------------------------------------------------------------------------------------------- compilers


def test_no_compiler(program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no C++ compiler: g++ is not on the PATH; install g++" in message(toolchain.cxx)
    program("ccache", COMPILES)
    monkeypatch.setenv("CXX", "ccache g++-14")
    assert "g++-14 is not on the PATH" in message(toolchain.cxx)
    program("g++-14", COMPILES)
    assert toolchain.cxx() == ["ccache", "g++-14"]


def test_an_old_compiler(program: Callable[..., Path]) -> None:
    program("g++", "echo \"error: unrecognized option '-std=c++20'\" >&2; exit 1")
    told = message(toolchain.cxx)
    assert "g++ cannot compile C++20 (error: unrecognized option '-std=c++20'); set CXX" in told


def test_the_compiler_behind_flags_and_ccache() -> None:
    assert toolchain.host_compiler(["ccache", "clang++", "-stdlib=libc++"]) == "clang++"
    assert toolchain.host_compiler(["g++"]) == "g++"


def test_no_ninja(program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install ninja" in message(toolchain.ninja)
    assert "pip install torch" in message(toolchain.torch_home)
    program("ninja", "")
    assert toolchain.ninja() == ["ninja"]


def test_which_nvcc(program: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANOPS_CUDA", "yes")
    assert "GANOPS_CUDA must be 0 or 1, got 'yes'" in message(toolchain.find_nvcc)
    monkeypatch.setenv("GANOPS_CUDA", "1")
    on_path = program("nvcc", "")
    assert toolchain.find_nvcc() == on_path
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert toolchain.find_nvcc() == on_path
    named = program("nvcc", "", tmp_path / "cuda" / "bin")
    assert toolchain.find_nvcc() == named
    monkeypatch.setenv("GANOPS_CUDA", "0")
    assert toolchain.find_nvcc() is None


# Where nvcc's own variables lead, the headers and the runtime, from a prefix.
LAYOUTS = {
    "NVIDIA's": ("cuda", "cuda/targets/x86_64-linux/include", "cuda/targets/x86_64-linux/lib", True),
    "of a runfile, older": ("cuda", "cuda/include", "cuda/lib64", False),
    "conda's": ("env", "env/targets/x86_64-linux/include", "env/lib", True),
    "pip's": ("nvidia/cu13", "nvidia/cu13/include", "nvidia/cu13/lib", False),
    "a distribution's": ("usr/lib/nvidia-cuda-toolkit", "usr/include", "usr/lib/nvidia-cuda-toolkit/lib64", False),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, program: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, include, library, named = LAYOUTS[name]
    monkeypatch.setattr(toolchain, "SYSTEM", tmp_path / "usr/include")
    program("g++", COMPILES)
    top = tmp_path / home / "bin" / ".."
    said = {"includes": "", "libraries": '"-L/nowhere"'}
    if named:
        said = {"includes": f'"-I{tmp_path / include}"', "libraries": f'"-L/nowhere" "-L{tmp_path / library}"'}
    nvcc = program("nvcc", NVCC.format(top=top, compiles="exit 1", **said))
    assert "has no cuda_runtime.h: install" in message(lambda: toolchain.cuda_of(nvcc))
    (tmp_path / include).mkdir(parents=True)
    (tmp_path / include / "cuda_runtime.h").touch()
    assert "has no libcudart_static.a: install" in message(lambda: toolchain.cuda_of(nvcc))
    (tmp_path / library).mkdir(parents=True)
    (tmp_path / library / "libcudart_static.a").touch()
    found = toolchain.cuda_of(nvcc)
    # g++ looks into its own folder by itself.
    assert found.include == (None if name == "a distribution's" else tmp_path / include)
    assert found.libraries == tmp_path / library


def test_an_nvcc_that_does_not_work(program: Callable[..., Path]) -> None:
    nvcc = program("nvcc", "echo 'cannot find cicc' >&2; exit 1")
    told = message(lambda: toolchain.cuda_of(nvcc))
    assert "does not work (cannot find cicc); set CUDA_HOME" in told
    assert "GANOPS_CUDA=0" in told


# ------------------------------------------------------------------------------------------------- the whole build


def test_a_path_with_a_space(program: Callable[..., Path], tmp_path: Path) -> None:
    """setup.py over sources and a CUDA toolkit in such folders, with compilers that only look at their arguments."""
    sources, cuda = tmp_path / "my $sources: copy", tmp_path / "my cuda"
    for name in ("csrc", "tools"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    (sources / "ganops").mkdir()
    for name in ("include/cuda_runtime.h", "lib64/libcudart_static.a"):
        (cuda / name).parent.mkdir(parents=True)
        (cuda / name).touch()
    program("g++", COMPILES)
    top = cuda / "bin" / ".."
    program("nvcc", NVCC.format(top=top, includes="", libraries="", compiles=COMPILES), cuda / "bin")
    environment = {**os.environ, "CUDA_HOME": str(cuda), "GANOPS_CUDA": "1", "TORCH_CUDA_ARCH_LIST": "9.0"}

    def build() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        return subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True)

    done = build()
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("cpu", "cuda"):
        assert (sources / "ganops" / "lib" / f"libganops_{name}.so").read_text() == "compiled\n"
    kernels = {path.stem for path in (ROOT / "csrc" / "cuda").glob("*.cu")}
    logs = {path.name for path in (sources / "build" / "libganops_cuda").glob("*.o.log")}
    assert logs == {f"cuda_{stem}.o.log" for stem in kernels}

    program("g++", 'case "$*" in *interpolate*) echo "error: no" >&2; exit 1 ;; esac\n' + COMPILES)
    (sources / "csrc" / "torch" / "interpolate.cpp").touch()
    done = build()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ganops: libganops_cpu.so could not be built; the compiler's words are above"
    assert "error: no" in done.stdout
