"""The scripts in benchmarks/ that are more than a call of ``ganops bench``."""

import importlib
import json
import runpy
import sys

import pytest
from torch.utils import cpp_extension

from ganops.training import settings


@pytest.fixture
def script(pytestconfig):
    return lambda name: str(pytestconfig.rootpath / "benchmarks" / f"{name}.py")


def test_critic_steps_times_every_way(script, capsys, monkeypatch):
    module = runpy.run_path(script("critic_steps"))
    monkeypatch.setitem(module["block"].__globals__, "CYCLE", 1)
    times = module["time_all"]("grid25", 1, list(module["WAYS"]))
    assert times.keys() == module["WAYS"].keys()
    assert min(times.values()) > 0
    for name, way in module["WAYS"].items():  # what is not called lazy is not, whatever the recipe has
        assert settings("wgan-gp", "grid25", **way).penalty_every == 1 or "every" in name or name == "none"


def test_critic_steps_trains_the_ways_that_are_named(script, capsys, monkeypatch):
    options = ["--data", "ring8?size=500", "--train", "1", "--rounds", "0", "--ways", "R1", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["critic_steps.py", *options])
    runpy.run_path(script("critic_steps"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "| penalty | modes | within 3σ | sliced W₁ |"
    assert [len(cell.split(", ")) for cell in lines[3].split(" | ")] == [1, 2, 2, 2]


def test_cards_shows_each_seed_and_the_verdict(script, tmp_path, capsys, monkeypatch):
    rows = [
        {"metric": "modes", "values": [7.0, 8.0], "expected": [7.5, 8], "published": [7.9, 0.1], "passed": True},
        {"metric": "reverse_kl", "values": [0.1, None], "expected": [0, None], "published": None, "passed": False,
         "rivals": ["GAN"]},
        {"metric": "high_quality", "values": [0.5, 0.25], "expected": None, "published": None, "passed": True},
    ]  # fmt: skip
    content = {"card": "c", "seeds": 2, "outcomes": [{"variant": "V", **row} for row in rows]}
    (tmp_path / "card.json").write_text(json.dumps(content))
    monkeypatch.setattr(sys, "argv", ["cards.py", str(tmp_path), str(tmp_path / "missing")])
    runpy.run_path(script("cards"), run_name="__main__")
    output, error = capsys.readouterr()
    assert output.splitlines()[-3:] == [
        "| V | modes | 7.5 (7, 8) | 7.5 to 8 | 7.9 ± 0.1 | pass |",
        "| V | reverse_kl | ∞ (0.100, none) | 0.000 to ∞ (GAN's) |  | **FAIL** |",
        "| V | high_quality | 37.5% (50.0%, 25.0%) |  |  |  |",
    ]
    assert "missing" in error


def test_systems_puts_finished_runs_in_the_order_of_the_recipes(script, tmp_path, capsys, monkeypatch):
    runs = {
        "wgan": ("wgan", "finished", 0.5),
        "gan": ("gan", "finished", 0.25),
        "stopped": ("gan", "interrupted", 0.1),
    }
    for name, (recipe, status, quality) in runs.items():
        (tmp_path / name).mkdir()
        config = {"recipe": recipe, "data": "ring8", "seed": 3}
        best = {"step": 40, "high_quality": 0.75}
        metrics = {"status": status, "step": 80, "modes": 7, "modes_total": 8, "high_quality": quality, "best": best}
        for file, content in (("config", config), ("metrics", metrics)):
            (tmp_path / name / f"{file}.json").write_text(json.dumps(content))
    folders = [str(tmp_path / name) for name in (*runs, "missing")]
    monkeypatch.setattr(sys, "argv", ["systems.py", *folders])
    runpy.run_path(script("systems"), run_name="__main__")
    output, error = capsys.readouterr()
    assert output.splitlines()[-2:] == [
        "| `gan` | 80 | 7/8 | 25.0% | 75.0% at 40 | 3 |",
        "| `wgan` | 80 | 7/8 | 50.0% | 75.0% at 40 | 3 |",
    ]
    assert "**ring8**" in output
    assert "stopped: interrupted" in error
    assert "missing: No such file" in error


def test_generator_step_saves_work_and_no_bit(script):
    rows = runpy.run_path(script("generator_step"))["measure"](width=1 / 16, batch=1, samples=2048, rounds=1)
    assert all(row["equal"] for row in rows)
    written, without_graph, frozen, matched = (row["flops"] for row in rows)
    assert written > without_graph > frozen == matched


def test_compare_originals_tells_what_differs(script, tmp_path, capsys, monkeypatch):
    """Beside a stand-in for a checkout, once right and once with another slope."""
    package = tmp_path / "stylegan2-pytorch" / "op"
    package.mkdir(parents=True)
    code = """
from torch.nn import functional
from ganops.reference import upfirdn2d as resample

def upfirdn2d(input, kernel, up=1, down=1, pad=(0, 0)):
    return resample(input, kernel, up, down, [*pad, *pad])

def fused_leaky_relu(input, bias):
    return 2**0.5 * functional.leaky_relu(input + bias[:, None, None], SLOPE)
"""
    monkeypatch.setattr(sys, "argv", ["compare_originals.py", str(tmp_path)])
    monkeypatch.setattr(cpp_extension, "load", cpp_extension.load)  # the script replaces it
    for slope, status in ((0.2, 0), (0.21, 1)):
        (package / "__init__.py").write_text(code.replace("SLOPE", str(slope)))
        importlib.invalidate_caches()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "dont_write_bytecode", True)
            with pytest.raises(SystemExit) as stopped:
                runpy.run_path(script("compare_originals"), run_name="__main__")
        assert stopped.value.code == status
        rows = [line for line in capsys.readouterr().out.splitlines() if "stylegan2-pytorch" in line]
        assert [row.split(" | ")[1] for row in rows] == ["upfirdn2d", "fused_leaky_relu"]


def test_saved_memory_is_that_of_the_signals_alone(script):
    """One tensor for each fused activation, beside its parameters and filters; six times as much for the plain form."""
    module = runpy.run_path(script("saved_memory"))
    stages = ((8, 8, 3), (4, 64, 2))
    module["saved_bytes"].__globals__["STAGES"] = stages
    signals = sum(4 * channels * rate * 32 * count for channels, rate, count in stages)
    ours, plain = (module["saved_bytes"](module[name], 1, 32) for name in ("ours", "plain"))
    assert signals <= ours <= signals + 5 * 4 * (2 * 8 + 2 * 12 + 64)
    assert plain > 6 * ours
