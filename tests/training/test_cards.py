"""Paper cards: well-formed data, run once each, judged by the mean over the seeds, continued where they stopped."""

import json
import re
from dataclasses import replace

import pytest

from ganops import data
from ganops.cli import main
from ganops.training import cards, train
from ganops.training.cards import CARDS, Card, Outcome, run_card, table

TINY = Card(
    summary="a test",
    paper="none",
    recipe="nsgan",
    data="ring8?size=400",
    settings={"width": 4, "batch_size": 8, "steps": 2, "evaluate_every": 0},
    variants={"one": {}, "two": {"pack": 2}},
    published={"one": {"modes": (6.3, 0.5)}},
    expected={"one": {"high_quality": (0.0, 1.0)}, "two": {"high_quality": (0.0, 1.0)}},
    seeds=2,
    minutes=1,
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(CARDS, "tiny", TINY)


@pytest.mark.parametrize("name", CARDS)
def test_every_card_is_a_runnable_set_of_settings(name):
    card = CARDS[name]
    for variant in card.variants:
        assert card.config(variant, 3).seed == 3
    assert card.expected.keys() | card.published.keys() <= card.variants.keys()
    assert card.expected  # it can fail
    for ranges in card.expected.values():
        for ends in ranges.values():
            numbers = [end for end in ends if not isinstance(end, str)]
            assert numbers == sorted(numbers)
            assert {end for end in ends if isinstance(end, str)} <= card.variants.keys()
    assert card.seeds >= 1
    assert card.minutes >= 1


def test_a_variant_may_bring_its_own_data():
    card = CARDS["wgan-gp-toys"]
    assert card.config("swiss roll", 0).data == "swiss_roll"
    ring, grid = (data.load(card.config(name, 0).data + "&size=2000") for name in ("8 Gaussians", "25 Gaussians"))
    assert ring.centres.norm(dim=1).mean().item() == pytest.approx(2 / 2**0.5, rel=1e-3)  # 2 / 1.414 there
    assert grid.centres.amax().item() == pytest.approx(4 / 2.828, rel=1e-3)


def test_a_card_trains_each_variant_from_each_seed_and_continues(tiny, tmp_path, monkeypatch):
    notes = []
    outcomes = run_card("tiny", out=tmp_path, note=notes.append)
    assert [(o.variant, o.metric, len(o.values)) for o in outcomes] == [
        ("one", "modes", 2),
        ("one", "high_quality", 2),
        ("two", "modes", 2),
        ("two", "high_quality", 2),
    ]
    assert len(notes) == 4
    assert all(o.passed for o in outcomes)
    saved = json.loads((tmp_path / "card.json").read_text())
    assert [row["values"] for row in saved["outcomes"]] == [o.values for o in outcomes]

    trained = []
    monkeypatch.setattr(cards, "train", lambda config, *rest, **more: trained.append(config) or train(config, *rest))
    again = run_card("tiny", seeds=3, out=tmp_path)
    assert [config.seed for config in trained] == [2, 2]  # the third seed of each variant; the others are read
    assert again[0].values[:2] == outcomes[0].values


def test_a_setting_younger_than_a_run_is_the_default(tiny, tmp_path):
    run_card("tiny", seeds=1, out=tmp_path)
    path = tmp_path / "one-0" / "config.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in kept.items() if name != "amp"}))
    assert run_card("tiny", seeds=1, out=tmp_path)
    path.write_text(json.dumps({**kept, "amp": "bf16"}))
    with pytest.raises(ValueError, match="holds a run with other settings"):
        run_card("tiny", seeds=1, out=tmp_path)


def test_one_variant_has_to_beat_another(tmp_path, monkeypatch):
    """A variant's name is its mean: here of numbers that no training makes."""
    expected = {"one": {"high_quality": (0.0, "two")}, "two": {"high_quality": ("one", 1.0)}}
    monkeypatch.setitem(CARDS, "tiny", replace(TINY, expected=expected))
    means = {"one": 0.25, "two": 0.5}
    monkeypatch.setattr(cards, "_run", lambda config, folder: {"modes": 8, "high_quality": means[folder.name[:3]]})
    outcomes = [o for o in run_card("tiny", out=tmp_path) if o.metric == "high_quality"]
    assert [(o.expected, o.passed, o.rivals) for o in outcomes] == [
        ((0.0, 0.5), True, ("two",)),
        ((0.25, 1.0), True, ("one",)),
    ]
    assert "0 to 0.5 (two's)" in table(outcomes)
    means["one"] = 0.75
    assert not any(o.passed for o in run_card("tiny", out=tmp_path) if o.metric == "high_quality")


def test_runs_of_another_card_are_not_taken_for_this_ones(tiny, tmp_path):
    run_card("tiny", seeds=1, out=tmp_path)
    config = json.loads((tmp_path / "one-0" / "config.json").read_text())
    (tmp_path / "one-0" / "config.json").write_text(json.dumps({**config, "width": 5}))
    with pytest.raises(ValueError, match=r"one-0' holds a run with other settings"):
        run_card("tiny", seeds=1, out=tmp_path)


def test_the_mean_decides_and_the_table_says_so():
    good = Outcome("GAN", "modes", [7.0, 8.0], (7.5, 8), (7.9, 0.1))
    bad = Outcome("GAN", "high_quality", [0.5], (0.9, 1), (0.982, None))
    shown = Outcome("GAN", "reverse_kl", [0.1], None, (0.07, None))
    assert (good.passed, bad.passed, shown.passed) == (True, False, True)
    assert good.error == pytest.approx(0.5)
    lines = table([good, bad, shown]).splitlines()
    assert re.search(r"modes +7\.5 ± 0\.5 +7\.5 to 8 +7\.9 ± 0\.1 +pass$", lines[1])
    assert re.search(r"high_quality +0\.5 +0\.9 to 1 +0\.982 +FAIL$", lines[2])
    assert re.search(r"reverse_kl +0\.1 +0\.07$", lines[3])


def test_from_the_command_line(tiny, tmp_path, monkeypatch, capsys):
    assert main(["cards"]) == 0
    assert "tiny" in capsys.readouterr().out
    arguments = ["card", "tiny", "--seeds", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith("\npass\n")
    monkeypatch.setitem(TINY.expected, "one", {"high_quality": (2.0, 3.0)})
    assert main(arguments) == 1
    assert capsys.readouterr().out.endswith("\nFAIL\n")
    assert main(["card", "pacgan"]) == 2
    assert "card 'pacgan' is unknown" in capsys.readouterr().err
    assert main(["card", "tiny", "--seeds", "0"]) == 2
    assert "seeds must be at least 1" in capsys.readouterr().err
