"""The filtered leaky ReLU: against its parts, derivatives, tiles, what it saves, errors."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

import ganops
from ganops import reference

from .conformance.table import DTYPES
from .properties import given, st
from .scale import EMULATED


def taps_of(count, dtype, device):
    """Positive and of no symmetry."""
    return ((torch.rand(count, dtype=torch.float64) + 0.1) / count).to(device, dtype)


@pytest.mark.parametrize("clamp", [None, 0.4])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("up", "down", "padding"), [(2, 2, (11, 10)), (1, 3, (5, 7, 6, 8)), (4, 1, 3), (3, 2, -2)])
def test_the_parts(up, down, padding, flip, clamp, device):
    """Bias, upfirdn, leaky ReLU, clamp, upfirdn, one after another."""
    x = torch.randn(2, 3, 9, 7, dtype=torch.float64, device=device)
    b = torch.randn(3, dtype=torch.float64, device=device)
    fu, fd = taps_of(5, torch.float64, device), taps_of(4, torch.float64, device)
    u = ganops.upfirdn2d(x + b[:, None, None], fu, up, 1, padding, flip, up**2)
    u = functional.leaky_relu(u, 0.3) * 1.7
    u = u if clamp is None else u.clamp(-clamp, clamp)
    wanted = ganops.upfirdn2d(u, fd, 1, down, 0, flip)
    for module in (ganops, reference):
        found = module.filtered_lrelu(x, fu, fd, b, up, down, padding, 1.7, 0.3, clamp, flip)
        torch.testing.assert_close(found, wanted)


def errors(dtype, device, shape, up, down, taps, padding, clamp=None):
    """(ours, reference's) largest error of each of value, first and second derivatives, beside the largest number."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    x = torch.randn(shape, dtype=torch.float64).to(device, dtype)
    b = torch.randn(shape[1], dtype=torch.float64).to(device, wide)
    filters = [taps_of(count, wide, device) for count in taps]

    def derivatives(module, exact):
        def made(t):
            return t.double() if exact else t

        torch.manual_seed(1)
        leaves = [made(t).detach().requires_grad_() for t in (x, b)]
        value = module.filtered_lrelu(leaves[0], *map(made, filters), leaves[1], up, down, padding, clamp=clamp)
        grad = torch.randn(value.shape, dtype=torch.float64).to(device, dtype).to(value.dtype).requires_grad_()
        first = torch.autograd.grad(value, leaves, grad, create_graph=True)
        tangents = [torch.randn(t.shape, dtype=torch.float64).to(device, t.dtype) for t in (x, b)]
        second = torch.autograd.grad(first, [grad], [made(t) for t in tangents])
        return [value, *first, *second]

    truth = derivatives(reference, True)
    return [
        tuple(((got.double() - exact).abs().max() / exact.abs().max().clamp_min(1e-30)).item() for got in (ours, plain))
        for ours, plain, exact in zip(derivatives(ganops, False), derivatives(reference, False), truth, strict=True)
    ]


SETTINGS = [
    (2, 2, (12, 12), (11, 10)),
    (4, 2, (24, 12), (23, 20, 22, 21)),
    (2, 4, (12, 24), (30, 31)),
    (1, 1, (1, 1), 0),
    (3, 2, (5, 4), (3, -1, 0, 2)),
    (1, 2, (4, 3), 3),
]
SHAPES = (
    [(2, 3, 8, 9), (1, 2, 40, 37)] if EMULATED else [(2, 3, 8, 9), (1, 1, 140, 12), (1, 1, 3, 1100), (5, 3, 12, 16)]
)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_values_and_derivatives(setting, dtype, device):
    """Planes of part of a tile, of several bands and of several tiles of columns."""
    for shape in SHAPES:
        for ours, plain in errors(dtype, device, shape, *setting, clamp=None if shape[0] == 1 else 0.5):
            # In float64 the reference is its own truth, and sums that cancel have nothing to be compared with.
            ulps = 256 if dtype == torch.float64 else 32
            assert ours <= 2 * plain + ulps * torch.finfo(dtype).eps, shape


@given(
    up=st.integers(1, 4),
    down=st.integers(1, 4),
    taps=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    padding=st.lists(st.integers(-1, 24), min_size=4, max_size=4),
    height=st.integers(1, 20),
    width=st.integers(1, 40),
)
def test_any_numbers(up, down, taps, padding, height, width):
    torch.manual_seed(0)
    least = min(width * up + padding[0] + padding[1], height * up + padding[2] + padding[3])
    if least < sum(taps) - 1:
        return
    for ours, _ in errors(torch.float64, torch.device("cpu"), (2, 2, height, width), up, down, taps, padding):
        assert ours < 1e-12


@pytest.mark.parametrize("clamp", [None, 0.3])
def test_derivatives(clamp, device):
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, device=device, requires_grad=True)
    b = torch.randn(2, dtype=torch.float64, device=device, requires_grad=True)
    fu, fd = taps_of(4, torch.float64, device), taps_of(3, torch.float64, device)

    def function(x, b):
        return ganops.filtered_lrelu(x, fu, fd, b, 2, 2, (3, 2), clamp=clamp)

    assert gradcheck(function, (x, b))
    assert gradgradcheck(function, (x, b))
    upstream = torch.randn_like(function(x, b)).requires_grad_()

    def slope(upstream):
        return torch.autograd.grad(function(x, b), (x, b), upstream, create_graph=True)

    assert gradgradcheck(slope, upstream)


def test_filters_that_are_matrices_or_learned(device):
    """By PyTorch's operations."""
    x = torch.randn(1, 2, 6, 5, dtype=torch.float64, device=device, requires_grad=True)
    fu, fd = (torch.rand(3, 3, dtype=torch.float64, device=device, requires_grad=True) for _ in range(2))
    assert gradcheck(lambda x, fu, fd: ganops.filtered_lrelu(x, fu, fd, None, 2, 2, 3), (x, fu, fd))


def test_only_the_input_is_saved(device):
    x = torch.randn(2, 3, 20, 20, device=device, requires_grad=True)
    b = torch.randn(3, device=device, requires_grad=True)
    f = taps_of(12, torch.float32, device)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        ganops.filtered_lrelu(x, f, f, b, 2, 2, (11, 10))
    assert [t.data_ptr() for t in saved if t.numel() > 100] == [x.data_ptr()]


X, B, TAPS = torch.zeros(1, 2, 4, 4), torch.ones(2), torch.ones(3)
WRONG = [
    (lambda: ganops.filtered_lrelu(X[0]), ValueError, r"x must be images \(N, C, H, W\)"),
    (lambda: ganops.filtered_lrelu(X.long()), TypeError, "x must be a floating-point tensor, got torch.int64"),
    (lambda: ganops.filtered_lrelu(X + 0j), TypeError, "x must be a floating-point tensor, got torch.complex64"),
    (lambda: ganops.filtered_lrelu(X, TAPS.double()), TypeError, "fu must be torch.float32"),
    (lambda: ganops.filtered_lrelu(X, None, TAPS.to("meta")), ValueError, r"fd \(meta\) and x \(cpu\)"),
    (
        lambda: ganops.filtered_lrelu(X, TAPS, TAPS),
        ValueError,
        "filters of 3 and 3 taps are longer than x, of size 4 x 4",
    ),
    (lambda: ganops.filtered_lrelu(X, b=torch.ones(3)), ValueError, r"b must have one number .* 2 channels.* \(3,\)"),
    (lambda: ganops.filtered_lrelu(X, b=B.double()), TypeError, "b must be torch.float32"),
    (lambda: ganops.filtered_lrelu(X, b=B.to("meta")), ValueError, r"b \(meta\) and x \(cpu\)"),
    (lambda: ganops.filtered_lrelu(X, up=0), ValueError, "up must be at least 1, got 0"),
    (lambda: ganops.filtered_lrelu(X, down=(2, 2)), TypeError, "down must be a whole number"),
    (lambda: ganops.filtered_lrelu(X, padding=(1, 2, 3)), ValueError, "padding must be"),
    (lambda: ganops.filtered_lrelu(X, clamp=-1.0), ValueError, "clamp must be finite and at least 0, got -1.0"),
    (lambda: ganops.filtered_lrelu(X, gain="2"), TypeError, "gain must be a number"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
