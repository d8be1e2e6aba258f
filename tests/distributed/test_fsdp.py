"""Penalties of a critic that is sharded by fully_shard: which work and which are refused. And what the docs page shows.
One process, by gloo.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

import ganops

if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("needs torch.distributed with gloo", allow_module_level=True)


def critic() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))


def sharded(mesh: torch.distributed.DeviceMesh) -> nn.Module:
    net = critic()
    for layer in net:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    return fully_shard(net, mesh=mesh)


X, NOISE = (torch.randn(8, 6, generator=torch.Generator().manual_seed(i)) for i in range(2))


def in_hand(d: nn.Module) -> Tensor:
    logits = d(X)
    return logits.mean() + ganops.approximate_r1_penalty(d, X, 0.1, noise=NOISE, logits=logits)


@pytest.mark.parametrize(
    "update",
    [
        lambda d: ganops.approximate_r1_penalty(d, X, 0.1, noise=NOISE),
        in_hand,
        lambda d: d(NOISE).mean() + ganops.r1_penalty(d, X, finite_difference=0.01),
        lambda d: ganops.gradient_penalty(d, X, NOISE, weight=torch.full((8,), 0.3), finite_difference=0.01),
    ],
    ids=["along noise", "along noise, logits in hand", "R1 by differences", "WGAN-GP by differences"],
)
def test_first_derivatives(mesh: torch.distributed.DeviceMesh, update: Callable[[nn.Module], Tensor]) -> None:
    """Three steps are those of the same critic in one piece."""
    pieces, whole = sharded(mesh), critic()
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in (pieces, whole)]
    for _ in range(3):
        for net, optimizer in zip((pieces, whole), optimizers, strict=True):
            optimizer.zero_grad()
            update(net).backward()
            optimizer.step()
    for piece, wanted, start in zip(pieces.parameters(), whole.parameters(), critic().parameters(), strict=True):
        torch.testing.assert_close(piece.full_tensor(), wanted)
        assert not torch.equal(wanted, start) or wanted.shape == (1,)


@pytest.mark.parametrize("hidden", [False, True])
def test_second_derivatives_are_refused(mesh: torch.distributed.DeviceMesh, hidden: bool) -> None:
    net = sharded(mesh)
    with pytest.raises(ValueError, match=r"^r1_penalty: the critic is sharded by fully_shard.*finite_difference="):
        ganops.r1_penalty((lambda x: net(x)) if hidden else net, X)


def test_without_a_graph_the_exact_value_is_given(mesh: torch.distributed.DeviceMesh) -> None:
    with torch.no_grad():
        torch.testing.assert_close(ganops.r1_penalty(sharded(mesh), X), ganops.r1_penalty(critic(), X))


@pytest.mark.usefixtures("mesh")
def test_the_code_of_the_page_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        names = {"ganops": ganops, "torch": torch, "critic": critic(), "real": X.clone(), "fake": NOISE}
        exec(block, names)
        if "loss" in names:
            assert all(p.grad is not None for p in names["critic"].parameters())
        else:
            names["penalty"].backward()
