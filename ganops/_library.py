"""Loads the compiled libraries, decides which tensors have kernels, and warns about fallbacks.

Importing never compiles. A call without a kernel runs the reference and warns once per cause; with
``GANOPS_STRICT=1`` it raises RuntimeError. ``GANOPS_BACKEND=reference`` selects the reference, without warnings.
``GANOPS_BACKEND=emulated`` runs the CUDA kernels on CPU tensors, in the emulator of the test suite.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganops._allocation import raising_memory_errors
from ganops._transforms import OPERATOR_TYPES, dual_level, is_compiling, transforms_active, vectorizing

_FOLDER = Path(__file__).parent / "lib"
_BACKENDS = ("compiled", "reference", "emulated")
_DTYPES = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
_REBUILD = "python -m pip install --no-build-isolation ."


class FallbackWarning(RuntimeWarning):
    """A call runs the reference because there is no compiled kernel for its tensors."""


def _installed_elsewhere() -> Path | None:
    """The folder of an installed ganops that the imported one hides, such as a source tree in the working directory."""
    for distribution in importlib.metadata.distributions(name="ganops"):
        folder = Path(str(distribution.locate_file("ganops")))
        if folder.is_dir() and folder.resolve() != _FOLDER.parent.resolve():
            return folder
    return None


class _Library:
    """One compiled library: its path, its handle if it is loaded, and otherwise the reason (``problem``)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = _FOLDER / f"libganops_{name}.so"
        self.problem: str | None = None
        self.handle: ctypes.CDLL | None = None

    def load(self) -> None:
        if not self.path.exists():
            self.problem = f"{self.path.name} was not built"
            other = _installed_elsewhere()
            if other is not None:
                self.problem += (
                    f" in {_FOLDER.parent}, from where ganops was imported; another ganops is installed in {other}: "
                    "to use that one, start Python in another folder, without the sources in PYTHONPATH"
                )
            return
        try:
            torch.ops.load_library(self.path)
            self.handle = ctypes.CDLL(str(self.path))
        except OSError as error:
            self.problem = f"{self.path.name} does not load: {error}"

    def text(self, function: str) -> str | None:
        """The text returned by a function of the library that takes no arguments; None if it does not exist."""
        if self.handle is None or not hasattr(self.handle, function):
            return None
        call = getattr(self.handle, function)
        call.restype = ctypes.c_char_p
        return call().decode()


# The oldest driver that supports each major version of CUDA.
_DRIVERS = {12: 525, 13: 580}


def _driver_problem(handle: Any) -> str | None:
    """The reason why this machine's driver cannot run the CUDA library; None if it can or if there is no driver."""
    if not hasattr(handle, "ganops_cuda_driver_version"):
        return "libganops_cuda.so is older than these sources"
    runtime, driver = handle.ganops_cuda_runtime_version(), handle.ganops_cuda_driver_version()
    major, supported = runtime // 1000, driver // 1000
    if driver == 0 or supported >= major:
        return None
    needed = f"driver {_DRIVERS[major]} or newer" if major in _DRIVERS else "a newer driver"
    return (
        f"libganops_cuda.so contains the runtime of CUDA {major}, which needs {needed}, but this machine's driver "
        f"supports CUDA {supported}.{driver % 1000 // 10} at most; update the driver or build with CUDA {supported}"
    )


def _emulated_path() -> Path:
    named = os.environ.get("GANOPS_EMULATED_LIBRARY")
    if named:
        return Path(named)
    script = Path(__file__).parent.parent / "tests" / "emulation" / "build.py"
    specification = importlib.util.spec_from_file_location("ganops_emulation_build", script)
    if specification is None or specification.loader is None or not script.exists():
        raise RuntimeError(
            f"GANOPS_BACKEND=emulated needs a source checkout, with {script}, or GANOPS_EMULATED_LIBRARY"
        )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return Path(module.build())


BACKEND = os.environ.get("GANOPS_BACKEND") or "compiled"
if BACKEND not in _BACKENDS:
    raise ValueError(f"GANOPS_BACKEND must be one of {', '.join(_BACKENDS)}, got {BACKEND!r}")

_cpu = _Library("cpu")
_cuda = _Library("cuda")
if BACKEND == "emulated":
    _cpu.path = _emulated_path()
_cpu.load()  # defines the operators, so the CUDA library comes after it
if torch.version.cuda is None:
    _cuda.problem = f"the installed torch {torch.__version__} has no CUDA"
elif _cpu.problem is not None:
    _cuda.problem = "libganops_cuda.so was not loaded, because libganops_cpu.so, which defines the operators, was not"
else:
    _cuda.load()
    if _cuda.problem is None:
        _cuda.problem = _driver_problem(_cuda.handle)

# Device types with kernels. Tensors on "meta" have no data; they use the fake implementations.
_DEVICES = frozenset(
    ({"cpu", "meta"} if _cpu.problem is None else set()) | ({"cuda"} if _cuda.problem is None else set())
)
if BACKEND == "reference":
    _DEVICES = frozenset()

_warned: set[str] = set()


def loaded() -> bool:
    """Whether the operators are defined."""
    return _cpu.problem is None


def operator(name: str) -> Any:
    """The operator of that name. Look it up once: ``torch.ops`` takes as long as a small kernel."""
    if not loaded():
        return None
    if not hasattr(torch.ops.ganops, name):
        raise ImportError(f"ganops: {_cpu.path} has no operator {name}: it is older than these sources; {_REBUILD}")
    return raising_memory_errors(getattr(torch.ops.ganops, name).default, _refused_bytes)


def _refused_bytes(device_type: str) -> int:
    """The size of that device's last failed allocation in this thread, or 0. The call resets it to 0."""
    ask = (_cuda if device_type == "cuda" else _cpu).handle.ganops_refused_bytes
    ask.restype = ctypes.c_int64
    return ask()


def texts(function: str) -> dict[Path, str | None]:
    """The text that ``function`` returns, or None if it does not exist, for each loaded library's path."""
    return {library.path: library.text(function) for library in (_cpu, _cuda) if library.handle is not None}


def has_kernel(function: str, *tensors: Tensor) -> bool:
    """Whether there are kernels for these tensors, of one dtype and device. If not, warns once per cause.

    Returns False without a warning in forward mode, and in transforms of ``torch.func`` under ``torch.compile`` or
    ``torch.vmap``.
    """
    if dual_level():
        return False  # forward-mode tangents need PyTorch operations, also inside torch.func.jvp
    # Inside torch.func.grad, torch.compile differentiates the forward of an autograd Function instead of calling its
    # backward (as of torch 2.13), which fails for a custom operator. The reference is used, and the compiler fuses it.
    if transforms_active() and (is_compiling() or vectorizing()):
        return False
    first = tensors[0]
    for tensor in tensors:
        if type(tensor) not in OPERATOR_TYPES or tensor.is_nested:
            break
    else:
        tensor = first
        if ("cpu" if first.is_cpu else first.device.type) in _DEVICES and first.dtype in _DTYPES:
            return True
    if BACKEND != "reference":
        _explain(function, tensor)
    return False


def _explain(function: str, tensor: Tensor) -> None:
    kind = tensor.device.type
    if kind == "cuda" and kind not in _DEVICES:
        cause = f"{_cuda.problem}; with nvcc on the PATH, rebuild: GANOPS_CUDA=1 {_REBUILD}"
    elif kind in ("cpu", "meta") and kind not in _DEVICES:
        cause = f"{_cpu.problem}; rebuild: {_REBUILD}"
    elif kind not in _DEVICES:
        cause = f"there are kernels for cpu and cuda tensors, not for {kind}"
    elif tensor.dtype not in _DTYPES:
        cause = f"the kernels take float16, bfloat16, float32 and float64, not {tensor.dtype}"
    else:
        name = "a nested tensor" if tensor.is_nested else f"its subclass {type(tensor).__name__}"
        cause = f"the kernels take torch.Tensor, not {name}"
    message = f"{function}: runs the slower reference in plain PyTorch, because {cause}"
    if os.environ.get("GANOPS_STRICT", "0") not in ("", "0"):
        raise RuntimeError(f"{message} (GANOPS_STRICT is set)")
    if cause not in _warned:
        _warned.add(cause)
        warnings.warn(message, FallbackWarning, stacklevel=4)


def _driver_and_card() -> str:
    if torch.version.cuda is None:
        return f"torch {torch.__version__} has no CUDA"
    if not torch.cuda.is_available():
        return "torch has CUDA, but finds no usable GPU or driver"
    cards = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(cards)


def _architectures(path: Path) -> list[str]:
    """The architectures of a CUDA library, read from the file, since the installed torch may be unable to load it."""
    found = re.search(rb"ganops architectures: ([^;]*);", path.read_bytes()) if path.exists() else None
    return found[1].decode().split(",") if found else []


def build_info() -> dict[str, Any]:
    """Returns which kernels were built, for which hardware, and which of them this machine uses.

    Returns:
        A dictionary of plain values: ``version``, ``torch``, ``backend`` (the setting of ``GANOPS_BACKEND``),
        ``stable_abi``, and a dictionary each for ``cpu`` and ``cuda``. Both have ``used`` (whether kernels are used),
        ``problem`` (why not, or None) and ``library`` (the path). ``cpu`` also has the ``instruction_set`` chosen for
        this CPU, the ``compiler``, the number of ``threads`` and the ``machine`` type. ``cuda`` also has the
        ``architectures`` that were compiled and the ``device`` names, or why none is usable.
    """
    from ganops import __version__

    return {
        "version": __version__,
        "torch": torch.__version__,
        "backend": BACKEND,
        "stable_abi": "2.10",
        "cpu": {
            "used": "cpu" in _DEVICES,
            "problem": _cpu.problem,
            "library": str(_cpu.path),
            "instruction_set": _cpu.text("ganops_cpu_isa"),
            "compiler": _cpu.text("ganops_compiler"),
            "threads": torch.get_num_threads(),
            "machine": platform.machine(),
        },
        "cuda": {
            "used": "cuda" in _DEVICES and torch.cuda.is_available(),
            "problem": _cuda.problem,
            "library": str(_cuda.path) if _cuda.path.exists() else None,
            "architectures": _architectures(_cuda.path),
            "device": _driver_and_card(),
        },
    }
