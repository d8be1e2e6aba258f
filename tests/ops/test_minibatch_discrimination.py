"""Minibatch discrimination against its formula written out, to any order, and in bounded memory."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad

import ganops
from ganops.reference.minibatch_discrimination import _Pairs, _PairsTransposed


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


@pytest.mark.parametrize("shape", [(1, 2, 3, 2), (2, 1, 1, 1), (7, 5, 4, 3), (64, 16, 8, 4)], ids=str)
@pytest.mark.parametrize("slice_size", [1, 100, 1 << 22])
def test_against_the_formula(shape, slice_size, device, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["ganops.reference.minibatch_discrimination"], "_SLICE", slice_size)
    x, weight = (t.requires_grad_() for t in inputs(*shape, device=device))
    result = ganops.minibatch_discrimination(x, weight)
    wanted = written_out(x, weight)
    torch.testing.assert_close(result, wanted)
    upstream = torch.randn_like(wanted)
    torch.testing.assert_close(*(torch.autograd.grad(r, (x, weight), upstream) for r in (result, wanted)))


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


def test_a_collapsed_batch_is_seen(device):
    x, weight = inputs(8, 4, 3, 2, device=device)
    collapsed = x[:1].expand_as(x)
    assert (ganops.minibatch_discrimination(collapsed, weight) == 7).all()
    assert ganops.minibatch_discrimination(x, weight).max() < 7


def test_memory_does_not_grow_with_the_inner_dimension():
    """What autograd keeps is of size N·N·B; the formula written out keeps several of size N·N·B·C."""
    x, weight = (t.requires_grad_() for t in inputs(32, 8, 4, 64, torch.float32))
    kept = []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        ganops.minibatch_discrimination(x, weight)
    assert max(kept) <= max(32 * 32 * 4, 32 * 4 * 64)
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
