"""The driver of ``make gpu``: nothing that fails is lost, nothing that hangs keeps it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import on_card
from on_card import Part


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_card, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(on_card, "ROOT", tmp_path)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_failure_stops_nothing_and_is_told() -> None:
    results = on_card.run_all(
        [
            Part("fails", python("import sys; print('why'); sys.exit(3)"), 20),
            Part("is missing", ["no-such-program"], 20),
            Part("works", python("import os; print('env', os.environ['A'])"), 20, {"A": "b"}),
        ]
    )
    assert [result.verdict for result in results] == ["failed", "not found", "ok"]
    assert [result.last for result in results] == ["why", "no-such-program", "env b"]
    assert on_card.summary(results).splitlines()[-1] == "not ok: fails, is missing; see logs"
    assert on_card.ends(results).splitlines() == ["--- fails", "why"]


def test_parts_by_name() -> None:
    todo = on_card.parts("card")
    assert on_card.chosen(todo, []) == todo
    assert [part.name for part in on_card.chosen(todo, ["kernels", "build"])] == ["build", "kernels are used"]
    with pytest.raises(SystemExit, match="no part begins with 'bild'; there are build, kernels"):
        on_card.chosen(todo, ["build", "bild"])


def test_over_time() -> None:
    """Its children too: a shell that waits for a sleep."""
    start = time.monotonic()
    (result,) = on_card.run_all([Part("hangs", ["sh", "-c", "sleep 60; true"], 2)])
    assert result.verdict == "over time"
    assert time.monotonic() - start < 20


def test_the_end_of_all_time() -> None:
    results = on_card.run_all([Part("long", python("import time; time.sleep(60)"), 60), Part("next", python(""), 9)], 2)
    assert [result.verdict for result in results] == ["over time", "no time left"]


def test_output_is_kept_only_where_it_is_whole(tmp_path: Path) -> None:
    kept, lost = tmp_path / "kept.json", tmp_path / "lost.json"
    on_card.run_all([Part("a", python("print(1)"), 20, output=kept)])
    on_card.run_all([Part("b", python("print(1); exit(1)"), 20, output=lost)])
    assert kept.read_text() == "1\n"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["kept.json"]


def test_all_parts_fit_in_ten_minutes() -> None:
    for todo in (on_card.parts("card"), on_card.rehearsal()):
        assert len({part.name for part in todo}) == len(todo)
    assert on_card.TOTAL <= 600
