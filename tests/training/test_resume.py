"""A resumed run: what may differ, what is noticed, and that a refusal changes nothing."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ganops import data
from ganops.cli import main
from ganops.training import Trainer, TrainingConfig, load_checkpoint, report, settings, train
from ganops.training.fingerprint import fingerprint
from training.test_checkpoints import equal

POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(report, "write_curves", lambda *_: None)
    monkeypatch.setattr(report, "write_samples", lambda *_: None)


def make(samples=POINTS, out=None, **options):
    torch.manual_seed(0)
    options = {"latent_dim": 3, "batch_size": 8, "steps": 9, "ema": 0.9, **options}
    return Trainer(nn.Linear(3, 2), nn.Linear(2, 1), samples, TrainingConfig(**options), out=out)


def snapshot(trainer):
    return copy.deepcopy(trainer.state_dict())


def as_loader(samples):
    return DataLoader(TensorDataset(samples), batch_size=8)


def as_dataset(samples):
    return data.Dataset("mine", samples)


# -- other data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda x: x, as_dataset, as_loader], ids=["tensor", "Dataset", "DataLoader"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x[:-8], "it had 64 samples and has 56"),
        (lambda x: torch.cat([x[:-1], x[-1:] + 1e-6]), "as many samples as before, with another content"),
        (lambda x: x.flip(0), "as many samples as before"),
        (lambda x: x[:, [1, 0]], "as many samples as before"),
    ],
)
def test_other_data_is_noticed(wrap, change, text):
    first = make(wrap(POINTS))
    first.step()
    state = snapshot(first)
    other = make(wrap(change(POINTS)))
    before = snapshot(other)
    with pytest.raises(ValueError, match=f"the data has changed since the checkpoint .{text}.*--allow-changes"):
        other.load_state_dict(state)
    assert equal(snapshot(other), before)
    with pytest.warns(UserWarning, match=f"continuing with other data .{text}"):
        other.load_state_dict(state, allow_changes=True)
    other.step()
    assert other.step_count == 2
    make(wrap(POINTS.clone())).load_state_dict(state)  # the same content elsewhere is no change


def test_labels_are_part_of_the_data():
    labels = torch.arange(64) % 3
    one, other = (data.Dataset("mine", POINTS, labels=which) for which in (labels, labels.flip(0)))
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(data.Dataset("moved", POINTS, labels=labels.clone()))


class Folder(torch.utils.data.Dataset):
    """As torchvision's ImageFolder keeps its files."""

    def __init__(self, root):
        self.samples = [(str(path), 0) for path in sorted(root.glob("*/*.png"))]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return torch.zeros(2)


def test_files_are_compared_by_path_and_size(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / name).write_bytes(b"x" * 10)
    before = fingerprint(DataLoader(Folder(tmp_path / "one")))
    assert before["count"] == 3
    (tmp_path / "one").rename(tmp_path / "moved")
    assert fingerprint(DataLoader(Folder(tmp_path / "moved"))) == before
    (tmp_path / "moved" / "a" / "1.png").write_bytes(b"x" * 11)
    assert fingerprint(DataLoader(Folder(tmp_path / "moved"))) != before
    (tmp_path / "moved" / "a" / "1.png").write_bytes(b"x" * 10)
    (tmp_path / "moved" / "a" / "1.png").rename(tmp_path / "moved" / "b" / "1.png")
    assert fingerprint(DataLoader(Folder(tmp_path / "moved"))) != before


def test_data_that_cannot_be_told_is_not_compared():
    def generate():
        while True:
            yield torch.zeros(8, 2)

    class Endless:
        def __iter__(self):
            return generate()

    assert fingerprint(Endless()) == {"count": None, "hash": None}
    first = make(Endless())
    first.step()
    make(Endless()).load_state_dict(snapshot(first))


def test_a_checkpoint_without_a_hash_is_continued():
    first = make()
    first.step()
    state = snapshot(first)
    del state["data"], state["discriminator_steps"]
    second = make()
    second.load_state_dict(state)
    assert torch.equal(second.step(), first.step())


# -- other settings --------------------------------------------------------------------------------------------------


def test_another_batch_size_and_learning_rate_on_request(tmp_path, capsys):
    arguments = ["train", "nsgan", "--data", "ring8?size=500", "--out", str(tmp_path), "--width", "6"]
    assert main([*arguments, "--batch-size", "16", "--steps", "2"]) == 0
    changes = ["--resume", "--steps", "4", "--batch-size", "32", "--generator-lr", "1e-3"]
    assert main([*arguments, *changes]) == 2
    error = capsys.readouterr().err
    assert "batch_size was 16 and is 32; generator_lr was 0.0002 and is 0.001" in error
    assert "add --allow-changes" in error
    assert main([*arguments, *changes, "--allow-changes"]) == 0
    assert "ganops: warning: resume: continuing with other settings: batch_size was 16 and" in capsys.readouterr().err
    state = load_checkpoint(tmp_path)
    assert (state["step"], state["config"]["batch_size"]) == (4, 32)
    assert [group["lr"] for group in state["generator_optimizer"]["param_groups"]] == [1e-3]
    assert main([*arguments, "--allow-changes", "--steps", "4"]) == 2
    assert "add --resume, or leave it out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "group", "key"),
    [("generator_lr", "generator", "lr"), ("discriminator_lr", "discriminator", "lr"), ("beta1", "generator", "betas")],
)
def test_changed_rates_are_used(name, group, key):
    first = make(generator_lr=1e-3, discriminator_lr=1e-3)
    first.step()
    second = make(**{"generator_lr": 1e-3, "discriminator_lr": 1e-3, name: 0.25})
    with pytest.warns(UserWarning, match=f"{name} was"):
        second.load_state_dict(snapshot(first), allow_changes=True)
    second.step()
    value = getattr(second, f"{group}_optimizer").param_groups[0][key]
    assert value == 0.25 or value[0] == 0.25
    moments = (getattr(t, f"{group}_optimizer").state for t in (first, second))
    steps = [next(iter(state.values()))["step"].item() for state in moments]
    assert steps == [1, 2]  # the optimiser's own state goes on


@pytest.mark.parametrize(
    "changed", [{"ema": 0.0}, {"clip": 0.1}, {"optimizer": "sgd"}, {"latent_dim": 4}, {"seed": 1}, {"pack": 2}]
)
def test_what_the_state_depends_on_cannot_change(changed):
    first = make()
    first.step()
    config = TrainingConfig(**{"latent_dim": 3, "batch_size": 8, "steps": 9, "ema": 0.9, **changed})
    second = Trainer(nn.Linear(3, 2), nn.Linear(2, 1), POINTS, config)
    with pytest.raises(ValueError, match=f"{next(iter(changed))} was .*cannot change within a run"):
        second.load_state_dict(snapshot(first), allow_changes=True)


# -- states that fit nothing -----------------------------------------------------------------------------------------


def remove(state, *path):
    for key in path[:-1]:
        state = state[key]
    del state[path[-1]]


def put(value, *path):
    def change(state):
        for key in path[:-1]:
            state = state[key]
        state[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: remove(s, "step"), "step is missing"),
        (lambda s: remove(s, "rng", "numpy"), r"rng\.numpy is missing"),
        (lambda s: remove(s, "generator", "weight"), "weight is absent there"),
        (lambda s: remove(s, "generator_optimizer", "state", 0, "exp_avg"), "the optimiser needs step, exp_avg"),
        (put(-1, "step"), "step must be a whole number of at least 0, got -1"),
        (put(10**30, "batches", "used"), "batches must be a position in the data"),
        (put("x", "history"), "history must be a list, got 'x'"),
        (put([{"step": 1}], "history"), r"history\[0\]\.discriminator_loss is missing"),
        (put(torch.zeros(2, 3, dtype=torch.int64), "generator", "weight"), "weight is .*int64 there"),
        (put(torch.zeros(5), "generator_optimizer", "state", 0, "exp_avg"), r"state\.0\.exp_avg must be a floating-po"),
        (put({}, "generator_optimizer", "state", 7), "of other parameters than this one's"),
        (put([], "generator_optimizer", "param_groups"), "of other parameters than this one's"),
        (put(torch.zeros(3, dtype=torch.uint8), "noise"), "noise must be the state of a torch generator on cpu"),
        (put((1, 2), "rng", "python"), "rng.python must be the state of Python's generator"),
        (put({}, "rng", "python"), "rng.python must be the state of Python's generator"),
        (put(torch.zeros(7), "generator_optimizer", "param_groups", 0, "params", 1), r"params\[1\] must be a whole"),
        (put([torch.zeros(2)], "pending"), r"pending\[0\] must be a floating-point tensor of shape \(3,\)"),
        (put(None, "ema"), "the checkpoint's ema is another network"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_before_anything_changes(change, text):
    first, second = make(), make()
    first.step()
    state = snapshot(first)
    change(state)
    before = snapshot(second)
    with pytest.raises(ValueError, match=text):
        second.load_state_dict(state)
    assert equal(snapshot(second), before)


def test_the_scalers_of_float16_are_needed():
    first, second = make(amp="fp16"), make(amp="fp16")
    first.step()
    state = snapshot(first)
    state["scalers"]["generator"] = {}
    with pytest.raises(ValueError, match=r"scalers\.generator\.scale is missing"):
        second.load_state_dict(state)


def test_a_module_may_keep_extra_state():
    class Counting(nn.Linear):
        def get_extra_state(self):
            return {"calls": 3}

        def set_extra_state(self, state):
            self.calls = state["calls"]

    def trainer():
        return Trainer(Counting(3, 2), nn.Linear(2, 1), POINTS, TrainingConfig(latent_dim=3, batch_size=8))

    first, second = trainer(), trainer()
    second.load_state_dict(first.state_dict())
    assert second.generator.calls == second.ema.module.calls == 3


def test_fewer_samples_than_were_used_begin_a_new_epoch(tmp_path):
    options = {"width": 6, "batch_size": 16, "monitor_every": 0, "evaluate_every": 0}
    train(settings("nsgan", "ring8?size=500", steps=20, **options), tmp_path)
    config = settings("nsgan", "ring8?size=100", steps=22, **options)
    with pytest.raises(ValueError, match=r"data was 'ring8.size=500' and is 'ring8.size=100'"):
        train(config, tmp_path, resume=True)
    with pytest.warns(UserWarning, match="continuing with other"):
        assert train(config, tmp_path, resume=True, allow_changes=True)["step"] == 22
