"""Builds the emulated CUDA kernels with the host compiler alone: no nvcc, no GPU.

``build()`` gives the shared object that is at once a library of torch operators (the CUDA kernels, registered for CPU
tensors) and the Python module ``ganops_emulation``, which tells what the emulator saw. ``build_faults()`` gives the
module with the planted faults. Both are cached: ninja rebuilds what changed.

Run as a script it builds and prints the path: ``python tests/emulation/build.py [--faults] [--sanitize]``.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CSRC = ROOT / "csrc"
TORCH_TARGET_VERSION = "0x020a000000000000"  # 2.10, as in setup.py

# The compiler announces each load and store of a kernel to functions that callbacks.cpp defines, see CONTRACT.md.
INSTRUMENT = [
    *("-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"),
    "-fsanitize=bounds,alignment,null,signed-integer-overflow,integer-divide-by-zero,shift,unreachable,return",
    "-DGANOPS_INSTRUMENTED",
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize=vptr", "-fno-omit-frame-pointer"]
RUNTIME = ["runtime", "memory", "symbols", "callbacks", "cuda_api"]


def _folder() -> Path:
    base = os.environ.get("GANOPS_EMULATION_BUILD_DIR")
    folder = Path(base) if base else ROOT / "build" / "emulation"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _torch_home() -> Path:
    specification = importlib.util.find_spec("torch")  # finds it without importing it
    if specification is None or specification.origin is None:
        raise RuntimeError("the emulated kernels are built against torch's headers, but torch is not installed")
    return Path(specification.origin).parent


# A kernel's source, the name of the object, and flags of its own.
Kernel = tuple[Path, str, list[str]]


def _compile(variant: str, kernels: list[Kernel], wrappers: list[Path], *, sanitize: bool, ucontext: bool) -> Path:
    """Writes a recipe for one variant of the module and has ninja follow it.

    All recipes share a folder and ninja's log, so what several variants are made of is compiled once.
    """
    import pybind11

    other = "_sanitize" if sanitize else ""
    variant += other + ("_ucontext" if ucontext else "")
    work = _folder()
    target = work / variant / "ganops_emulation.so"
    target.parent.mkdir(exist_ok=True)
    common = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-Wall", "-Wextra", "-DGANOPS_EMULATED"]
    common += [f"-I{HERE}", f"-I{HERE / 'include'}"]
    host = [*common, "-O2", "-g1"]
    kernel = [*common, "-x", "c++", "-O1", "-g1", "-Wno-unknown-pragmas"]
    wrapper = [*common, "-O1", "-g1", "-DGANOPS_BACKEND_CUDA"]
    wrapper += [f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}"]
    # Of an inline function the linker keeps the first definition. The runtime comes first, so that it never calls an
    # instrumented one, which would call it in turn.
    link = ["-shared", "-Wl,-Bsymbolic"]
    if wrappers:
        home = _torch_home()
        wrapper += [f"-isystem{home / 'include'}"]
        libraries = home / "lib"
        link += [f"-L{libraries}", "-Wl,--no-as-needed", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{libraries}"]
    if sanitize:
        host += ["-DGANOPS_SANITIZE"]
        kernel, wrapper = [*kernel, *SANITIZE], [*wrapper, "-O0", *SANITIZE]
        link += SANITIZE
    else:
        host += ["-DGANOPS_INSTRUMENTED"]
        kernel += INSTRUMENT
    python = [f"-isystem{path}" for path in (pybind11.get_include(), sysconfig.get_path("include"))]

    objects = [(HERE / f"{stem}.cpp", f"emulation_{stem}", host) for stem in RUNTIME]
    if ucontext:
        objects[0] = (HERE / "runtime.cpp", "emulation_runtime_ucontext", [*host, "-DGANOPS_UCONTEXT"])
    objects += [(HERE / "module.cpp", "emulation_module", [*host, "-O0", *python])]
    objects += [(source, name, [*kernel, *flags]) for source, name, flags in kernels]
    objects += [(source, f"torch_{source.stem}", wrapper) for source in wrappers]
    lines = [
        "ninja_required_version = 1.5",
        "rule compile",
        f"  command = {os.environ.get('CXX', 'g++')} -MMD -MF $out.d $flags -c $in -o $out",
        "  depfile = $out.d",
        "  deps = gcc",
        "rule link",
        f"  command = {os.environ.get('CXX', 'g++')} $in $flags -o $out",
    ]
    names = []
    for source, name, flags in objects:
        names.append(str(work / f"{name}{other}.o"))
        lines += [f"build {names[-1]}: compile {source}", f"  flags = {' '.join(map(str, flags))}"]
    lines += [f"build {target}: link {' '.join(names)}", f"  flags = {' '.join(link)}", ""]
    with open(work / "lock", "w") as lock:  # one build at a time, also across test processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        recipe = work / f"{variant}.ninja"
        recipe.write_text("\n".join(lines))
        command = [sys.executable, "-m", "ninja", "-C", str(work), "-f", recipe.name, "--quiet"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"building the emulated {variant} failed:\n{done.stdout}")
    return target


def build(*, sanitize: bool = False, ucontext: bool = False) -> Path:
    """The emulated build of csrc/cuda and csrc/torch, built if need be.

    Args:
        sanitize: with AddressSanitizer and UndefinedBehaviorSanitizer in place of the emulator's own instrumentation;
            it then must be loaded with libasan preloaded.
        ucontext: with the portable switch between threads.
    """
    wrappers = sorted((CSRC / "torch").glob("*.cpp"))
    kernels = [(source, f"cuda_{source.stem}", []) for source in sorted((CSRC / "cuda").glob("*.cu"))]
    return _compile("library", kernels, wrappers, sanitize=sanitize, ucontext=ucontext)


def build_faults(*, sanitize: bool = False, ucontext: bool = False) -> Path:
    """The module with the planted faults and their healthy twins, built if need be."""
    kernels = [(source, f"fault_{source.stem}", []) for source in sorted((HERE / "faults").glob("*.cu"))]
    return _compile("faults", kernels, [], sanitize=sanitize, ucontext=ucontext)


def build_mutants(mutants: dict[str, Callable[[str, str], str]]) -> Path:
    """Copies of csrc, each changed in one place, with cases that run its adversarial losses.

    Args:
        mutants: for each copy, by a name that is an identifier, the text of a file given its path within csrc and the
            original.
    """
    kernels: list[Kernel] = []
    for name, change in mutants.items():
        copy = _folder() / "mutants" / name
        for source in sorted(CSRC.glob("*/*.[hc]*")):
            within = source.relative_to(CSRC)
            if within.parts[0] not in ("math", "cuda", "kernels"):
                continue
            text = change(str(within), source.read_text())
            target = copy / within
            if not target.exists() or target.read_text() != text:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
        flags = ["-O0", "-Wno-switch", f"-Dganops={name}", f"-DGANOPS_MUTANT={name}", f"-I{copy}"]
        kernels += [(HERE / "mutants" / "driver.cu", f"mutant_{name}", flags)]
    return _compile("mutants", kernels, [], sanitize=False, ucontext=False)


def load(path: Path) -> ModuleType:
    """The Python module in a shared object that build(), build_faults() or build_mutants() gave."""
    # Each its own name: of modules with one name pybind11 gives out the first, whatever file is loaded.
    name = f"{path.parent.name}.{path.stem}"
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    specification = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    loader.exec_module(module)
    return module


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", action="store_true", help="the planted faults instead of the library's kernels")
    parser.add_argument("--sanitize", action="store_true", help="with AddressSanitizer and UndefinedBehaviorSanitizer")
    parser.add_argument("--ucontext", action="store_true", help="with the portable switch between threads")
    options = parser.parse_args()
    print((build_faults if options.faults else build)(sanitize=options.sanitize, ucontext=options.ucontext))
