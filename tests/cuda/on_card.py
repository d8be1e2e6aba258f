"""What a machine with a card can prove, in two stages of some six minutes each, or all at once.

``make card-1``: every operator once beside the CPU kernels, the benchmarks with large sizes, then streams, graphs,
launches and synchronisation (test_device.py), then the op tests. ``make card-2``: compute-sanitizer over every
operator, the errors, the benchmarks beside torch.compile. Both run from a plain copy of the sources with the libraries
built beforehand (``make card-libraries``) and install nothing: ``python3 tests/cuda/on_card.py card-1``. ``make gpu``
builds for the card and then runs both stages. Needed are torch, pytest, numpy and, for ``make gpu``, nvcc and ninja;
no network.

A stage writes two files into the folder that the environment's OUT names (build/gpu without it): ``STAGE.txt``, the
summary, and ``STAGE.tgz``, every part's log and results. They are brought up to date as each part ends, and every few
seconds in between. A part that fails or runs over its time does not stop the others; what it has written until then is
kept. The exit status is 1 then. ``--list`` names the parts; with names, or beginnings of names, only these run.

``--rehearse`` does the same without a card: the emulator stands in for it, on smaller sizes. What the emulator cannot
show (test_device.py, the sanitizer's own view) is skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "gpu"
GRACE = 8.0  # seconds from an interrupt to the kill
PUBLISH = 5.0  # seconds between two looks at what a part has written
LINES, CHARACTERS = 20, 3000  # of the ends of logs that are printed


@dataclass(frozen=True)
class Part:
    name: str
    command: Sequence[str]  # "{work}" in it is the folder of the stage's results
    seconds: float
    environment: dict[str, str] = field(default_factory=dict)
    output: str | None = None  # the file that its standard output goes to, if not its log
    headline: str = ""  # a pattern: the last line of the log that has it is shown, else the last line
    required: bool = False  # where it fails, the rest is not worth the time


@dataclass(frozen=True)
class Stage:
    name: str
    parts: list[Part]
    seconds: float


@dataclass(frozen=True)
class Result:
    part: str
    verdict: str  # "ok", "failed", "over time", "no time left", "not found", "interrupted", "skipped"
    seconds: float
    last: str

    @property
    def good(self) -> bool:
        return self.verdict == "ok"


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class Report:
    """The two files of a stage, and the folder of what goes into the second."""

    def __init__(self, name: str, out: Path) -> None:
        self.name, self.out, self.work = name, out, WORK / name
        self.results: list[Result] = []
        self.start = time.monotonic()
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        out.mkdir(parents=True, exist_ok=True)

    def log(self, part: str) -> Path:
        return self.work / f"{slug(part)}.log"

    def publish(self) -> None:
        """Writes both files whole: whoever takes them along at any time gets what there was by then."""
        text, archive = self.out / f"{self.name}.txt", self.out / f"{self.name}.tgz"
        text.with_suffix(".part").write_text(self.summary() + "\n")
        text.with_suffix(".part").replace(text)
        with tarfile.open(archive.with_suffix(".part"), "w:gz", compresslevel=3) as tar:
            for path in sorted(self.work.iterdir()):
                with contextlib.suppress(OSError):  # a file that is being replaced
                    content = path.read_bytes()
                    entry = tarfile.TarInfo(f"{self.name}/{path.name}")
                    entry.size, entry.mtime = len(content), time.time()
                    tar.addfile(entry, io.BytesIO(content))
        archive.with_suffix(".part").replace(archive)

    def ends(self) -> str:
        """The last lines of the logs of the parts that are not ok."""
        told = []
        for result in self.results:
            log = self.log(result.part)
            if not result.good and log.exists():
                end = "\n".join(log.read_text(errors="replace").splitlines()[-LINES:])
                told += [f"--- {result.part}", end[-CHARACTERS:]]
        return "\n".join(told)

    def summary(self) -> str:
        width = max((len(result.part) for result in self.results), default=0)
        lines = [f"{self.name}, {time.monotonic() - self.start:.0f} s"]
        lines += [
            f"{result.verdict:<12} {result.part:<{width}} {result.seconds:6.1f} s  {result.last[:100]}"
            for result in self.results
        ]
        bad = [result.part for result in self.results if not result.good]
        lines.append(f"not ok: {', '.join(bad)}; see {self.name}.tgz" if bad else "all ok")
        return "\n".join(lines)


def headline(log: Path, pattern: str) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    found = [line for line in lines if pattern and re.search(pattern, line)]
    return (found or lines or [""])[-1]


def end(process: subprocess.Popen[bytes]) -> None:
    """An interrupt, upon which pytest says what has failed; then all that the part has started is killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(part: Part, allowed: float, report: Report) -> Result:
    """Runs one part for as long as it may."""
    if allowed < 1:
        return Result(part.name, "no time left", 0, "")
    if shutil.which(part.command[0]) is None:
        return Result(part.name, "not found", 0, part.command[0])
    log = report.log(part.name)
    output = report.work / part.output if part.output else log
    start, verdict = time.monotonic(), "interrupted"
    with open(log, "a") as errors, open(output, "a") as out:  # where both are one file, neither overwrites the other
        environment = {**os.environ, **part.environment}
        command = [word.replace("{work}", str(report.work)) for word in part.command]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=errors, start_new_session=True
        )
        try:
            while process.poll() is None and time.monotonic() - start < allowed:
                try:
                    process.wait(min(PUBLISH, max(0.1, start + allowed - time.monotonic())))
                except subprocess.TimeoutExpired:
                    report.publish()
            verdict = "over time" if process.poll() is None else "ok" if process.returncode == 0 else "failed"
        except KeyboardInterrupt:
            pass
        finally:
            end(process)
    if output.stat().st_size == 0 and output != log:
        output.unlink()
    return Result(part.name, verdict, time.monotonic() - start, headline(log, part.headline))


def run_stage(stage: Stage, out: Path, cut: float | None = None) -> Report:
    """Every part in its order. A part may use the time that those before it have left over, or `cut` seconds."""
    report = Report(stage.name, out)
    until = time.monotonic() + stage.seconds
    for place, part in enumerate(stage.parts):
        print(f"{part.name} …", flush=True)
        later = sum(other.seconds for other in stage.parts[place + 1 :])
        allowed = until - later - GRACE - time.monotonic() if cut is None else cut
        report.results.append(run(part, allowed, report))
        report.publish()
        verdict = report.results[-1].verdict
        if verdict == "interrupted" or (part.required and verdict in ("failed", "not found")):
            report.results += [Result(other.name, "skipped", 0, "") for other in stage.parts[place + 1 :]]
            report.publish()
            break
    return report


# ------------------------------------------------------------------------------------------------- the parts


def sanitizer() -> str:
    """compute-sanitizer, from the PATH or beside nvcc."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    candidates = ["compute-sanitizer", *(str(Path(home) / "bin" / "compute-sanitizer") for home in homes if home)]
    return next((found for name in candidates if (found := shutil.which(name))), "compute-sanitizer")


USED = """
import ganops, json
info = ganops.build_info()
print(json.dumps(info, indent=1))
device = "cpu" if info["backend"] == "emulated" else "cuda"
assert info[device]["used"], info[device]["problem"]
print("used:", info["cuda"]["device"], info["cuda"]["architectures"])
"""
LOSE = r"rows lose to a rival|rows FAILED"
PASSED = r"\d (passed|failed|skipped|error)"


def stages(card: str | None) -> dict[str, Stage]:
    """The stages for a card of that name; None rehearses them on the emulator."""
    rehearsal, python = card is None, sys.executable
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {"GANOPS_STRICT": "1", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    if rehearsal:
        environment["GANOPS_BACKEND"] = "emulated"
    device = ["--device", "cpu" if rehearsal else "cuda"]
    label = "rehearsal" if rehearsal else f"{slug(card)}-{datetime.date.today()}"

    def bench(name: str, seconds: float, suite: str, *options: str) -> Part:
        if rehearsal:
            options = ("--op", "interpolate", "--filter", "32x32", "--seconds", "0.01", "--no-compile")
        command = [python, "-m", "ganops.bench", *device, "--suite", suite, *options]
        command += ["--overwrite", "--json", f"{{work}}/{name}-{label}.json"]
        return Part(f"benchmarks, {name}", command, seconds, environment, headline=LOSE)

    def tests(name: str, seconds: float, *what: str) -> Part:
        command = [python, "-m", "pytest", "-o", "addopts=", "-v", "--tb=short", "-p", "no:cacheprovider", *what]
        return Part(name, command, seconds, environment, headline=PASSED)

    workers = max(1, min(12, (os.cpu_count() or 1) - 4))
    spread = ["-n", str(workers), "--dist", "worksteal"] if workers > 1 and importlib.util.find_spec("xdist") else []
    patience = ["--timeout", "60"] if importlib.util.find_spec("pytest_timeout") else []
    many = [*spread, *patience, "--maxfail", "40", "-m", "not compile"]
    some = ["tests/ops/test_interpolate.py"] if rehearsal else ["tests/ops", "-k", "cuda"]

    exercise = [python, "tests/cuda/exercise.py", *device]
    checker = [] if rehearsal else [sanitizer(), "--kernel-name", "kns=ganops", "--error-exitcode", "9", "--tool"]
    # Each tensor is an allocation of its own, so that its ends are ends of memory.
    alone = {**environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    checks = [
        Part(
            f"compute-sanitizer {tool}",
            [*checker, *([tool] if checker else []), *exercise, "--reduced"],
            seconds,
            alone,
            headline="calls|ERROR SUMMARY",
        )
        for tool, seconds in (("memcheck", 60), ("racecheck", 60), ("initcheck", 50), ("synccheck", 50))
    ]
    errors = [python, "tests/accuracy/measure.py", *device, *(["--terms", "4097"] if rehearsal else [])]
    first = [
        Part("kernels are used", [python, "-c", USED], 25, environment, headline="^used", required=True),
        Part("every operator", [*exercise, *([] if rehearsal else ["--compare"])], 40, environment),
        bench("default", 95, "default", "--no-compile", "--seconds", "0.2"),
        bench("large", 45, "full", "--filter", "512x512", "--no-compile", "--seconds", "0.3"),
        tests("streams, graphs, launches", 70, *patience, "tests/cuda/test_device.py"),
        tests("op tests", 105, *some, *many),
    ]
    second = [
        *checks,
        Part("errors", errors, 40, environment, f"errors-{label}.json"),
        bench("quick", 80, "quick", "--seconds", "0.2"),
    ]
    build = [python, "setup.py", "-q", "build_ext", "--inplace"]
    before = [] if rehearsal else [Part("build", build, 150, {"GANOPS_CUDA": "1"}, required=True)]
    return {
        "card-1": Stage("card-1", first, 390),
        "card-2": Stage("card-2", second, 350),
        "gpu": Stage("gpu", [*before, *first, *second], 900),
    }


def chosen(parts: list[Part], names: Sequence[str]) -> list[Part]:
    """The parts of which a name is the beginning; all where there are no names."""
    for name in names:
        if not any(part.name.startswith(name) for part in parts):
            raise SystemExit(f"no part begins with {name!r}; there are {', '.join(part.name for part in parts)}")
    return [part for part in parts if not names or part.name.startswith(tuple(names))]


def card_name() -> str:
    import torch

    if not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} finds no CUDA device; --rehearse needs none")
    return torch.cuda.get_device_name()


def main() -> int:
    """Returns 0 where every part was ok, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=["card-1", "card-2", "gpu"])
    parser.add_argument("parts", nargs="*", help="run only those whose names begin so")
    parser.add_argument("--rehearse", action="store_true", help="without a card, on the emulator")
    parser.add_argument("--list", action="store_true", help="name the parts and run none")
    parser.add_argument("--cut", type=float, metavar="S", help="cut every part off after S seconds")
    options = parser.parse_args()
    if options.list:
        print("\n".join(part.name for part in stages(None if options.rehearse else "card")[options.stage].parts))
        return 0
    if options.rehearse and not os.environ.get("GANOPS_EMULATED_LIBRARY"):  # before the clock starts
        subprocess.run([sys.executable, "tests/emulation/build.py"], cwd=ROOT, check=True)
    stage = stages(None if options.rehearse else card_name())[options.stage]
    stage = replace(stage, parts=chosen(stage.parts, options.parts))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = run_stage(stage, Path(os.environ.get("OUT") or WORK), options.cut)
    print("", report.ends(), report.summary(), sep="\n")
    return int(not all(result.good for result in report.results))


if __name__ == "__main__":
    sys.exit(main())
