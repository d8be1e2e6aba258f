"""Weight clipping beyond conformance: what is clipped, what is left alone, and what autograd is told."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganops
from ganops import reference

from .conformance.layouts import LAYOUTS, OVERLAPPING, SHAPE
from .conformance.table import DTYPES, copy_of
from .properties import given, st
from .scale import EMULATED, THREADED


def test_by_hand(device):
    x = torch.tensor([-2.0, -0.5, -0.25, 0.0, 0.25, 0.5, 2.0], device=device)
    assert ganops.clip_weights_(x, 0.5) is None
    assert x.tolist() == [-0.5, -0.5, -0.25, 0, 0.25, 0.5, 0.5]


def test_nan_stays_and_infinity_is_clipped(device):
    """A critic that diverged must be seen to have diverged."""
    for dtype in DTYPES:
        x = torch.tensor([math.nan, math.inf, -math.inf, 0.25], dtype=dtype, device=device)
        ganops.clip_weights_([x], 0.5)
        assert x[0].isnan()
        assert x[1:].tolist() == [0.5, -0.5, 0.25]


def test_limit_zero(device):
    x = torch.randn(9, device=device)
    ganops.clip_weights_(x, 0)
    assert not x.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limit", [0.01, 1 / 3, 1.0, 100.0])
def test_exactly_as_clamp(dtype, limit, device):
    """Also where the limit itself is not a number of the dtype."""
    x = (torch.randn(1000, dtype=torch.float64, device=device) * 3 * limit).to(dtype)
    expected = x.clamp(-limit, limit)
    ganops.clip_weights_(x, limit)
    assert torch.equal(x, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_precision_number(dtype, device):
    """Within the limit a weight keeps its bits, NaN with whatever payload stays NaN."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).to(device)
    y = x.clone()
    ganops.clip_weights_(y, 2.0)
    inside = x.abs() <= 2
    assert torch.equal(y[inside].view(torch.int16), x[inside].view(torch.int16))
    assert torch.equal(y.isnan(), x.isnan())
    assert torch.equal(y[x > 2], torch.full_like(y[x > 2], 2))
    assert torch.equal(y[x < -2], torch.full_like(y[x < -2], -2))


class Critic(nn.Module):
    """Layers to be clipped and normalisations to be left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.batch = nn.BatchNorm2d(4)
        self.group = nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.RMSNorm(4))
        self.scale = nn.Parameter(torch.full((3,), 5.0))
        self.register_buffer("statistic", torch.full((3,), 5.0))


NORMALISATIONS = ("batch", "group", "instance", "inner.1", "inner.2")


def _fill(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)


def test_of_a_module_normalisation_is_left_alone(device):
    """A batch-norm scale of 1 clipped to 0.01 shrinks every activation a hundredfold."""
    critic = Critic().to(device)
    _fill(critic, 1.0)
    ganops.clip_weights_(critic, 0.01)
    for name, parameter in critic.named_parameters():
        kept = name.startswith(NORMALISATIONS)
        assert torch.equal(parameter, torch.full_like(parameter, 1.0 if kept else 0.01)), name
    assert critic.statistic.tolist() == [5, 5, 5], "buffers are not weights"
    assert torch.equal(critic.batch.running_var, torch.ones(4, device=device))


def test_of_parameters_everything_is_clipped(device):
    critic = Critic().to(device)
    _fill(critic, 1.0)
    ganops.clip_weights_(critic.parameters(), 0.01)
    assert all(torch.equal(p, torch.full_like(p, 0.01)) for p in critic.parameters())
    assert critic.statistic.tolist() == [5, 5, 5]


def test_normalisation_is_clipped_where_that_is_asked_for(device):
    critic = Critic().to(device)
    _fill(critic, 1.0)
    ganops.clip_weights_(critic, 0.01, normalization=True)
    assert all(torch.equal(p, torch.full_like(p, 0.01)) for p in critic.parameters())


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(("low", "high"), [(-0.25, 0.5), (0.125, 0.5), (-0.5, -0.25), (0.25, 0.25), (-1e300, 0.5)])
def test_two_limits(module, low, high, device):
    for dtype in DTYPES:
        x = torch.randn(5, 9, dtype=torch.float64, device=device).to(dtype)
        x[0, 0] = math.nan
        expected = x.clamp(max(low, torch.finfo(dtype).min), high)
        rows = [x[:2], x[2:].t()]  # one contiguous, one with gaps
        module.clip_weights_(rows, (low, high))
        assert torch.equal(x.isnan(), expected.isnan())
        assert torch.equal(x.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
def test_limits_beyond_a_dtype_are_refused_before_anything_is_clipped(module, device):
    first, half = torch.full((3,), 9e6, device=device), torch.ones(3, dtype=torch.float16, device=device)
    with pytest.raises(
        ValueError, match=r"limit \(100000, 200000\) holds no number of parameters\[1\]'s torch.float16"
    ):
        module.clip_weights_([first, half], (1e5, 2e5))
    assert first.tolist() == [9e6] * 3
    gaps = torch.full((3, 2), torch.inf, dtype=torch.float16, device=device)[:, 0]
    module.clip_weights_([first, gaps], 1e5)  # of the half-precision weights nothing is outside
    assert first.tolist() == [1e5] * 3
    assert gaps.isinf().all()


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 3, 5, 5))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_scripted_critic_keeps_its_normalisation(make):
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)]
    plain = nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 9), nn.LayerNorm(9)).eval()
    _fill(plain, 1.0)
    ganops.clip_weights_(make(plain), 0.01)
    for name, parameter in plain.named_parameters():
        kept = name.startswith(("1.", "2.", "3.", "6."))
        assert torch.equal(parameter, torch.full_like(parameter, 1.0 if kept else 0.01)), name


class OwnNorm(nn.BatchNorm1d):
    """Of which a scripted critic keeps only this name."""


def _exported(critic: nn.Module) -> nn.Module:
    return torch.export.export(critic, (torch.randn(2, 3),)).module()


def _unflattened(critic: nn.Module) -> nn.Module:
    return torch.export.unflatten(torch.export.export(critic, (torch.randn(2, 3),)))


@pytest.mark.parametrize("make", [torch.jit.script, _exported, _unflattened])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_critic_whose_types_are_lost_is_refused(make):
    critic = make(nn.Sequential(nn.Linear(3, 3), OwnNorm(3)).eval())
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.fill_(1.0)
    with pytest.raises(
        ValueError, match=r"^clip_weights_: parameters is a .* types of layers are lost.*normalization="
    ):
        ganops.clip_weights_(critic, 0.01)
    assert all(torch.equal(p, torch.ones_like(p)) for p in critic.parameters()), "nothing is clipped"
    ganops.clip_weights_(critic, 0.01, normalization=True)
    assert all(torch.equal(p, torch.full_like(p, 0.01)) for p in critic.parameters())


def test_a_parametrized_normalisation_is_left_alone(device):
    """Its parameters are those of modules below the layer."""
    norm = nn.BatchNorm1d(3)
    nn.utils.parametrize.register_parametrization(norm, "weight", nn.Identity())
    critic = nn.Sequential(nn.Linear(3, 3), norm).to(device)
    ganops.clip_weights_(critic, 0.01)
    assert norm.weight.tolist() == [1, 1, 1]
    assert critic[0].weight.abs().max() <= 0.01


def test_integer_parameters_of_a_module_are_no_weights(device):
    critic = nn.Linear(2, 2).to(device)
    critic.table = nn.Parameter(torch.arange(3, device=device), requires_grad=False)
    ganops.clip_weights_(critic, 0.01)
    assert critic.table.tolist() == [0, 1, 2]
    assert critic.weight.abs().max() <= 0.01


def test_a_module_that_is_a_normalisation(device):
    norm = nn.BatchNorm1d(3).to(device)
    ganops.clip_weights_(norm, 0.01)
    assert norm.weight.tolist() == [1, 1, 1]


def test_shared_parameters(device):
    """Weights tied between layers are found once, and listed twice they are clipped alike."""
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, second).to(device)
    _fill(model, 2.0)
    ganops.clip_weights_(model, 0.5)
    assert torch.equal(first.weight, torch.full_like(first.weight, 0.5))
    assert second.weight is first.weight
    x = torch.full((40,), 2.0, device=device)
    ganops.clip_weights_([x, x, x[:7], x.view(5, 8)], 0.25)
    assert torch.equal(x, torch.full_like(x, 0.25))


@pytest.mark.parametrize("wrap", [list, tuple, iter, lambda tensors: (t for t in tensors), set])
def test_any_iterable(wrap, device):
    tensors = [torch.randn(n, device=device) * 9 for n in (3, 5)]
    ganops.clip_weights_(wrap(tensors), 0.5)
    assert all(t.abs().max() <= 0.5 for t in tensors)


def test_numpy_scalars_are_numbers(device):
    """Without NumPy's warning, when it converts the bounds of what is accepted to float32."""
    x = torch.full((3,), 9.0, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ganops.clip_weights_(x, np.float32(0.5))
        ganops.clip_weights_(x, (np.float16(-1), np.int64(1)))
    assert x.tolist() == [0.5] * 3


def test_nothing_to_clip(device):
    ganops.clip_weights_([], 0.1)
    ganops.clip_weights_(nn.ReLU(), 0.1)
    ganops.clip_weights_([torch.empty(0, device=device), torch.empty(3, 0, 2, device=device)], 0.1)


def test_dtypes_and_layouts_in_one_list(device):
    tensors = [
        LAYOUTS[layout](torch.randn(SHAPE, dtype=torch.float64, device=device).to(dtype))
        for dtype in DTYPES
        for layout in LAYOUTS
        if layout not in OVERLAPPING
    ]
    tensors.insert(3, torch.empty(0, 3, device=device))
    tensors.insert(5, torch.tensor(7.0, device=device))
    expected = [t.clamp(-0.3, 0.3) for t in tensors]
    ganops.clip_weights_(tensors, 0.3)
    assert all(torch.equal(t, e) for t, e in zip(tensors, expected, strict=True))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in (*OVERLAPPING, "negative_bit")])
def test_views_change_only_their_own_elements(layout, device):
    """The gaps of a strided view belong to somebody else."""
    view = copy_of(LAYOUTS[layout](torch.randn(SHAPE, device=device) * 4))
    whole = torch.empty(0, device=device).set_(view.untyped_storage(), 0, (view.untyped_storage().nbytes() // 4,), (1,))
    whole.nan_to_num_(9.0)  # the gaps
    mine = torch.zeros_like(whole, dtype=torch.bool)
    mine.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(True)
    expected = torch.where(mine, whole.clamp(-1, 1), whole)
    ganops.clip_weights_([view], 1.0)
    assert torch.equal(whole, expected)


@pytest.mark.parametrize("count", [1, 2, 60, 700] if not EMULATED else [1, 2, 60])
def test_many_tensors(count, device):
    """More than fit into one launch; sizes from 0 up, so that boundaries fall everywhere in a vector."""
    tensors = [torch.randn(i % 37, device=device) * 2 for i in range(count)]
    expected = [t.clamp(-0.5, 0.5) for t in tensors]
    ganops.clip_weights_(tensors, 0.5)
    assert all(torch.equal(t, e) for t, e in zip(tensors, expected, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_large_among_small(threads, device):
    torch.set_num_threads(threads)
    tensors = [torch.randn(n, device=device) * 2 for n in (5, THREADED, 0, 3, THREADED // 3, 1)]
    expected = [t.clamp(-0.5, 0.5) for t in tensors]
    ganops.clip_weights_(tensors, 0.5)
    assert all(torch.equal(t, e) for t, e in zip(tensors, expected, strict=True))


# ------------------------------------------------------------------------------------------------------ autograd


def test_parameters_stay_leaves(device):
    layer = nn.Linear(3, 2, device=device)
    layer.weight.grad = torch.ones_like(layer.weight)
    ganops.clip_weights_(layer, 0.01)
    assert all(p.is_leaf and p.requires_grad and p.grad_fn is None for p in layer.parameters())
    assert torch.equal(layer.weight.grad, torch.ones_like(layer.weight))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "every_second_column"])
def test_version_counter(layout, device):
    """Each tensor's own counter moves, whichever way it was clipped."""
    x = copy_of(LAYOUTS[layout](torch.randn(SHAPE, device=device)))
    before = x._version
    ganops.clip_weights_([x], 0.1)
    assert x._version > before


def test_autograd_complains_of_stale_weights(device):
    """A backward pass after clipping would use weights that are no longer those of the forward pass."""
    layer = nn.Linear(3, 1, device=device)
    loss = layer(torch.randn(2, 3, device=device, requires_grad=True)).sum()
    ganops.clip_weights_(layer, 0.01)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_under_no_grad_and_of_detached_views(device):
    weight = torch.randn(5, device=device, requires_grad=True)
    with torch.no_grad():
        ganops.clip_weights_(weight, 0.2)
    assert weight.abs().max() <= 0.2
    with torch.no_grad():
        weight.mul_(10)
    ganops.clip_weights_(weight.detach()[1:], 0.1)
    assert weight[1:].abs().max() <= 0.1


def test_inference_tensors(device):
    with torch.inference_mode():
        weight = torch.randn(50, device=device) * 3
        ganops.clip_weights_([weight], 0.5)
        assert weight.abs().max() == 0.5
    before = weight.clone()
    for module in (ganops, reference):
        with pytest.raises(ValueError, match=r"^clip_weights_: parameters\[1\] was made in torch.inference_mode"):
            module.clip_weights_([torch.zeros(2, device=device), weight], 0.1)
    assert torch.equal(weight, before), "as torch's own operators, none is changed outside"


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_under_vmap(device):
    """A weight of each member, and one that all share."""
    weights, shared = torch.full((4, 3), 2.0, device=device), torch.full((3,), 2.0, device=device)

    def total(weight):
        ganops.clip_weights_([weight, shared], 0.5)
        return (weight + shared).sum()

    assert torch.func.vmap(total)(weights).tolist() == [3] * 4
    assert weights.unique().tolist() == shared.unique().tolist() == [0.5]


def test_a_clipped_critic_meets_the_generator(device):
    """The order of WGAN's algorithm 1: step, then clip, so that the next use is of a clipped critic."""
    critic = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1)).to(device)
    optimiser = torch.optim.RMSprop(critic.parameters(), lr=0.05)
    for _ in range(3):
        real, fake = torch.randn(2, 8, 4, device=device)
        optimiser.zero_grad()
        ganops.discriminator_loss(critic(real), critic(fake), "wasserstein").backward()
        optimiser.step()
        assert max(p.abs().max() for p in critic.parameters()) > 0.01, "a step of 0.05 leaves the box"
        ganops.clip_weights_(critic, 0.01)
        assert max(p.abs().max() for p in critic.parameters()) <= 0.01


@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=60),
    limit=st.floats(0, 2.0**99, width=32),
)
def test_property_as_clamp(values, limit):
    x = torch.tensor(values, dtype=torch.float32)
    expected = x.clamp(-limit, limit)
    ganops.clip_weights_(x, limit)
    assert torch.equal(x.isnan(), expected.isnan())
    assert torch.equal(x.nan_to_num(), expected.nan_to_num())
    again = x.clone()
    ganops.clip_weights_(again, limit)
    assert torch.equal(again.nan_to_num(), x.nan_to_num()), "idempotent"


@given(
    shapes=st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=8),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=8, max_size=8),
    permuted=st.booleans(),
)
def test_property_any_list(shapes, dtypes, permuted):
    tensors: list[Tensor] = []
    for shape, dtype in zip(shapes, dtypes, strict=False):
        tensor = torch.randn(shape).to(dtype)
        tensors.append(tensor.permute(tuple(reversed(range(tensor.dim())))) if permuted else tensor)
    expected = [t.clamp(-0.5, 0.5) for t in tensors]
    ganops.clip_weights_(tensors, 0.5)
    assert all(torch.equal(t, e) for t, e in zip(tensors, expected, strict=True))


# ---------------------------------------------------------------------------------------------------- bad input

X = torch.full((3,), 9.0)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("parameters", "limit", "error", "text"),
    [
        (X, -0.01, ValueError, r"^clip_weights_: limit must be finite and at least 0, got -0.01"),
        (X, math.nan, ValueError, "clip_weights_: limit must be finite and at least 0, got nan"),
        (X, math.inf, ValueError, "limit must be finite and at least 0, got inf"),
        (X, "0.01", TypeError, "clip_weights_: limit must be a number, got str"),
        (X, None, TypeError, "limit must be a number, got NoneType"),
        (X, True, TypeError, "limit must be a number, got bool"),
        (X, (0.5, -0.5), ValueError, r"limit must be a pair \(low, high\) with low ≤ high, got \(0.5, -0.5\)"),
        (X, (0.5,), ValueError, r"limit must be a number or a pair \(low, high\), got \(0.5,\)"),
        (X, (-1, math.inf), ValueError, r"clip_weights_: limit\[1\] must be finite, got inf"),
        (X, (None, 1), TypeError, r"clip_weights_: limit\[0\] must be a number, got NoneType"),
        (
            X.to(torch.float8_e4m3fn),
            1,
            TypeError,
            r"parameters\[0\] must be float16, bfloat16, float32 or float64, got",
        ),
        (3, 0.1, TypeError, "clip_weights_: parameters must be a Module, a tensor or an iterable of tensors, got int"),
        (None, 0.1, TypeError, "must be a Module, a tensor or an iterable of tensors, got NoneType"),
        ([X, 3.0], 0.1, TypeError, r"clip_weights_: parameters\[1\] must be a tensor, got float"),
        ([X, X.int()], 0.1, TypeError, r"parameters\[1\] must be a floating-point tensor, got torch.int32"),
        (X.long(), 0.1, TypeError, r"parameters\[0\] must be a floating-point tensor, got torch.int64"),
        ([X, X.to(torch.complex64)], 0.1, TypeError, r"parameters\[1\] must be a floating-point tensor"),
        ([X, X.to_sparse()], 0.1, TypeError, r"parameters\[1\] must be a (dense|strided) tensor"),
    ],
)
def test_bad_input(module, parameters, limit, error, text):
    before = X.clone()
    with pytest.raises(error, match=text):
        module.clip_weights_(parameters, limit)
    assert torch.equal(X, before), "nothing is clipped"


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
def test_overlapping_weights_are_refused_before_anything_is_clipped(module, device):
    first, overlapping = torch.full((3,), 9.0, device=device), torch.full((1,), 9.0, device=device).expand(4)
    with pytest.raises((RuntimeError, ValueError), match=r"memory|overlap"):
        module.clip_weights_([first, overlapping], 0.1)
    assert first.tolist() == [9, 9, 9]


def test_a_dictionary_is_not_a_list_of_weights():
    with pytest.raises(TypeError, match=r"clip_weights_: parameters\[0\] must be a tensor, got str"):
        ganops.clip_weights_(nn.Linear(2, 2).state_dict(), 0.1)
