"""Plants the mistakes of ``table.py`` one by one in a copy of the tree, and runs the tests that should find them.

    python tests/mutants/run.py                 # all, an hour or more on two cores
    python tests/mutants/run.py csrc/math       # those whose name or file contains the text
    python tests/mutants/run.py --list

Each run of tests stops at its first failure. A mutant is caught if a test fails, the package cannot be imported, or the
tests do not end. At last the tests that have caught something run without any mistake, and must pass. Returns 1 if a
mistake was not caught, if a test fails without one, or if a mutant does not fit the code.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
SECONDS = 1200  # after which tests count as hanging
BUILD = ("build", "ganops/lib")  # what compiling writes
HANGS, AT_IMPORT = "the tests do not end", "at import"


@dataclass(frozen=True)
class Result:
    """One mutant's outcome: the test that caught it, None if none did."""

    name: str
    file: str
    caught_by: str | None
    build_seconds: float
    test_seconds: float


class Tree:
    """A copy of the tree with its own compiled library, in which a file can be changed and put back."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        self._built = folder / "built"
        self._environment = {**os.environ, "GANOPS_CUDA": "0", "XDG_CACHE_HOME": str(folder / "cache")}
        self._environment.pop("PYTHONPATH", None)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        # Three times as fast to compile, and no test is of speed.
        setup = (self.root / "setup.py").read_text()
        if '"-O3"' not in setup:
            raise RuntimeError("setup.py has no -O3, in place of which mutants are compiled with -O1")
        (self.root / "setup.py").write_text(setup.replace('"-O3"', '"-O1"'))
        self.build()
        for name in BUILD:
            shutil.copytree(self.root / name, self._built / name)
        where = self._python(
            "-c", "import ganops; print(ganops.__file__, ganops.build_info()['cpu']['library'])"
        ).stdout
        if where.count(str(self.root)) != 2:
            raise RuntimeError(f"the copy in {self.root} is not the package that its tests would run: {where}")

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )

    def build(self) -> float:
        """Compile what has changed; returns the seconds that it took."""
        began = time.perf_counter()
        try:
            self._python("setup.py", "-q", "build_ext", "--inplace")
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"it does not build:\n{error.stdout[-3000:]}{error.stderr[-3000:]}") from error
        return time.perf_counter() - began

    @contextlib.contextmanager
    def planted(self, mutant: Mutant) -> Iterator[float]:
        """The tree with the mutant's mistake, compiled if need be: yields the seconds of that."""
        path = self.root / mutant.file
        text, status = path.read_text(), path.stat()
        if text.count(mutant.old) != 1:
            raise RuntimeError(f"{mutant.name}: its text is {text.count(mutant.old)} times in {mutant.file}, not once")
        compiled = mutant.file.startswith("csrc/")
        path.write_text(text.replace(mutant.old, mutant.new))
        try:
            yield self.build() if compiled else 0.0
        finally:
            path.write_text(text)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # ninja goes by it
            for name in BUILD if compiled else ():
                shutil.rmtree(self.root / name)
                shutil.copytree(self._built / name, self.root / name)

    def failing_test(self, tests: tuple[str, ...]) -> str | None:
        """The first test that fails, `AT_IMPORT`, `HANGS`, or None if all pass."""
        command = ["-m", "pytest", "-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=self.root,
                env=self._environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return HANGS
        if done.returncode == 0:
            return None
        if done.returncode == 5:
            raise RuntimeError(f"pytest finds no tests: {' '.join(tests)}")
        for line in done.stdout.splitlines():
            if line.startswith(("FAILED ", "ERROR ")):
                return line.partition(" ")[2].partition(" - ")[0]
        return AT_IMPORT


def run(mutants: list[Mutant]) -> tuple[list[Result], list[str]]:
    """Plant all mutants; returns their results, and the tests that fail without any."""
    results = []
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=ROOT / "build") as folder:
        tree = Tree(Path(folder))
        for mutant in mutants:
            with tree.planted(mutant) as build_seconds:
                began = time.perf_counter()
                caught_by = tree.failing_test(mutant.tests)
            results.append(Result(mutant.name, mutant.file, caught_by, build_seconds, time.perf_counter() - began))
            print(line(results[-1]), flush=True)
        blamed = sorted({result.caught_by for result in results} - {None, HANGS, AT_IMPORT})
        return results, [test for test in blamed if tree.failing_test((test,)) is not None]


def line(result: Result) -> str:
    """One row of the table that is printed."""
    seconds = f"{result.build_seconds:4.0f} + {result.test_seconds:4.0f} s"
    return f"{seconds}  {result.file:<36} {result.name}\n{'':15}{result.caught_by or '*** NOT CAUGHT'}"


def main() -> int:
    """Run the mutants that the arguments choose; 0 if all are caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chosen", nargs="*", help="parts of names or files; none: all")
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    chosen = [
        m for m in MUTANTS if not options.chosen or any(text in m.name or text in m.file for text in options.chosen)
    ]
    if options.list:
        print("\n".join(f"{mutant.file:<36} {mutant.name}" for mutant in chosen))
        return 0
    results, broken = run(chosen)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    missed = [result.name for result in results if result.caught_by is None]
    seconds = sum(result.test_seconds for result in results)
    print(f"\n{len(results) - len(missed)} of {len(results)} caught, {seconds:.0f} s of tests")
    for name in missed:
        print(f"  not caught: {name}")
    for test in broken:
        print(f"  fails without any mistake: {test}")
    return bool(missed or broken)


if __name__ == "__main__":
    sys.exit(main())
