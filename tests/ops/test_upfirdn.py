"""upfirdn: against its definition element by element, derivatives in the signal and in the filter, layouts, errors."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import ganops
from ganops import reference

from .conformance.table import DTYPES
from .properties import given, st
from .scale import EMULATED

TAPS = [1.0, 3.0, 3.0, 1.0]


def by_definition(x, f, up, down, padding, flip, gain):
    """One axis, the definition read aloud: a list of numbers to a list of numbers."""
    zeros = [0.0] * (up - 1)
    places = [value for number in x for value in (number, *zeros)]
    before, after = padding
    places = [0.0] * before + places if before >= 0 else places[-before:]
    places = places + [0.0] * after if after >= 0 else places[:after]
    taps = f if flip else f[::-1]
    filtered = [sum(tap * places[i + k] for k, tap in enumerate(taps)) for i in range(len(places) - len(taps) + 1)]
    return [gain * value for value in filtered[::down]]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("padding", [(0, 0), (3, 2), (5, -1), (-2, 4)])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2), (2, 4)])
def test_the_definition(up, down, padding, flip, device):
    x, f = torch.randn(9, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    wanted = by_definition(x.tolist(), f.tolist(), up, down, padding, flip, 1.5)
    for module in (ganops, reference):
        found = module.upfirdn1d(x.to(device)[None, None], f.to(device), up, down, padding, flip, 1.5)
        torch.testing.assert_close(found.flatten().tolist(), wanted)


@pytest.mark.parametrize("flip", [False, True])
def test_images_are_filtered_along_each_axis(flip, device):
    """Columns first, then rows, one signal at a time; the axes differ in everything."""
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, device=device)
    fx, fy = torch.randn(5, dtype=torch.float64, device=device), torch.randn(3, dtype=torch.float64, device=device)
    found = ganops.upfirdn2d(x, fy.outer(fx), (2, 3), (3, 1), (4, 1, 2, 3), flip, 0.5)
    rows = ganops.upfirdn1d(x.flatten(1, 2), fx, 2, 3, (4, 1), flip).unflatten(1, (3, 7))
    columns = ganops.upfirdn1d(rows.transpose(2, 3).flatten(1, 2), fy, 3, 1, (2, 3), flip, 0.5)
    torch.testing.assert_close(found, columns.unflatten(1, (3, -1)).transpose(2, 3))


# Common networks' filters and factors, what has loops of its own, and what has not.
SETTINGS = [
    (TAPS, 2, 1, (2, 1)),
    (TAPS, 1, 2, (1, 1)),
    (TAPS, 1, 1, (2, 1)),
    ([1.0, 1.0], 2, 1, (0, 0)),
    ([1.0, 2.0, 1.0], 2, 1, (1, 1)),
    ([1.0, -2.0, 3.0, 1.0, 0.5, 2.0], (1, 2), (2, 1), (3, 2, 1, 4)),
    ([0.1 * k for k in range(1, 13)], 2, 2, (11, 10)),
    ([0.1 * k for k in range(1, 13)], 4, 2, (12, 9)),
    ([1.0, 0.0, -1.0, 2.0, 0.7], 3, 4, (4, 2, 1, 5)),
    ([2.0], 2, 3, 0),
    (None, 1, 1, (0, -2, -1, 0)),
]
SHAPES = [(2, 3, 5, 7), (1, 2, 16, 40), (1, 70, 4, 3)]


def filters(taps, dtype, device):
    """Of its kinds: separable, the product of its taps, and a matrix that is none."""
    if taps is None:
        return [None]
    row = torch.tensor(taps, dtype=dtype, device=device)
    return [row, row.outer(row), row.outer(row).cos()]


def reference_dtype(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def assert_near(found, exact, scale, dtype):
    """Within a few roundings of the sum of the terms' magnitudes."""
    assert found.shape == exact.shape
    assert found.dtype == dtype
    limit = 8 * torch.finfo(dtype).eps * scale + torch.finfo(dtype).tiny
    assert ((found.double() - exact).abs() <= limit).all()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed", "unaligned"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_values(setting, dtype, layout, device):
    taps, up, down, padding = setting
    for shape, f in itertools.product(SHAPES, filters(taps, reference_dtype(dtype), device)):
        x = torch.randn(shape, dtype=torch.float64, device=device).to(dtype)
        if layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        elif layout == "transposed":
            x = x.transpose(1, 3).contiguous().transpose(1, 3)
        elif layout == "unaligned":
            x = torch.cat([x.new_full((1,), torch.nan), x.flatten()])[1:].view(shape)
        wide = None if f is None else f.double()
        for flip in (False, True):
            found = ganops.upfirdn2d(x, f, up, down, padding, flip, 1.7)
            exact = reference.upfirdn2d(x.double(), wide, up, down, padding, flip, 1.7)
            size = reference.upfirdn2d(
                x.double().abs(), None if f is None else wide.abs(), up, down, padding, flip, 1.7
            )
            assert_near(found, exact, size, dtype)
            if layout == "channels_last":
                assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_wide_and_many(dtype, device):
    """Rows wider than a tile, and enough planes for several to be taken at once; also of one axis alone."""
    f = torch.tensor(TAPS, dtype=reference_dtype(dtype), device=device) / 8
    shapes = [(1, 1, 3, 300), (2, 5, 4, 4)] if EMULATED else [(1, 1, 5, 5000), (1, 2, 300, 9), (40, 20, 4, 4)]
    for shape, (up, down) in itertools.product(shapes, ((2, 1), (1, 2), (1, 1), (3, 2))):
        x = torch.randn(shape, dtype=torch.float64, device=device).to(dtype)
        for found, exact in (
            (ganops.upfirdn2d(x, f, up, down, 3), reference.upfirdn2d(x.double(), f.double(), up, down, 3)),
            (ganops.upfirdn1d(x[0], f, up, down, 3), reference.upfirdn1d(x[0].double(), f.double(), up, down, 3)),
        ):
            assert_near(found, exact, x.double().abs().max(), dtype)


@given(
    up=st.integers(1, 5),
    down=st.integers(1, 5),
    taps=st.integers(1, 20),
    before=st.integers(-3, 20),
    after=st.integers(-3, 20),
    size=st.integers(1, 70),
    last=st.booleans(),
)
def test_any_numbers(up, down, taps, before, after, size, last):
    torch.manual_seed(0)
    if size * up + before + after < taps:
        return
    x, f = torch.randn(1, 18, 2, size), torch.randn(taps)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    arguments = ((up, 1), (down, 1), (before, after, taps - 1, 0))
    found = ganops.upfirdn2d(x, f, *arguments)
    exact = reference.upfirdn2d(x.double(), f.double(), *arguments)
    assert_near(found, exact, reference.upfirdn2d(x.double().abs(), f.double().abs(), *arguments), torch.float32)


@pytest.mark.parametrize("kind", ["separable", "product", "matrix"])
@pytest.mark.parametrize(("up", "down", "padding"), [(2, 1, (2, 1)), (1, 2, (1, 1)), ((3, 1), (1, 2), (3, -1, 2, 3))])
def test_derivatives_in_signal_and_filter(up, down, padding, kind, device):
    row = torch.randn(4, dtype=torch.float64, device=device)
    f = {"separable": row, "product": row.outer(row), "matrix": torch.randn_like(row.outer(row))}[kind]
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, device=device, requires_grad=True)

    def function(x, f):
        return ganops.upfirdn2d(x, f, up, down, padding, True, 0.7)

    assert gradcheck(lambda x: function(x, f), x)
    assert gradgradcheck(lambda x: function(x, f), x)
    f.requires_grad_()
    assert gradcheck(function, (x, f))
    assert gradgradcheck(function, (x, f))


@pytest.mark.parametrize("flip", [False, True])
def test_derivatives_of_signals(flip, device):
    x = torch.randn(2, 1, 5, dtype=torch.float64, device=device, requires_grad=True)
    f = torch.randn(3, dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(lambda x, f: ganops.upfirdn1d(x, f, 2, 3, (4, 1), flip, 0.7), (x, f))
    assert gradgradcheck(lambda x, f: ganops.upfirdn1d(x, f, 2, 3, (4, 1), flip, 0.7), (x, f))


def test_a_filter_in_half_precision_has_its_gradient_in_half_precision(device):
    x = torch.randn(1, 1, 6, 6, device=device).half()
    f = torch.ones(3, 3, device=device).half().requires_grad_()
    (gradient,) = torch.autograd.grad(ganops.upfirdn2d(x, f, padding=1).sum(), f)
    assert gradient.dtype == torch.float16


def test_nothing_of_the_signal_is_saved(device):
    x = torch.randn(2, 3, 8, 8, device=device, requires_grad=True)
    f = torch.tensor(TAPS, device=device)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        ganops.upfirdn2d(x, f, up=2, padding=(2, 1))
    assert saved == [4]


@pytest.mark.parametrize("module", [ganops, reference], ids=["ganops", "reference"])
def test_helpers_keep_the_level_and_the_centre(module, device):
    f = module.setup_filter(TAPS, device=device)
    assert f.shape == (4, 4)
    x = torch.ones(1, 2, 10, 12, device=device)
    for found, size in (
        (module.filter2d(x, f), (10, 12)),
        (module.upsample2d(x, f), (20, 24)),
        (module.upsample2d(x, f, up=(2, 1)), (10, 24)),
        (module.downsample2d(x, f), (5, 6)),
    ):
        assert found.shape[2:] == size
        middle = found[:, :, 2:-2, 2:-2]
        torch.testing.assert_close(middle, torch.ones_like(middle))
    ramp = torch.arange(12.0, device=device).expand(1, 1, 10, 12)  # up and down again: the ramp is where it was
    again = module.downsample2d(module.upsample2d(ramp, f), f)[:, :, 3:-3, 3:-3]
    torch.testing.assert_close(again, ramp[:, :, 3:-3, 3:-3])


def test_setup_filter():
    eight = ganops.setup_filter(range(8))
    assert eight.shape == (8,)
    assert eight.sum() == 1
    assert ganops.setup_filter(range(8), separable=False).shape == (8, 8)
    assert ganops.setup_filter(None).tolist() == [[1.0]]
    assert ganops.setup_filter(3.0, normalize=False).tolist() == [[9.0]]
    assert ganops.setup_filter([[1, 2], [3, 4]], normalize=False, flip_filter=True).tolist() == [[4, 3], [2, 1]]
    torch.testing.assert_close(ganops.setup_filter(TAPS, gain=4.0).sum(), torch.tensor(4.0))
    torch.testing.assert_close(ganops.setup_filter(range(8), gain=4.0).sum() ** 2, torch.tensor(4.0))
    with pytest.raises(ValueError, match="f must have the shape"):
        ganops.setup_filter([])
    with pytest.raises(ValueError, match="a matrix is not separable"):
        ganops.setup_filter([[1, 2], [3, 4]], separable=True)


def test_beyond_the_kernels(device):
    """More taps and larger factors than there are kernels for run by the reference, without a warning."""
    x, f = torch.randn(1, 1, 3, 3, device=device), torch.randn(40, device=device)
    torch.testing.assert_close(ganops.upfirdn2d(x, f, padding=40), reference.upfirdn2d(x, f, padding=40))
    torch.testing.assert_close(ganops.upfirdn2d(x, f[:2], up=9), reference.upfirdn2d(x, f[:2], up=9))


IMAGES, ROW = torch.zeros(1, 2, 4, 4), torch.ones(4)
WRONG = [
    (
        lambda: ganops.upfirdn2d(IMAGES, torch.ones(9)),
        ValueError,
        "of 9 x 9 taps is longer than x, of size 4 x 4",
    ),
    (lambda: ganops.upfirdn2d(IMAGES, ROW, padding=-2), ValueError, "longer than x"),
    (lambda: ganops.upfirdn1d(IMAGES[0], torch.ones(5)), ValueError, "filter of 5 taps is longer than x, of size 4"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW, up=0), ValueError, "up must be at least 1, got 0"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW, down=(1, -1)), ValueError, "down must be at least 1"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW, up=1.5), TypeError, "up must be a whole number or 2 of them, got 1.5"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW, padding=(1, 2, 3)), ValueError, "padding must be .* 2 of them or 4 of them"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW, padding="same"), TypeError, "padding must be"),
    (lambda: ganops.upfirdn2d(IMAGES[0], ROW), ValueError, r"x must be images \(N, C, H, W\)"),
    (lambda: ganops.upfirdn1d(IMAGES, ROW), ValueError, r"x must be signals \(N, C, T\)"),
    (lambda: ganops.upfirdn2d(IMAGES.long(), ROW), TypeError, "x must be a floating-point tensor"),
    (lambda: ganops.upfirdn2d(IMAGES + 0j, ROW), TypeError, "x must be a floating-point tensor"),
    (lambda: ganops.upfirdn2d(IMAGES.double(), ROW), TypeError, r"f must be torch.float64 .*f.to\(torch.float64\)"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW.double()), TypeError, "f must be torch.float32"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW.long()), TypeError, "f must be a floating-point tensor"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW.to("meta")), ValueError, r"f \(meta\) and x \(cpu\) must be on the same"),
    (lambda: ganops.upfirdn2d(IMAGES, torch.ones(2, 2, 2)), ValueError, r"f must have the shape \(taps,\) or \(height"),
    (lambda: ganops.upfirdn1d(IMAGES[0], torch.ones(2, 2)), ValueError, r"f must have the shape \(taps,\), got"),
    (lambda: ganops.upfirdn2d(IMAGES, torch.ones(0)), ValueError, "f must have the shape"),
    (lambda: ganops.upfirdn2d(IMAGES, [1.0, 1.0]), TypeError, "f must be a tensor"),
    (lambda: ganops.upfirdn2d(IMAGES, ROW, gain="2"), TypeError, "gain must be a number"),
    (lambda: ganops.upsample2d(IMAGES, ROW, up=0), ValueError, "upsample2d: up must be at least 1"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
