"""A run that stops, for whatever reason, loses nothing: exact resume, whole files, clear refusals."""

import copy
import json
import random
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ganops.training import (
    Trainer,
    TrainingConfig,
    TrainingDiverged,
    TrainingInterrupted,
    build_trainer,
    evaluate_checkpoint,
    evaluation,
    generator_of,
    load_checkpoint,
    report,
    settings,
    train,
)
from ganops.training import checkpoint as checkpoint_module
from ganops.training.monitor import CollapseMonitor

SMALL = {"width": 6, "batch_size": 16, "log_every": 2, "checkpoint_every": 0}


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    """Drawing takes longer than these trainings; whoever looks at pictures asks for them."""
    if request.function is not test_a_run_leaves_its_folder:
        monkeypatch.setattr(report, "write_curves", lambda *_: None)
        monkeypatch.setattr(report, "write_samples", lambda *_: None)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def assert_same_state(first, second):
    first, second = load_checkpoint(first), load_checkpoint(second)
    for key in first.keys() - {"seconds"}:
        assert equal(first[key], second[key]), key


@pytest.mark.parametrize(
    ("recipe", "name", "options"),
    [
        ("wgan", "ring8", {"n_critic": 2}),
        ("wgan-gp", "grid25", {"n_critic": 2, "penalty_every": 4, "penalty_kind": "dragan"}),
        ("nsgan", "digits", {"discriminator_norm": "batch"}),
        ("hinge", "digits", {"discriminator_norm": "spectral", "ema": 0.0}),
        ("nsgan", "digits", {"augment": "color,cutout", "augment_target": 0.1, "augment_ramp": 100, "pack": 2}),
        ("unrolled", "ring8", {"unroll": 2, "evaluate_every": 2, "monitor_every": 2}),
        ("pix2pix", "mnist_outline", {"width": 4, "evaluate_every": 2}),
        ("cgan", "digits", {"conditional": True}),
    ],
)
def test_six_steps_are_three_and_three_more_to_the_bit(tmp_path, recipe, name, options):
    # Rates that fall would fall over the 3 steps too: see test_a_longer_run_follows_its_own_line_of_learning_rates.
    options = {**SMALL, "lr_decay": 0.0, **options}
    train(settings(recipe, name, steps=6, **options), tmp_path / "whole")
    # log_every is 2: the checkpoint at 3 falls between two records of the history.
    train(settings(recipe, name, steps=3, **options), tmp_path / "parts")
    torch.manual_seed(1234)  # as in another process
    train(settings(recipe, name, steps=6, **options), tmp_path / "parts", resume=True)
    assert [row["step"] for row in load_checkpoint(tmp_path / "parts")["history"]] == [2, 4, 6]
    assert_same_state(tmp_path / "whole", tmp_path / "parts")
    if options.get("evaluate_every"):
        assert [row["step"] for row in load_checkpoint(tmp_path / "parts")["evaluations"]] == [2, 4, 6]
    if options.get("monitor_every"):
        assert [row["step"] for row in load_checkpoint(tmp_path / "parts")["monitor"]["history"]] == [2, 4, 6]


class Jittered(torch.utils.data.Dataset):
    """Augmentation from all three global generators."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return torch.full((2,), float(i)) + torch.randn(2) + np.random.randn() + random.random()


@pytest.mark.parametrize("own_generator", [False, True])
def test_a_loader_resumes_in_the_middle_of_its_epoch(tmp_path, own_generator):
    def make(out, steps):
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        generator = torch.Generator().manual_seed(5) if own_generator else None
        loader = torch.utils.data.DataLoader(Jittered(), batch_size=3, shuffle=True, generator=generator)
        networks = nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        return Trainer(*networks, loader, TrainingConfig(latent_dim=3, steps=steps), out=out)

    make(tmp_path / "whole", 11).run()
    make(tmp_path / "parts", 6).run()  # batches per epoch: 4, so this is within the second one
    resumed = make(tmp_path / "parts", 11)
    resumed.load()
    resumed.run()
    assert_same_state(tmp_path / "whole", tmp_path / "parts")


def test_your_own_networks_leave_a_folder_too(tmp_path):
    config = TrainingConfig(latent_dim=3, batch_size=4, steps=2)
    Trainer(nn.Linear(3, 2), nn.Linear(2, 1), torch.randn(8, 2), config, out=tmp_path).run()
    assert json.loads((tmp_path / "config.json").read_text())["latent_dim"] == 3
    with pytest.raises(ValueError, match="your own networks"):
        generator_of(load_checkpoint(tmp_path))


def trained(folder, **options):
    config = settings("nsgan", "ring8", **{**SMALL, "steps": 2, **options})
    train(config, folder)
    return config


def test_a_run_leaves_its_folder(tmp_path):
    trained(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "checkpoint.pt",
        "best.pt",
        "config.json",
        "metrics.json",
        "samples.png",
        "curves.png",
        "history.csv",
        ".ganops-run",
        ".ganops-lock",
    }
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["status"] == "finished"
    assert {"modes", "high_quality", "reverse_kl", "discriminator_loss", "generator_loss"} <= metrics.keys()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recipe"] == "nsgan"


def test_a_checkpoint_rebuilds_its_generator(tmp_path):
    trained(tmp_path)
    state = load_checkpoint(tmp_path)
    generator, config = generator_of(state)
    plain, _ = generator_of(state, ema=False)
    z = torch.randn(4, config.latent_dim)
    torch.manual_seed(0)
    trainer = build_trainer(config)
    trainer.load_state_dict(state)
    assert torch.equal(generator(z), trainer.ema.module(z))
    assert torch.equal(plain(z), trainer.generator(z))
    assert not torch.equal(generator(z), plain(z))


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    trained(tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    real_save = torch.save

    def fails_half_way(state, file):
        real_save({"half": torch.zeros(1000)}, file)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module.torch, "save", fails_half_way)
    with pytest.raises(OSError, match="No space left"):
        train(settings("nsgan", "ring8", **SMALL, steps=4), tmp_path, resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))  # and no temporary file stays


def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path):
    """The system's own refusal to write more, in a process of its own: a limit on the size of files."""
    script = """
import resource, signal, sys
from ganops.training import settings, train
out, steps, limit, resume = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "resume"
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
train(settings("nsgan", "ring8", width=64, batch_size=16, steps=steps, evaluate_every=0), out, resume=resume)
"""

    def run(steps, limit, how):
        command = [sys.executable, "-c", script, str(tmp_path), str(steps), str(limit), how]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert run(2, 1 << 30, "new").returncode == 0
    before = (tmp_path / "checkpoint.pt").read_bytes()
    full = run(4, 50_000, "resume")
    assert full.returncode != 0
    last = full.stderr.strip().splitlines()[-1]
    assert re.search(
        r"checkpoint\.pt could not be written \(File too large\); the file of that name is the earlier", last
    )
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))
    assert run(4, 1 << 30, "resume").returncode == 0  # with room again it goes on
    assert load_checkpoint(tmp_path)["step"] == 4


def test_the_best_state_is_kept_beside_the_last(tmp_path, monkeypatch):
    """Whatever was measured best, at whatever step: its metrics, and the very weights that they were measured on."""
    qualities = {2: 0.3, 4: 0.9, 6: 0.1, 7: 0.2}
    weights = {}

    def measured(trainer, *, last=False):
        weights[trainer.step_count] = copy.deepcopy(trainer.generator.state_dict())
        return {"modes": 8, "modes_total": 8, "high_quality": qualities[trainer.step_count]}

    monkeypatch.setattr(Trainer, "measure", measured)
    trained(tmp_path, steps=7, evaluate_every=2)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["high_quality"] == 0.2
    assert metrics["best"]["step"] == 4
    assert metrics["best"]["high_quality"] == 0.9
    best = load_checkpoint(tmp_path / "best.pt")
    assert best["step"] == 4
    assert equal(best["generator"], dict(weights[4]))
    # A continued run remembers it.
    qualities.update({8: 0.5, 9: 0.5})
    train(settings("nsgan", "ring8", **SMALL, steps=9, evaluate_every=2), tmp_path, resume=True)
    assert json.loads((tmp_path / "metrics.json").read_text())["best"]["step"] == 4
    qualities.update({10: 0.95})
    train(settings("nsgan", "ring8", **SMALL, steps=10, evaluate_every=2), tmp_path, resume=True)
    assert load_checkpoint(tmp_path / "best.pt")["step"] == 10


def test_a_blur_is_not_the_best_of_paired_states():
    sharp, blurred = {"l1": 0.2, "frechet_distance": 10.0}, {"l1": 0.1, "frechet_distance": 27.0}
    assert evaluation.score(sharp) > evaluation.score(blurred)
    assert evaluation.score({"l1": 0.1}) > evaluation.score({"l1": 0.2})


def test_warnings_are_printed_and_listed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(CollapseMonitor, "check", lambda self, now: [f"step {now.step}: collapse: x"])
    trained(tmp_path, steps=4, monitor_every=2)
    assert json.loads((tmp_path / "metrics.json").read_text())["warnings"] == [
        "step 2: collapse: x",
        "step 4: collapse: x",
    ]
    assert "warning: step 2: collapse: x" in capsys.readouterr().err


def test_evaluating_and_monitoring_change_nothing():
    def run(**options):
        config = settings("nsgan", "digits", **SMALL, steps=4, **options)
        trainer = build_trainer(config)
        trainer.run()
        return trainer.generator.state_dict()

    assert equal(dict(run(evaluate_every=1, monitor_every=1)), dict(run(evaluate_every=0, monitor_every=0)))


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "foreign"])
def test_a_damaged_checkpoint_is_named_and_kept(tmp_path, damage):
    config = trained(tmp_path)
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    if damage == "foreign":
        torch.save({"model": torch.zeros(3)}, path)
    else:
        path.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "garbage": b"x" * 999}[damage])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"checkpoint\.pt .*(truncated or damaged|not a checkpoint)"):
        train(config, tmp_path, resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_flipped_bit_is_refused(tmp_path):
    """In a weight, of which torch does not compare the checksum, and in the table of contents, where the bit that makes
    an entry a folder leaves its tensor uninitialised."""
    trained(tmp_path)
    path = tmp_path / "checkpoint.pt"
    content, weights = path.read_bytes(), load_checkpoint(path)["generator"]
    weight = content.index(next(iter(weights.values())).numpy().tobytes())
    entry = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 200)  # one of the tensors
    for place, bit in ((weight + 3, 6), (weight, 0), (entry + 38, 4), (entry + 10, 0)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"is truncated or damaged and cannot be read \(BadZipFile\)"):
            load_checkpoint(path)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"format": checkpoint_module.FORMAT, "x": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_resume_without_a_checkpoint_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing-here.* does not exist"):
        train(settings("wgan", "ring8"), tmp_path / "nothing-here", resume=True)
    assert list(tmp_path.iterdir()) == []


def test_resume_with_other_settings_is_refused(tmp_path):
    trained(tmp_path)
    changed = settings("nsgan", "ring8", **{**SMALL, "batch_size": 32, "generator_lr": 1e-3}, steps=4)
    with pytest.raises(ValueError, match=r"batch_size was 16 and is 32; generator_lr was 0\.0\d+ and is 0\.001"):
        train(changed, tmp_path, resume=True)
    with pytest.raises(ValueError, match="steps is 1 and the checkpoint already has 2"):
        train(settings("nsgan", "ring8", **SMALL, steps=1), tmp_path, resume=True)


def test_a_setting_younger_than_the_checkpoint_is_the_default():
    points = torch.randn(8, 2)
    trainers = [
        Trainer(nn.Linear(3, 2), nn.Linear(2, 1), points, TrainingConfig(latent_dim=3, batch_size=4, **more))
        for more in ({}, {"penalty_every": 2})
    ]
    state = trainers[0].state_dict()
    del state["config"]["penalty_every"]
    trainers[0].load_state_dict(state)
    with pytest.raises(ValueError, match="penalty_every was 1 and is 2"):
        trainers[1].load_state_dict(state)


def test_other_networks_are_refused_and_the_trainer_stays_as_it_was():
    config = TrainingConfig(latent_dim=3, batch_size=4)
    points = torch.randn(8, 2)
    first = Trainer(nn.Linear(3, 2), nn.Linear(2, 1), points, config)
    second = Trainer(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 1)), points, config)
    before = second.generator.weight.clone()
    with pytest.raises(ValueError, match="the checkpoint's discriminator is another network"):
        second.load_state_dict(first.state_dict())
    assert torch.equal(second.generator.weight, before)


def test_a_finished_run_is_not_overwritten_unasked(tmp_path):
    config = trained(tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match="already holds a run; add --resume to continue it, --overwrite"):
        train(config, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    train(settings("lsgan", "ring8", **SMALL, steps=1), tmp_path, overwrite=True)
    assert load_checkpoint(tmp_path)["config"]["recipe"] == "lsgan"


def test_an_unwritable_folder_is_noticed_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Trainer, "step", lambda self: pytest.fail("trained before looking at the folder"))
    with pytest.raises(ValueError, match=r"out: folder '.*file/run' cannot be written \(Not a directory\)"):
        train(settings("wgan", "ring8", **SMALL), tmp_path / "file" / "run")


def test_nan_stops_the_run_and_says_what_and_when(tmp_path):
    class Breaks(nn.Linear):
        calls = 0

        def forward(self, z):
            Breaks.calls += 1
            return super().forward(z) * (float("nan") if Breaks.calls == 14 else 1)

    # Two calls per step (D's and G's): call 14 is the generator's of step 7.
    config = TrainingConfig(latent_dim=3, batch_size=4, steps=50, log_every=4, checkpoint_every=4, ema=0.0)
    trainer = Trainer(Breaks(3, 2), nn.Linear(2, 1), torch.randn(8, 2), config, out=tmp_path)
    with pytest.raises(TrainingDiverged, match=r"generator's loss became nan at step 7 of 50.*last good checkpoint is"):
        trainer.run()
    assert load_checkpoint(tmp_path)["step"] == 4
    assert all(v.isfinite().all() for v in load_checkpoint(tmp_path)["generator"].values())
    assert load_checkpoint(tmp_path / "diverged.pt")["step"] == 8  # noticed at the next record
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["status"] == "diverged"
    assert "step 7" in metrics["reason"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_step_and_saves(tmp_path, number):
    class Raises(nn.Linear):
        calls = 0

        def forward(self, z):
            Raises.calls += 1
            if Raises.calls == 5:  # two calls per step: the first of step 3
                signal.raise_signal(number)
            return super().forward(z)

    config = TrainingConfig(latent_dim=3, batch_size=4, steps=50, ema=0.0)
    trainer = Trainer(Raises(3, 2), nn.Linear(2, 1), torch.randn(8, 2), config, out=tmp_path)
    previous = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted, match=r"stopped after step 3 of 50; saved to .*checkpoint\.pt") as caught:
        trainer.run()
    assert caught.value.exit_code == 128 + number
    assert load_checkpoint(tmp_path)["step"] == 3
    assert signal.getsignal(number) is previous
    assert json.loads((tmp_path / "metrics.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_last_metrics_be_measured(tmp_path, monkeypatch, number):
    def measured(trainer, *, last=False):
        signal.raise_signal(number)
        return {"modes": 5, "modes_total": 8, "high_quality": 0.25}

    monkeypatch.setattr(Trainer, "measure", measured)
    trained(tmp_path, evaluate_every=0)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["status"], metrics["high_quality"]) == ("finished", 0.25)


def test_a_run_that_is_killed_while_it_is_measured_says_what_lacks(tmp_path, monkeypatch):
    def killed(trainer, *, last=False):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "measure", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, evaluate_every=0)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["status"] == "measuring"
    assert "--resume" in metrics["missing"]
    assert metrics["step"] == load_checkpoint(tmp_path)["step"] == 2
    train(settings("nsgan", "ring8", **SMALL, steps=2, evaluate_every=0), tmp_path, resume=True)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["status"] == "finished"
    assert "missing" not in metrics
    assert "high_quality" in metrics


@pytest.mark.parametrize("recipe", ["nsgan", "cgan", "pix2pix"])
def test_a_checkpoint_is_measured_again_with_the_runs_own_numbers(tmp_path, monkeypatch, recipe):
    if recipe == "pix2pix":  # what is compared with what; the classifier has its own tests

        def measured(samples, dataset, labels=None, targets=None):
            return {"l1": (samples - targets).abs().mean().item(), "labels": labels.tolist()}

        monkeypatch.setattr(evaluation, "evaluate", measured)
    name = {"nsgan": "ring8", "cgan": "digits", "pix2pix": "mnist_outline"}[recipe]
    summary = train(settings(recipe, name, **SMALL, steps=2, monitor_every=0, evaluate_every=0), tmp_path)
    again = evaluate_checkpoint(tmp_path)
    metrics = again.keys() - {"recipe", "data", "step", "samples_from", "seed"}
    assert {"nsgan": "modes", "cgan": "label_accuracy", "pix2pix": "l1"}[recipe] in metrics
    assert {key: again[key] for key in metrics} == {key: summary[key] for key in metrics}
    assert again["step"] == 2
    assert again["samples_from"] == summary["samples_from"]
    if recipe == "nsgan":
        other = evaluate_checkpoint(tmp_path / "best.pt", ema=False, seed=1)
        assert (other["samples_from"], other["seed"]) == ("generator", 1)
        assert other["sliced_wasserstein"] != again["sliced_wasserstein"]


def test_a_longer_run_follows_its_own_line_of_learning_rates(tmp_path):
    trained(tmp_path, lr_decay=0.5)
    config = settings("nsgan", "ring8", **SMALL, steps=8, lr_decay=0.5)
    trainer = build_trainer(config)
    trainer.load(tmp_path)
    rates = []
    while trainer.step_count < 8:
        trainer.step()
        rates.append(trainer.generator_optimizer.param_groups[0]["lr"] / config.generator_lr)
    assert rates == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])


def test_a_new_run_forgets_the_best_of_an_earlier_one(tmp_path):
    """Or its score would be reported as this run's, and this run's best state never be kept."""
    trained(tmp_path)
    (tmp_path / "diverged.pt").write_bytes(b"of an earlier run")
    assert (tmp_path / "best.pt").exists()
    config = TrainingConfig(loss="hinge", batch_size=4, latent_dim=2, steps=2, evaluate_every=0, monitor_every=0)
    summary = Trainer(nn.Linear(2, 2), nn.Linear(2, 1), torch.randn(16, 2), config, out=tmp_path).run()
    assert summary["status"] == "finished"
    assert not (tmp_path / "best.pt").exists()
    assert not (tmp_path / "diverged.pt").exists()
