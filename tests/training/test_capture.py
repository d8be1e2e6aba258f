"""A step never waits for the device, so that it can be captured: no numbers are read, no data goes to the host."""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ganops import data
from ganops.training import RECIPES, Objective, Trainer, build_trainer, settings

#: Operators whose result the host has to know: `.item()`, `bool()` and `float()`, and shapes that depend on data.
READS = {
    torch.ops.aten._local_scalar_dense,
    torch.ops.aten.equal,
    torch.ops.aten.is_nonzero,
    torch.ops.aten.masked_select,
    torch.ops.aten.nonzero,
    torch.ops.aten._unique2,
}

CASES = [(recipe, {}) for recipe in RECIPES] + [
    ("r1gan", {"penalty_kind": "approximate-r1"}),
    ("wgan-gp", {"penalty_difference": 0.01}),
    ("hinge", {"penalty": 1.0, "penalty_kind": "dragan", "penalty_every": 1}),
    ("hinge", {"augment": "color,translation,cutout", "augment_target": 0.6}),
    ("hinge", {"minibatch_stddev": True, "optimizer": "rmsprop", "lr_decay": 0.5, "amp": "bf16"}),
    ("hinge", {"amp": "fp16"}),
]


class NothingRead(TorchDispatchMode):
    """Fails where the host reads a tensor, or copies one from the meta device, which stands for a GPU."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        assert function.overloadpacket not in READS, f"the host reads a number: {function}"
        result = function(*arguments, **(options or {}))
        if function.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            source = arguments[1] if function.overloadpacket is torch.ops.aten.copy_ else arguments[0]
            assert not source.is_meta or result.is_meta, "data goes to the host"
        return result


def config_of(recipe, changes, **more):
    source = "mnist_half" if recipe == "pix2pix" else "digits"
    return settings(recipe, source, width=4, batch_size=8, steps=6, latent_dim=3, **changes, **more)


@pytest.mark.parametrize(("recipe", "changes"), CASES, ids=str)
def test_the_host_reads_no_number_in_a_step(recipe, changes):
    """On the CPU: with the optimisers and kernels that a run has, whose counters and scales are tensors too."""
    trainer = build_trainer(config_of(recipe, changes))
    for _ in range(2):  # the first step makes the optimisers' state
        with NothingRead():
            trainer.step()


class WithoutAutocast(Objective):
    """torch.autocast refuses the meta device."""

    def autocast(self, device):
        return contextlib.nullcontext()


@pytest.mark.parametrize(("recipe", "changes"), CASES, ids=str)
def test_no_data_comes_from_the_device_in_a_step(recipe, changes, monkeypatch):
    """On the meta device, where no number exists that could be read. torch's fused Adam does not know this device."""
    config = config_of(recipe, changes | {"optimizer": "sgd", "clip": 0.0, "amp": "off"})
    networks = build_trainer(config)
    monkeypatch.setattr(type(config), "torch_device", lambda self: torch.device("meta"))
    dataset = networks.examples.dataset if recipe != "pix2pix" else data.load("mnist_half")
    trainer = Trainer(networks.generator, networks.discriminator, dataset, config, objective=WithoutAutocast)
    assert all(p.is_meta for p in trainer.generator.parameters())
    with NothingRead():
        losses = trainer.step()
    assert losses.is_meta
    assert trainer.ema.module.state_dict()


@pytest.mark.parametrize("read", [lambda x: x.item(), lambda x: bool(x > 0), lambda x: float(x), lambda x: x[x > 0]])
def test_a_read_is_found(read):
    with NothingRead(), pytest.raises(AssertionError, match="the host reads a number"):
        read(torch.ones(()))


def test_a_callback_that_reads_a_loss_is_found():
    trainer = build_trainer(config_of("hinge", {}))
    trainer.on_step(lambda trainer, losses: losses.tolist())
    with NothingRead():
        trainer.step()
