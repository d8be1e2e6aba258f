"""The command line as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from ganops import data
from ganops.cli import main
from ganops.training import RECIPES, load_checkpoint, report, settings
from ganops.training.options import parse_train

FAST = ["--width", "6", "--batch-size", "16", "--steps", "3", "--n-critic", "1"]


def command(*arguments):
    return [sys.executable, "-m", "ganops", *map(str, arguments)]


@pytest.mark.parametrize(("recipe", "name"), [("hinge", "mnist"), ("wgan-gp", "grid25"), ("wgan", "swiss_roll")])
def test_a_run_ends_by_saying_where_its_files_are(tmp_path, capsys, recipe, name):
    assert main(["train", recipe, "--data", name, "--out", str(tmp_path), *FAST]) == 0
    output = capsys.readouterr().out
    for file in ("samples.png", "curves.png", "metrics.json", "config.json", "checkpoint.pt"):
        assert str(tmp_path / file) in output
        assert (tmp_path / file).stat().st_size > 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["step"] == 3
    wanted = {"classes", "class_shares"} if name == "mnist" else {"modes", "high_quality", "reverse_kl"}
    assert wanted <= metrics.keys()


def test_points_on_a_line_are_drawn_as_densities_of_real_and_fake(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(report, "_save", lambda figure, path: drawn.append((figure, path)))
    assert main(["train", "nsgan", "--data", "gaussian1d", "--out", str(tmp_path), *FAST]) == 0
    axes = next(figure.axes[0] for figure, path in drawn if path == tmp_path / "samples.png")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["real (gaussian1d)", "generated"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "density")
    density, edges, _ = next(patch for patch in axes.patches if patch.get_label().startswith("real")).get_data()
    middle = (edges[1:] + edges[:-1]) / 2
    assert abs(density - np.exp(-((middle - 2) ** 2) / 2) / np.sqrt(2 * np.pi)).max() < 0.1  # N(2, 1), 10,000 numbers


@pytest.mark.parametrize("stray", [1e30, -1e30, float("inf"), float("nan")])
@pytest.mark.parametrize("count", [1, 1000])
def test_stray_numbers_leave_the_picture_readable(tmp_path, monkeypatch, stray, count):
    drawn = []
    monkeypatch.setattr(report, "_save", lambda figure, path: drawn.append(figure))
    samples = torch.linspace(-1, 1, 1000)[:, None]
    samples[:count] = stray
    report.write_sample_picture(tmp_path / "samples.png", samples)
    (axes,) = drawn[0].axes
    low, high = axes.get_xlim()
    assert np.isfinite([low, high]).all()
    assert low < high
    if count == 1:
        assert (high - low) < 4
        ((density, edges, _),) = (patch.get_data() for patch in axes.patches if patch.get_label() == "generated")
        assert (density * np.diff(edges)).sum() == pytest.approx(0.999)  # the stray one is missing


def test_minutes_end_a_run_early_and_well(tmp_path, capsys):
    arguments = ["--data", "ring8", "--out", str(tmp_path), "--width", "6", "--minutes", "0.005", "--steps", "1000000"]
    assert main(["train", "nsgan", *arguments]) == 0
    assert "of 1000000 (the time is over)" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["status"] == "finished"
    assert metrics["step"] == load_checkpoint(tmp_path)["step"] < 1_000_000
    assert 0.3 <= metrics["seconds"] < 20


def test_an_alias_of_a_loss_is_its_kind():
    assert parse_train(["nsgan", "--loss", "lsgan"]).config == parse_train(["nsgan", "--loss", "least_squares"]).config


def test_defaults_follow_recipe_and_data(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "wgan-gp", "--data", "grid25", "--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "defaults below are those of wgan-gp on grid25" in text
    assert "(default: wasserstein)" in text
    assert f"(default: {settings('wgan-gp', 'grid25').penalty})" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["trian"], "ganops: command 'trian' is unknown (did you mean 'train'?)"),
        (["train"], "RECIPE is missing; choose one of cgan, dcgan"),
        (["train", "wgangp"], "recipe 'wgangp' is unknown (did you mean 'wgan-gp'?)"),
        (["train", "wgan", "--data", "grid"], "'grid' is unknown (did you mean 'grid9'?)"),
        (["train", "wgan", "--data", "ring8", "--model", "mpl"], "model 'mpl' is unknown (did you mean 'mlp'?)"),
        (["train", "wgan", "--data", "ring8", "--loss", "hnge"], "loss 'hnge' is unknown (did you mean 'hinge'?)"),
        (["train", "wgan", "--penalty-kind", "r12"], "penalty_kind 'r12' is unknown (did you mean 'r2'?)"),
        (["train", "wgan", "--data", "ring8", "--model", "dcgan"], "use model 'mlp' for points"),
        (["train", "wgan", "--data", "ring8", "--steps", "0"], "steps must be at least 1, got 0"),
        (["train", "wgan", "--data", "ring8", "--device", "gpu"], "device 'gpu' cannot be used here"),
        (["train", "wgan", "--data", "ring8", "--out", "/dev/null/x"], "out: folder '/dev/null/x' cannot be written"),
        (["train", "wgan", "--resume", "--out", "none"], "none does not exist"),
        (
            ["train", "wgan", "--data", "ring8", "--batch-size", "100001"],
            "batch_size must be at most the 100000 samples",
        ),
        (
            ["train", "wgan", "--data", "ring8", "--batch-size", "15", "--pack", "2"],
            "cannot be divided into packs of 2",
        ),
        (["train", "hinge", "--unroll", "2", "--discriminator-norm", "batch"], "keeps running statistics"),
        (["train", "nsgan", "--data", "gaussian1d", "--conditional"], "data 'gaussian1d' has none"),
        (["train", "pix2pix", "--data", "mnist"], "has no pairs; choose mnist_outline or mnist_half"),
        (["train", "dcgan", "--data", "ring8"], "recipe 'dcgan' is for images"),
        (["sample", "none"], "none does not exist"),
        (["sample", "none", "--count", "0"], "count must be at least 1, got 0"),
        (["sample", "none", "--out", "x.jpg"], "out must end in .png, .npy"),
        (["info", "extra"], "info takes no arguments, got extra"),
    ],
)
def test_wrong_input_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, arguments, text):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.startswith("ganops: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []  # nothing half-written


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--stesp", "4"], "--steps"), (["--steps", "many"], "many")],
)
def test_mistyped_options_are_answered(tmp_path, monkeypatch, capsys, arguments, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["train", "hinge", "--data", "ring8", *arguments])
    assert end.value.code == 2
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_resume_takes_its_settings_from_the_run(tmp_path, capsys):
    out = str(tmp_path)
    assert main(["train", "lsgan", "--data", "ring8", "--out", out, *FAST]) == 0
    assert main(["train", "lsgan", "--out", out, "--resume", "--steps", "5"]) == 0
    state = load_checkpoint(tmp_path)
    assert state["step"] == 5
    assert state["config"]["batch_size"] == 16
    capsys.readouterr()
    assert main(["train", "lsgan", "--out", out, "--resume", "--batch-size", "8"]) == 2
    assert "batch_size was 16 and is 8" in capsys.readouterr().err
    assert main(["train", "wgan", "--out", out, "--resume"]) == 2
    assert "recipe was 'lsgan' and is 'wgan'" in capsys.readouterr().err
    assert main(["train", "lsgan", "--data", "ring8", "--out", out]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_sample_draws_from_a_checkpoint(tmp_path, capsys):
    run = tmp_path / "run"
    main(["train", "nsgan", "--data", "digits", "--out", str(run), *FAST])
    for name, source, seed in (("a.npy", run, 0), ("b.npy", run / "checkpoint.pt", 0), ("c.npy", run, 1)):
        out = str(tmp_path / name)
        assert main(["sample", str(source), "--seed", str(seed), "--count", "5", "--out", out]) == 0
    assert main(["sample", str(run), "--out", str(tmp_path / "d.png")]) == 0
    a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
    assert a.shape == (5, 1, 8, 8)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_prints_and_writes_the_metrics(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "nsgan", "--data", "ring8", "--out", str(run), *FAST]) == 0
    wanted = json.loads((run / "metrics.json").read_text())
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    output = capsys.readouterr().out
    assert "nsgan on ring8, step 3: moving average of the generator" in output
    assert f"{wanted['modes']} of 8" in output
    written = json.loads((run / "evaluation.json").read_text())
    assert written["checkpoint"] == "run"
    assert written["sliced_wasserstein"] == wanted["sliced_wasserstein"]
    out = tmp_path / "other.json"
    assert main(["evaluate", str(run / "best.pt"), "--seed", "1", "--no-ema", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["samples_from"] == "generator"
    assert main(["evaluate", str(tmp_path / "nothing")]) == 2
    assert "nothing does not exist" in capsys.readouterr().err


def test_options_that_change_the_defaults_of_others(tmp_path):
    """Batch norm in D is the default on images; a penalty needs another, and says so only where batch is asked for."""
    arguments = ["train", "hinge", "--data", "digits", *FAST]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--penalty", "10", "--lr-d", "1e-3"]) == 0
    config = load_checkpoint(tmp_path / "a")["config"]
    assert (config["discriminator_norm"], config["discriminator_lr"]) == ("layer", 1e-3)
    assert main([*arguments, "--out", str(tmp_path / "b"), "--penalty", "10", "--discriminator-norm", "batch"]) == 2
    assert main([*arguments, "--out", str(tmp_path / "c"), "--spectral-norm", "--pack", "2", "--conditional"]) == 0
    config = load_checkpoint(tmp_path / "c")["config"]
    assert (config["spectral_norm"], config["pack"], config["conditional"]) == (True, 2, True)


def test_a_chosen_class_can_be_sampled(tmp_path, capsys):
    run = tmp_path / "run"
    main(["train", "cgan", "--data", "digits", "--out", str(run), *FAST])
    drawn = {}
    for name, label in (("three", ["--label", "3"]), ("five", ["--label", "5"]), ("all", [])):
        assert main(["sample", str(run), "--count", "10", "--out", str(tmp_path / f"{name}.npy"), *label]) == 0
        drawn[name] = np.load(tmp_path / f"{name}.npy")
    assert np.allclose(drawn["all"][3], drawn["three"][3], atol=1e-6)  # sample i shows class i, from the same z
    assert np.allclose(drawn["all"][5], drawn["five"][5], atol=1e-6)
    assert not np.allclose(drawn["three"], drawn["five"])
    capsys.readouterr()
    assert main(["sample", str(run), "--label", "10"]) == 2
    assert "label must lie in [0, 10), got 10" in capsys.readouterr().err
    main(["train", "hinge", "--data", "digits", "--out", str(tmp_path / "plain"), *FAST])
    assert main(["sample", str(tmp_path / "plain"), "--label", "1"]) == 2
    assert "was not trained on labels" in capsys.readouterr().err


def test_image_to_image_from_the_command_line(tmp_path):
    assert main(["train", "pix2pix", "--out", str(tmp_path / "run"), *FAST]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 < metrics["l1"] < 2
    assert main(["sample", str(tmp_path / "run"), "--count", "6", "--out", str(tmp_path / "x.npy")]) == 0
    assert np.load(tmp_path / "x.npy").shape == (6, 1, 28, 28)


def test_recipes_and_info(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in [*RECIPES, *data.SOURCES])
    assert main(["info"]) == 0
    assert json.loads(capsys.readouterr().out)["version"]
    assert main(["--version"]) == 0
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(name in usage for name in ("train", "sample", "evaluate", "recipes", "bench", "info"))


def test_bench_is_delegated(monkeypatch):
    import ganops.bench

    seen = []
    monkeypatch.setattr(ganops.bench, "main", lambda arguments: seen.append(arguments) or 3)
    assert main(["bench", "--suite", "quick", "--x"]) == 3
    assert seen == [["--suite", "quick", "--x"]]


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert main(["train", "wgan"]) == 2
    assert 'pip install "ganops[train]"' in capsys.readouterr().err


def test_divergence_is_code_1(tmp_path, capsys):
    arguments = ["train", "lsgan", "--data", "ring8", "--out", str(tmp_path), *FAST, "--generator-lr", "1e38"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "became" in error
    assert "at step" in error


def test_ctrl_c_saves_and_says_so(tmp_path):
    out = tmp_path / "run"
    arguments = ["train", "nsgan", "--data", "ring8", "--out", out, "--steps", "1000000", "--width", "6"]
    process = subprocess.Popen(
        command(*arguments, "--checkpoint-every", "20"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 60
        while not (out / "checkpoint.pt").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()  # or a failure here would leave it training
    assert process.returncode == 130
    assert "Ctrl-C: stopped after step" in error
    assert f"saved to {out / 'checkpoint.pt'}" in error
    assert "Traceback" not in error
    assert "\r" not in error  # not a terminal: lines, no bar
    step = load_checkpoint(out)["step"]
    assert f"after step {step} of" in error
    assert json.loads((out / "metrics.json").read_text())["status"] == "interrupted"
