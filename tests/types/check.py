"""Checks users' code with mypy and pyright: the code of README.md and docs/, the examples, and ``users.py``.

    python tests/types/check.py [FILE ...]

The code blocks of a page are one program, after the names of ``preamble.py``. Errors are reported with the page's line.
Without files it also checks that the stubs (``ganops/**/*.pyi``) have the functions' present arguments.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "types"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def program(page: Path) -> str:
    """The page's Python code at the lines where it stands, the rest blank; "" if there is none."""
    text = page.read_text()
    lines = [""] * (text.count("\n") + 1)
    blocks = list(_BLOCK.finditer(text))
    if not blocks:
        return ""
    for block in blocks:
        first = text.count("\n", 0, block.start(1))
        code = block[1].splitlines()
        lines[first : first + len(code)] = code
    # The preamble stands in the first line, so that all others keep their numbers.
    preamble = (line.partition("#")[0].rstrip() for line in (ROOT / "tests/types/preamble.py").read_text().splitlines())
    lines[0] = "; ".join(filter(None, preamble))
    return "\n".join(lines) + "\n"


def written(pages: list[Path]) -> list[Path]:
    """The programs of all pages that have code, as files."""
    WORK.mkdir(parents=True, exist_ok=True)
    for old in WORK.glob("*.py"):
        old.unlink()
    files = []
    for page in pages:
        code = program(page)
        if code:
            file = WORK / f"{page.relative_to(ROOT).with_suffix('')}.py".replace("/", "_")
            file.write_text(code)
            files.append(file)
    return files


def mypy(files: list[Path]) -> list[str]:
    """The errors of mypy, with the settings of `[tool.mypy]`."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-incremental", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or done.stderr:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout.splitlines()


def pyright(files: list[Path]) -> list[str]:
    """The errors of pyright, with the settings of `[tool.basedpyright]`."""
    command = [sys.executable, "-m", "basedpyright", "--outputjson", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout + done.stderr)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [
        f"{each['file']}:{each['range']['start']['line'] + 1}: {each['message']} [{each.get('rule', 'syntax')}]"
        for each in found
        if each["severity"] == "error"
    ]


def stubs() -> list[str]:
    """What mypy's stubtest finds to differ between the stubs and the modules."""
    names = [str(path.relative_to(ROOT).with_suffix("")).replace("/", ".") for path in (ROOT / "ganops").rglob("*.pyi")]
    command = [sys.executable, "-m", "mypy.stubtest", "--mypy-config-file", "pyproject.toml", "--concise", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()


def main(arguments: list[str]) -> int:
    """Check the files named, or all; print the errors. Returns 1 if there are any."""
    files = [Path(name).resolve() for name in arguments]
    if not files:
        files = written([ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
        files += [*sorted((ROOT / "examples").glob("*.py")), ROOT / "tests/types/users.py"]
    errors = [f"mypy: {line}" for line in mypy(files)] + [f"pyright: {line}" for line in pyright(files)]
    errors += [] if arguments else [f"stubtest: {line}" for line in stubs()]
    print("\n".join(errors) or f"{len(files)} files: no errors")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
