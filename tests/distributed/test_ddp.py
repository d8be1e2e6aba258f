"""Penalties under DistributedDataParallel: two processes, by gloo, against one process with the whole batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrizations import spectral_norm

import ganops

if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
    pytest.skip("needs torch.distributed with gloo", allow_module_level=True)

_STEPS = 3


def _critic(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "mlp":  # of its weights the penalty does not reach the biases: the activation is piecewise linear
        return nn.Sequential(nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)),
        spectral_norm(nn.Conv2d(1, 4, 3, padding=1)),
        nn.GroupNorm(2, 4),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(64, 1),
    ).eval()


def _one_pass(critic: Callable[[Tensor], Tensor], x: Tensor, with_loss: bool) -> Tensor:
    x = x.clone().requires_grad_()
    logits = critic(x)
    penalty = ganops.input_gradient_penalty(logits, x, target=0)
    return logits.mean() + penalty if with_loss else penalty


#: What one update descends, of a critic, real samples and noise.
UPDATES: dict[str, Callable[..., Tensor]] = {
    "penalty": lambda d, x, n: ganops.r1_penalty(d, x),
    "lambda": lambda d, x, n: ganops.gradient_penalty(lambda y: d(y), x, n, weight=torch.full((len(x),), 0.3)),
    "loss and penalty": lambda d, x, n: d(n).mean() + ganops.r1_penalty(d, x),
    "one pass": lambda d, x, n: _one_pass(d, x, with_loss=True),
    "one pass, penalty": lambda d, x, n: _one_pass(d, x, with_loss=False),
    "finite difference": lambda d, x, n: ganops.r1_penalty(d, x, finite_difference=0.01),
    "along noise": lambda d, x, n: ganops.approximate_r1_penalty(d, x, 0.1, noise=n),
}


def _train(critic: nn.Module, wrapped: Callable[[Tensor], Tensor], update: Callable[..., Tensor], part: slice) -> None:
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(_STEPS):
        x, noise = (torch.randn(8, 16, generator=generator)[part] for _ in range(2))
        optimizer.zero_grad()
        update(wrapped, x, noise).backward()
        optimizer.step()


def _refusal(static: bool, call: Callable[[nn.Module], Tensor]) -> str:
    try:
        call(DistributedDataParallel(_critic("mlp"), static_graph=static))
    except ValueError as error:
        return str(error)
    return ""


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = Path(folder) / "store"
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found: dict[str, float | str] = {}
    for kind in ("mlp", "convolution"):
        for options in ({}, {"find_unused_parameters": True}):
            for name, update in UPDATES.items():
                critic, alone = _critic(kind), _critic(kind)
                _train(critic, DistributedDataParallel(critic, **options), update, slice(rank, None, 2))
                _train(alone, alone, update, slice(None))
                pairs = list(zip(critic.parameters(), alone.parameters(), _critic(kind).parameters(), strict=True))
                moved = max((b - c).abs().max().item() for _, b, c in pairs)
                error = max((a - b).abs().max().item() for a, b, _ in pairs)
                found[f"{kind}, {name}, {list(options)}"] = error / moved
    x = torch.ones(4, 16)
    for name, call in (
        ("exact", lambda d: ganops.r1_penalty(d, x)),
        ("hidden", lambda d: ganops.r1_penalty(lambda y: d(y), x)),
        ("difference", lambda d: ganops.r1_penalty(d, x, finite_difference=0.1)),
        ("noise", lambda d: ganops.approximate_r1_penalty(d, x, 0.1)),
    ):
        found[f"static, {name}"] = _refusal(True, call)
    torch.distributed.destroy_process_group()
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float | str]:
    folder = tmp_path_factory.mktemp("ddp")
    torch.multiprocessing.spawn(_work, args=(str(folder),), nprocs=2)
    return json.loads((folder / "found.json").read_text())


def test_updates_equal_those_of_one_process(found):
    errors = {name: value for name, value in found.items() if not name.startswith("static")}
    assert len(errors) == 4 * len(UPDATES)
    # A finite difference divides the rounding of sums in another order by its step.
    assert not {name: error for name, error in errors.items() if error > (1e-3 if "difference" in name else 1e-5)}


def test_a_static_graph_is_refused_where_it_would_be_wrong(found):
    for name in ("exact", "hidden", "difference"):
        assert found[f"static, {name}"].startswith("r1_penalty: the critic is a DistributedDataParallel with static_")
    assert found["static, noise"] == ""
