"""TensorBoard, and loggers of one's own."""

import pytest
import torch

from ganops.cli import main
from ganops.training import Trainer, attach, settings, train
from ganops.training.run import build_trainer

SMALL = {"width": 4, "batch_size": 8, "log_every": 2, "evaluate_every": 4, "steps": 8}


def events(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    scalars = {name: [(e.step, e.value) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}
    return scalars, [e.step for e in found.Images("samples")]


def test_tensorboard_has_losses_metrics_and_pictures_also_after_resume(tmp_path):
    config = settings("hinge", "ring8", **SMALL)
    train(config, tmp_path, log=["tensorboard"])
    scalars, pictures = events(tmp_path)
    assert [step for step, _ in scalars["losses/generator_loss"]] == [2, 4, 6, 8]
    assert [step for step, _ in scalars["metrics/modes"]] == [4, 8, 8]
    assert pictures == [4, 8, 8]
    train(settings("hinge", "ring8", **SMALL | {"steps": 10}), tmp_path, resume=True, log=["tensorboard"])
    scalars, _ = events(tmp_path)
    assert [step for step, _ in scalars["losses/generator_loss"]] == [2, 4, 6, 8, 10]
    train(config, tmp_path, overwrite=True)
    assert not list((tmp_path / "tensorboard").iterdir())


class Memory:
    def __init__(self):
        self.calls, self.closed = [], False

    def numbers(self, step, values):
        self.calls.append((step, *values))

    def picture(self, step, pixels):
        assert pixels.dtype.name == "uint8"
        assert pixels.ndim == 3
        self.calls.append((step, "picture"))

    def close(self):
        self.closed = True


def test_a_logger_of_one_s_own_sees_everything_and_changes_nothing():
    config = settings("wgan-gp", "ring8", **SMALL)
    plain, logged, logger = build_trainer(config), build_trainer(config), Memory()
    attach(logger, logged)
    plain.run()
    logged.run()
    assert logger.calls[0] == (2, "losses/discriminator_loss", "losses/generator_loss", "losses/penalty")
    assert {step for step, *names in logger.calls if names == ["picture"]} == {4, 8}
    for a, b in zip(plain.generator.parameters(), logged.generator.parameters(), strict=True):
        assert torch.equal(a, b)


def test_samples_that_cannot_be_drawn():
    trainer = Trainer(torch.nn.Linear(64, 5), torch.nn.Linear(5, 1), torch.randn(64, 5))
    logger = Memory()
    attach(logger, trainer)
    trainer._call("evaluate", {"a": 1.0, "b": None})
    assert logger.calls == [(0, "metrics/a")]


def test_bad_names(tmp_path, capsys):
    with pytest.raises(ValueError, match="log 'tensorbord' is unknown"):
        train(settings("hinge", "ring8", **SMALL), tmp_path / "a", log=["tensorbord"])
    with pytest.raises(ValueError, match="log: out is missing"):
        train(settings("hinge", "ring8", **SMALL), log=["tensorboard"])
    assert main(["train", "hinge", "--log", "tensorbord", "--out", str(tmp_path / "a")]) == 2
    assert "did you mean 'tensorboard'?" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
