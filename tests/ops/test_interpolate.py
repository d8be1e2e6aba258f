"""Interpolation beyond conformance: one weight per sample, uniform, for samples of any shape."""

from __future__ import annotations

import math

import pytest
import torch

import ganops
from ganops import reference

from .properties import given, st
from .scale import EMULATED

DRAWS = 400 if EMULATED else 20_000


def test_ends_and_middle_by_hand(device):
    real, fake = torch.full((4, 2), 3.0, device=device), torch.full((4, 2), -1.0, device=device)
    weight = torch.tensor([0.0, 1.0, 0.5, 0.25], device=device)
    expected = torch.tensor([[-1.0, -1], [3, 3], [1, 1], [0, 0]], device=device)
    assert torch.equal(ganops.interpolate(real, fake, weight), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_exact_at_both_ends(dtype, device):
    real, fake = torch.randn(2, 5, 33, device=device).to(dtype)
    assert torch.equal(ganops.interpolate(real, fake, torch.ones(5, device=device)), real)
    assert torch.equal(ganops.interpolate(real, fake, torch.zeros(5, device=device)), fake)


def test_gradients_by_hand(device):
    real, fake = (torch.randn(3, 4, dtype=torch.float64, device=device, requires_grad=True) for _ in range(2))
    weight = torch.rand(3, dtype=torch.float64, device=device, requires_grad=True)
    above = torch.randn(3, 4, dtype=torch.float64, device=device)
    found = torch.autograd.grad(ganops.interpolate(real, fake, weight), (real, fake, weight), above)
    w = weight[:, None]
    for got, expected in zip(found, (w * above, (1 - w) * above, (above * (real - fake)).sum(1)), strict=True):
        torch.testing.assert_close(got, expected.detach())


def _weights_drawn(shape: tuple[int, ...], device: torch.device, **options) -> torch.Tensor:
    """Between ones and zeros the result is the weight itself."""
    ones = torch.ones(shape, device=device)
    return ganops.interpolate(ones, torch.zeros_like(ones), **options)


@pytest.mark.parametrize("shape", [(64, 3, 5, 5), (64, 2), (64,), (64, 1, 4), (8, 2, 3, 4, 5)])
def test_one_weight_per_sample(shape, device):
    """Neither one per pixel nor one for the batch: the commonest mistakes of gradient penalties."""
    drawn = _weights_drawn(shape, device).reshape(shape[0], -1)
    assert torch.equal(drawn, drawn[:, :1].expand_as(drawn)), "constant within a sample"
    assert drawn[:, 0].unique().numel() == shape[0], "another one for each sample"


def test_weights_are_uniform(device):
    """Kolmogorov–Smirnov against U[0, 1): below 1.95/√n with probability 0.999. A normal weight leaves [0, 1)."""
    drawn = _weights_drawn((DRAWS, 1), device).flatten().sort().values.cpu()
    assert drawn[0] >= 0
    assert drawn[-1] < 1
    steps = torch.arange(1, DRAWS + 1) / DRAWS
    assert (drawn - steps).abs().max() < 1.95 / math.sqrt(DRAWS)
    assert drawn.std().item() == pytest.approx(math.sqrt(1 / 12), abs=0.05)


def test_a_fresh_draw_each_call(device):
    assert not torch.equal(_weights_drawn((8, 1), device), _weights_drawn((8, 1), device))


def test_seed_and_generator(device):
    torch.manual_seed(5)
    first = _weights_drawn((8, 1), device)
    torch.manual_seed(5)
    assert torch.equal(_weights_drawn((8, 1), device), first)
    before = torch.get_rng_state()
    own = [_weights_drawn((8, 1), device, generator=torch.Generator(device).manual_seed(7)) for _ in range(2)]
    assert torch.equal(*own)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"
    assert not torch.equal(own[0], first)


def test_the_same_draw_in_every_dtype_and_path(device):
    """Kernels are pure functions of drawn weights, so a seed means the same for fused and reference."""
    real, fake = torch.randn(2, 6, 3, device=device)
    found = []
    for module in (ganops, reference):
        torch.manual_seed(11)
        found.append(module.interpolate(real, fake))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 5, 2, 2), (4, 17), (4,), (4, 2, 3, 4, 5), (4, 0, 3), (0, 3, 8, 8)])
def test_any_number_of_channels_and_dimensions(shape, device):
    real, fake, weight = (
        torch.randn(shape, device=device),
        torch.randn(shape, device=device),
        torch.rand(shape[0], device=device),
    )
    w = weight.reshape(-1, *(1 for _ in shape[1:]))
    torch.testing.assert_close(ganops.interpolate(real, fake, weight), w * real + (1 - w) * fake)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weight_in_any_shape_and_dtype(dtype, device):
    real, fake = torch.randn(2, 4, 3, 2, 2, device=device)
    weight = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=dtype, device=device)  # exact in all of them
    expected = ganops.interpolate(real, fake, weight.float())
    for given_weight in (weight, weight.view(4, 1, 1, 1), weight.repeat_interleave(2)[::2], weight.view(4, 1)[:, 0]):
        assert torch.equal(ganops.interpolate(real, fake, given_weight), expected)
    leaf = weight.view(4, 1, 1, 1).clone().requires_grad_()
    ganops.interpolate(real, fake, leaf).sum().backward()
    assert (leaf.grad.shape, leaf.grad.dtype) == (leaf.shape, dtype)
    torch.testing.assert_close(leaf.grad.flatten().float(), (real - fake).flatten(1).sum(1), rtol=2e-2, atol=2e-2)


def test_an_expanded_weight(device):
    real, fake = torch.randn(2, 4, 3, device=device)
    weight = torch.rand(1, device=device)
    assert torch.equal(
        ganops.interpolate(real, fake, weight.expand(4)), ganops.interpolate(real, fake, weight.repeat(4))
    )


def test_half_precision_rounds_once(device):
    """The arithmetic is float32: the result is the float32 one, rounded."""
    real, fake = torch.randn(2, 9, 31, device=device).half()
    weight = torch.rand(9, device=device)
    exact = weight.double()[:, None] * real.double() + (1 - weight.double()[:, None]) * fake.double()
    result = ganops.interpolate(real, fake, weight)
    away = (result.double() - exact).abs() / exact.abs().clamp_min(1e-3)
    assert away.max() <= torch.finfo(torch.float16).eps / 2 * 1.01


def test_the_same_tensor_twice(device):
    x = torch.randn(4, 3, dtype=torch.float64, device=device, requires_grad=True)
    weight = torch.rand(4, dtype=torch.float64, device=device)
    result = ganops.interpolate(x, x, weight)
    torch.testing.assert_close(result, x)
    torch.testing.assert_close(torch.autograd.grad(result.sum(), x)[0], torch.ones_like(x))


@pytest.mark.parametrize("fmt", [torch.contiguous_format, torch.channels_last])
def test_memory_format_is_kept(fmt, device):
    real, fake = (
        torch.randn(4, 3, 5, 5, device=device).contiguous(memory_format=fmt).requires_grad_() for _ in range(2)
    )
    result = ganops.interpolate(real, fake, torch.rand(4, device=device))
    assert result.is_contiguous(memory_format=fmt)
    result.backward(torch.randn(4, 3, 5, 5, device=device).contiguous(memory_format=fmt))
    assert real.grad.is_contiguous(memory_format=fmt)
    assert fake.grad.is_contiguous(memory_format=fmt)


@given(
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_property_between_its_ends(shape, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    real, fake = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
    result = ganops.interpolate(real, fake, torch.rand(shape[0], generator=generator))
    slack = torch.finfo(dtype).eps * (real.abs() + fake.abs())
    assert (result >= torch.minimum(real, fake) - slack).all()
    assert (result <= torch.maximum(real, fake) + slack).all()


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), weight=st.floats(0, 1))
def test_property_swapping_the_ends(values, weight):
    real = torch.tensor(values, dtype=torch.float64)[None]
    fake = real.flip(1)
    one, other = torch.tensor([weight], dtype=torch.float64), torch.tensor([1 - weight], dtype=torch.float64)
    torch.testing.assert_close(
        ganops.interpolate(real, fake, one), ganops.interpolate(fake, real, other), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
def test_shapes_of_the_weight(module, device):
    real, fake = torch.randn(2, 4, 3, 2, 2, device=device)
    weight = torch.rand(4, device=device)
    wanted = module.interpolate(real, fake, weight)
    for shape in ((4, 1), (4, 1, 1, 1)):
        assert torch.equal(module.interpolate(real, fake, weight.view(shape)), wanted)


# ---------------------------------------------------------------------------------------------------- bad input

X = torch.zeros(8, 3, 4, 4)
W = torch.zeros(8)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        (
            (X, X[..., :2]),
            {},
            ValueError,
            r"^interpolate: real \(8, 3, 4, 4\) and fake \(8, 3, 4, 2\) must have the same shape",
        ),
        ((X, X[:1]), {}, ValueError, "must have the same shape"),
        ((X, X.double()), {}, TypeError, r"real \(torch.float32\) and fake \(torch.float64\) must have the same dtype"),
        ((X, X.to("meta")), {}, ValueError, r"real \(cpu\) and fake \(meta\) must be on the same device"),
        ((X, X, W.to("meta")), {}, ValueError, r"weight \(meta\) and real \(cpu\) must be on the same device"),
        (
            (X, X, W[:7]),
            {},
            ValueError,
            r"weight must have one entry per sample, shape \(8,\) or \(8, 1, …\), got \(7,\)",
        ),
        ((X, X, W[:1]), {}, ValueError, r"got \(1,\)"),
        ((X, X, W[0]), {}, ValueError, r"got \(\)"),
        ((X, X, torch.zeros_like(X)), {}, ValueError, r"got \(8, 3, 4, 4\)"),
        ((X, X, torch.zeros(1, 8, 1, 1)), {}, ValueError, r"got \(1, 8, 1, 1\)"),
        ((X, X, torch.zeros(8, 1, 1)), {}, ValueError, r"got \(8, 1, 1\)"),
        ((X, X, torch.zeros(1, 8)), {}, ValueError, r"got \(1, 8\)"),
        ((X, X, W.int()), {}, TypeError, "interpolate: weight must be a floating-point tensor, got torch.int32"),
        ((X, X, 0.5), {}, TypeError, "interpolate: weight must be a tensor, got float"),
        ((X, X, W), {"generator": torch.Generator()}, ValueError, "interpolate: pass weight or generator, not both"),
        (
            (X.byte(), X.byte()),
            {},
            TypeError,
            "real must be a floating-point tensor, got torch.uint8; convert it first, e.g. real.float",
        ),
        ((X, X.long()), {}, TypeError, "fake must be a floating-point tensor, got torch.int64"),
        ((X, None), {}, TypeError, "interpolate: fake must be a tensor, got NoneType"),
        (
            (torch.tensor(1.0), torch.tensor(1.0)),
            {},
            ValueError,
            r"real must have a batch dimension, \(N, …\), got a tensor of shape \(\)",
        ),
        ((X.to_sparse(), X.to_sparse()), {}, TypeError, "interpolate: real must be a (dense|strided) tensor"),
    ],
)
def test_bad_input(module, arguments, settings, error, text):
    with pytest.raises(error, match=text):
        module.interpolate(*arguments, **settings)
