"""Compiled updates: the trajectory of a run that is not compiled, its checkpoints, and clear refusals.

Most tests run the updates as functions that are not compiled, or as torch.compile traced them: what it makes of them
takes minutes. One test has it all.
"""

import contextlib
import functools

import pytest
import torch
from torch import nn

from ganops import data
from ganops.training import RECIPES, Draws, Objective, Trainer, TrainingConfig, build_trainer, settings, steps
from ganops.training.graphs import Captured

POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def traced(monkeypatch):
    """A list with one entry for each compilation, which only traces."""
    compilations = []

    def backend(graph, inputs):
        compilations.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    torch.compiler.reset()
    yield compilations
    torch.compiler.reset()


def make(recipe, compiled, **changes):
    images = {"pix2pix": "mnist_half", "dcgan": "digits", "hinge": "digits"}
    source = images.get(recipe, "ring8")
    changes = {"width": 4, "batch_size": 8, "steps": 12, "latent_dim": 3, **changes}
    return build_trainer(settings(recipe, source, compile=compiled, **changes))


def state_of(trainer):
    networks = trainer.generator, trainer.discriminator, trainer.ema
    return [tensor.clone() for network in networks for tensor in network.state_dict().values()]


CASES = [
    ("wgan-gp", {}, 3),  # a lazy penalty of its own; Adam
    ("wgan", {"n_critic": 2}, 2),  # RMSprop that clips
    ("r3gan", {"lr_decay": 0.9}, 2),  # one pass for loss and penalty; rates that fall
    ("hinge", {"augment": "color,cutout", "augment_target": 0.6}, 2),  # batch norm, adaptive augmentation
    ("hinge", {"spectral_norm": True, "pack": 2, "conditional": True, "optimizer": "sgd", "amp": "bf16"}, 2),
    ("nsgan", {"penalty": 1.0, "penalty_kind": "approximate-r2"}, 2),
]


EACH = [(recipe, {}) for recipe in RECIPES if recipe != "unrolled"]


@pytest.mark.parametrize(("recipe", "changes"), EACH + [case[:2] for case in CASES], ids=str)
def test_updates_as_functions_take_the_steps_of_the_others(recipe, changes, monkeypatch):
    """Each recipe, with its gradients by torch.func and its optimiser's rule written out."""
    monkeypatch.setattr(steps, "compiled", lambda function: function)
    plain, functional = (make(recipe, each, **changes) for each in (False, True))
    tolerance = {"rtol": 2e-2, "atol": 2e-3} if changes.get("amp") else {"rtol": 1e-3, "atol": 1e-5}
    for _ in range(4):
        torch.testing.assert_close(functional.step(), plain.step(), **tolerance)
    torch.testing.assert_close(functional.sample(8), plain.sample(8), rtol=1e-3, atol=2e-3)


@pytest.mark.compile
@pytest.mark.parametrize(("recipe", "changes", "functions"), CASES, ids=str)
def test_compiled_updates_take_the_steps_of_the_others(recipe, changes, functions, traced):
    plain, compiled = (make(recipe, each, **changes) for each in (False, True))
    tolerance = {"rtol": 2e-2, "atol": 2e-3} if changes.get("amp") else {"rtol": 1e-3, "atol": 1e-5}
    for _ in range(6):
        torch.testing.assert_close(compiled.step(), plain.step(), **tolerance)
    # The networks' outputs: a bias before batch norm has a gradient of rounding errors, whose size Adam takes away.
    torch.testing.assert_close(compiled.sample(8), plain.sample(8), rtol=1e-3, atol=2e-3)
    assert len(traced) == functions  # once each, whatever the learning rate
    optimizers = [(each.generator_optimizer, each.discriminator_optimizer) for each in (compiled, plain)]
    for mine, other in zip(*optimizers, strict=True):
        steps = [
            [state.get("step", torch.zeros(())).item() for state in optimizer.state.values()]
            for optimizer in (mine, other)
        ]
        assert steps[0] == steps[1]


def test_a_run_of_functions_resumes_bit_exactly(monkeypatch):
    monkeypatch.setattr(steps, "compiled", lambda function: function)
    whole, first, second = (make("wgan-gp", True, n_critic=2) for _ in range(3))
    for _ in range(5):
        whole.step()
    for _ in range(3):
        first.step()
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        second.step()
    assert all(torch.equal(a, b) for a, b in zip(state_of(whole), state_of(second), strict=True))


def test_the_monitor_sees_the_gradients(monkeypatch):
    monkeypatch.setattr(steps, "compiled", lambda function: function)
    plain, compiled = (make("wgan-gp", each) for each in (False, True))
    for trainer in (plain, compiled):
        for _ in range(2):
            trainer.step()
    found, wanted = (trainer.observe(8) for trainer in (compiled, plain))
    assert found.generator_gradient == pytest.approx(wanted.generator_gradient, rel=1e-3)
    assert found.discriminator_gradient == pytest.approx(wanted.discriminator_gradient, rel=1e-3)


@pytest.mark.compile
def test_the_compiler_itself():
    """All of torch.compile: C++ that it writes and compiles."""
    plain, compiled = (make("nsgan", each, generator_norm="none") for each in (False, True))
    for _ in range(3):
        torch.testing.assert_close(compiled.step(), plain.step(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(state_of(compiled), state_of(plain), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"unroll": 1}, "compile and cuda_graph make a function of each update, and unroll differentiates"),
        ({"amp": "fp16"}, "cannot skip the steps that overflow"),
    ],
)
def test_what_cannot_be_compiled_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        TrainingConfig(compile=True, **options)


def test_an_estimate_needs_fixed_weights():
    with pytest.raises(ValueError, match="compile cannot hold spectral norm fixed"):
        settings("sngan", "ring8", compile=True, penalty=1.0, penalty_kind="approximate-r1")


def test_an_objective_with_its_own_updates_is_refused():
    class Own(Objective):
        def discriminator_updates(self, *arguments, **options):
            yield from super().discriminator_updates(*arguments, **options)

    with pytest.raises(ValueError, match="the objective has its own discriminator_updates"):
        Trainer(nn.Linear(3, 2), nn.Linear(2, 1), POINTS, TrainingConfig(compile=True), objective=Own)


class Reading(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x) * (2.0 if x.sum().item() > 0 else 1.0)


@pytest.mark.compile
def test_a_network_that_cannot_be_compiled_is_named_with_the_way_out(traced):
    config = TrainingConfig(batch_size=8, latent_dim=3, compile=True)
    trainer = Trainer(nn.Linear(3, 2), Reading(), data.Dataset("mine", POINTS), config)
    trainer.step()
    with pytest.raises(RuntimeError, match="the adversarial update cannot be compiled or captured"):
        trainer.step()


class Adding:
    def __init__(self, number):
        self.number = torch.tensor(number)

    def work(self, *arguments):
        return arguments[0] + self.number


@pytest.mark.compile
def test_every_run_in_a_process_has_its_own_function(traced):
    """torch.compile compiles one function eight times at most; and the guards do not tell the objects apart."""
    functions = [steps.compiled(Adding(float(i)).work) for i in range(10)]
    for _ in range(2):
        assert [function(torch.ones(())).item() for function in functions] == [1.0 + i for i in range(10)]
    assert len(traced) == 10


# -- CUDA graphs, without a GPU --------------------------------------------------------------------------------------


def test_graphs_need_a_gpu():
    with pytest.raises(ValueError, match="cuda_graph captures the work of a GPU, and this run is on cpu"):
        make("nsgan", False, cuda_graph=True, device="cpu")


class Graph:
    """A stand-in that knows what `add` below does with the tensors that it was captured with."""

    replays = 0

    def replay(self):
        Graph.replays += 1
        self.result.copy_(self.x + self.pair.fake)


@pytest.fixture
def no_gpu(monkeypatch):
    class Stream:
        def wait_stream(self, other):
            pass

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    Graph.replays = 0


def test_a_captured_function_is_run_then_captured_then_replayed(no_gpu):
    """The graph reads fixed tensors: every call copies its arguments there, also those in tuples."""
    seen = []

    def add(x, nothing, pair):
        assert nothing is None
        seen.append((x, pair))
        result = x + pair.fake
        Graph.x, Graph.pair, Graph.result = x, pair, result
        return result

    captured = Captured(add)
    for call in range(4):
        x, fake = torch.full((3,), float(call)), torch.ones(3)
        assert torch.equal(captured(x, None, Draws(fake=fake)), x + 1)
        assert Graph.replays == max(0, call)
    assert len(seen) == 2  # not for replays
    assert seen[1][0] is not x
    assert isinstance(seen[1][1], Draws)
    assert torch.equal(captured(torch.ones(2), None, Draws(fake=torch.ones(2))), torch.full((2,), 2.0))
    assert len(seen) == 3  # of another size: run, not replayed
    assert Graph.replays == 3
