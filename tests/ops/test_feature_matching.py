"""Feature matching beyond conformance: nested lists, what is saved, what is launched, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ganops

from .conformance.layouts import LAYOUTS, SHAPE
from .properties import given, st
from .scale import EMULATED, THREADED


def formula(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """As vocoders have it."""
    loss = torch.zeros((), dtype=fake[0].dtype, device=fake[0].device)
    for r, f in zip(real, fake, strict=True):
        loss = loss + (r - f).abs().mean()
    return loss


def features(shapes, device, dtype=torch.float32) -> tuple[list[Tensor], list[Tensor]]:
    real = [torch.randn(shape, device=device).to(dtype) for shape in shapes]
    fake = [torch.randn(shape, device=device).to(dtype) for shape in shapes]
    for r, f in zip(real, fake, strict=True):
        f.flatten()[::3] = r.flatten()[::3]  # as behind a ReLU
    return real, [f.requires_grad_() for f in fake]


def test_by_hand(device):
    real = [[torch.tensor([1.0, -3.0], device=device)], [torch.tensor([[4.0]], device=device)]]
    fake = [[torch.tensor([0.0, 1.0], device=device)], [torch.tensor([[1.0]], device=device)]]
    loss = ganops.feature_matching_loss
    assert loss(real, fake) == 2.5 + 3
    assert loss(real, fake, scale_reduction="mean") == 5.5 / 2
    assert loss(real, fake, scale_reduction="none").tolist() == [2.5, 3]
    assert loss(real, fake, distance="l2", scale_reduction="none").tolist() == [8.5, 9]
    assert loss(real, fake, normalize=True, scale_reduction="none").tolist() == [2.5 / 2, 3 / 4]
    for reduction in ("sum", "mean", "none"):
        assert loss(real[0][0], fake[0][0], scale_reduction=reduction) == 2.5


SHAPES = [(2, 32, 91, 3), (2, 1, 7, 5), (1,), (3, 4096), (2, 8, 513), (2, 128, 16), (0, 4), (5,)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_are_the_formulas_to_the_bit(dtype, device):
    real, fake = features([shape for shape in SHAPES if 0 not in shape], device, dtype)
    above = torch.tensor(0.37, dtype=dtype, device=device)
    found = torch.autograd.grad(ganops.feature_matching_loss(real, fake), fake, above)
    wanted = torch.autograd.grad(formula(real, fake), fake, above)
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


@pytest.mark.parametrize("count", [1, 64, 65, 600] if not EMULATED else [1, 65, 520])
def test_many_pairs(count, device):
    """More than fit into a launch; sizes from 1 up, so that boundaries fall everywhere in a vector."""
    real, fake = features([(i % 37 + 1,) for i in range(count)], device, torch.float64)
    value, expected = ganops.feature_matching_loss(real, fake), formula(real, fake)
    torch.testing.assert_close(value, expected)
    found, wanted = (torch.autograd.grad(v, fake) for v in (value, expected))
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
    each = ganops.feature_matching_loss(real, fake, scale_reduction="none")
    torch.testing.assert_close(each, torch.stack([(r - f).abs().mean() for r, f in zip(real, fake, strict=True)]))


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_one_large_among_small_in_any_layouts(distance, device):
    real, fake = features([(3,), (THREADED,), (1, 1), *[SHAPE] * len(LAYOUTS)], device)
    for place, layout in enumerate(LAYOUTS.values(), start=3):
        fake[place] = layout(fake[place].detach()).detach().requires_grad_()
        real[place] = LAYOUTS["channels_last"](real[place])[tuple(slice(n) for n in fake[place].shape)][
            -len(fake[place]) :
        ]
    found, wanted = (
        torch.autograd.grad(m.feature_matching_loss(real, fake, distance=distance), fake)
        for m in (ganops, ganops.reference)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=5), dtype=st.sampled_from(["float16", "float64"]))
def test_any_sizes(sizes, dtype):
    torch.manual_seed(0)
    real, fake = features([(n,) for n in sizes], "cpu", getattr(torch, dtype))
    found, wanted = (torch.autograd.grad(m.feature_matching_loss(real, fake), fake) for m in (ganops, ganops.reference))
    torch.testing.assert_close(found, wanted, rtol=1e-3 if dtype == "float16" else 1e-12, atol=0)


class Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        self.names.append(function._schema.name)
        return function(*arguments, **(named or {}))


@pytest.mark.parametrize("options", [{}, {"normalize": True}, {"distance": "l2"}, {"scale_reduction": "mean"}])
def test_one_operator_each_way(options, device):
    real, fake = features(SHAPES[:6], device)
    with Operators() as seen:
        ganops.feature_matching_loss(real, fake, **options).backward()
    computing = [name for name in seen.names if not name.endswith(("::detach", "empty", "ones_like", "fill_"))]
    assert [name.rpartition("_")[2] for name in computing if name.startswith("ganops::")] == ["loss", "backward"]
    assert len(computing) == 2, computing


@pytest.mark.parametrize("normalize", [False, True])
def test_two_bits_an_element_are_saved(normalize, device):
    """Neither the features nor their difference stay alive."""
    kept = {}

    def pack(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    real, fake = features([(64, 1024), (3, 8192)], device)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        ganops.feature_matching_loss(real, fake, normalize=normalize)
    elements = sum(x.numel() for x in fake)
    assert sum(kept.values()) <= elements / 4 + 16


def test_without_a_gradient_nothing_is_saved(device):
    real, fake = features([(5,)], device)
    with Operators() as seen, torch.no_grad():
        value = ganops.feature_matching_loss(real, fake)
    assert not value.requires_grad
    assert "ganops::feature_matching_loss" in seen.names


@pytest.mark.parametrize("distance", ["l1", "l2"])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_real_side(distance, normalize, device):
    """Detached by default; otherwise its gradient is the formula's, through the norm too."""
    real, fake = features([(4, 7), (9,)], device, torch.float64)
    real = [r.requires_grad_() for r in real]
    given = {"distance": distance, "normalize": normalize}
    ganops.feature_matching_loss(real, fake, **given).backward()
    assert all(r.grad is None for r in real)
    assert all(f.grad is not None for f in fake)
    for leaves in (real, [*real, *fake]):
        found, wanted = (
            torch.autograd.grad(m.feature_matching_loss(real, fake, detach_real=False, **given), leaves)
            for m in (ganops, ganops.reference)
        )
        torch.testing.assert_close(found, wanted)
    assert not ganops.feature_matching_loss(real, [f.detach() for f in fake]).requires_grad


def test_some_features_have_no_gradient(device):
    real, fake = features([(4, 7), (9,), (2,)], device)
    fake[1] = fake[1].detach()
    found, wanted = (
        torch.autograd.grad(v, [fake[0], fake[2]])
        for v in (ganops.feature_matching_loss(real, fake), formula(real, fake))
    )
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))


def test_nan_is_seen_and_has_no_slope(device):
    """As in the formula: the value is NaN, the gradient of |NaN| zero."""
    real, fake = torch.zeros(9, device=device), torch.ones(9, device=device)
    fake[4] = torch.nan
    value = ganops.feature_matching_loss(real, fake.requires_grad_())
    assert value.isnan()
    (gradient,) = torch.autograd.grad(value, fake)
    assert gradient[4] == 0
    assert torch.equal(gradient[:4], torch.full((4,), 1 / 9, device=device))


def test_autocast_takes_several_dtypes(device):
    """Layers that autocast leaves in float32 stand beside others."""
    real, fake = features([(4, 7), (9,)], device)
    real[0], fake[0] = real[0].bfloat16(), fake[0].detach().bfloat16().requires_grad_()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        value = ganops.feature_matching_loss(real, fake)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, formula([r.float() for r in real], [f.float() for f in fake]))
    assert [g.dtype for g in torch.autograd.grad(value, fake)] == [torch.bfloat16, torch.float32]


@pytest.mark.compile
@pytest.mark.skipif(EMULATED, reason="the compiler sees the same operators, whoever runs them")
def test_compiled_between_layers_that_choose_a_layout(device):
    """The signs lie in memory as the features do: the compiler must not change a layout between the two passes."""
    torch._dynamo.reset()
    critic = torch.nn.Conv2d(3, 4, 3).to(device, memory_format=torch.channels_last)
    x, y = torch.randn(2, 2, 3, 9, 9, device=device)

    def loss(x, y):
        one, other = critic(x), critic(y.to(memory_format=torch.channels_last))
        return ganops.feature_matching_loss([one, one[:1], x], [other, other[:1].relu(), y])

    found = []
    for function in (loss, torch.compile(loss, fullgraph=True)):
        leaf = y.clone().requires_grad_()
        found.append(torch.autograd.grad(function(x, leaf), [leaf, critic.weight]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


ONE = torch.zeros(2)


@pytest.mark.parametrize(
    ("real", "fake", "options", "error", "text"),
    [
        ([ONE], [ONE, ONE], {}, ValueError, "real_features has 1 entries and fake_features has 2"),
        (
            [[ONE], [ONE]],
            [[ONE], [ONE, ONE]],
            {},
            ValueError,
            r"real_features\[1\] has 1 entries and fake_features\[1\]",
        ),
        ([], [], {}, ValueError, "real_features is empty"),
        ([[ONE], []], [[ONE], []], {}, ValueError, r"real_features\[1\] is empty"),
        (
            [[ONE]] * 2 + [[ONE] * 5 + [torch.zeros(3)]],
            [[ONE]] * 2 + [[ONE] * 6],
            {},
            ValueError,
            r"real_features\[2\]\[5\] \(3,\) and fake_features\[2\]\[5\] \(2,\) must have the same shape",
        ),
        ([[ONE], [ONE]], [[ONE], [ONE.double()]], {}, TypeError, r"fake_features\[1\]\[0\] is torch.float64"),
        ([[ONE], [ONE.half()]], [[ONE], [ONE]], {}, TypeError, r"real_features\[1\]\[0\] is torch.float16"),
        ([[ONE], [ONE.to("meta")]], [[ONE], [ONE]], {}, ValueError, r"real_features\[1\]\[0\] is on meta"),
        ([ONE, [ONE]], [ONE, ONE], {}, TypeError, r"real_features\[1\] is a list and fake_features\[1\] a Tensor"),
        ([ONE, None], [ONE, None], {}, TypeError, r"real_features\[1\] must be a tensor or a list"),
        ([ONE.int()], [ONE.int()], {}, TypeError, r"real_features\[0\] must be a floating-point tensor"),
        ([ONE], [ONE], {"distance": "L1"}, ValueError, "distance 'L1' is unknown"),
        ([ONE], [ONE], {"scale_reduction": "average"}, ValueError, "scale_reduction 'average' is unknown"),
        ([ONE], [ONE], {"normalize": 1}, TypeError, "normalize must be True or False"),
    ],
)
@pytest.mark.parametrize("module", [ganops, ganops.reference], ids=["fused", "reference"])
def test_wrong_input_is_named(module, real, fake, options, error, text):
    with pytest.raises(error, match=text):
        module.feature_matching_loss(real, fake, **options)
