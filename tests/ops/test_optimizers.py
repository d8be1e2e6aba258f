"""Optimisers that clip: as torch's own and then a clamp, in every setting, and interchangeable with them."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganops
from ganops import _library, optimizers, reference

from .conformance.layouts import LAYOUTS, OVERLAPPING, SHAPE
from .conformance.table import DTYPES
from .scale import EMULATED, THREADED

SHAPES = ((3, 5), (1,), (2, 3, 2, 2), (257,), (0, 4), (), (4099,))
KINDS = ("RMSprop", "Adam")
CLIP = 0.05

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "rmsprop": ("RMSprop", {}),
    "rmsprop-centered": ("RMSprop", {"centered": True, "alpha": 0.9}),
    "rmsprop-momentum": ("RMSprop", {"momentum": 0.9, "weight_decay": 0.01}),
    "rmsprop-all": ("RMSprop", {"momentum": 0.5, "centered": True, "maximize": True, "eps": 1e-5}),
    "adam": ("Adam", {}),
    "adam-wgan-gp": ("Adam", {"betas": (0.0, 0.9), "weight_decay": 0.02}),
    "adam-adamw": ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    "adam-amsgrad": ("Adam", {"amsgrad": True, "betas": (0.5, 0.9)}),
    "adam-fused": ("Adam", {"fused": True}),
}
every_setting = pytest.mark.parametrize(("kind", "settings"), SETTINGS.values(), ids=SETTINGS)
both = pytest.mark.parametrize("kind", KINDS)


def _weights(dtype: torch.dtype, device: torch.device, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[Tensor]:
    random = torch.Generator().manual_seed(1)
    made = [0.05 * torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]
    return [nn.Parameter(value.to(device, dtype)) for value in made]


def _feed(weights: list[Tensor], step: int) -> None:
    """Gradients of the step, the same for every list of these shapes. The last weight has none every third time."""
    random = torch.Generator().manual_seed(100 + step)
    for place, weight in enumerate(weights):
        gradient = torch.randn(weight.shape, generator=random, dtype=torch.float64) * 10.0 ** (place % 3 - 1)
        absent = place == len(weights) - 1 and step % 3 == 2
        weight.grad = None if absent else gradient.to(weight.device, weight.dtype)


def _clamped(make: Callable[..., torch.optim.Optimizer], weights: list[Tensor], clip: float | None, **settings: Any):
    """torch's optimiser, and a step of it with the clamp that usually follows."""
    optimiser = make(weights, **settings)

    def step() -> None:
        optimiser.step()
        if clip is not None:
            with torch.no_grad():
                for weight in weights:
                    if weight.grad is not None:
                        weight.clamp_(-clip, clip)

    return optimiser, step


def _state(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [value for state in optimiser.state_dict()["state"].values() for value in state.values()]


def _close(found: list[Tensor], wanted: list[Tensor], **tolerance: float) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


# ------------------------------------------------------------------------------------------------ as torch's own


@every_setting
@pytest.mark.parametrize("clip", [None, CLIP])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_torch_and_a_clamp(kind, settings, clip, dtype, device):
    mine, theirs = _weights(dtype, device), _weights(dtype, device)
    fused = getattr(optimizers, kind)(mine, lr=0.01, clip=clip, **settings)
    plain, plain_step = _clamped(getattr(torch.optim, kind), theirs, clip, lr=0.01, **settings)
    for step in range(7):
        _feed(mine, step)
        _feed(theirs, step)
        assert fused.step() is None
        plain_step()
    tolerance = {"rtol": 2e-5, "atol": 5e-6} if dtype == torch.float32 else {"rtol": 1e-11, "atol": 1e-13}
    _close(mine, theirs, **tolerance)
    _close(_state(fused), _state(plain), **tolerance)
    if clip is not None:
        assert max(w.abs().max() for w in mine if w.numel()) <= torch.tensor(clip, dtype=dtype)
        assert any((w.abs() == torch.tensor(clip, dtype=dtype)).any() for w in mine), "some weight met the limit"


@pytest.mark.skipif(EMULATED, reason="1,000 steps")
@pytest.mark.parametrize(
    ("kind", "settings"),
    [("RMSprop", {"lr": 5e-5}), ("Adam", {"lr": 1e-4, "betas": (0.0, 0.9)}), ("Adam", {"lr": 1e-3})],
)
def test_a_thousand_steps(kind, settings, device):
    """With a gradient that depends on the weights, so that differences could grow."""
    mine, theirs = (torch.linspace(-0.05, 0.05, 33, device=device).requires_grad_() for _ in range(2))
    fused = getattr(optimizers, kind)([mine], clip=0.02, **settings)
    _, plain_step = _clamped(getattr(torch.optim, kind), [theirs], 0.02, **settings)
    phase = torch.linspace(0, 6, 33, device=device)
    clipped = 0
    for step in range(1000):
        for weight in (mine, theirs):
            weight.grad = torch.sin(40 * weight.detach() + phase + 0.02 * step)
        fused.step()
        plain_step()
        clipped += (mine.detach().abs() == torch.tensor(0.02)).sum()
    _close([mine], [theirs], rtol=1e-4, atol=1e-6)
    assert 1000 < clipped < 32_000, "some weights, at some steps"


@every_setting
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(kind, settings, dtype, device):
    """One step is that of float32, rounded: no sum of the step is rounded before its end."""
    mine, wide = _weights(dtype, device), _weights(dtype, device)
    wide = [nn.Parameter(w.detach().float()) for w in wide]
    fused = getattr(optimizers, kind)(mine, lr=0.01, clip=CLIP, **settings)
    plain, plain_step = _clamped(getattr(torch.optim, kind), wide, CLIP, lr=0.01, **settings)
    _feed(mine, 0)
    for a, b in zip(mine, wide, strict=True):
        b.grad = a.grad.float()
    fused.step()
    plain_step()
    epsilon = torch.finfo(dtype).eps
    assert all(w.dtype == dtype for w in mine)
    _close([w.float() for w in mine], wide, rtol=epsilon, atol=1e-4 * epsilon)
    least = torch.finfo(dtype).smallest_normal * epsilon
    _close([s.float() for s in _state(fused)], _state(plain), rtol=epsilon, atol=2 * least)


def test_a_vanishing_gradient_in_half_precision(device):
    """g² is 0 in float16, and so is ε = 1e-8; torch's loop divides 0 by 0."""
    weight = nn.Parameter(torch.ones(4, dtype=torch.float16, device=device))
    weight.grad = torch.zeros_like(weight)
    for kind in KINDS:
        getattr(optimizers, kind)([weight], clip=2.0).step()
    assert weight.tolist() == [1] * 4


def test_a_variance_that_rounds_below_zero(device):
    """A constant gradient has no variance, and rounding makes it negative sooner or later."""
    weight = nn.Parameter(torch.zeros(64, device=device))
    optimiser = optimizers.RMSprop([weight], lr=1e-9, alpha=0.5, centered=True)
    gradient = torch.linspace(0.1, 7, 64, device=device)
    for _ in range(60):
        weight.grad = gradient.clone()
        optimiser.step()
    assert weight.isfinite().all()


@both
def test_not_a_number_is_seen(kind, device):
    weight = nn.Parameter(torch.zeros(3, device=device))
    weight.grad = torch.tensor([1.0, math.nan, -1.0], device=device)
    getattr(optimizers, kind)([weight], lr=1.0, clip=0.5).step()
    assert weight.isnan().tolist() == [False, True, False]
    assert weight[0] == -0.5
    assert weight[2] == 0.5


# ------------------------------------------------------------------------------------------------ what it is given


@both
@pytest.mark.parametrize("of", ["weight", "gradient"])
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in (*OVERLAPPING, "negative_bit")])
def test_layouts(kind, layout, of, device):
    """Weights, gradients and state need not lie alike, and gaps belong to somebody else."""

    def run(make: Any, clip: bool) -> Tensor:
        weight = LAYOUTS[layout](torch.linspace(-0.1, 0.1, math.prod(SHAPE), device=device).reshape(SHAPE))
        slope = LAYOUTS[layout](torch.linspace(-3, 2, math.prod(SHAPE), device=device).sin().reshape(SHAPE))
        weight = (weight if of == "weight" else weight.clone(memory_format=torch.contiguous_format)).detach()
        weight.requires_grad_()
        slope = slope if of == "gradient" else slope.clone(memory_format=torch.contiguous_format)
        optimiser = make([weight], lr=0.02, **({"clip": 0.07} if clip else {}))
        for _ in range(2):
            weight.grad = slope
            optimiser.step()
            with torch.no_grad():
                weight.clamp_(-0.07, 0.07)
        return weight.detach()

    _close([run(getattr(optimizers, kind), True)], [run(getattr(torch.optim, kind), False)], rtol=1e-5, atol=1e-6)


@both
def test_state_of_another_layout(kind, device):
    """A checkpoint from before the model went to channels_last."""
    before = nn.Conv2d(3, 4, 3).to(device)
    optimiser = getattr(optimizers, kind)(before.parameters(), clip=CLIP)
    _feed(list(before.parameters()), 0)
    optimiser.step()
    after = [nn.Conv2d(3, 4, 3).to(device) for _ in range(2)]
    results = []
    for model, make in zip(after, (optimizers, torch.optim), strict=True):
        model.load_state_dict(before.state_dict())
        model.to(memory_format=torch.channels_last)
        again = getattr(make, kind)(model.parameters())
        again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
        if make is optimizers:
            assert again.param_groups[0]["clip"] == CLIP
        _feed(list(model.parameters()), 1)
        again.step()
        if make is torch.optim:
            ganops.clip_weights_(model.parameters(), CLIP)
        results.append([*model.parameters(), *_state(again)])
    _close(*results, rtol=1e-5, atol=1e-7)


@both
def test_mixed_dtypes_in_one_group(kind, device):
    shapes = ((5,), (3, 4), (7,), (2,))
    dtypes = (torch.float32, torch.bfloat16, torch.float32, torch.float64)

    def make() -> list[Tensor]:
        return [
            nn.Parameter(w.detach().to(t)) for w, t in zip(_weights(torch.float64, device, shapes), dtypes, strict=True)
        ]

    mine, theirs = make(), make()
    fused = getattr(optimizers, kind)(mine, clip=CLIP)
    _, plain_step = _clamped(getattr(torch.optim, kind), theirs, CLIP)
    for step in range(2):
        _feed(mine, step)
        _feed(theirs, step)
        fused.step()
        plain_step()
    for a, b in zip(mine, theirs, strict=True):
        half = a.dtype == torch.bfloat16
        torch.testing.assert_close(a, b, rtol=2e-2 if half else 1e-5, atol=1e-3 if half else 1e-5)


@both
def test_weights_that_share_memory(kind, device):
    """Their steps follow each other, as in torch."""

    def run(make: Any, **clip: float) -> Tensor:
        storage = torch.linspace(-1, 1, 12, device=device)
        weights = [storage[:8].requires_grad_(), storage[4:].requires_grad_(), torch.zeros(3, device=device)]
        weights[2].requires_grad_()
        optimiser = make(weights, lr=0.1, **clip)
        for weight in weights:
            weight.grad = torch.arange(1.0, weight.numel() + 1, device=device)
        optimiser.step()
        return torch.cat([storage.detach(), weights[2].detach()])

    _close([run(getattr(optimizers, kind))], [run(getattr(torch.optim, kind))], rtol=1e-5, atol=1e-7)


@both
def test_complex_weights(kind, device):
    mine, theirs = ([nn.Parameter(torch.full((3,), 1 + 1j, device=device))] for _ in range(2))
    for weights, make in ((mine, optimizers), (theirs, torch.optim)):
        weights[0].grad = torch.full((3,), 2 - 1j, device=device)
        getattr(make, kind)(weights).step()
    _close(mine, theirs)


@both
def test_many_tensors(kind, device):
    """More than one launch takes, and sizes that end anywhere in a vector."""
    count = 70 if EMULATED else 400
    shapes = tuple((i % 37,) for i in range(count))
    mine, theirs = _weights(torch.float32, device, shapes), _weights(torch.float32, device, shapes)
    fused = getattr(optimizers, kind)(mine, clip=CLIP)
    _, plain_step = _clamped(getattr(torch.optim, kind), theirs, CLIP)
    _feed(mine, 0)
    _feed(theirs, 0)
    fused.step()
    plain_step()
    _close(mine, theirs, rtol=1e-5, atol=1e-7)


@every_setting
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_on_any_number_of_threads(kind, settings, dtype, device):
    shapes = ((5,), (THREADED // (4 if EMULATED else 1),), (0,), (4097,))
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        weights = _weights(dtype, device, shapes)
        optimiser = getattr(optimizers, kind)(weights, lr=0.01, clip=CLIP, **settings)
        for step in range(2):
            _feed(weights, step)
            optimiser.step()
        found.append([w.detach() for w in weights] + _state(optimiser))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


# ------------------------------------------------------------------------------------------------ as a torch optimiser


@every_setting
@pytest.mark.parametrize("to_torch", [True, False])
def test_checkpoints_interchange(kind, settings, to_torch, device):
    """Saved by one and continued by the other, as if nothing had happened."""
    alone = _weights(torch.float64, device)
    plain, plain_step = _clamped(getattr(torch.optim, kind), alone, CLIP, lr=0.02, **settings)
    weights = _weights(torch.float64, device)
    makes = (optimizers, torch.optim) if to_torch else (torch.optim, optimizers)
    state = None
    for half, make in enumerate(makes):
        clip = {"clip": CLIP} if make is optimizers else {}
        optimiser = getattr(make, kind)(weights, lr=0.02, **settings, **clip)
        if state is not None:
            optimiser.load_state_dict(pickle.loads(state))
        for step in range(2):
            _feed(weights, 2 * half + step)
            optimiser.step()
            with torch.no_grad():
                for weight in weights:
                    if weight.grad is not None:
                        weight.clamp_(-CLIP, CLIP)
        state = pickle.dumps(optimiser.state_dict())
    for step in range(4):
        _feed(alone, step)
        plain_step()
    _close(weights, alone, rtol=1e-10, atol=1e-12)
    _close(_state(optimiser), _state(plain), rtol=1e-10, atol=1e-12)
    saved = pickle.loads(state)["state"]
    assert {k: set(v) for k, v in saved.items()} == {k: set(v) for k, v in plain.state_dict()["state"].items()}


@both
def test_a_checkpoint_without_clip_leaves_it_alone(kind, device):
    weights = _weights(torch.float32, device, ((3,), (4,)))
    groups = [{"params": weights[:1], "clip": 0.3}, {"params": weights[1:], "clip": None}]
    optimiser = getattr(optimizers, kind)(groups, clip=0.1)
    plain = getattr(torch.optim, kind)([{"params": weights[:1]}, {"params": weights[1:]}], lr=0.5)
    optimiser.load_state_dict(plain.state_dict())
    assert [group["clip"] for group in optimiser.param_groups] == [0.3, None]
    assert optimiser.param_groups[0]["lr"] == 0.5
    optimiser.load_state_dict(getattr(optimizers, kind)(copy.deepcopy(groups), clip=0.7).state_dict())
    assert [group["clip"] for group in optimiser.param_groups] == [0.3, None]


@both
def test_pickled_and_copied(kind, device):
    weights = _weights(torch.float32, device, ((3,),))
    optimiser = getattr(optimizers, kind)(weights, clip=0.3)
    _feed(weights, 0)
    optimiser.step()
    for again in (pickle.loads(pickle.dumps(optimiser)), copy.deepcopy(optimiser)):
        assert again.param_groups[0]["clip"] == 0.3
        (weight,) = again.param_groups[0]["params"]
        assert torch.equal(weight, weights[0])
        weight.grad = torch.ones_like(weight)
        again.step()
        assert again.state[weight]["step"] == 2
        again.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
        assert again.param_groups[1]["clip"] == 0.3


@both
def test_groups_have_their_own_settings(kind, device):
    """A normalisation's scale of 1 stays near 1 beside clipped weights."""
    scale, weight, late = (nn.Parameter(torch.ones(3, device=device)) for _ in range(3))
    optimiser = getattr(optimizers, kind)(
        [{"params": [scale], "clip": None}, {"params": [weight], "lr": 0.25}], lr=0.125, clip=0.5
    )
    optimiser.add_param_group({"params": [late], "clip": 0.25})
    for p in (scale, weight, late):
        p.grad = -torch.ones_like(p)
    optimiser.step()
    assert scale.min() > 1
    assert weight.tolist() == [0.5] * 3
    assert late.tolist() == [0.25] * 3


@both
def test_the_constructor_shows_torchs_arguments(kind):
    theirs = inspect.signature(getattr(torch.optim, kind)).parameters
    mine = inspect.signature(getattr(optimizers, kind)).parameters
    assert list(mine) == [*theirs, "clip"]
    assert all(mine[name] == theirs[name] for name in theirs)


@both
def test_schedulers_and_hooks(kind, device):
    weights = _weights(torch.float32, device, ((3,),))
    optimiser = getattr(optimizers, kind)(weights, lr=1.0)
    seen = []
    optimiser.register_step_pre_hook(lambda *_: seen.append("before"))
    optimiser.register_step_post_hook(lambda *_: seen.append("after"))
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1, gamma=0.0)
    _feed(weights, 0)
    assert optimiser.step(lambda: 7.0) == 7.0
    assert seen == ["before", "after"]
    schedule.step()
    before = weights[0].detach().clone()
    optimiser.step()
    assert torch.equal(weights[0], before), "with a rate of 0 nothing moves"
    assert isinstance(optimiser, getattr(torch.optim, kind))


@pytest.mark.parametrize("module", [optimizers, reference.optimizers], ids=["fused", "reference"])
@pytest.mark.parametrize("rate", [0.0, torch.tensor(0.0)], ids=["number", "tensor"])
@both
def test_a_step_that_moves_nothing_clips_nothing(module, kind, rate, device):
    """torch asks an optimiser for its state by such a step."""
    weights = _weights(torch.float32, device, ((3,), (2, 2)))
    before = [w.detach().clone() for w in weights]
    assert max(w.abs().max() for w in before) > CLIP
    optimiser = getattr(module, kind)(weights, lr=rate, clip=CLIP)
    _feed(weights, 0)
    optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))
    optimiser.param_groups[0]["lr"] = 0.01
    optimiser.step()
    assert max(w.abs().max() for w in weights) <= CLIP


@both
def test_asking_for_the_state_leaves_the_weights(kind):
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    torch.manual_seed(0)
    critic = nn.Linear(4, 4)
    before = critic.weight.detach().clone()
    optimiser = getattr(optimizers, kind)(critic.parameters(), lr=0.1, clip=0.01)
    get_optimizer_state_dict(critic, optimiser)
    assert torch.equal(critic.weight, before)


@pytest.mark.skipif(not _library.loaded(), reason="no kernels")
@pytest.mark.parametrize("rate", [0.0, 0.05])
@both
def test_a_rate_of_zero_on_the_device_clips_nothing(kind, rate, device):
    weight, gradient, steps = torch.full((3,), 9.0, device=device), torch.ones(3, device=device), [_number(0.0, device)]
    state = [[torch.zeros_like(weight)] for _ in range(2)]
    common = (True, _number(rate, device), None, None)
    if kind == "Adam":
        settings = (0.0, 0.5, 0.9, 1e-8, 0.0, False, False, CLIP)
        torch.ops.ganops.adam_([weight], [gradient], *state, [], steps, *settings, *common)
    else:
        settings = (0.0, 0.9, 1e-8, 0.0, 0.0, False, CLIP)
        torch.ops.ganops.rmsprop_([weight], [gradient], state[0], [], [], steps, *settings, *common)
    assert weight.unique().tolist() == [pytest.approx(CLIP) if rate else 9.0]


def _number(value: float, device: torch.device) -> Tensor:
    return torch.tensor(value, device=device)


@pytest.mark.parametrize("module", [optimizers, reference.optimizers], ids=["fused", "reference"])
@both
def test_the_default_device_does_not_matter(module, kind, device):
    """On "meta" RMSprop's number of steps has no data. The operator, called with it, was a no-op for all."""
    mine, theirs = _weights(torch.float32, device, ((3,),)), _weights(torch.float32, device, ((3,),))
    _feed(mine, 0)
    _feed(theirs, 0)
    getattr(module, kind)(theirs, clip=CLIP).step()
    torch.set_default_device("meta")
    try:
        getattr(module, kind)(mine, clip=CLIP).step()
    finally:
        torch.set_default_device(None)
    _close(mine, theirs)


@pytest.mark.skipif(not _library.loaded(), reason="no kernels")
def test_steps_on_another_device_are_refused():
    x = torch.zeros(3)
    lists = [x], [torch.ones(3)], [x.clone()], [x.clone()], []
    settings = 0.1, 0.5, 0.9, 1e-8, 0, False, False, 1, False
    assert not torch.ops.ganops.adam_(*lists, [torch.zeros((), device="meta")], *settings)
    assert not x.any()
    assert torch.ops.ganops.adam_(*lists, [torch.zeros(())], *settings)
    assert x.all()


@both
def test_negated_views(kind, device):
    """The negative bit of a view, which kernels know nothing of, is torch's to resolve."""
    if device.type == "cuda":
        pytest.skip("torch's own fused lists refuse it")
    values, slope = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([1.0, 2.0, -1.0])
    results = []
    for bit in (False, True):
        weight = torch._neg_view(-values) if bit else values.clone()
        weight.requires_grad_().grad = torch._neg_view(-slope) if bit else slope.clone()
        getattr(optimizers, kind)([weight], lr=0.1, clip=2.5).step()
        results.append(weight.detach())
    _close([results[1]], [results[0]])


@both
def test_a_learning_rate_in_a_tensor(kind, device):
    results = []
    for make in (optimizers, torch.optim):
        weights = _weights(torch.float32, device, ((3,), (5,)))
        optimiser = getattr(make, kind)(weights, lr=torch.tensor(0.05))
        _feed(weights, 0)
        optimiser.step()
        optimiser.param_groups[0]["lr"].fill_(0.01)
        optimiser.step()
        results.append(weights)
    _close(*results, rtol=1e-5, atol=1e-7)


@both
def test_tensors_for_betas_and_graphs_run_torchs_own_step(kind, device):
    """`differentiable`: the step has a gradient with respect to the gradient that it was given."""
    weight = torch.zeros(3, device=device)
    optimiser = getattr(optimizers, kind)([nn.Parameter(weight)], lr=0.1, differentiable=True, clip=0.5)
    (parameter,) = optimiser.param_groups[0]["params"]
    slope = torch.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
    moved = parameter.clone()
    optimiser.param_groups[0]["params"] = [moved]
    moved.grad = slope
    optimiser.step()
    moved.sum().backward()
    assert slope.grad is not None
    if kind == "Adam":
        mine, theirs = _weights(torch.float32, device, ((3,),)), _weights(torch.float32, device, ((3,),))
        betas = (torch.tensor(0.5), torch.tensor(0.9))
        for weights, make in ((mine, optimizers), (theirs, torch.optim)):
            _feed(weights, 0)
            make.Adam(weights, betas=betas).step()
        _close(mine, theirs)


@both
def test_capturable_on_a_cpu_is_refused_as_by_torch(kind):
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.ones(3)
    for make in (optimizers, torch.optim):
        with pytest.raises(AssertionError, match="capturable"):
            getattr(make, kind)([weight], capturable=True).step()


@both
def test_sparse_gradients_are_refused_as_by_torch(kind):
    weight = nn.Parameter(torch.zeros(3, 2))
    weight.grad = torch.sparse_coo_tensor([[1]], [[1.0, 1.0]], (3, 2), check_invariants=False)
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        getattr(optimizers, kind)([weight]).step()


@both
def test_autograd_is_told(kind, device):
    layer = nn.Linear(3, 1, device=device)
    loss = layer(torch.randn(2, 3, device=device, requires_grad=True)).sum()
    optimiser = getattr(optimizers, kind)(layer.parameters(), clip=0.1)
    _feed(list(layer.parameters()), 0)
    before = layer.weight._version
    optimiser.step()
    assert layer.weight._version > before
    assert layer.weight.is_leaf
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.skipif(_library.BACKEND == "reference" or not _library.loaded(), reason="no kernels")
@both
def test_the_kernel_runs(kind, device, monkeypatch):
    """Else all of this would test torch against itself."""
    weights = _weights(torch.float32, device)
    optimiser = getattr(optimizers, kind)(weights, clip=CLIP)
    monkeypatch.setattr(optimiser, "_torch_step", None)
    _feed(weights, 0)
    optimiser.step()


@pytest.mark.compile
@both
def test_compiled(kind):
    results = []
    for compiled in (False, True):
        weights = _weights(torch.float32, torch.device("cpu"), ((3,), (2, 2)))
        optimiser = getattr(optimizers, kind)(weights, clip=CLIP)
        step = torch.compile(optimiser.step) if compiled else optimiser.step
        for number in range(2):
            _feed(weights, number)
            step()
        results.append(weights)
    _close(*results, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------------ mixed precision


SCALED = [("RMSprop", {}), ("Adam", {}), ("Adam", {"fused": True})]


@pytest.mark.parametrize(("kind", "settings"), SCALED)
@pytest.mark.parametrize("module", [optimizers, reference.optimizers], ids=["fused", "reference"])
@pytest.mark.parametrize("unscale_first", [False, True])
def test_under_a_grad_scaler(kind, settings, module, unscale_first, device):
    """Scaled gradients give the same step and are left unscaled; an infinite one gives none, and no clipping."""
    scaler = torch.amp.GradScaler(device.type, init_scale=1024.0, growth_interval=1)
    plain_scaler = torch.amp.GradScaler(device.type, init_scale=1024.0, growth_interval=1)
    mine, theirs = _weights(torch.float32, device), _weights(torch.float32, device)
    optimiser = getattr(module, kind)(mine, lr=0.01, clip=CLIP, **settings)
    plain = getattr(torch.optim, kind)(theirs, lr=0.01)
    for step in range(4):
        infinite = step in (0, 2)
        _feed(mine, step)
        _feed(theirs, step)
        for weights, s in ((mine, scaler), (theirs, plain_scaler)):
            factor = s.scale(torch.ones((), device=device))
            for weight in weights:
                if weight.grad is not None:
                    weight.grad *= factor
            if infinite:
                weights[0].grad[0, 0] = math.inf
        if unscale_first:
            scaler.unscale_(optimiser)
        before = [w.detach().clone() for w in mine]
        scaler.step(optimiser)
        plain_scaler.step(plain)
        if infinite:
            assert all(torch.equal(a, b) for a, b in zip(mine, before, strict=True))
        else:
            with torch.no_grad():
                for weight in theirs:
                    weight.clamp_(-CLIP, CLIP)
            _close([w.grad for w in mine if w.grad is not None], [w.grad for w in theirs if w.grad is not None])
        scaler.update()
        plain_scaler.update()
    assert scaler.get_scale() == plain_scaler.get_scale()
    _close(mine, theirs, rtol=1e-5, atol=1e-6)
    _close(_state(optimiser), _state(plain), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not _library.loaded(), reason="no kernels")
@pytest.mark.parametrize("found", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@both
def test_numbers_on_the_device(kind, dtype, found, device):
    """As in a captured graph: rate, scale, what was found and the numbers of the steps are read where they lie."""
    mine, theirs = _weights(dtype, device), _weights(dtype, device)
    count = len(mine)
    steps = [torch.tensor(float(i), device=device) for i in range(count)]
    state = [[torch.full_like(w, 0.25) for w in mine] for _ in range(2)]
    expected = [[s.clone() for s in kept] for kept in state]
    rate, scale, inf = (torch.tensor(x, device=device) for x in (0.05, 8.0, found))
    _feed(mine, 0)
    gradients = [w.grad for w in mine]
    common = (True, rate, scale, inf)
    with torch.no_grad():
        scaled = [g * 8 for g in gradients]
        if kind == "Adam":
            torch.ops.ganops.adam_(
                mine, scaled, *state, [], steps, 0.0, 0.5, 0.9, 1e-8, 0.1, True, False, CLIP, *common
            )
        else:
            torch.ops.ganops.rmsprop_(
                mine, scaled, state[0], state[1], [], steps, 0.0, 0.9, 1e-8, 0.1, 0.0, False, CLIP, *common
            )
    assert [s.item() for s in steps] == [i + 1 - found for i in range(count)]
    if not found:
        _close(scaled, gradients)
        for i, weight in enumerate(theirs):
            settings = {"lr": 0.05, "weight_decay": 0.1}
            if kind == "Adam":
                optimiser = torch.optim.Adam([weight], betas=(0.5, 0.9), decoupled_weight_decay=True, **settings)
                optimiser.state[weight] = dict(
                    zip(("exp_avg", "exp_avg_sq"), (kept[i] for kept in expected), strict=True)
                )
            else:
                optimiser = torch.optim.RMSprop([weight], alpha=0.9, centered=True, **settings)
                optimiser.state[weight] = dict(
                    zip(("square_avg", "grad_avg"), (kept[i] for kept in expected), strict=True)
                )
            optimiser.state[weight]["step"] = torch.tensor(float(i))
            weight.grad = gradients[i]
            optimiser.step()
            with torch.no_grad():
                weight.clamp_(-CLIP, CLIP)
    _close(mine, theirs, rtol=2e-5, atol=1e-6)
    for found_state, wanted in zip(state, expected, strict=True):
        _close(found_state, wanted, rtol=2e-5, atol=1e-6)


@pytest.mark.skipif(not _library.loaded(), reason="no kernels")
def test_an_empty_weight_between_two_counts_of_steps(device):
    """The weight before it is at another step than the weight behind it."""
    shapes, counts = ((3,), (0,), (3,)), (9.0, 1.0, 1.0)
    mine, theirs = _weights(torch.float32, device, shapes), _weights(torch.float32, device, shapes)
    found = []
    for weights, make in ((mine, optimizers), (theirs, torch.optim)):
        optimiser = make.Adam(weights, lr=0.1)
        for weight, count in zip(weights, counts, strict=True):
            kept = {name: torch.full_like(weight, 0.25) for name in ("exp_avg", "exp_avg_sq")}
            optimiser.state[weight] = {"step": torch.tensor(count), **kept}
        _feed(weights, 0)
        optimiser.step()
        found.append(weights)
    _close(*found, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@both
def test_captured_in_a_graph(kind):
    device = torch.device("cuda")
    mine, theirs = _weights(torch.float32, device), _weights(torch.float32, device)
    rate = torch.tensor(0.01, device=device)
    optimiser = getattr(optimizers, kind)(mine, lr=rate, clip=CLIP, capturable=True)
    _, plain_step = _clamped(getattr(torch.optim, kind), theirs, CLIP, lr=0.01)
    _feed(mine, 0)
    _feed(theirs, 0)
    optimiser.step()
    plain_step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimiser.step()
    for _ in range(3):
        graph.replay()
        plain_step()
    _close(mine, theirs, rtol=2e-5, atol=1e-6)
    assert all(state["step"] == 4 for state in optimiser.state.values())


# ------------------------------------------------------------------------------------------------ bad input

X = [nn.Parameter(torch.zeros(2))]
BAD = [
    ("both", X, {"rate": 1.0}, TypeError, "got an unexpected keyword argument 'rate'"),
    ("both", X, {"lr": -1.0}, ValueError, "lr must be finite and at least 0, got -1.0"),
    ("both", X, {"lr": math.nan}, ValueError, "lr must be finite and at least 0, got nan"),
    ("both", X, {"lr": "fast"}, TypeError, "lr must be a number, got str"),
    ("both", X, {"lr": torch.ones(2)}, ValueError, r"lr must be a number or a tensor of one, got shape \(2,\)"),
    ("both", X, {"eps": -1e-8}, ValueError, "eps must be finite and at least 0, got -1e-08"),
    ("both", X, {"weight_decay": True}, TypeError, "weight_decay must be a number, got bool"),
    ("both", X, {"clip": 0}, ValueError, "clip must be finite and above 0, got 0"),
    ("both", X, {"clip": -0.01}, ValueError, "clip must be finite and above 0, got -0.01"),
    ("both", X, {"clip": math.inf}, ValueError, "clip must be finite and above 0, got inf"),
    ("both", X, {"clip": "0.01"}, TypeError, "clip must be a number, got str"),
    ("both", X, {"clip": (-0.01, 0.01)}, TypeError, "clip must be a number, got tuple"),
    ("both", [{"params": X, "clip": -1}], {}, ValueError, "clip must be finite and above 0, got -1"),
    ("both", nn.Linear(2, 2), {}, TypeError, "params must be an iterable of tensors or of dicts, got Linear"),
    ("both", [nn.Parameter(torch.zeros(2) * 1j)], {"clip": 1.0}, TypeError, "clip needs real weights"),
    ("both", X[0], {}, TypeError, "params argument"),
    ("both", [torch.zeros(1).expand(3)], {}, ValueError, r"params\[0\] of shape \(3,\) is an expanded tensor"),
    ("both", X, {"lr": 10**400}, ValueError, "lr must be finite and at least 0, got 1000"),
    ("both", [], {}, ValueError, "empty parameter list"),
    ("RMSprop", X, {"alpha": -0.1}, ValueError, "alpha must be finite and at least 0, got -0.1"),
    ("RMSprop", X, {"momentum": "0.9"}, TypeError, "momentum must be a number, got str"),
    ("Adam", X, {"betas": (0.9, 1.0)}, ValueError, r"betas\[1\] must be at least 0 and below 1, got 1.0"),
    ("Adam", X, {"betas": (-0.1, 0.9)}, ValueError, r"betas\[0\] must be finite and at least 0, got -0.1"),
    ("Adam", X, {"betas": 0.9}, TypeError, "betas must be a pair of numbers, got 0.9"),
]


@pytest.mark.parametrize("module", [optimizers, reference.optimizers], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("kind", "params", "settings", "error", "text"),
    [(k, *row) for which, *row in BAD for k in (KINDS if which == "both" else (which,))],
)
def test_bad_input(module, kind, params, settings, error, text):
    with pytest.raises(error, match=text):
        getattr(module, kind)(params, **settings)


@pytest.mark.parametrize("module", [optimizers, reference.optimizers], ids=["fused", "reference"])
@both
def test_a_limit_that_was_changed_is_checked_at_the_step(module, kind):
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    optimiser = getattr(module, kind)([weight], clip=2.0)
    optimiser.param_groups[0]["clip"] = -1.0
    with pytest.raises(ValueError, match=f"^{kind}: clip must be finite and above 0, got -1.0"):
        optimiser.step()
    assert weight.tolist() == [1, 1]


@both
def test_a_group_refused_is_not_added(kind):
    optimiser = getattr(optimizers, kind)(X)
    with pytest.raises(ValueError, match=f"^{kind}: clip must be finite and above 0, got 0"):
        optimiser.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "clip": 0})
    assert len(optimiser.param_groups) == 1
