"""Data that are decoded while a run trains: the same batches everywhere, and data that fail."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ganops import data
from ganops.cli import main
from ganops.training import Trainer, TrainingConfig, evaluation, load_checkpoint, report
from ganops.training.batches import global_rng_state
from ganops.training.open_data import open_data
from ganops.training.streams import StreamBatches
from training.test_checkpoints import equal

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(report, "write_curves", lambda *_: None)
    monkeypatch.setattr(report, "write_samples", lambda *_: None)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Twenty-two images of 12x9 in two classes."""
    root = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(0)
    for i in range(22):
        path = root / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(path)
    return root


def folder(root, **options):
    return data.folder(str(root), **{"size": 8, "crop": "random", "flip": True, "labels": "folders", **options})


def take(batches, count):
    found = [batches.next() for _ in range(count)]
    batches.close()
    return found


def same(first, second):
    return all(
        torch.equal(one.samples, other.samples) and torch.equal(one.condition, other.condition)
        for one, other in zip(first, second, strict=True)
    )


# -- the same batches everywhere -------------------------------------------------------------------------------------


def test_batches_do_not_depend_on_workers_or_memory(photos):
    wanted = take(StreamBatches(folder(photos, memory=0), 4, 3, CPU, conditional=True), 12)
    for workers in (1, 2):
        found = take(StreamBatches(folder(photos, memory=0), 4, 3, CPU, conditional=True, workers=workers), 12)
        assert same(found, wanted)
    assert same(take(StreamBatches(folder(photos), 4, 3, CPU, conditional=True), 12), wanted)
    assert not same(take(StreamBatches(folder(photos), 4, 4, CPU, conditional=True), 12), wanted)


def test_batches_are_the_images_scaled(photos):
    images = data.folder(str(photos), size=8, memory=0)
    whole = images.in_memory().samples
    batches = StreamBatches(images, 11, 0, CPU)
    samples = torch.cat([batch.samples for batch in take(batches, 2)])
    assert samples.dtype == torch.float32
    assert samples.is_contiguous()
    assert sorted(samples.flatten(1).tolist()) == sorted(whole.flatten(1).tolist())


@pytest.mark.parametrize("used", [0, 3, 5, 7, 11])
def test_a_run_resumes_within_an_epoch_with_another_number_of_workers(photos, used):
    whole = StreamBatches(folder(photos), 4, 3, CPU, conditional=True)
    wanted = take(whole, used + 6)
    first = StreamBatches(folder(photos), 4, 3, CPU, conditional=True)
    first.prepare(2)  # what is read in advance is not used
    for _ in range(used):
        first.next()
        first.prepare(2)
    state = first.state_dict()
    second = StreamBatches(folder(photos, memory=0), 4, 3, CPU, conditional=True, workers=2 * (used == 7))
    second.check_state(state)
    second.load_state_dict(state)
    assert same(take(second, 6), wanted[used:])


def test_processes_take_parts_of_the_same_batches(photos):
    wanted = take(StreamBatches(folder(photos), 6, 3, CPU, conditional=True), 5)
    parts = [
        take(StreamBatches(folder(photos), 6, 3, CPU, conditional=True, rank=rank, world_size=2), 5) for rank in (0, 1)
    ]
    for one, other, whole in zip(*parts, wanted, strict=True):
        assert torch.equal(torch.cat([one.samples, other.samples]), whole.samples)
        assert torch.equal(torch.cat([one.condition, other.condition]), whole.condition)


class Noisy(torch.utils.data.Dataset):
    """A user's data set that draws from every global generator."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.tensor([index, torch.rand(()), np.random.rand(), random.random()], dtype=torch.float32), index % 2


@pytest.mark.parametrize("workers", [0, 2])
def test_random_numbers_of_a_users_data_set_follow_from_seed_epoch_and_index(workers):
    before = global_rng_state()
    found = take(StreamBatches(Noisy(), 4, 3, CPU, conditional=True, workers=workers), 6)
    assert equal(global_rng_state(), before)
    assert same(found, take(StreamBatches(Noisy(), 4, 3, CPU, conditional=True), 6))
    rows = {tuple(row) for batch in found for row in batch.samples.tolist()}
    assert len({row[1:] for row in rows}) == 24  # other ones in every epoch
    assert all(row[1] != row[2] != row[3] for row in rows)


class Mapped(Noisy):
    def __getitem__(self, index):
        return {"image": torch.full((3, 2, 2), index, dtype=torch.uint8), "label": index % 2, "name": "x"}


def test_mappings_and_uint8_images():
    (batch,) = take(StreamBatches(Mapped(), 10, 3, CPU, conditional=True), 1)
    indices = ((batch.samples + 1) * 127.5).round()[:, 0, 0, 0]
    assert sorted(indices.tolist()) == list(range(10))
    assert torch.equal(indices % 2, batch.condition.float())
    assert batch.samples.dtype == torch.float32


def make(source, out=None, *, width=4, **options):
    torch.manual_seed(0)
    options = {"latent_dim": 3, "batch_size": 4, "steps": 9, "workers": 0, "ema": 0.9, **options}
    return Trainer(nn.Linear(3, width), nn.Linear(width, 1), source, TrainingConfig(**options), out=out)


class Points(Noisy):
    def __getitem__(self, index):
        return super().__getitem__(index)[0]


class Unsized(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return torch.zeros(4)


class Pictures(Noisy):
    def __getitem__(self, index):
        return Image.new("RGB", (4, 4)), 0


def test_a_users_data_set_trains_and_resumes():
    whole = make(Points())
    losses = [whole.step() for _ in range(7)]
    first, second = make(Points()), make(Points(), workers=1)
    for _ in range(3):
        first.step()
    second.load_state_dict(first.state_dict())
    for wanted in losses[3:]:
        assert torch.equal(second.step(), wanted)
    second.batches.close()


@pytest.mark.parametrize(
    ("source", "options", "error", "text"),
    [
        (Pictures(), {}, TypeError, "must be a tensor or begin with one, got Image; convert it"),
        (Unsized(), {}, TypeError, "a torch.utils.data.Dataset with a length or an iterable of batches, got Unsized"),
        (Points(), {"batch_size": 11}, ValueError, "batch_size must be at most the 10 samples of the data, got 11"),
        (Points(), {"conditional": True}, ValueError, r"conditional needs entries \(sample, label\)"),
    ],
)
def test_data_sets_that_cannot_be_used_are_named(source, options, error, text):
    with pytest.raises(error, match=text):
        make(source, **options).step()


def test_workers_must_be_a_number():
    with pytest.raises(ValueError, match="workers must be at least 0, got -1"):
        TrainingConfig(workers=-1)
    assert TrainingConfig(workers=None).workers is None


class Stream(torch.utils.data.IterableDataset):
    """A user's data set without positions."""

    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        yield from torch.arange(10.0).reshape(-1, 1) + 100 * self.epoch


@pytest.mark.parametrize("workers", [0, 2])
def test_an_iterable_data_set_begins_its_epoch_again(workers):
    config = TrainingConfig(batch_size=4, workers=workers)
    batches, _ = open_data(Stream(), config, CPU)
    found = [batch.samples.flatten().tolist() for batch in take(batches, 3)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [100, 101, 102, 103]]
    again, _ = open_data(Stream(), config, CPU)
    with pytest.warns(UserWarning, match=r"can only be read from the beginning, so epoch 2 begins again \(1 of its"):
        again.load_state_dict(batches.state_dict())
    assert again.next().samples.flatten().tolist() == found[2]
    again.close()
    few, _ = open_data(Stream(), TrainingConfig(batch_size=11, workers=0), CPU)
    with pytest.raises(ValueError, match="an epoch has fewer than batch_size, 11, samples"):
        few.next()


# -- from the command line -------------------------------------------------------------------------------------------


def arguments(spec, out, *more):
    short = ["--width", "4", "--batch-size", "4", "--evaluate-every", "0", "--monitor-every", "0", "--log-every", "1"]
    return ["train", "hinge", "--data", spec, "--out", str(out), *short, *more]


def losses(folder):
    return (folder / "history.csv").read_text()


def spec(root, options="memory=0"):
    return f"folder:{root}?size=8&resize=9&crop=random&flip=yes&{options}"


def test_a_folder_trains_and_resumes_to_the_bit(photos, tmp_path, capsys):
    assert main(arguments(spec(photos), tmp_path / "whole", "--steps", "9", "--workers", "2")) == 0
    assert main(arguments(spec(photos), tmp_path / "parts", "--steps", "4", "--workers", "1")) == 0
    assert main([*arguments(spec(photos), tmp_path / "parts", "--steps", "9"), "--workers", "0", "--resume"]) == 0
    whole, parts = (load_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    assert whole["batches"] == {"epoch": 1, "used": 16}
    for key in ("generator", "discriminator", "batches", "noise", "rng"):
        assert equal(whole[key], parts[key]), key
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def train_classes(photos, out):
    return main(
        ["train", "cgan", "--data", spec(photos, "memory=0&labels=folders"), "--out", str(out), "--width", "4",
         "--batch-size", "4", "--evaluate-every", "0", "--steps", "2", "--workers", "1"]
    )  # fmt: skip


def test_class_folders_are_conditions(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "measure", lambda *_, **__: {})  # it trains a classifier
    assert train_classes(photos, tmp_path) == 0
    assert load_checkpoint(tmp_path)["extra"]["classes"] == 2


@pytest.mark.full
def test_class_folders_are_measured(photos, tmp_path):
    assert train_classes(photos, tmp_path) == 0
    assert "label_accuracy" in json.loads((tmp_path / "metrics.json").read_text())
    assert main(["evaluate", str(tmp_path)]) == 0
    assert "label_accuracy" in json.loads((tmp_path / "evaluation.json").read_text())


def copied(photos, tmp_path):
    root = tmp_path / "copy"
    for path in photos.rglob("*.png"):
        (root / path.relative_to(photos)).parent.mkdir(parents=True, exist_ok=True)
        (root / path.relative_to(photos)).write_bytes(path.read_bytes())
    return root


def damaging(monkeypatch, step, change):
    """Change the files after a step of the run."""
    before = Trainer.step

    def stepping(trainer):
        result = before(trainer)
        if trainer.step_count == step:
            change()
        return result

    monkeypatch.setattr(Trainer, "step", stepping)


def spoil(path):
    """Damage the pixels and keep the length."""
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes(len(content) - 40))
    return content


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_file_that_is_damaged_in_the_third_epoch_stops_the_run_which_resumes(
    photos, tmp_path, monkeypatch, capsys, workers
):
    root = copied(photos, tmp_path)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(arguments(spec(root), whole, "--steps", "20", "--workers", workers)) == 0
    victim, kept = root / "a" / "04.png", []
    with monkeypatch.context() as patch:
        damaging(patch, 10, lambda: kept.append(spoil(victim)))  # five batches an epoch: the first step of the third
        assert main(arguments(spec(root), stopped, "--steps", "20", "--workers", workers)) == 2
    (line,) = capsys.readouterr().err.split("\n")[-2:-1]
    assert "a/04.png cannot be read" in line
    assert "the run stopped after step" in line
    assert "continue it with --resume" in line
    state = load_checkpoint(stopped)
    assert 10 <= state["step"] < 15 + 5
    assert json.loads((stopped / "metrics.json").read_text())["status"] == "stopped"
    # It fails again as long as the file is damaged, and then goes on as if nothing had been.
    resume = [*arguments(spec(root), stopped, "--steps", "20"), "--workers", "1", "--resume"]
    assert main(resume) == 2
    victim.write_bytes(kept[0])
    assert main(resume) == 0
    assert equal(load_checkpoint(stopped)["generator"], load_checkpoint(whole)["generator"])


def test_a_damaged_file_is_replaced_and_reported_once(photos, tmp_path, monkeypatch, capsys):
    root = copied(photos, tmp_path)
    damaging(monkeypatch, 10, lambda: spoil(root / "a" / "04.png"))
    assert main(arguments(spec(root, "memory=0&on_bad=skip"), tmp_path / "out", "--steps", "30", "--workers", "2")) == 0
    errors = capsys.readouterr().err
    assert errors.count("a/04.png cannot be read") == 1
    assert "another image takes its place" in errors


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_a_folder_that_vanishes_stops_the_run(photos, tmp_path, monkeypatch, capsys, on_bad):
    root = copied(photos, tmp_path)
    damaging(monkeypatch, 3, lambda: root.rename(tmp_path / "gone"))
    out = tmp_path / "out"
    assert main(arguments(spec(root, f"memory=0&on_bad={on_bad}"), out, "--steps", "30", "--workers", "1")) == 2
    assert "No such file" in capsys.readouterr().err
    assert load_checkpoint(out)["step"] >= 3


def test_a_changed_folder_is_noticed_on_resume(photos, tmp_path, capsys):
    root = copied(photos, tmp_path)
    assert main(arguments(spec(root), tmp_path / "out", "--steps", "2")) == 0
    Image.new("RGB", (12, 9)).save(root / "a" / "more.png")
    resume = [*arguments(spec(root), tmp_path / "out", "--steps", "4"), "--resume"]
    assert main(resume) == 2
    assert "the data has changed since the checkpoint (it had 22 samples and has 23)" in capsys.readouterr().err
    assert main([*resume, "--allow-changes"]) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.full)])
def test_a_signal_to_all_processes_finishes_the_step_and_saves(photos, tmp_path, number):
    """As Ctrl-C in a terminal, or a scheduler that ends a job."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ganops", *arguments(spec(photos), out, "--steps", "1000000", "--workers", "2")]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 120
    while not (out / ".ganops-lock").exists() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(3)
    os.killpg(run.pid, number)
    error = run.communicate(timeout=120)[1].decode()
    assert run.returncode == 128 + number, error
    assert "saved to" in error
    assert "Traceback" not in error
    assert load_checkpoint(out)["step"] > 0
    with pytest.raises(ProcessLookupError):  # no worker is left
        os.killpg(run.pid, 0)


def test_workers_end_with_the_run(photos):
    batches = StreamBatches(folder(photos, memory=0), 4, 3, CPU, workers=2)
    batches.next()
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    children = set(listed.read_text().split())
    assert len(children) >= 2
    batches.close()
    assert len(children - set(listed.read_text().split())) >= 2


def test_keys_are_drawn_lazily(photos):
    """An epoch of any length costs its order, not its samples."""
    batches = StreamBatches(folder(photos, memory=0), 4, 3, CPU)
    batches.load_state_dict({"epoch": 10**6, "used": 4})
    assert len(list(itertools.islice(iter(batches.next, None), 3))) == 3
    assert batches.state_dict() == {"epoch": 10**6, "used": 16}
