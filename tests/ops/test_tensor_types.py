"""Which types of tensor have kernels: plain ones and torch's tracers. Every other subclass runs the reference."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import ganops
from ganops import _library
from ganops._common.loss_kinds import KINDS

from .scale import EMULATED

pytestmark = pytest.mark.skipif(EMULATED or not _library.loaded(), reason="of the compiled library")

NO_KERNEL = r"runs the slower reference in plain PyTorch, because the kernels take torch.Tensor, not "


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """As if nothing had been warned of yet."""
    monkeypatch.setattr(_library, "_warned", set())


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """A device mesh of this process alone."""
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("torch was built without gloo")
    store = tmp_path_factory.mktemp("mesh") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield dist.device_mesh.init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


class Labelled(Tensor):
    """A subclass that means nothing to torch."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_losses_of_distributed_logits(kind, reduction, mesh):
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    plain = [torch.randn(4, 2, requires_grad=True) for _ in range(2)]
    shards = [distribute_tensor(x.detach(), mesh, [Shard(0)]).requires_grad_() for x in plain]

    def total(real: Tensor, fake: Tensor) -> Tensor:
        d = ganops.discriminator_loss(real, fake, kind, reduction=reduction)
        pair = {"real_logits": real} if KINDS[kind].paired else {}
        g = ganops.generator_loss(fake, kind, reduction=reduction, **pair)
        sides = (x if isinstance(x, tuple) else (x,) for x in (d, g))
        return sum(x.sum() for side in sides for x in side)

    with pytest.warns(ganops.FallbackWarning, match=NO_KERNEL + "its subclass DTensor") as caught:
        found = total(*shards)
    assert len(caught) == 1
    assert isinstance(found, DTensor)
    wanted = total(*plain)
    torch.testing.assert_close(found.full_tensor(), wanted)
    for a, b in zip(torch.autograd.grad(found, shards), torch.autograd.grad(wanted, plain), strict=True):
        torch.testing.assert_close(a.full_tensor(), b)


@pytest.mark.filterwarnings("ignore::ganops.FallbackWarning")
@pytest.mark.parametrize("optimizer", [None, "RMSprop", "Adam"])
def test_a_sharded_critic_is_clipped(optimizer, mesh):
    from torch.distributed.fsdp import fully_shard

    critic = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    fully_shard(critic)
    logits = critic(torch.randn(8, 3))
    ganops.discriminator_loss(logits, logits * 2, "wasserstein").backward()
    if optimizer is None:
        ganops.clip_weights_(critic, 0.01)
    else:
        getattr(ganops.optimizers, optimizer)(critic.parameters(), lr=0.1, clip=0.01).step()
    for name, weight in critic.named_parameters():
        clipped = weight.full_tensor().abs().max().item() <= 0.01 + 1e-9
        assert clipped or (optimizer is None and name == "1.weight"), name


def test_an_unknown_subclass_keeps_its_type_and_warns_once():
    x = torch.randn(4).as_subclass(Labelled)
    with pytest.warns(ganops.FallbackWarning, match=NO_KERNEL + "its subclass Labelled"):
        assert type(ganops.generator_loss(x, "hinge")) is Labelled
    weights = [x * 9]
    ganops.clip_weights_(weights, 0.5)  # another warning would be an error here
    assert weights[0].abs().max() <= 0.5


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors:UserWarning")
def test_masked_elements_do_not_count():
    mask = torch.tensor([True, False, True])
    x = torch.masked.masked_tensor(torch.tensor([1.0, 100.0, 3.0]), mask)
    with pytest.warns(ganops.FallbackWarning, match=NO_KERNEL + "its subclass MaskedTensor"):
        assert ganops.generator_loss(x, "wasserstein").to_tensor(0.0).item() == -2


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tensors():
    parts = [torch.randn(3), torch.randn(2)]
    jagged = torch.nested.nested_tensor(parts, layout=torch.jagged)
    with pytest.warns(ganops.FallbackWarning, match=NO_KERNEL + "a nested tensor"):
        found = ganops.generator_loss(jagged, reduction="none")
    torch.testing.assert_close(found.values(), ganops.generator_loss(torch.cat(parts), reduction="none"))
    with pytest.raises(TypeError, match="fake_logits must be a dense tensor, got a nested tensor of strided layout"):
        ganops.generator_loss(torch.nested.nested_tensor(parts))
    with pytest.raises(TypeError, match="interpolate: real must be a dense tensor, got a nested tensor; pad it"):
        ganops.interpolate(jagged, jagged)


# ----------------------------------------------------------------------------------------------- torch's own tracers


class Losses(nn.Module):
    """Several ops, one of them in place of a layer."""

    def forward(self, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
        """A number."""
        penalty = ganops.gradient_norm_penalty(ganops.interpolate(real, fake, weight))
        return ganops.discriminator_loss(real, fake, "hinge") + penalty


OPERATORS = {"ganops.discriminator_loss.default", "ganops.interpolate.default", "ganops.gradient_norm_penalty.default"}


def _arguments() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(4, 3), torch.randn(4, 3), torch.rand(4)


def _targets(graph: torch.fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if str(node.target).startswith("ganops")}


@pytest.mark.parametrize("strict", [False, True])
def test_export_keeps_the_operators(strict):
    arguments = _arguments()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ganops.FallbackWarning)
        exported = torch.export.export(Losses(), arguments, strict=strict)
    assert _targets(exported.graph) == OPERATORS
    torch.testing.assert_close(exported.module()(*arguments), Losses()(*arguments))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx_keeps_the_operators(mode):
    arguments = _arguments()

    def gradients(real: Tensor, fake: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(Losses()(real, fake, weight), (real, fake))

    leaves = [x.requires_grad_(i < 2) for i, x in enumerate(arguments)]
    graph = make_fx(gradients, tracing_mode=mode)(*leaves)
    backwards = {name.replace(".default", "_backward.default") for name in OPERATORS}
    assert _targets(graph.graph) == OPERATORS | backwards
    torch.testing.assert_close(graph(*leaves), gradients(*leaves))


def test_tensors_of_two_devices_are_refused():
    """A tensor without data must not turn a step or a clipping of all others into nothing."""
    weights = [torch.full((3,), 2.0), torch.empty(3, device="meta"), torch.full((2,), -2.0)]
    ganops.clip_weights_(weights, 0.5)
    assert weights[0].max() == 0.5
    assert weights[2].min() == -0.5
    x = torch.zeros(4, 3)
    for operator, arguments in (
        (torch.ops.ganops.clip_weights_, (weights, -0.5, 0.5)),
        (torch.ops.ganops.interpolate, (x, x.to("meta"), torch.zeros(4))),
        (torch.ops.ganops.discriminator_loss, (x, x.to("meta"), 0, 0, 0.0, 0.0)),
        (torch.ops.ganops.minibatch_stddev_backward, (x, x.to("meta"), 2)),
    ):
        with pytest.raises(RuntimeError, match="tensors must be on one device"):
            operator.default(*arguments)


@pytest.mark.parametrize("optimizer", ["RMSprop", "Adam"])
def test_a_meta_weight_stops_no_other(optimizer):
    weights = [torch.zeros(3, requires_grad=True), torch.empty(3, device="meta", requires_grad=True)]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    getattr(ganops.optimizers, optimizer)(weights, lr=0.1).step()
    assert (weights[0] < 0).all()
