"""What setup.py asks of the machine: a C++ compiler, CUDA's compiler, headers and runtime, architectures, ninja.

What is missing or wrong ends the build with one line that says how to mend it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

SYSTEM = Path("/usr/include")  # where g++ looks by itself
NO_CUDA = "or set GANOPS_CUDA=0 to build without CUDA kernels"
# The spread of cards that a build serves when TORCH_CUDA_ARCH_LIST says nothing; the last also as PTX, for later cards.
DEFAULT_ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")
OLDEST = 75
# The names that torch takes in TORCH_CUDA_ARCH_LIST.
NAMED_ARCHITECTURES = {
    "volta": "7.0+PTX",
    "turing": "7.5+PTX",
    "ampere": "8.0;8.6+PTX",
    "ampere+tegra": "8.7",
    "ada": "8.9+PTX",
    "hopper": "9.0+PTX",
    "blackwell": "10.0;10.3;12.0;12.1+PTX",
    "blackwell+tegra": "11.0",
}


def fail(message: str) -> NoReturn:
    """Ends the build with one line."""
    sys.exit(f"ganops: {message}")


def run(command: Iterable[str | Path], **options) -> subprocess.CompletedProcess[str]:
    """Its output as text; a program that cannot be started is as one that fails."""
    command = [str(word) for word in command]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def first_line(text: str) -> str:
    """The first line of what a program has said."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "it says nothing")


def cxx() -> list[str]:
    """The C++ compiler, CXX or g++, with whatever comes before it (``ccache g++``). It must know C++20."""
    command = shlex.split(os.environ.get("CXX") or "g++")
    for word in (command[0], host_compiler(command)):
        if shutil.which(word) is None:
            fail(f"no C++ compiler: {word} is not on the PATH; install g++ (10 or newer), or set CXX to a compiler")
    done = run([*command, "-std=c++20", "-fsyntax-only", "-x", "c++", "-"], input="#include <bit>\n#include <span>\n")
    if done.returncode != 0:
        problem = first_line(done.stderr)
        fail(f"{shlex.join(command)} cannot compile C++20 ({problem}); set CXX to g++ 10 or clang 12, or newer")
    return command


def host_compiler(command: list[str]) -> str:
    """The compiler itself in ``ccache g++`` or ``clang++ -stdlib=libc++``."""
    return next((word for word in reversed(command) if not word.startswith("-")), command[0])


def ninja() -> list[str]:
    """The command that runs ninja."""
    if importlib.util.find_spec("ninja") is not None:
        return [sys.executable, "-m", "ninja"]
    if shutil.which("ninja") is None:
        fail("the build needs ninja: pip install ninja")
    return ["ninja"]


def torch_home() -> Path:
    """The folder of an installed torch whose headers have the stable ABI that the sources use."""
    specification = importlib.util.find_spec("torch")
    if specification is None or specification.origin is None:
        fail("torch is not installed here: pip install torch, and build with pip's --no-build-isolation")
    home = Path(specification.origin).parent
    if not (home / "include" / "torch" / "headeronly" / "util" / "shim_utils.h").exists():
        fail(f"the torch in {home} is older than 2.10, whose stable ABI the sources use: pip install -U torch")
    return home


@dataclass(frozen=True)
class Cuda:
    """CUDA's compiler and what belongs to it; ``include`` is None where g++ looks by itself."""

    nvcc: Path
    include: Path | None
    libraries: Path


def find_nvcc() -> Path | None:
    """The CUDA compiler to use, or None where no CUDA library is to be built."""
    wish = os.environ.get("GANOPS_CUDA")
    if wish not in (None, "", "0", "1"):
        fail(f"GANOPS_CUDA must be 0 or 1, got {wish!r}")
    if wish == "0":
        return None
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    candidates = [Path(home) / "bin" / "nvcc" for home in homes if home]
    candidates += [Path(found) for found in [shutil.which("nvcc")] if found]
    candidates.append(Path("/usr/local/cuda/bin/nvcc"))
    nvcc = next((path for path in candidates if path.exists()), None)
    if nvcc is None and wish == "1":
        fail("GANOPS_CUDA=1, but there is no nvcc: set CUDA_HOME or put nvcc on the PATH")
    return nvcc


def cuda_of(nvcc: Path) -> Cuda:
    """Headers and runtime where nvcc itself looks for them, whether it is NVIDIA's, a distribution's or conda's."""
    done = run([nvcc, "--dryrun", "-x", "cu", "-E", os.devnull])
    told = dict(re.findall(r"^#\$ (TOP|INCLUDES|LIBRARIES)=(.*)$", done.stderr, re.M))
    if "TOP" not in told:
        fail(f"{nvcc} does not work ({first_line(done.stderr)}); set CUDA_HOME to a complete CUDA toolkit, {NO_CUDA}")
    top = Path(os.path.normpath(told["TOP"].strip()))

    def folders(line: str, *more: Path) -> list[Path]:
        named = re.findall(r'-[IL]([^"]+)"', told.get(line, ""))
        return [Path(os.path.normpath(folder)) for folder in named] + list(more)

    includes = folders("INCLUDES", top / "include", SYSTEM)
    include = next((folder for folder in includes if (folder / "cuda_runtime.h").exists()), None)
    if include is None:
        fail(f"{nvcc} has no cuda_runtime.h: install its development files (conda: cuda-cudart-dev), {NO_CUDA}")
    architecture = run([*cxx(), "-dumpmachine"]).stdout.strip()
    more = [top / "lib64", top / "lib", Path("/usr/lib") / architecture, Path("/usr/lib64")]
    libraries = folders("LIBRARIES", *more)
    library = next((folder for folder in libraries if (folder / "libcudart_static.a").exists()), None)
    if library is None:
        fail(f"{nvcc} has no libcudart_static.a: install its development files (conda: cuda-cudart-static), {NO_CUDA}")
    # -isystem of g++'s own folder would hide headers that others include with #include_next.
    return Cuda(nvcc, None if include == SYSTEM else include, library)


def native() -> list[str]:
    """The architectures of the cards in this machine."""
    found = run(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"])
    names = sorted(set(re.findall(r"^\d+\.\d+$", found.stdout, re.M)), key=float)
    if not names:
        fail(
            'TORCH_CUDA_ARCH_LIST=native, but nvidia-smi finds no card here: name architectures, such as "8.0;9.0+PTX"'
        )
    return names


def architectures(nvcc: Path) -> list[str]:
    """nvcc's flags for TORCH_CUDA_ARCH_LIST, in any of torch's spellings; without it, for a spread of cards."""
    listed = re.findall(r"compute_(\d+)$", run([nvcc, "--list-gpu-arch"]).stdout, re.M)
    known = sorted({int(number) for number in listed})
    wish = os.environ.get("TORCH_CUDA_ARCH_LIST", "")
    words = [part for word in re.split(r"[;,\s]+", wish) if word for part in _expanded(word, known)]
    if not words:
        words = _with_ptx([name for name in DEFAULT_ARCHITECTURES if int(name.replace(".", "")) in known])
    flags = {}
    for word in words:
        match = re.fullmatch(r"(\d+)\.(\d)([af]?)(\+PTX)?", word)
        if match is None:
            fail(
                f"TORCH_CUDA_ARCH_LIST: {word!r} is no architecture: write versions (8.0;9.0+PTX), names "
                f"({', '.join(sorted(NAMED_ARCHITECTURES))}), all or native"
            )
        number, suffix = int(match[1] + match[2]), match[3]
        if number not in known:
            spelled = ", ".join(f"{one // 10}.{one % 10}" for one in known)
            fail(f"TORCH_CUDA_ARCH_LIST: this nvcc does not compile for {match[1]}.{match[2]}, but for {spelled}")
        name = f"{number}{suffix}"
        flags[f"-gencode=arch=compute_{name},code=sm_{name}"] = None
        if match[4]:
            flags[f"-gencode=arch=compute_{name},code=compute_{name}"] = None
    return list(flags)


def _with_ptx(names: list[str]) -> list[str]:
    return [*names[:-1], f"{names[-1]}+PTX"] if names else []


def _expanded(word: str, known: list[int]) -> list[str]:
    """The versions that a word of TORCH_CUDA_ARCH_LIST stands for."""
    name = word.lower()
    if name in NAMED_ARCHITECTURES:
        return NAMED_ARCHITECTURES[name].split(";")
    if name == "all":
        return _with_ptx([f"{number // 10}.{number % 10}" for number in known if number >= OLDEST])
    if name == "common":
        return _with_ptx([one for one in DEFAULT_ARCHITECTURES if int(one.replace(".", "")) in known])
    if name in ("native", "auto"):
        return _with_ptx(native())
    return [re.sub(r"\+ptx$", "+PTX", name)]


def escaped(path: Path | str) -> str:
    """A path as build.ninja has it among a rule's inputs and outputs."""
    return re.sub(r"([$ :])", r"$\1", str(path))


def flags(words: Iterable[str | Path]) -> str:
    """Words of a command as a variable of build.ninja has them."""
    return shlex.join(map(str, words)).replace("$", "$$")
