"""bias_act: against its formulas, derivatives of every activation, dimensions and layouts, what is kept, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

import ganops
from ganops import reference
from ganops._common import bias_act as table

from .conformance.evaluate import assert_conforms
from .conformance.layouts import LAYOUTS, SHAPE
from .conformance.table import DTYPES
from .scale import EMULATED

ROOT = math.sqrt(2)
FORMULAS = {
    "linear": lambda u: u,
    "relu": lambda u: ROOT * u.clamp(min=0),
    "lrelu": lambda u: ROOT * torch.maximum(u, 0.2 * u),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": functional.elu,
    "selu": functional.selu,
    "softplus": lambda u: torch.log1p(torch.exp(u)),
    "swish": lambda u: ROOT * functional.silu(u),
}
each_act = pytest.mark.parametrize("act", FORMULAS)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def wide(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def away_from_kinks(shape, device):
    x = torch.randn(shape, dtype=torch.float64, device=device)
    return x + 0.1 * x.sign()


@each_act
def test_the_formula(act, device):
    x, b = torch.randn(5, 7, dtype=torch.float64, device=device), torch.randn(7, dtype=torch.float64, device=device)
    wanted = FORMULAS[act](x + b)
    for module in (ganops, reference):
        torch.testing.assert_close(module.bias_act(x, b, act=act), wanted)
        torch.testing.assert_close(module.bias_act(x, act=act), FORMULAS[act](x))
        found = module.bias_act(x, b, act=act, gain=-1.5, clamp=0.7)
        default = table.ACTIVATIONS[act].gain
        torch.testing.assert_close(found, (-1.5 * wanted / default).clamp(-0.7, 0.7))


def test_the_slope_of_lrelu(device):
    x = torch.randn(3, 4, device=device)
    torch.testing.assert_close(ganops.bias_act(x, act="lrelu", alpha=0.05, gain=2), 2 * functional.leaky_relu(x, 0.05))
    torch.testing.assert_close(ganops.bias_act(x, act="lrelu", alpha=0, gain=1), functional.relu(x))


@pytest.mark.parametrize("clamp", [None, 0.9])
@pytest.mark.parametrize("gain", [None, -0.6])
@each_act
def test_derivatives(act, gain, clamp, device):
    x, b = away_from_kinks((3, 2, 2), device), torch.zeros(2, dtype=torch.float64, device=device)
    y = reference.bias_act(x, act=act, gain=gain)
    x = torch.where((y.abs() - 0.9).abs() < 0.05, x * 1.3, x).requires_grad_()
    b.requires_grad_()

    def function(x, b):
        return ganops.bias_act(x, b, act=act, gain=gain, clamp=clamp)

    assert gradcheck(function, (x, b))
    assert gradgradcheck(function, (x, b))


@each_act
def test_derivatives_to_the_fourth_order(act, device):
    found = []
    given = away_from_kinks((4, 3), device)
    for module in (ganops, reference):
        x = given.clone().requires_grad_()
        b = torch.linspace(-0.05, 0.05, 3, dtype=torch.float64, device=device).requires_grad_()
        total = module.bias_act(x, b, act=act).square().sum()
        orders = []
        for _ in range(4):
            first = torch.autograd.grad(total, (x, b), create_graph=True, materialize_grads=True)
            orders += first
            total = sum((g * torch.linspace(-1, 2, g.numel(), device=device).reshape(g.shape)).sum() for g in first)
            if not total.requires_grad:
                break
        found.append(orders)
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


def check(x, b, dim, act, clamp=None):
    """Value, gradients and second derivatives within the roundings of their terms."""
    upstream = torch.randn(x.shape, dtype=torch.float64, device=x.device).to(x.dtype)
    tangent = torch.randn(x.shape, dtype=torch.float64, device=x.device).to(x.dtype)
    results = []
    doubles = (x.double(), b.double(), upstream.double(), tangent.double())
    for module, (x_, b_, g_, t_) in (
        (ganops, (x, b, upstream, tangent)), (reference, (x, b, upstream, tangent)), (reference, doubles)
    ):  # fmt: skip
        x_, b_, g_ = x_.detach().requires_grad_(), b_.detach().requires_grad_(), g_.detach().requires_grad_()
        y = module.bias_act(x_, b_, dim, act, clamp=clamp)
        first = torch.autograd.grad(y, (x_, b_), g_, create_graph=True)
        total = (first[0] * t_).sum() + first[1].sum()
        second = torch.autograd.grad(total, (g_, x_, b_), allow_unused=True, materialize_grads=True)
        results.append((y, *first, *second))
    largest = (upstream.double().abs().max() * tangent.double().abs().max()).clamp(min=1) if x.numel() else 1
    assert results[0][0].stride() == results[1][0].stride() or not x.is_contiguous()
    for place, (found, plain, exact) in enumerate(zip(*results, strict=True)):
        # Of b: the sum of the terms' magnitudes bounds what its roundings are.
        terms = x.numel() / max(b.numel(), 1) if found.dim() == 1 else 1
        # Derivatives are known as well as the result is rounded, of a wider bias too.
        rounding = torch.finfo(x.dtype).eps / torch.finfo(found.dtype).eps
        scale = (exact.abs() + largest * terms**0.5) * rounding
        error = (plain.double() - exact).abs().max() if exact.numel() else 0
        assert_conforms(found, (exact + error).to(plain.dtype), exact, scale=scale, ulps=8, what=f"{act} {place}")


SHAPES = [(3, 5), (2, 3, 7), (6, 5, 3, 7), (2, 70, 4, 4), (2, 3, 2, 3, 4), (130, 33), (3, 2, 40, 41)]
LARGE = [(3, 40, 65), (700, 6)] if EMULATED else [(2, 3, 90, 100), (3000, 40), (50, 2000), (4, 1500, 3, 3), (9000, 3)]


@each_dtype
@pytest.mark.parametrize("act", ["linear", "lrelu", "softplus", "swish"])
def test_shapes_and_dimensions(act, dtype, device):
    for shape in (*SHAPES, *LARGE):
        for dim in range(len(shape)):
            x = torch.randn(shape, dtype=torch.float64, device=device).to(dtype)
            b = torch.randn(shape[dim], dtype=torch.float64, device=device).to(dtype)
            check(x, b, dim, act, clamp=1.5 if dim == 0 else None)
            if shape in LARGE:
                break


@each_dtype
@each_act
def test_dtypes_of_the_bias(act, dtype, device):
    """In float32 beside half precision the sum is not rounded, and the gradient has the bias's dtype."""
    x = torch.randn(4, 5, 6, dtype=torch.float64, device=device).to(dtype)
    for kind in {dtype, wide(dtype)}:
        b = torch.randn(5, device=device).to(kind)
        assert ganops.bias_act(x, b, act=act).dtype == dtype
        check(x, b, 1, act)
        check(x, b, -2, act, clamp=0.5)


@each_act
def test_layouts(act, device):
    for name, layout in LAYOUTS.items():
        x = layout(torch.randn(SHAPE, device=device))
        check(x, torch.randn(x.shape[1], device=device), 1, act)
        if name in ("channels_last", "transposed", "batch_innermost"):
            assert ganops.bias_act(x, act=act).stride() == x.stride()


@each_act
def test_gradients_in_other_layouts_than_the_tensor(act, device):
    x = torch.randn(SHAPE, device=device).contiguous(memory_format=torch.channels_last).requires_grad_()
    b = torch.randn(SHAPE[1], device=device, requires_grad=True)
    y = ganops.bias_act(x, b, act=act)
    for above in (torch.ones_like(y), torch.ones((), device=device).expand_as(y), torch.ones(SHAPE, device=device)):
        found = torch.autograd.grad(y, (x, b), above, retain_graph=True)
        wanted = torch.autograd.grad(reference.bias_act(x, b, act=act), (x, b), above)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        assert act == "linear" or found[0].stride() == x.stride()  # of that the gradient is all that backward sees


@each_act
def test_what_is_kept(act, device):
    """The result, which the next layer keeps as well; x for swish; nothing of a linear function without clamp."""
    x, b = torch.randn(3, 4, device=device, requires_grad=True), torch.randn(4, device=device, requires_grad=True)
    for clamp in (None, 0.5):
        y = ganops.bias_act(x * 1, b, act=act, clamp=clamp)
        saved = [t for t in y.grad_fn.saved_tensors if t is not None]
        if act == "swish":
            assert [t.shape for t in saved] == [x.shape, b.shape]
        elif act == "linear" and clamp is None:
            assert saved == []
        else:
            assert len(saved) == 1
            assert saved[0].data_ptr() == y.data_ptr()


def test_a_result_that_is_changed_is_noticed(device):
    x = torch.randn(3, 4, device=device, requires_grad=True)
    y = ganops.bias_act(x, act="lrelu")
    y.detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@each_act
def test_only_the_bias_or_only_the_tensor_has_a_gradient(act, device):
    x, b = torch.randn(3, 4, 5, device=device), torch.randn(4, device=device)
    for wanted in ("x", "b"):
        found = []
        for module in (ganops, reference):
            leaves = {"x": x.clone(), "b": b.clone()}
            leaves[wanted].requires_grad_()
            found.append(torch.autograd.grad(module.bias_act(**leaves, act=act).square().sum(), leaves[wanted])[0])
        torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gain", [0.0, 1e-3])
@each_act
def test_a_gain_of_nothing_has_no_infinite_derivative(act, gain, device):
    x = away_from_kinks((3, 4), device).requires_grad_()
    found, wanted = (
        torch.autograd.grad(module.bias_act(x, act=act, gain=gain).sum(), x)[0] for module in (ganops, reference)
    )
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@each_dtype
@each_act
def test_extremes(act, dtype, device):
    limits = torch.tensor([0.0, 1e-30, 1e-8, 1e-4, 1.0, 20.0, 88.0, 104.0, 700.0, 1e4], dtype=torch.float64)
    x = torch.cat([limits, -limits, torch.tensor([torch.inf, -torch.inf, torch.nan])]).to(dtype).to(device)
    found, exact = ganops.bias_act(x, act=act), reference.bias_act(x.double(), act=act)
    assert_conforms(found, reference.bias_act(x, act=act), exact, ulps=4)


def test_a_second_derivative_that_is_zero_is_not_computed(device):
    """Nor that of what comes before: of a critic with lrelu, the second pass of a penalty has half of the work."""
    x, b = torch.randn(3, 4, device=device, requires_grad=True), torch.randn(4, device=device, requires_grad=True)
    y = ganops.bias_act(x * 2, b, act="lrelu")
    first = torch.autograd.grad(y.square().sum(), (x, b), create_graph=True)
    assert all(g is not None for g in torch.autograd.grad(first[0].sum(), (x, b), retain_graph=True))
    (first,) = torch.autograd.grad(y.sum(), b, create_graph=True)
    assert torch.autograd.grad(first.sum(), (x, b), allow_unused=True) == (None, None)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (2, 0, 4)])
def test_empty(shape, device):
    x = torch.zeros(shape, device=device, requires_grad=True)
    b = torch.zeros(shape[-1], device=device, requires_grad=True)
    for act in FORMULAS:
        y = ganops.bias_act(x, b, -1, act)
        gradients = torch.autograd.grad(y.sum(), (x, b), create_graph=True)
        assert y.shape == x.shape
        assert gradients[0].shape == x.shape
        assert torch.equal(gradients[1], torch.zeros_like(b))


def test_the_tables_of_python_and_of_the_library_must_agree():
    listing = "\n".join(row.describe(name) for name, row in table.ACTIVATIONS.items())
    assert table.names_of(listing, "here") == tuple(FORMULAS)
    for wrong in (None, listing.replace("0.2", "0.1"), listing.partition("\n")[2]):
        with pytest.raises(ImportError, match="disagree about the activations"):
            table.names_of(wrong, "here")


def test_the_module_is_the_function(device):
    module = ganops.nn.FusedLeakyReLU(3, negative_slope=0.1, scale=1.5).to(device)
    assert [(name, tuple(p.shape)) for name, p in module.named_parameters()] == [("bias", (3,))]
    with torch.no_grad():
        module.bias.copy_(torch.tensor([0.5, -1.0, 2.0]))
    x = torch.randn(2, 3, 4, 4, device=device)
    wanted = 1.5 * functional.leaky_relu(x + module.bias[:, None, None], 0.1)
    torch.testing.assert_close(module(x), wanted)
    assert repr(module) == "FusedLeakyReLU(3, negative_slope=0.1, scale=1.5)"
    plain = ganops.nn.FusedLeakyReLU(3, bias=False)
    assert list(plain.parameters()) == []
    torch.testing.assert_close(plain(x), 2**0.5 * functional.leaky_relu(x, 0.2))


X, B = torch.zeros(2, 3, 4), torch.zeros(3)
WRONG = [
    (lambda: ganops.bias_act([1.0]), TypeError, "bias_act: x must be a tensor, got list"),
    (lambda: ganops.bias_act(X.long()), TypeError, "x must be a floating-point tensor, got torch.int64"),
    (lambda: ganops.bias_act(X + 0j), TypeError, "x must be a floating-point tensor, got torch.complex64"),
    (lambda: ganops.bias_act(X, B, act="leaky_relu"), ValueError, "act 'leaky_relu' is unknown .*choose one of elu, "),
    (lambda: ganops.bias_act(X, B, dim=3), ValueError, r"dim must be a dimension of x, of shape \(2, 3, 4\), got 3"),
    (lambda: ganops.bias_act(X, B, dim=1.0), TypeError, "dim must be a whole number, got float 1.0"),
    (lambda: ganops.bias_act(X, B, dim=2), ValueError, r"b must have the shape \(4,\).* dimension 2 .*got \(3,\)"),
    (lambda: ganops.bias_act(X, B[:, None]), ValueError, r"b must have the shape \(3,\).*got \(3, 1\)"),
    (lambda: ganops.bias_act(X, [0.0] * 3), TypeError, "b must be a tensor, got list"),
    (lambda: ganops.bias_act(X, B.long()), TypeError, "b must be a floating-point tensor"),
    (
        lambda: ganops.bias_act(X, B.double()),
        TypeError,
        "b must be torch.float32 for x of torch.float32, got .*float64",
    ),
    (lambda: ganops.bias_act(X.half(), B.bfloat16()), TypeError, "b must be torch.float16 or torch.float32"),
    (lambda: ganops.bias_act(X, B.to("meta")), ValueError, r"b \(meta\) and x \(cpu\) must be on the same device"),
    (lambda: ganops.bias_act(X, act="relu", alpha=0.1), ValueError, "alpha is the slope of lrelu .*'relu' has none"),
    (lambda: ganops.bias_act(X, act="lrelu", alpha=-0.1), ValueError, "alpha must be finite and at least 0, got -0.1"),
    (lambda: ganops.bias_act(X, gain="2"), TypeError, "gain must be a number, got str"),
    (lambda: ganops.bias_act(X, gain=math.nan), ValueError, "gain must be finite, got nan"),
    (lambda: ganops.bias_act(X, clamp=-1), ValueError, "clamp must be finite and at least 0, got -1"),
    (lambda: ganops.nn.FusedLeakyReLU(0), ValueError, "channel must be at least 1, got 0"),
    (lambda: ganops.nn.FusedLeakyReLU(3, 0.2), TypeError, "bias must be True or False, got 0.2; pass negative_slope"),
]


@pytest.mark.parametrize(("call", "error", "text"), WRONG, ids=range(len(WRONG)))
def test_wrong_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
