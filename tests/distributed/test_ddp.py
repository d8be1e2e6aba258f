"""Penalties under DistributedDataParallel: two processes, by gloo, against one process with the whole batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def _error(kind: str, update: Callable[..., Tensor], rank: int, inner: bool = False, **options: bool) -> float:
    """The largest difference from one process with the whole batch, relative to the largest change of a weight.

    ``inner``: The update is given the critic inside of DistributedDataParallel.
    """
    critic, alone, start = _critic(kind), _critic(kind), _critic(kind)
    wrapped = DistributedDataParallel(critic, **options)
    _train(critic, critic if inner else wrapped, update, slice(rank, None, 2))
    _train(alone, alone, update, slice(None))
    pairs = list(zip(critic.parameters(), alone.parameters(), start.parameters(), strict=True))
    moved = max((b - c).abs().max().item() for _, b, c in pairs)
    return max((a - b).abs().max().item() for a, b, _ in pairs) / moved


def _refusal(call: Callable[[nn.Module], Tensor]) -> str:
    try:
        call(DistributedDataParallel(_critic("mlp"), static_graph=True))
    except ValueError as error:
        return str(error)
    return ""


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = Path(folder) / "store"
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found: dict[str, dict[str, float | str]] = {"right": {}, "wrong": {}, "refused": {}}
    for name, update in UPDATES.items():
        for kind in ("mlp", "convolution"):
            found["right"][f"{name}, {kind}"] = _error(kind, update, rank)
        found["right"][f"{name}, unused"] = _error("mlp", update, rank, find_unused_parameters=True)
    found["right"]["along noise, static"] = _error("mlp", UPDATES["along noise"], rank, static_graph=True)
    found["wrong"]["one pass, static"] = _error("mlp", UPDATES["one pass"], rank, static_graph=True)
    found["wrong"]["penalty of the module inside"] = _error("mlp", UPDATES["penalty"], rank, inner=True)
    x = torch.ones(4, 16)
    found["refused"] = {
        "exact": _refusal(lambda d: ganops.r1_penalty(d, x)),
        "hidden": _refusal(lambda d: ganops.r1_penalty(lambda y: d(y), x)),
        "difference": _refusal(lambda d: ganops.r1_penalty(d, x, finite_difference=0.1)),
    }
    torch.distributed.destroy_process_group()
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ddp")
    torch.multiprocessing.spawn(_work, args=(str(folder),), nprocs=2)
    return json.loads((folder / "found.json").read_text())


def test_updates_equal_those_of_one_process(found):
    errors = found["right"]
    assert len(errors) == 3 * len(UPDATES) + 1
    # A finite difference divides the rounding of sums in another order by its step.
    assert not {name: error for name, error in errors.items() if error > (1e-3 if "difference" in name else 1e-5)}


def test_a_static_graph_is_refused_where_it_would_be_wrong(found):
    for text in found["refused"].values():
        assert text.startswith("r1_penalty: the critic is a DistributedDataParallel with static_graph=True")


def test_what_the_docs_warn_of(found):
    """If torch mends it, the docs can be shorter."""
    assert min(found["wrong"].values()) > 1e-2
