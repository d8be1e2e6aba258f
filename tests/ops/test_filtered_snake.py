"""The anti-aliased Snake: against its definition point by point, its usual filter, angles, tiles, memory, errors."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import signal
from torch.autograd import gradcheck, gradgradcheck

import ganops
from ganops import reference

from .conformance.table import DTYPES
from .properties import given, st
from .scale import EMULATED


def by_definition(x, alpha, beta, up, down, ratio):
    """One channel, the definition read aloud: a list of numbers to a list of numbers."""

    def at(values, i):
        return values[min(max(i, 0), len(values) - 1)]

    centre = (len(up) - ratio) // 2
    fine = []
    for m in range(ratio * len(x)):
        u = ratio * sum(
            tap * at(x, (m + centre - k) // ratio) for k, tap in enumerate(up) if (m + centre - k) % ratio == 0
        )
        fine.append(u + math.sin(alpha * u) ** 2 / (beta + 1e-9))
    before = (len(down) - 1) // 2
    return [sum(tap * at(fine, ratio * t + k - before) for k, tap in enumerate(down)) for t in range(len(x))]


def random_filters(up, down, dtype, device):
    return [(torch.randn(taps, dtype=torch.float64) / taps).to(device, dtype) for taps in (up, down)]


@pytest.mark.parametrize("length", [1, 2, 9])
@pytest.mark.parametrize(("ratio", "up", "down"), [(2, 12, 12), (1, 3, 4), (2, 5, 2), (3, 18, 7), (4, 1, 6), (5, 3, 1)])
def test_the_definition(ratio, up, down, length, device):
    x = torch.randn(2, 3, length, dtype=torch.float64)
    alpha, beta = torch.tensor([[0.5, 1.0, 3.0], [2.0, 0.7, 1.0]], dtype=torch.float64)
    filters = random_filters(up, down, torch.float64, "cpu")
    wanted = torch.tensor(
        [
            [
                by_definition(row.tolist(), a.item(), b.item(), *(f.tolist() for f in filters), ratio)
                for row, a, b in zip(rows, alpha, beta, strict=True)
            ]
            for rows in x
        ],
        dtype=torch.float64,
    )
    for module in (ganops, reference):
        found = module.filtered_snake(*(t.to(device) for t in (x, alpha, beta, *filters)), ratio)
        torch.testing.assert_close(found.cpu(), wanted)


@pytest.mark.parametrize("ratio", [1, 2, 3, 4])
def test_the_usual_filter(ratio, device):
    """A window design of another library, and the signal's level kept."""
    from ganops._common.filtered_snake import kaiser_sinc, usual_taps

    taps = usual_taps(ratio)
    attenuation = signal.kaiser_atten(taps // 2, 4 * 0.6 / ratio)
    wanted = signal.firwin(
        taps, 1 / ratio if ratio > 1 else 1 - 1e-12, window=("kaiser", signal.kaiser_beta(attenuation))
    )
    found = kaiser_sinc(ratio, taps, torch.float64, device)
    torch.testing.assert_close(found.cpu(), torch.from_numpy(wanted), rtol=1e-6, atol=1e-9)
    constant = torch.full((1, 1, 20), 0.3, dtype=torch.float64, device=device)
    alpha = torch.zeros(1, dtype=torch.float64, device=device)
    torch.testing.assert_close(
        ganops.filtered_snake(constant, alpha, alpha + 1, ratio=ratio), constant, rtol=0.01, atol=0
    )


def test_parameters_may_be_logarithms_and_beta_may_be_alpha(device):
    x = torch.randn(2, 3, 20, dtype=torch.float64, device=device)
    alpha, beta = (torch.randn(3, dtype=torch.float64, device=device, requires_grad=True) for _ in range(2))
    found = ganops.filtered_snake(x, alpha, beta, logscale=True)
    torch.testing.assert_close(found, ganops.filtered_snake(x, alpha.exp(), beta.exp()))
    alone = ganops.filtered_snake(x, alpha, logscale=True)
    torch.testing.assert_close(alone, ganops.filtered_snake(x, alpha, alpha, logscale=True))
    same = alpha.detach().clone().requires_grad_()
    (once,) = torch.autograd.grad(alone.sum(), alpha)
    apart = torch.autograd.grad(ganops.filtered_snake(x, alpha, same, logscale=True).sum(), (alpha, same))
    torch.testing.assert_close(once, sum(apart))


def errors(dtype, device, shape, ratio, up, down, scale=1.0):
    """(ours, reference's) largest error of each of value, first and second derivatives, beside the largest number."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    x = (scale * torch.randn(shape, dtype=torch.float64)).to(device, dtype)
    alpha, beta = (torch.linspace(0.5, 1.5, shape[1], dtype=wide, device=device) for _ in range(2))
    filters = random_filters(up, down, wide, device)
    upstream = torch.randn(shape, dtype=torch.float64).to(device, dtype)
    tangents = [torch.randn(shape, dtype=torch.float64).to(device, dtype)]
    tangents += [torch.randn(shape[1], dtype=torch.float64).to(device, wide) for _ in range(2)]

    def derivatives(module, exact):
        def made(t):
            return t.double() if exact else t

        leaves = [made(t).detach().requires_grad_() for t in (x, alpha, beta)]
        grad = made(upstream).detach().requires_grad_()
        value = module.filtered_snake(*leaves, *map(made, filters), ratio)
        first = torch.autograd.grad(value, leaves, grad, create_graph=True)
        second = torch.autograd.grad(first, [grad, *leaves], [made(t) for t in tangents])
        return [value, *first, *second]

    truth = derivatives(reference, True)
    return [
        tuple(((got.double() - exact).abs().max() / exact.abs().max().clamp_min(1e-30)).item() for got in (ours, plain))
        for ours, plain, exact in zip(derivatives(ganops, False), derivatives(reference, False), truth, strict=True)
    ]


SETTINGS = [(2, 12, 12), (2, 11, 12), (1, 32, 32), (8, 32, 31), (3, 18, 17), (5, 3, 2)]
LENGTHS = [1, 63, 300, 1100] if EMULATED else [1, 63, 1024, 1025, 4100, 40000]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_values_and_derivatives(setting, dtype, device):
    """Rows of part of a tile, of several, and of several stretches; every filter that has a loop of its own."""
    for length in LENGTHS[:-1] if setting[0] != 2 else LENGTHS:
        for ours, plain in errors(dtype, device, (2, 3, length), *setting):
            # In float64 the reference is its own truth, and sums that cancel have nothing to be compared with.
            ulps = 256 if dtype == torch.float64 else 32
            assert ours <= 2 * plain + ulps * torch.finfo(dtype).eps, length


@given(
    ratio=st.integers(1, 8),
    up=st.integers(1, 32),
    down=st.integers(1, 32),
    length=st.integers(1, 90),
    channels=st.integers(1, 4),
)
def test_any_numbers(ratio, up, down, length, channels):
    torch.manual_seed(0)
    for ours, _ in errors(torch.float64, torch.device("cpu"), (2, channels, length), ratio, up, down):
        assert ours < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_angles(dtype, device):
    """As exact as the product αu allows; and finite wherever that is."""
    for scale in (10.0, 1e3, 1e5):
        for ours, plain in errors(dtype, device, (1, 2, 200), 2, 12, 12, scale):
            assert ours <= 2 * plain + (32 + 4 * scale) * torch.finfo(dtype).eps, scale
    one = torch.ones(1, dtype=dtype, device=device)
    for value in (1e9, 1e20, 1e37):
        x = torch.full((1, 1, 7), value, dtype=dtype, device=device)
        torch.testing.assert_close(ganops.filtered_snake(x, one, one), reference.filtered_snake(x, one, one))


def test_gradients_of_learned_filters(device):
    """By the reference: a filter that requires a gradient has one."""
    x = torch.randn(1, 2, 6, dtype=torch.float64, device=device, requires_grad=True)
    alpha = torch.ones(2, dtype=torch.float64, device=device)
    up, down = (f.requires_grad_() for f in random_filters(4, 3, torch.float64, device))
    assert gradcheck(lambda x, up, down: ganops.filtered_snake(x, alpha, None, up, down), (x, up, down))


def test_each_parameter_alone(device):
    x = torch.randn(2, 2, 5, dtype=torch.float64, device=device)
    alpha = torch.tensor([0.7, 1.3], dtype=torch.float64, device=device)
    for place in range(3):
        given_ = [x, alpha, alpha + 0.5]
        leaf = given_[place].clone().requires_grad_()

        def function(value, place=place, given_=given_):
            return ganops.filtered_snake(*(value if i == place else t for i, t in enumerate(given_)))

        assert gradcheck(function, leaf)
        assert gradgradcheck(function, leaf)


def test_only_the_signal_is_saved(device):
    x = torch.randn(2, 3, 500, device=device, requires_grad=True)
    alpha = torch.ones(3, device=device, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        ganops.filtered_snake(x, alpha, alpha)
    assert [t.data_ptr() for t in saved if t.numel() > 100] == [x.data_ptr()]
    assert sum(t.numel() for t in saved) < x.numel() + 50


def test_many_rows_have_the_bits_of_one(device):
    """Sums go by row: a row's results do not depend on its neighbours."""
    x = torch.randn(40, 3, 50, device=device)
    alpha = torch.tensor([0.5, 1.0, 2.0], device=device)
    together = ganops.filtered_snake(x, alpha)
    for n in (0, 17, 39):
        assert torch.equal(ganops.filtered_snake(x[n : n + 1], alpha)[0], together[n])


def test_beyond_the_kernels(device):
    """More taps and larger ratios than there are kernels for run by the reference, without a warning."""
    x, alpha = torch.randn(1, 2, 9, device=device), torch.ones(2, device=device)
    taps = torch.randn(40, device=device)
    for arguments in ((None, taps, taps, 2), (None, taps[:3], taps[:3], 9)):
        torch.testing.assert_close(
            ganops.filtered_snake(x, alpha, *arguments), reference.filtered_snake(x, alpha, *arguments)
        )


X, ALPHA, TAPS = torch.zeros(1, 2, 4), torch.ones(2), torch.ones(4)
WRONG = [
    (lambda: ganops.filtered_snake(X[0], ALPHA), ValueError, r"x must be signals \(N, C, T\), got shape \(2, 4\)"),
    (lambda: ganops.filtered_snake(X.long(), ALPHA), TypeError, "x must be a floating-point tensor, got torch.int64"),
    (lambda: ganops.filtered_snake(X + 0j, ALPHA), TypeError, "x must be a floating-point tensor, got torch.complex64"),
    (lambda: ganops.filtered_snake(X, 1.0), TypeError, "alpha must be a tensor, got float"),
    (lambda: ganops.filtered_snake(X, torch.ones(3)), ValueError, r"alpha must have one number .* 2 channels.* \(3,\)"),
    (lambda: ganops.filtered_snake(X, ALPHA, torch.ones(1, 2)), ValueError, r"beta must have one number .* \(1, 2\)"),
    (lambda: ganops.filtered_snake(X, ALPHA.double()), TypeError, r"alpha must be torch.float32 .* alpha.to\("),
    (
        lambda: ganops.filtered_snake(X, ALPHA.to("meta")),
        ValueError,
        r"alpha \(meta\) and x \(cpu\) must be on the same",
    ),
    (lambda: ganops.filtered_snake(X, ALPHA, up_filter=TAPS.double()), TypeError, "up_filter must be torch.float32"),
    (
        lambda: ganops.filtered_snake(X, ALPHA, down_filter=TAPS.to("meta")),
        ValueError,
        "down_filter .meta. and x .cpu.",
    ),
    (lambda: ganops.filtered_snake(X, ALPHA, up_filter=torch.ones(2, 2)), ValueError, "up_filter must have the shape"),
    (lambda: ganops.filtered_snake(X, ALPHA, up_filter=torch.ones(0)), ValueError, "up_filter must have the shape"),
    (lambda: ganops.filtered_snake(X, ALPHA, ratio=0), ValueError, "ratio must be at least 1, got 0"),
    (lambda: ganops.filtered_snake(X, ALPHA, ratio=1.5), TypeError, "ratio must be a whole number, got float"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
