"""The driver of ``make card-1``, ``card-2`` and ``gpu``: no failure is lost, no part that hangs holds up the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import exercise
import on_card
from on_card import Part, Stage


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_card, "WORK", tmp_path / "work")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def stage(*parts: Part, seconds: float = 200) -> Stage:
    return Stage("s", list(parts), seconds)


def kept(out: Path) -> dict[str, str]:
    """{name: text} of what was taken along."""
    with tarfile.open(out / "s.tgz") as tar:
        return {Path(entry.name).name: tar.extractfile(entry).read().decode() for entry in tar}


HANGS = ["sh", "-c", "echo so far; exec sleep 60"]


def test_a_failure_stops_nothing_and_is_told(out: Path) -> None:
    report = on_card.run_stage(
        stage(
            Part("fails", python("import sys; print('why'); sys.exit(3)"), 20),
            Part("is missing", ["no-such-program"], 20),
            Part("works", python("import os; print('env', os.environ['A'])"), 20, {"A": "b"}),
        ),
        out,
    )
    assert [result.verdict for result in report.results] == ["failed", "not found", "ok"]
    assert [result.last for result in report.results] == ["why", "no-such-program", "env b"]
    assert report.summary().splitlines()[-1] == "not ok: fails, is missing; see s.tgz"
    assert report.ends().splitlines() == ["--- fails", "why"]
    assert (out / "s.txt").read_text() == report.summary() + "\n"
    assert kept(out) == {"fails.log": "why\n", "works.log": "env b\n"}
    assert {path.name for path in out.iterdir()} == {"s.txt", "s.tgz"}


def test_one_log_has_both_streams(out: Path) -> None:
    on_card.run_stage(stage(Part("a", ["sh", "-c", "echo 1; echo 2 >&2; echo 3"], 20)), out)
    assert kept(out) == {"a.log": "1\n2\n3\n"}


def test_what_the_rest_needs(out: Path) -> None:
    parts = [Part("a", python("exit(1)"), 20, required=True), Part("b", python(""), 20)]
    report = on_card.run_stage(stage(*parts), out)
    assert [result.verdict for result in report.results] == ["failed", "skipped"]


@pytest.mark.parametrize("name", ["card-1", "card-2"])
def test_each_part_cut_off_costs_no_other(name: str, out: Path) -> None:
    """Every part of the real stages hangs in turn; what it has written and what the others have is kept."""
    parts = on_card.stages("card")[name].parts
    quick = [
        replace(part, command=["sh", "-c", f"echo 1 > '{{work}}/{place}.json'"], output=None)
        for place, part in enumerate(parts)
    ]
    for place in range(len(parts)):
        todo = [*quick[:place], replace(quick[place], command=HANGS), *quick[place + 1 :]]
        report = on_card.run_stage(stage(*todo), out, 1)
        wanted = ["over time" if i == place else "ok" for i in range(len(parts))]
        assert [result.verdict for result in report.results] == wanted
        files = kept(out)
        assert files[report.log(parts[place].name).name] == "so far\n"
        assert {key for key in files if key.endswith("json")} == {f"{i}.json" for i in range(len(parts)) if i != place}


def test_time_left_over_goes_to_the_parts_that_follow(out: Path) -> None:
    slow = python("import time; time.sleep(2)")
    report = on_card.run_stage(stage(Part("a", python(""), 60), Part("b", slow, 1), seconds=61 + on_card.GRACE), out)
    assert [result.verdict for result in report.results] == ["ok", "ok"]


def test_over_time_ends_children_too(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that waits for a sleep."""
    monkeypatch.setattr(on_card, "GRACE", 1)
    start = time.monotonic()
    report = on_card.run_stage(stage(Part("hangs", ["sh", "-c", "sleep 61; true"], 2), seconds=2 + on_card.GRACE), out)
    assert report.results[0].verdict == "over time"
    assert time.monotonic() - start < 3 + 2 * on_card.GRACE


def test_the_end_of_all_time(out: Path) -> None:
    parts = [Part("long", HANGS, 0), Part("next", python(""), 0)]
    report = on_card.run_stage(stage(*parts, seconds=2 + on_card.GRACE), out)
    assert [result.verdict for result in report.results] == ["over time", "no time left"]


def test_results_are_there_while_a_part_runs(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever kills the whole run has lost a few seconds."""
    monkeypatch.setattr(on_card, "PUBLISH", 0.2)
    copy = f"import time; time.sleep(1); print(open(r'{out}/s.txt').read()); time.sleep(9)"
    report = on_card.run_stage(stage(Part("a", python("print(1)"), 5), Part("b", python(copy), 5)), out, 2)
    assert report.results[1].verdict == "over time"
    assert "ok           a" in kept(out)["b.log"]


DRIVER = """
import sys, pathlib
sys.path.insert(0, r"{tests}")
import on_card
on_card.WORK = pathlib.Path(r"{work}")
parts = [on_card.Part("a", [sys.executable, "-c", "print(1)"], 20), on_card.Part("b", ["sleep", "60"], 20)]
parts.append(on_card.Part("c", ["sleep", "60"], 20))
on_card.stages = lambda card: {{"card-1": on_card.Stage("s", parts, 90)}}
on_card.card_name = lambda: "card"
sys.argv = ["on_card.py", "card-1"]
sys.exit(on_card.main())
"""


def test_a_terminated_run_says_what_it_has(tmp_path: Path, out: Path) -> None:
    code = DRIVER.format(tests=Path(on_card.__file__).parent, work=tmp_path / "work")
    process = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True, env={**os.environ, "OUT": str(out)})
    while process.stdout.readline().strip() != "b …":
        pass
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=20)[0]
    assert process.returncode == 1
    assert [line.split()[:2] for line in told.splitlines()[-4:-1]] == [
        ["ok", "a"],
        ["interrupted", "b"],
        ["skipped", "c"],
    ]
    assert kept(out)["a.log"] == "1\n"


def test_parts_by_name() -> None:
    parts = on_card.stages("card")["gpu"].parts
    assert on_card.chosen(parts, []) == parts
    assert [part.name for part in on_card.chosen(parts, ["kernels", "build"])] == ["build", "kernels are used"]
    with pytest.raises(SystemExit, match="no part begins with 'bild'; there are build, kernels"):
        on_card.chosen(parts, ["build", "bild"])


@pytest.mark.parametrize("card", ["NVIDIA H100 80GB HBM3", None])
def test_stages_fit_their_time(card: str | None) -> None:
    stages = on_card.stages(card)
    for found in stages.values():
        assert len({on_card.slug(part.name) for part in found.parts}) == len(found.parts)
        assert sum(part.seconds for part in found.parts) + on_card.GRACE <= found.seconds
    assert stages["card-1"].seconds <= 390
    assert stages["card-2"].seconds <= 350


def test_what_differs_is_seen() -> None:
    a = torch.tensor([1.0, 100.0, torch.nan])
    assert exercise.difference([a, 3], [a.clone(), 3]) == 0
    assert exercise.difference([a + torch.tensor([1.0, 0, 0])], [a]) == pytest.approx(0.01)
    assert exercise.difference([torch.zeros(3)], [a]) == float("inf")
    assert exercise.difference([torch.full((2,), torch.inf)], [torch.ones(2)]) == float("inf")


@pytest.mark.parametrize("name", ["adam_", "rmsprop_"])
def test_steps_that_are_counted_on_the_host_stay_there(name: str) -> None:
    """On a card the operators refuse others; the emulator, for which all tensors are on the host, cannot show it."""
    operator = getattr(torch.ops.ganops, name).default
    where = []
    for make in exercise.ARGUMENTS[name]:
        weights, *lists = exercise.placed(operator, make(torch.randn(3, 7)), "meta")[:6]
        assert {tensor.device.type for tensor in weights} == {"meta"}
        where.append({tensor.device.type for tensor in lists[-1]})
    assert where == [{"cpu"}, {"meta"}]
    (moved,) = exercise.placed(lambda x: x, (torch.ones(1),), "meta")
    assert moved.device.type == "meta"
