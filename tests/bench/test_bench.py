"""The machinery of the benchmarks. No test here is about speed."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ganops.bench.cases
from ganops.bench import case as case_module
from ganops.bench import main, measure, table
from ganops.bench.case import BACKWARD, BOTH, EAGER, FORWARD, GROUPS, POPULAR, Case, Floor, Rival, Row, Suite
from ganops.bench.command import _judge
from ganops.bench.graph import calls_of
from ganops.bench.machine import _without_folders
from ganops.bench.report import problem

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

CPU = torch.device("cpu")
STEMS = ganops.bench.cases.stems()
ROWS = ganops.bench.cases.rows(STEMS, Suite.FULL)
CASES = list({id(row.case): row.case for row in ROWS}.values())


# One case of each op, variant and dtype, the smallest: the formulas do not depend on the size. Not those that are large
# for the sake of being large.
def footprint(case: Case) -> int:
    return max(traffic.footprint for traffic in case.traffic.values()) if case.traffic else len(case.size)


SMALLEST = list(
    {
        (case.op, case.variant, case.dtype): case
        for case in sorted(CASES, key=footprint, reverse=True)
        if footprint(case) < 64 << 20
    }.values()
)
SETTINGS = measure.Settings(CPU, cache=1 << 20, seconds=0, block=0, minimum_rounds=3, compile=False)


def find(name: str) -> Row:
    (row,) = [row for row in ROWS if row.name == name]
    return row


def name_of(case: Case) -> str:
    return case.name("")


# The cases


def test_every_op_family_has_cases_and_floors(pytestconfig):
    interfaces = {path.stem for path in (pytestconfig.rootpath / "csrc" / "kernels").glob("*.h")} - {"common"}
    assert set(STEMS) == interfaces
    for stem in STEMS:
        assert ganops.bench.cases.rows([stem], Suite.QUICK)
        assert ganops.bench.cases.family(stem).FLOORS


def test_names_tell_rows_apart():
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def test_suites_grow():
    quick, default, full = ([row.name for row in ganops.bench.cases.rows(STEMS, suite)] for suite in Suite)
    assert set(quick) < set(default) < set(full)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_case_has_a_rival_in_each_group(case):
    # A limit that changes from call to call would be compiled anew each time.
    groups = GROUPS[:-1] if case.variant.endswith("outside") else GROUPS
    assert {rival.group for rival in case.rivals} == set(groups)
    assert [rival.compiled for rival in case.rivals] == [rival.group == "compile" for rival in case.rivals]
    assert len({rival.name for rival in case.rivals} - set(GROUPS[:2])) == len(case.rivals)


@pytest.mark.parametrize("case", SMALLEST, ids=name_of)
def test_rivals_compute_the_same(case):
    calls = {rival.name: rival.call for rival in case.rivals}
    for phase in case.phases:
        measure.check_agreement(case, phase, calls, CPU)


@pytest.mark.parametrize("op", sorted({case.op for case in SMALLEST}))
def test_compiled_rivals_compute_the_same(op):
    # Through the tracer and the ahead-of-time autograd, without the C++ compiler, which takes its time.
    case = min((case for case in SMALLEST if case.op == op and case.dtype == torch.float32), key=footprint)
    torch._dynamo.reset()
    calls = {
        rival.name: torch.compile(rival.call, dynamic=False, fullgraph=True, backend="aot_eager")
        for rival in case.rivals
        if rival.compiled
    }
    measure.check_agreement(case, BOTH if BOTH in case.phases else FORWARD, calls, CPU)


def test_inputs_repeat_for_a_seed_and_differ_between_seeds():
    case = find("discriminator_loss/hinge/64x1/float32/both").case
    first, again, other = (case.inputs(CPU, False, seed).arguments[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_residual_critic_is_the_one_of_the_floors():
    (tensors,) = find("clip_weights_/residual critic/4.6M in 47/float32/forward").case.inputs(CPU, False, 0).arguments
    assert len(tensors) == 47
    assert round(sum(tensor.numel() for tensor in tensors) / 1e6, 1) == 4.6


# Bytes


@pytest.mark.parametrize(
    ("name", "moved", "touched"),
    [
        ("discriminator_loss/hinge/64x1/float32/forward", 2 * 64 * 4, 2 * 64 * 4),
        ("discriminator_loss/hinge/64x1/float32/backward", 4 * 64 * 4, 4 * 64 * 4),
        ("discriminator_loss/hinge/64x1/float32/both", 6 * 64 * 4, 4 * 64 * 4),
        ("discriminator_loss/wasserstein/64x1/float32/both", 4 * 64 * 4, 4 * 64 * 4),
        ("discriminator_loss/hinge/64x1x128x128/bfloat16/both", 6 * 64 * 128**2 * 2, 4 * 64 * 128**2 * 2),
        ("generator_loss/non_saturating/64x1/float32/both", 3 * 64 * 4, 2 * 64 * 4),
        ("interpolate/256x2/float32/forward", 3 * 512 * 4, 3 * 512 * 4),
        ("interpolate/256x2/float32/both", 6 * 512 * 4, 6 * 512 * 4),
        ("gradient_norm_penalty/256x2/float32/both", 3 * 512 * 4, 2 * 512 * 4),
        ("clip_weights_/small tensors/0.3M in 300/float32/forward", 2 * 300_000 * 4, 300_000 * 4),
    ],
)
def test_bytes(name, moved, touched):
    row = find(name)
    assert row.case.traffic[row.phase] == case_module.Traffic(moved, touched)


# Measuring


@pytest.mark.parametrize(
    ("touched", "sets"), [(0, 1), (1, 1), (50, 1), (51, 4), (100, 2), (150, 2), (200, 1), (10_000, 1)]
)
def test_rotation_passes_twice_the_cache_before_a_buffer_returns(touched, sets):
    assert measure.set_count(touched, cache=100) == sets
    assert touched <= 50 or sets * touched >= 200


def test_rotation_goes_on_where_it_stopped():
    rotation = measure._Rotation(list("abc"))
    assert [rotation(2), rotation(2), rotation(4)] == [["a", "b"], ["c", "a"], ["b", "c", "a", "b"]]


def test_rounds_interleave_and_take_turns_at_being_first():
    order = []
    candidates = [
        measure.Candidate(name, name, "", lambda count: [None] * count, lambda _, name=name: order.append(name))
        for name in "xyz"
    ]
    times = measure._rounds(candidates, replace(SETTINGS, block=0))
    assert {name: len(seconds) for name, seconds in times.items()} == {"x": 3, "y": 3, "z": 3}
    # A block is one uncounted call and, here, one counted one.
    assert "".join(order[-18:]) == "xxyyzz" + "yyzzxx" + "zzxxyy"


def test_backward_alone_is_of_graphs_used_once():
    row = find("discriminator_loss/hinge/64x1/float32/backward")
    forwards = []

    def counted(*arguments):
        forwards.append(1)
        return row.case.ours(*arguments)

    rotation = measure._Rotation([row.case.inputs(CPU, True, 0)])
    candidate = measure._candidate("ours", "ours", "", counted, BACKWARD, rotation, 1024)
    graphs = candidate.prepare(3)
    assert len(forwards) == 3
    candidate.step(graphs[0])
    assert rotation.sets[0].leaves[0].grad is not None
    with pytest.raises(RuntimeError, match="second time"):
        candidate.step(graphs[0])


def test_a_wrong_rival_is_an_error_not_a_figure():
    row = find("discriminator_loss/hinge/64x1/float32/both")
    wrong = Rival("wrong", POPULAR, "", lambda r, f, ones, zeros: ganops.discriminator_loss(r, f, "hinge") * 1.01)
    with pytest.raises(measure.Disagreement, match=r"hinge/64x1/float32/both: ours and 'wrong' differ"):
        measure.measure(Row(replace(row.case, rivals=(wrong,)), BOTH), SETTINGS)


def test_wrong_gradients_and_nan_are_seen():
    value = torch.tensor([1.0, 2.0])
    assert measure.disagreement([value], [value]) == 0
    assert measure.disagreement([value], [value + torch.tensor([0.0, 0.2])]) == pytest.approx(0.2 / 2.2)
    assert measure.disagreement([value], [torch.tensor([1.0, float("nan")])]) == float("inf")
    assert measure.disagreement([value], [value, value]) == float("inf")


def test_a_rival_that_does_not_compile_is_noted():
    row = find("discriminator_loss/hinge/64x1/float32/forward")

    def untraceable(r, f, ones, zeros):
        torch._dynamo.graph_break()
        return r.mean()

    rivals = (*row.case.rivals[:1], Rival("compile", "compile", "", untraceable, compiled=True))
    record = measure.measure(Row(replace(row.case, rivals=rivals), FORWARD), replace(SETTINGS, compile=True))
    assert list(record["rivals"]) == ["formula"]
    assert record["notes"][0].startswith("compile: ")


@pytest.fixture(scope="module")
def record():
    return measure.measure(find("discriminator_loss/hinge/64x1/float32/both"), SETTINGS)


def test_record(record):
    assert list(record["rivals"]) == ["formula", "sums", "joint"]
    ours, rival = record["ours"], record["rivals"]["formula"]
    assert ours["us_q1"] <= ours["us"] <= ours["us_q3"]
    assert rival["ratio"] == pytest.approx(rival["us"] / ours["us"])
    assert record["gb_per_s"] == pytest.approx(record["bytes_moved"] / (ours["us"] * 1e-6) / 1e9)
    assert record["copy_fraction"] == pytest.approx(record["gb_per_s"] / record["copy_gb_per_s"])
    assert record["node_fraction"] == pytest.approx(record["node_us"] / ours["us"])
    assert record["rounds"] == 3
    json.dumps(record)


@pytest.mark.parametrize(
    "row", ["discriminator_loss/hinge/64x1/float32/forward", "clip_weights_/MLP/0.0M in 8/float32/forward"]
)
def test_only_a_call_with_a_gradient_has_a_node(row):
    assert "node_us" not in measure.measure(find(row), SETTINGS)


def test_ratio_is_that_to_the_fastest_of_a_group(record):
    ratios = [record["rivals"][name]["ratio"] for name in ("sums", "joint")]
    assert measure.ratio(record, EAGER) == min(ratios)
    assert measure.ratio(record, "joint") == ratios[1]
    assert measure.ratio(record, "compile") is None


# Graphs: here a capture runs the calls, and a replay runs them again.


def eager_capture(run):
    run()
    return run


def in_graphs(name: str, capture=eager_capture, **changes) -> dict:
    row = find(name)
    return measure.measure(Row(replace(row.case, **changes), row.phase), replace(SETTINGS, capture=capture))


@pytest.mark.parametrize("phase", [FORWARD, BOTH])
def test_graphs_of_ours_the_rivals_and_the_copy(phase):
    found = in_graphs(f"discriminator_loss/hinge/64x1/float32/{phase}")
    graph = found["graph"]
    assert list(graph["rivals"]) == list(found["rivals"]) == ["formula", "sums", "joint"]
    assert {rival["group"] for rival in graph["rivals"].values()} == {POPULAR, EAGER}
    assert graph["copy_fraction"] == pytest.approx(graph["gb_per_s"] / graph["copy_gb_per_s"])
    line = table.line(found, True)
    assert line.split("  <<")[0].rstrip().split()[-3] == table._time(graph["ours"]["us"])
    assert " rows lose to a rival in a graph, " in table.summary([found])
    json.dumps(found)


def test_times_in_graphs_are_per_call():
    """Each replay of 16 calls takes 16 ms."""

    def slow_capture(run):
        run()
        return lambda: time.sleep(0.016)

    found = in_graphs(f"discriminator_loss/hinge/64x1/float32/{FORWARD}", capture=slow_capture)
    assert 1000 <= found["graph"]["ours"]["us"] < 8000


def test_no_graph_of_a_backward_alone_or_of_what_changes_from_call_to_call():
    assert "graph" not in in_graphs("discriminator_loss/hinge/64x1/float32/backward")
    assert "graph" not in in_graphs("clip_weights_/residual critic, outside/4.6M in 47/float32/forward")
    assert "graph" not in measure.measure(find("interpolate/256x2/float32/forward"), SETTINGS)


def test_a_graph_may_hold_another_call():
    """Optimisers count their steps on the card there."""
    called = []
    case = find("interpolate/256x2/float32/forward").case
    rivals = tuple(replace(rival, in_graph=lambda *_: called.append("theirs")) for rival in case.rivals[:1])
    in_graphs("interpolate/256x2/float32/forward", rivals=rivals, in_graph=lambda *_: called.append("ours"))
    assert set(called) == {"ours", "theirs"}


def test_what_cannot_be_captured_is_noted():
    captures = []

    def capture(run):
        captures.append(run)
        if len(captures) == 2:
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        return eager_capture(run)

    found = in_graphs("interpolate/256x2/float32/forward", capture)
    assert found["notes"] == ["five ops in a graph: RuntimeError: operation not permitted"]
    assert list(found["graph"]["rivals"]) == ["lerp"]


@pytest.mark.parametrize(
    ("footprint", "sets", "calls"), [(0, 1, 16), (512, 1, 16), (30 << 20, 4, 8), (30 << 20, 3, 6), (1 << 30, 2, 2)]
)
def test_a_graph_holds_several_small_calls_over_every_set(footprint, sets, calls):
    assert calls_of(footprint, sets) == calls


def test_optimisers_have_the_strongest_rivals():
    names = {rival.name for rival in find("optimizers.Adam/MLP/0.0M in 6/float32/forward").case.rivals}
    assert {"fused", "fused, foreach clamp", "foreach, foreach clamp"} <= names


# What is shown


def figures(ratio: float, spread: float = 0.0) -> dict:
    return {"ratio": ratio, "ratio_q1": ratio - spread, "ratio_q3": ratio + spread}


def with_ratios(record: dict, spread: float = 0.0, **ratios: float) -> dict:
    rivals = {name: {**record["rivals"][name], **figures(ratio, spread)} for name, ratio in ratios.items()}
    loses_to = [name for name, rival in rivals.items() if measure.verdict(rival) == measure.SLOWER]
    return {**record, "rivals": rivals, "loses_to": loses_to}


@pytest.mark.parametrize(
    ("ratio", "spread", "verdict"),
    [
        (1.2, 0.1, "faster"),
        (1.2, 0.2, "undecided"),
        (0.8, 0.1, "slower"),
        (0.8, 0.3, "undecided"),
        (1.0, 0.0, "undecided"),
        (0.996, 0.0, "undecided"),
        (0.994, 0.0, "slower"),
    ],
)
def test_a_lead_within_the_spread_is_no_verdict(ratio, spread, verdict):
    assert measure.spread(figures(ratio, spread)) == pytest.approx(spread)
    assert measure.verdict(figures(ratio, spread)) == verdict


def test_the_table_says_where_there_is_no_verdict(record):
    close = with_ratios(record, spread=0.2, formula=2.0, sums=0.9, joint=1.1)
    assert "<<" not in table.line(close)
    assert "2.00    ~0.90" in table.line(close)
    assert table.summary([close, with_ratios(record, formula=2.0)]) == (
        "0 of 2 rows lose to a rival, 1 have one within the spread"
    )


def test_the_table_marks_rows_that_lose(record):
    wins = with_ratios(record, formula=2.0, sums=1.2, joint=1.0)
    loses = with_ratios(record, formula=2.0, sums=0.9, joint=0.99)
    assert "<<" not in table.line(wins)
    assert table.line(loses).endswith("<< sums, joint")
    assert "2.00     0.90" in table.line(loses)
    text = table.summary([wins, loses, wins])
    assert text.startswith("1 of 3 rows lose to a rival, 2 have one within the spread\n")
    assert "discriminator_loss/hinge/64x1/float32/both: sums 0.90, joint 0.99" in text


@pytest.mark.parametrize(
    ("footprint", "fraction", "loses_to", "behind"),
    [(16 << 20, 0.79, [], True), (16 << 20, 0.81, [], False), (1 << 20, 0.1, [], False), (512, 1.0, ["sums"], True)],
)
def test_what_bounds_a_row_is_said_where_it_stays_behind(footprint, fraction, loses_to, behind):
    record = {"bytes_footprint": footprint, "copy_fraction": fraction, "loses_to": loses_to}
    assert measure.stays_behind(record) == behind


def test_what_memory_does_not_bound_says_what_does():
    without_bytes = [case for case in CASES if case.traffic is None]
    assert without_bytes
    assert all(case.phases.keys() <= case.bounds.keys() for case in without_bytes)


def test_the_table_says_what_bounds_a_row(record):
    assert "bound by arithmetic" in table.line({**record, "bound": "arithmetic"}).splitlines()[1]
    assert "bound" not in table.line({key: value for key, value in record.items() if key != "bound"})


def test_losing_is_decided_on_the_figure_shown(monkeypatch, record):
    assert all(
        (round(rival["ratio"], 2) < 1) == (name in record["loses_to"]) for name, rival in record["rivals"].items()
    )


def test_columns_stand_below_each_other(record):
    title, rule = table.header().splitlines()
    assert len(title) == len(rule) <= 130
    assert len(table.line(with_ratios(record, formula=2.0))) == len(rule)
    wide = table.header(True).splitlines()[1]
    assert len(table.line(with_ratios(record, formula=2.0), True)) == len(wide)


def test_a_failed_row_is_shown_and_counted():
    failed = {**dict.fromkeys(("name", "op", "variant", "size", "dtype", "phase"), "a"), "error": "KeyError: b"}
    assert "FAILED: KeyError: b" in table.line(failed)
    assert "1 of 1 rows FAILED" in table.summary([failed])


def test_floors_cover_the_speeds_promised():
    pairs = ganops.bench.cases.floors(STEMS)
    assert len(pairs) == 7 + 7 + 1 + 1 + 1 + 2 + 1 + 2 + 1 + 2 + 1 + 1 + 2 + 3
    assert len({row.name for _, row in pairs}) == len(pairs)
    for floor, row in pairs:
        known = {rival.name for rival in row.case.rivals} | set(GROUPS)
        assert set(floor.beats) <= known
    used = {floor.rows for floor, _ in pairs}
    assert used == {floor.rows for stem in STEMS for floor in ganops.bench.cases.family(stem).FLOORS}


def test_a_floor_holds_only_where_all_its_rivals_are_beaten(record):
    row = find(record["name"])
    measured = with_ratios(record, formula=1.796, sums=1.5, joint=1.2)
    floor = Floor("*", {POPULAR: 1.8, "sums": 1.5, EAGER: 1.2})
    assert _judge(floor, row, measured)["holds"]
    assert "PASS" in table.floor_line(_judge(floor, row, measured))
    short = _judge(Floor("*", {POPULAR: 1.81, EAGER: 1.2}), row, measured)
    assert not short["holds"]
    assert "popular >= 1.81: 1.80 ± 0.00 <<" in table.floor_line(short)
    assert table.floor_line(short).startswith("MISS")
    limited = _judge(replace(floor, beats={POPULAR: 1.81}), row, {**measured, "node_fraction": 0.9})
    assert "popular >= 1.81: 1.80 ± 0.00 << (an empty node: 2.00)" in table.floor_line(limited)
    assert not _judge(Floor("*", {"compile": 1.0}), row, measured)["holds"]  # not measured is not reached
    assert not _judge(floor, row, {"error": "x"})["holds"]


def test_a_floor_is_lost_where_it_is_missed_by_more_than_the_spread(record):
    row, floor = find(record["name"]), Floor("*", {POPULAR: 1.8})
    within = _judge(floor, row, with_ratios(record, spread=0.2, formula=1.65))
    assert within["holds"]
    assert "popular >= 1.8: 1.65 ± 0.20" in table.floor_line(within)
    assert not _judge(floor, row, with_ratios(record, spread=0.1, formula=1.65))["holds"]


# The command


SMALL = ["--filter", "interpolate/256x2/float32/forward", "--no-compile", "--seconds", "0"]


def test_command_writes_json_and_plot_and_replays(tmp_path, capsys):
    report, picture = tmp_path / "new" / "report.json", tmp_path / "plot.png"
    assert main([*SMALL, "--json", str(report), "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    data = json.loads(report.read_text())
    assert data["schema"] == 1
    assert [row["name"] for row in data["rows"]] == ["interpolate/256x2/float32/forward"]
    assert {"date", "cpu", "cores", "threads", "cpu_caches", "torch", "revision", "build"} <= set(data["machine"])
    assert re.search(r"\d of 1 rows lose to a rival", shown)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["--replay", str(report)]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--seconds", "nan"], "--seconds must be finite and at least 0, got nan"),
        (["--seconds", "-1"], "--seconds must be finite and at least 0, got -1.0"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--plot", "x.xyz"], "--plot must end in .png, .svg or .pdf, got 'x.xyz'"),
        (["--json", "mine.json"], "--json: mine.json already exists; add --overwrite"),
        (["--json", "mine.json/report.json"], "--json: out: folder 'mine.json' cannot be written"),
        (["--json", ".", "--overwrite"], "--json: . already exists"),
        (["--replay", "mine.json"], "--replay: mine.json cannot be shown: it is not a report of this version"),
        (["--replay", "other.json"], "--replay: other.json cannot be shown: machine is missing"),
        (["--replay", "number.json"], r"rows\[0\].ours.us must be int or float"),
        (["--replay", "rival.json"], r"rows\[0\].loses_to names a rival that is not there"),
    ],
)
def test_mistakes_are_found_before_anything_is_measured(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganops.bench.command.measure", None)
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "other.json").write_text('{"schema": 1, "rows": []}')
    times = {"us": 1.0, "us_q1": 1, "us_q3": 1}
    row = dict.fromkeys(("name", "op", "variant", "size", "dtype", "phase"), "")
    row |= {"ours": times, "rivals": {}, "loses_to": [], "notes": []}
    machine = {"date": "", "threads": 1, "cores": 1, "torch": "", "device": "cpu", "last_level_cache": 1, "ganops": ""}
    machine |= {"revision": None}
    for name, change in (("number", {"ours": {**times, "us": "1"}}), ("rival", {"loses_to": ["formula"]})):
        report = {"schema": 1, "machine": machine, "floors": [], "rows": [row | change]}
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit) as end:
        main([*SMALL, *arguments])
    assert end.value.code == 2
    assert re.search(text, " ".join(capsys.readouterr().err.split()))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_stored_reports_can_be_replayed(path):
    content = json.loads(path.read_text())
    if "schema" in content:
        assert problem(content) is None


def test_a_run_that_is_cut_off_leaves_the_rows_it_has_measured(tmp_path, monkeypatch):
    row, report = find("interpolate/256x2/float32/forward"), tmp_path / "report.json"

    def stopped(*_):
        raise KeyboardInterrupt

    rows = [row, Row(replace(row.case, ours=stopped), FORWARD)]
    monkeypatch.setattr("ganops.bench.cases.rows", lambda families, suite: rows)
    with pytest.raises(KeyboardInterrupt):
        main([*SMALL, "--json", str(report)])
    assert [found["name"] for found in json.loads(report.read_text())["rows"]] == [row.name]
    assert main(["--replay", str(report)]) == 0


def test_reports_name_no_folders():
    found = _without_folders({"library": "/opt/x/lib.so", "used": True, "list": ("/a/b", 1, None, "a/b")})
    assert found == {"library": "lib.so", "used": True, "list": ["b", 1, None, "a/b"]}


def test_check_returns_the_verdict(monkeypatch, capsys):
    row = find("interpolate/256x2/float32/forward")
    arguments = ["--suite", "floors", "--no-compile", "--seconds", "0"]
    for wanted, code in ((0.0, 0), (1e9, 1)):
        floor = Floor(row.name, {POPULAR: wanted})
        monkeypatch.setattr("ganops.bench.cases.floors", lambda families, floor=floor: [(floor, row)])
        assert main([*arguments, "--check"]) == code
        assert ("PASS" if code == 0 else "MISS") in capsys.readouterr().out
        assert main(arguments) == 0  # without --check floors are shown only


def test_a_failed_row_fails_the_command(monkeypatch, capsys):
    row = find("interpolate/256x2/float32/forward")
    broken = replace(row.case, ours=lambda *_: 1 / 0)
    monkeypatch.setattr("ganops.bench.cases.rows", lambda families, suite: [Row(broken, FORWARD), row])
    assert main(SMALL) == 1
    shown = capsys.readouterr().out
    assert "FAILED: ZeroDivisionError" in shown
    assert "of 1 rows lose" in shown  # the other row was measured all the same


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check"], "add --suite floors"),
        (["--op", "interpolat"], "invalid choice: 'interpolat'"),
        (["--filter", "nothing like this"], "no row of suite 'default' matches"),
        (["--threads", "0", "--filter", "256x2"], "--threads must be at least 1, got 0"),
        (["--replay", "missing.json"], "cannot read missing.json"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_replay_of_something_else(tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text('{"schema": 0}')
    with pytest.raises(SystemExit):
        main(["--replay", str(other)])
    assert "not a report of this version" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none(capsys):
    with pytest.raises(SystemExit):
        main(["--device", "cuda", "--filter", "256x2"])
    assert "this torch finds no CUDA device" in capsys.readouterr().err
