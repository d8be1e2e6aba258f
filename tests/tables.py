"""Tables in the documentation that tests produce: each stands between two marks of docs/proof.md.

A test compares what it found with the page. ``GANOPS_UPDATE_DOCS=1`` writes the page instead.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "proof.md"
UPDATE = os.environ.get("GANOPS_UPDATE_DOCS", "0") not in ("", "0")


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    head = list(head)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->\n", f"\n<!-- {name}: end -->"


def committed(name: str) -> str:
    """The table of that name as the page has it."""
    begin, end = _marks(name)
    found = re.search(f"{re.escape(begin)}(.*?){re.escape(end)}", PAGE.read_text(), re.S)
    assert found, f"{PAGE} has no place for {name!r}: it needs the lines {begin!r} and {end!r}"
    return found[1]


def cells(text: str) -> dict[str, dict[str, str]]:
    """A table as {first cell of the row: {head of the column: cell}}."""
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def write(name: str, text: str) -> None:
    with open(PAGE, "r+") as page:  # one test process at a time
        fcntl.flock(page, fcntl.LOCK_EX)
        old, now = committed(name), page.read()
        begin, end = _marks(name)
        now = now.replace(begin + old + end, begin + text + end)
        page.seek(0)
        page.truncate()
        page.write(now)


def check(name: str, text: str) -> None:
    """The page has exactly this table, or gets it where that is asked for."""
    if UPDATE:
        write(name, text)
    assert committed(name) == text, f"{PAGE} is out of date: run this test again with GANOPS_UPDATE_DOCS=1"
