"""``make gpu``: all that a machine with a card can prove, in at most ten minutes, with a summary at the end.

Builds for the card, runs the op tests on it, then streams, graphs, launches and synchronisation (test_device.py), then
compute-sanitizer over every operator, then the errors and the benchmarks, whose figures go to ``benchmarks/results``
under the card's name. A part that fails or runs over its time does not stop the others; the exit status is 1 then.
Needs torch, pytest, numpy, nvcc and ninja; no network. Each part's output is kept in ``build/gpu``, and the ends of
those that are not ok are printed. ``python tests/cuda/on_card.py --list`` names the parts; with names, or beginnings of
names, only these run: ``on_card.py build kernels`` and in a later command ``on_card.py benchmarks``.

``make gpu REHEARSE=1`` goes the same way without a card: the emulator stands in for it, and what the emulator cannot
show (test_device.py) is skipped.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / "build" / "gpu"
RESULTS = ROOT / "benchmarks" / "results"
TOTAL = 590.0  # seconds


@dataclass(frozen=True)
class Part:
    name: str
    command: Sequence[str]
    seconds: float
    environment: dict[str, str] = field(default_factory=dict)
    output: Path | None = None  # where its standard output goes, if not to its log


@dataclass(frozen=True)
class Result:
    part: str
    verdict: str  # "ok", "failed", "over time", "no time left", "not found"
    seconds: float
    last: str

    @property
    def good(self) -> bool:
        return self.verdict == "ok"


def last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def log_of(name: str) -> Path:
    return LOGS / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.log"


def run(part: Part, until: float) -> Result:
    """Runs one part for as long as it may, and all that it has started is ended with it."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = log_of(part.name)
    allowed = min(part.seconds, until - time.monotonic())
    if allowed <= 1:
        return Result(part.name, "no time left", 0, "")
    if shutil.which(part.command[0]) is None:
        return Result(part.name, "not found", 0, part.command[0])
    start = time.monotonic()
    output = (part.output or log).with_suffix(".part") if part.output else log
    with open(log, "w") as errors, open(output, "w") as out:
        process = subprocess.Popen(
            part.command,
            cwd=ROOT,
            env={**os.environ, **part.environment},
            stdout=errors if output == log else out,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait(allowed)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
    taken = time.monotonic() - start
    verdict = "over time" if code is None else "ok" if code == 0 else "failed"
    last = last_line(log)
    if part.output:
        if verdict == "ok":
            output.replace(part.output)
            last = f"written to {part.output.relative_to(ROOT)}"
        else:
            output.unlink()
    return Result(part.name, verdict, taken, last)


def sanitizer() -> str:
    """compute-sanitizer, from the PATH or beside nvcc."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    candidates = ["compute-sanitizer", *(str(Path(home) / "bin" / "compute-sanitizer") for home in homes if home)]
    return next((found for name in candidates if (found := shutil.which(name))), "compute-sanitizer")


BUILT = """
import ganops, json
info = ganops.build_info()
print(json.dumps(info, indent=1))
assert info["cuda"]["used"], info["cuda"]["problem"]
print(info["cuda"]["device"], info["cuda"]["architectures"])
"""


def parts(card: str) -> list[Part]:
    python, strict = sys.executable, {"GANOPS_STRICT": "1"}
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    spread = ["-n", "4"] if importlib.util.find_spec("xdist") else []
    bench = [python, "-m", "ganops", "bench", "--device", "cuda"]
    default = [*bench, "--suite", "default", "--no-compile", "--seconds", "0.3"]
    checker = [sanitizer(), "--kernel-name", "kns=ganops", "--error-exitcode", "9"]
    checks = [
        Part(
            f"compute-sanitizer {tool}",
            [*checker, "--tool", tool, python, "tests/cuda/exercise.py"],
            70,
            # Each tensor is an allocation of its own, so that its ends are ends of memory.
            {**strict, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        )
        for tool in ("memcheck", "racecheck", "initcheck")
    ]
    return [
        Part("build", [python, "setup.py", "-q", "build_ext", "--inplace"], 150, {"GANOPS_CUDA": "1"}),
        Part("kernels are used", [python, "-c", BUILT], 60, strict),
        Part("streams, graphs, launches", [*tests, "tests/cuda/test_device.py"], 90, strict),
        Part("op tests", [*tests, *spread, "tests/ops", "-k", "cuda", "-m", "not compile"], 180, strict),
        *checks,
        Part(
            "errors",
            [python, "tests/accuracy/measure.py", "--device", "cuda"],
            40,
            strict,
            RESULTS / f"errors-{card}.json",
        ),
        Part(
            "benchmarks",
            [*default, "--json", str(RESULTS / f"default-{card}.json")],
            120,
            strict,
        ),
        Part(
            "benchmarks with torch.compile",
            [*bench, "--suite", "quick", "--json", str(RESULTS / f"quick-{card}.json")],
            120,
            strict,
        ),
    ]


def rehearsal() -> list[Part]:
    python, emulated = sys.executable, {"GANOPS_BACKEND": "emulated", "GANOPS_STRICT": "1"}
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    bench = [python, "-m", "ganops", "bench", "--op", "interpolate", "--filter", "32x32", "--no-compile"]
    return [
        Part("build", [python, "tests/emulation/build.py"], 240),
        Part("streams, graphs, launches", [*tests, "tests/cuda/test_device.py"], 60),
        Part(
            "op tests",
            [*tests, "tests/ops/test_interpolate.py", "tests/ops/test_gradient_penalty.py", "-m", "not compile"],
            150,
            emulated,
        ),
        Part("every operator", [python, "tests/cuda/exercise.py", "--device", "cpu"], 120, emulated),
        Part(
            "errors",
            [python, "tests/accuracy/measure.py", "--terms", "4097"],
            60,
            emulated,
            LOGS / "errors-rehearsal.json",
        ),
        Part(
            "benchmarks",
            [*bench, "--seconds", "0.01", "--json", str(LOGS / "rehearsal.json")],
            90,
            emulated,
        ),
    ]


def run_all(todo: list[Part], total: float = TOTAL) -> list[Result]:
    """Every part in its order, none beyond the end of all."""
    until = time.monotonic() + total
    results = []
    for part in todo:
        print(f"{part.name} …", flush=True)
        results.append(run(part, until))
    return results


def chosen(todo: list[Part], names: Sequence[str]) -> list[Part]:
    """The parts of which a name is the beginning; all where there are no names."""
    for name in names:
        if not any(part.name.startswith(name) for part in todo):
            raise SystemExit(f"no part begins with {name!r}; there are {', '.join(part.name for part in todo)}")
    return [part for part in todo if not names or part.name.startswith(tuple(names))]


def ends(results: list[Result], lines: int = 30) -> str:
    """The last lines of what the parts that are not ok have said."""
    told = []
    for result in results:
        log = log_of(result.part)
        if result.verdict in ("failed", "over time") and log.exists():
            told += [f"--- {result.part}", *log.read_text(errors="replace").splitlines()[-lines:]]
    return "\n".join(told)


def summary(results: list[Result]) -> str:
    width = max(len(result.part) for result in results)
    lines = [
        f"{result.verdict:<12} {result.part:<{width}} {result.seconds:6.1f} s  {result.last[:100]}"
        for result in results
    ]
    bad = [result.part for result in results if not result.good]
    lines.append(f"not ok: {', '.join(bad)}; see {LOGS.relative_to(ROOT)}" if bad else "all ok")
    return "\n".join(lines)


def main() -> int:
    """Returns 0 where every part was ok, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="without a card, on the emulator")
    parser.add_argument("--list", action="store_true", help="name the parts and run none")
    parser.add_argument("parts", nargs="*", help="run those alone whose names begin so")
    options = parser.parse_args()
    if options.list:
        print("\n".join(part.name for part in (rehearsal() if options.rehearse else parts("card"))))
        return 0
    if options.rehearse:
        todo = rehearsal()
    else:
        import torch

        if not torch.cuda.is_available():
            print(f"torch {torch.__version__} finds no CUDA device; make gpu REHEARSE=1 needs none", file=sys.stderr)
            return 1
        todo = parts(re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-"))
    results = run_all(chosen(todo, options.parts))
    print("", ends(results), summary(results), sep="\n")
    return int(not all(result.good for result in results))


if __name__ == "__main__":
    sys.exit(main())
