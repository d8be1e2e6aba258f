"""What the figures were measured on."""

from __future__ import annotations

import ctypes
import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import ganops

_DEFAULT_CACHE = 32 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _cpu_caches() -> dict[str, int]:
    """Bytes per cache of the first core, e.g. ``{"L1d": 49152, "L2": 2097152, "L3": 110100480}``; Linux only."""
    caches = {}
    for entry in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            kind, level, size = ((entry / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            label = f"L{level}" + ("d" if kind == "Data" and level == "1" else "")
            caches[label] = int(size.rstrip("KMG")) * _UNITS.get(size[-1], 1)
    return caches


def last_level_cache(device: torch.device) -> int:
    """Bytes of the last cache before memory; a guess of 32 MiB where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).L2_cache_size
    return max(_cpu_caches().values(), default=_DEFAULT_CACHE)


def keep_freed_memory() -> bool:
    """Tells glibc's malloc to keep what is freed, so that results of later calls cost no page faults.

    Returns whether there was a glibc to tell.
    """
    trim_threshold, mmap_threshold, largest = -1, -3, 2**31 - 1
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(mmap_threshold, largest) and mallopt(trim_threshold, largest))


def _revision() -> str | None:
    """The git revision of the package's own source, with ``+`` where files differ from it; None for an install."""
    package = Path(ganops.__file__).parent

    def git(*arguments: str) -> str:
        result = subprocess.run(("git", "-C", str(package), *arguments), capture_output=True, text=True, timeout=10)
        return result.stdout.strip() if result.returncode == 0 else ""

    try:
        # An installed package may lie inside another project's work tree: it counts only where git tracks it.
        if not git("ls-files", "__init__.py"):
            return None
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(package), ":/csrc")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.TimeoutExpired):
        return None


def _without_folders(value: Any) -> Any:
    """A report is passed on: it names files, not the folders of the machine they lie in."""
    if isinstance(value, dict):
        return {str(key): _without_folders(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(entry) for entry in value]
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    text = str(value)
    return Path(text).name if os.path.isabs(text) else text


def describe(device: torch.device) -> dict[str, Any]:
    """The ``machine`` entry of a report: hardware, versions, what ganops was built for, how busy it was."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    build_info = getattr(ganops, "build_info", None)
    machine: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "cpu_caches": _cpu_caches(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device.type,
        "last_level_cache": last_level_cache(device),
        "ganops": getattr(ganops, "__version__", None),
        "revision": _revision(),
        "build": _without_folders(build_info()) if build_info else None,
    }
    if hasattr(os, "getloadavg"):
        machine["load_before"] = round(os.getloadavg()[0], 2)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine |= {
            "gpu": properties.name,
            "gpu_capability": f"{properties.major}.{properties.minor}",
            "gpu_memory": properties.total_memory,
            "gpu_multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
        }
    return machine
