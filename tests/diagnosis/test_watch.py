"""A step with planted waste of each kind is reported; a clean step is not."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

import ganops
from ganops import doctor


class Step:
    """A GAN step that wastes what it is told to."""

    def __init__(self, *waste: str, normalise: bool = False, loop: bool = False) -> None:
        torch.manual_seed(0)
        self.waste = waste
        self.G = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6))
        middle = nn.BatchNorm1d(8) if normalise else nn.LayerNorm(8)
        self.D = nn.Sequential(nn.Linear(6, 8), middle, nn.LeakyReLU(0.2), nn.Linear(8, 1))
        optimizer = torch.optim.SGD if loop else torch.optim.Adam
        self.of_g, self.of_d = optimizer(self.G.parameters(), lr=1e-3), optimizer(self.D.parameters(), lr=1e-3)
        self.set_to_none = True

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        real = real.requires_grad_("rerun" not in self.waste)
        logits = self.D(real)
        loss = ganops.discriminator_loss(logits, self.D(fake))
        if "rerun" in self.waste:
            points = real.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.D(points).sum(), points, create_graph=True)
        else:
            (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        return loss + slope.square().sum(1).mean()

    def generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        loss = ganops.generator_loss(self.D(fake))
        if "real" in self.waste:
            return loss + ganops.feature_matching_loss(self.D(real), self.D(fake), detach_real=False)
        if "detached" in self.waste:
            return loss + ganops.feature_matching_loss(self.D(real), self.D(fake))
        return loss

    def __call__(self) -> Tensor:
        if "eval" in self.waste:
            self.D.eval()
        real, z = torch.randn(5, 6), torch.randn(5, 4)
        with torch.set_grad_enabled("graph" in self.waste):
            fake = self.G(z)
        loss = self.discriminator_loss(real, fake.detach())
        self.of_d.zero_grad(self.set_to_none)
        loss.backward()
        self.of_d.step()
        real, z = real.detach(), torch.randn(5, 4)
        if {"unread", "real", "detached"} & set(self.waste):
            loss_of_g = self.generator_loss(real, self.G(z))
        else:
            with ganops.frozen(self.D):
                loss_of_g = self.generator_loss(real, self.G(z))
        self.of_g.zero_grad(self.set_to_none)
        loss_of_g.backward()
        self.of_g.step()
        if "wait" in self.waste:
            loss.item()
            for _ in range(2):
                float(loss_of_g.detach())
        return loss


def found(step: Step, times: int = 1, **networks: nn.Module) -> dict[str, list[str]]:
    step()  # as later steps are
    with ganops.watch(**(networks or {"G": step.G, "D": step.D})) as report:
        for _ in range(times):
            step()
    kinds: dict[str, list[str]] = {}
    for finding in report.findings:
        assert finding.text in str(report)
        kinds.setdefault(finding.kind, []).append(finding.where)
    return kinds


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("loop", [False, True])
def test_a_clean_step_is_silent(times, loop):
    assert found(Step(loop=loop), times) == {}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("set_to_none", [False, True])
def test_gradients_that_nobody_reads(times, set_to_none):
    step = Step("unread")
    step.set_to_none = set_to_none
    assert found(step, times) == {"unread gradients": ["D"]}


def test_a_real_branch_whose_gradients_nobody_reads():
    assert found(Step("real")) == {
        "unread gradients": ["D"],
        "real branch with a graph": ["D"],
        "run again": ["D"],  # the fake samples are judged twice
    }


def test_a_graph_without_a_backward_pass():
    assert found(Step("graph")) == {"unused graph": ["G"]}
    assert found(Step("detached"))["unused graph"] == ["D"]


def test_training_in_eval_mode():
    assert found(Step("eval", normalise=True)) == {"eval mode": ["D"]}
    assert found(Step("eval")) == {}, "no layer differs"


def test_batch_norm_under_a_penalty():
    assert found(Step(normalise=True)) == {"batch norm under a penalty": ["D"]}


def test_a_critic_that_runs_again_on_the_same_points():
    assert found(Step("rerun")) == {"run again": ["D"]}


def test_waits():
    step = Step("wait")
    with ganops.watch() as report:
        step()
    texts = [finding.text for finding in report.findings]
    assert [finding.kind for finding in report.findings] == ["host synchronisation"] * 2
    assert "loss.item()" in texts[0]
    assert "once" in texts[0]
    assert "float(loss_of_g.detach())" in texts[1]
    assert "2 times" in texts[1]
    assert all(finding.where.startswith("test_watch.py:") for finding in report.findings)


def test_networks_are_found_without_names():
    step = Step("unread")
    with ganops.watch() as report:
        step()
    assert [finding.where for finding in report.findings] == ["Sequential number 2"]


def test_accumulating_over_several_steps_is_no_waste():
    step = Step()
    with ganops.watch() as report:
        step.generator_loss(torch.randn(5, 6), step.G(torch.randn(5, 4))).backward()
    assert not report.findings


@pytest.mark.parametrize("waste", [(), ("unread", "rerun", "wait")])
def test_nothing_of_the_step_changes(waste):
    """The same weights to the bit, and no hook left."""
    plain, watched = Step(*waste), Step(*waste)
    torch.manual_seed(1)
    for _ in range(2):
        plain()
    torch.manual_seed(1)
    with ganops.watch():
        watched()
    watched()
    pairs = zip(
        (*plain.G.parameters(), *plain.D.parameters()), (*watched.G.parameters(), *watched.D.parameters()), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_exception_leaves_no_hook():
    step = Step()
    with pytest.raises(RuntimeError, match="mat1"), ganops.watch() as report:
        step.D(torch.zeros(2, 3))
    step.D(torch.zeros(2, 6))
    assert report.findings == []


def test_what_is_no_network():
    with pytest.raises(TypeError, match=r"D must be a torch.nn.Module, got function"), ganops.watch(D=lambda x: x):
        pass


# --------------------------------------------------------------------------------------------------------- the command

SCRIPT = """
import torch
from torch import nn
D, calls = nn.Linear(3, 1), []
optimizer = torch.optim.SGD(D.parameters(), lr=0.1)
def step():
    calls.append(1)
    loss = D(torch.ones(2, 3)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
def logged():
    return step().item()
number = 3
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    path = tmp_path / "my_training.py"
    path.write_text(SCRIPT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield path
    sys.modules.pop("my_training", None)


def test_the_command(script, capsys):
    assert doctor.main([f"{script}:step", "--warmup", "2"]) == 0
    assert capsys.readouterr().out == "Nothing was computed that was not used.\n"
    assert len(sys.modules["my_training"].calls) == 3
    assert doctor.main([f"{script}:logged"]) == 1
    assert "my_training.py:14 makes the host wait" in capsys.readouterr().out


def test_the_command_takes_a_module(script, monkeypatch):
    monkeypatch.syspath_prepend(script.parent)
    assert doctor.main(["my_training:step"]) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (["{}:steps"], ValueError, "has no function 'steps'; it has .*step"),
        (["{}:number"], ValueError, "has no function 'number'"),
        (["{}"], ValueError, "expected FILE.py:FUNCTION"),
        (["{}x.py:step"], FileNotFoundError, "there is no file"),
        (["{}:step", "--warmup", "-1"], ValueError, "at least 0"),
    ],
)
def test_the_commands_errors(script, arguments, error, text):
    with pytest.raises(error, match=text):
        doctor.main([argument.format(script) for argument in arguments])
