"""Minibatch discrimination against its formula written out, to any order, and in bounded memory."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad

import ganops
from ganops.ops.minibatch_discrimination import closeness
from ganops.reference.minibatch_discrimination import _Pairs, _PairsTransposed

from .scale import EMULATED


def written_out(x, weight):
    """Equation by equation, all differences at once."""
    m = torch.einsum("na,abc->nbc", x, weight)
    closeness = torch.exp(-(m[:, None] - m[None]).abs().sum(-1))
    others = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    return (closeness * others[..., None]).sum(1)


def inputs(n=5, a=4, b=3, c=2, dtype=torch.float64, device="cpu"):
    return tuple(torch.randn(s, dtype=torch.float64, device=device).to(dtype) for s in ((n, a), (a, b, c)))


def test_by_hand(device):
    x = torch.tensor([[0.0], [1.0], [3.0]], device=device)
    weight = torch.tensor([[[1.0], [2.0]]], device=device)  # A = 1, B = 2, C = 1
    e = torch.tensor(1.0).neg().exp()
    wanted = torch.tensor([[e + e**3, e**2 + e**6], [e + e**2, e**2 + e**4], [e**3 + e**2, e**6 + e**4]])
    torch.testing.assert_close(ganops.minibatch_discrimination(x, weight).cpu(), wanted)


@pytest.mark.parametrize("shape", [(1, 2, 3, 2), (2, 1, 1, 1), (7, 5, 4, 3), (64, 16, 8, 4), (131, 3, 1, 5)], ids=str)
@pytest.mark.parametrize("slice_size", [1, 100, 1 << 22])
def test_against_the_formula(shape, slice_size, device, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["ganops.reference.minibatch_discrimination"], "_SLICE", slice_size)
    x, weight = (t.requires_grad_() for t in inputs(*shape, device=device))
    wanted = written_out(x, weight)
    upstream = torch.randn_like(wanted)
    gradients = torch.autograd.grad(wanted, (x, weight), upstream)
    for function in (ganops.minibatch_discrimination, ganops.reference.minibatch_discrimination):
        result = function(x, weight)
        torch.testing.assert_close(result, wanted)
        torch.testing.assert_close(torch.autograd.grad(result, (x, weight), upstream), gradients)


@pytest.mark.parametrize("shape", [(65, 4, 2, 19), (3, 4, 2, 40), (33, 2, 1, 17)], ids=str)
def test_many_dimensions(shape, device):
    """More than the kernels hold at once, to the second order."""
    x, weight = (t.requires_grad_() for t in inputs(*shape, device=device))
    found = []
    for function in (ganops.minibatch_discrimination, written_out):
        value = function(x, weight / 8)
        first = torch.autograd.grad(value, (x, weight), torch.ones_like(value), create_graph=True)
        found.append((value, *first, *torch.autograd.grad(sum(g.square().sum() for g in first), (x, weight))))
    torch.testing.assert_close(*found)


def test_ties_have_no_slope(device):
    """Where two samples agree in a dimension the distance has a kink, and 0 is taken for its slope."""
    x = torch.tensor([[1.0, 0.0], [1.0, 2.0]], dtype=torch.float64, device=device, requires_grad=True)
    weight = torch.eye(2, dtype=torch.float64, device=device).view(2, 1, 2)
    (gradient,) = torch.autograd.grad(ganops.minibatch_discrimination(x, weight).sum(), x)
    slope = 2 * torch.tensor(-2.0, dtype=torch.float64).exp().item()
    torch.testing.assert_close(
        gradient, torch.tensor([[0.0, slope], [0.0, -slope]], dtype=torch.float64, device=device)
    )


@pytest.mark.skipif(EMULATED, reason="many pairs; the emulator has threads of its own")
def test_any_number_of_threads(device):
    # Several threads to each of few comparisons, and several comparisons to each thread.
    for samples, comparisons in ((150, 7), (40, 70)):
        _assert_the_same_bits(samples, comparisons, device)


def _assert_the_same_bits(samples, comparisons, device):
    upstream = torch.randn(samples, comparisons, device=device)
    m = torch.randn(comparisons, 5, samples, device=device, requires_grad=True)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        value = closeness(m)
        (first,) = torch.autograd.grad(value, m, upstream, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), m)
        found.append((value, first, second))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_gradients_from_above_in_any_layout(device):
    x, weight = (t.requires_grad_() for t in inputs(6, device=device))
    upstream = torch.randn(6, 3, dtype=torch.float64, device=device)
    wide = torch.randn(6, 9, dtype=torch.float64, device=device)
    wide[:, 2:5] = upstream  # as the gradient of a concatenation arrives
    value = ganops.minibatch_discrimination(x, weight)
    wanted = torch.autograd.grad(value, (x, weight), upstream, retain_graph=True)
    for layout in (upstream.t().contiguous().t(), wide[:, 2:5]):
        assert not layout.is_contiguous()
        torch.testing.assert_close(torch.autograd.grad(value, (x, weight), layout, retain_graph=True), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision(dtype, device):
    x, weight = inputs(16, 8, 4, 3, dtype, device)
    result = ganops.minibatch_discrimination(x, weight / 4)
    assert result.dtype == dtype
    wanted = written_out(x.double(), (weight / 4).double())
    torch.testing.assert_close(result.double(), wanted, rtol=64 * torch.finfo(dtype).eps, atol=4e-3)


def test_far_apart_is_not_rounded_away(device):
    """A sum that includes the pair (i, i) and subtracts its 1 would give 0 here."""
    x = torch.tensor([[0.0], [20.0]], device=device)
    result = ganops.minibatch_discrimination(x, torch.ones(1, 1, 1, device=device))
    torch.testing.assert_close(result, torch.full((2, 1), -20.0, device=device).exp())


def test_differentiable_twice_and_thrice(device):
    x, weight = (t.requires_grad_() for t in inputs(device=device))
    assert gradcheck(ganops.minibatch_discrimination, (x, weight))
    assert gradgradcheck(ganops.minibatch_discrimination, (x, weight))

    def third(function):
        value = function(x, weight).square().sum()
        for _ in range(2):
            (slope,) = torch.autograd.grad(value, x, create_graph=True)
            value = slope.square().sum()
        return torch.autograd.grad(value, (x, weight))

    torch.testing.assert_close(third(ganops.minibatch_discrimination), third(written_out))


def test_torch_func(device):
    x, weight = inputs(device=device)
    mine, wanted = (
        grad(lambda x, f=f: grad(lambda y: f(y, weight).sin().sum())(x).square().sum())(x)
        for f in (ganops.minibatch_discrimination, written_out)
    )
    torch.testing.assert_close(mine, wanted)


@pytest.mark.compile
def test_compiled(device):
    torch._dynamo.reset()
    x, weight = inputs(device=device)
    compiled = torch.compile(ganops.minibatch_discrimination, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, weight), written_out(x, weight))
    leaves = x.requires_grad_(), weight.requires_grad_()
    found = [torch.autograd.grad(f(x, weight).square().sum(), leaves) for f in (compiled, written_out)]
    torch.testing.assert_close(*found)


def test_a_collapsed_batch_is_seen(device):
    x, weight = inputs(8, 4, 3, 2, device=device)
    collapsed = x[:1].expand_as(x)
    assert (ganops.minibatch_discrimination(collapsed, weight) == 7).all()
    assert ganops.minibatch_discrimination(x, weight).max() < 7


def test_memory_does_not_grow_with_the_inner_dimension():
    """What autograd keeps is of the size of M, N·B·C; the formula written out keeps several of size N·N·B·C."""
    x, weight = (t.requires_grad_() for t in inputs(32, 8, 4, 64, torch.float32))
    kept = []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        ganops.minibatch_discrimination(x, weight)
    assert max(kept) <= 32 * 4 * 64
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        written_out(x, weight)
    assert max(kept) == 32 * 32 * 4 * 64


def test_the_two_maps_are_transposes():
    m, t = torch.randn(2, 5, 3, 2, dtype=torch.float64)
    g = torch.randn(5, 5, 3, dtype=torch.float64)

    torch.testing.assert_close((_Pairs.apply(m, t) * g).sum(), (t * _PairsTransposed.apply(m, g)).sum())


def test_empty_batch(device):
    assert ganops.minibatch_discrimination(*inputs(0, 4, 3, 2, device=device)).shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "weight", "error", "text"),
    [
        (torch.zeros(3, 4), torch.zeros(5, 2, 2), ValueError, r"got \(3, 4\) and \(5, 2, 2\)"),
        (torch.zeros(3, 4, 1), torch.zeros(4, 2, 2), ValueError, r"x must be \(N, A\)"),
        (torch.zeros(3, 4), torch.zeros(4, 2, 2).double(), TypeError, "same dtype"),
        ([1.0], torch.zeros(4, 2, 2), TypeError, "x must be a tensor"),
    ],
)
def test_wrong_input_is_named(x, weight, error, text):
    with pytest.raises(error, match=text):
        ganops.minibatch_discrimination(x, weight)


def test_module():
    module = ganops.nn.MinibatchDiscrimination(4, kernels=3, dimensions=2).double()
    x, _ = inputs()
    result = module(x)
    assert torch.equal(result[:, :4], x)
    assert torch.equal(result[:, 4:], ganops.minibatch_discrimination(x, module.weight))
    assert "kernels=3" in repr(module)
    with pytest.raises(ValueError, match="kernels must be at least 1, got 0"):
        ganops.nn.MinibatchDiscrimination(4, kernels=0)
