"""Minibatch standard deviation: within groups, one number per group, the same at every pixel."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import ganops

from .properties import given, st


def test_by_hand(device):
    # Groups of two out of four: samples 0 and 2, 1 and 3. Deviations 1 and 2 in the first, 0 and 4 in the second.
    x = torch.tensor([[0.0, 0], [5, 1], [2, 4], [5, 9]], device=device)
    wanted = torch.tensor([1.5, 2, 1.5, 2], device=device)
    result = ganops.minibatch_stddev(x, 2)
    assert torch.equal(result[:, :2], x)
    torch.testing.assert_close(result[:, 2], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 5), (8, 3, 4, 6), (4, 2, 3), (2, 3, 5, 5)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_against_numbers_group_by_group(shape, dtype, device):
    x = torch.randn(shape, dtype=torch.float64, device=device).to(dtype)
    result = ganops.minibatch_stddev(x)
    assert result.shape == (shape[0], shape[1] + 1, *shape[2:])
    assert result.dtype == dtype
    groups = max(1, shape[0] // 4)
    for g in range(groups):
        members = x[g::groups].double()
        wanted = members.std(0, correction=0).mean()
        column = result[g::groups, -1].double()
        assert column.unique().numel() == 1  # tiled over the pixels and the group: no other axis
        torch.testing.assert_close(column.flatten()[0], wanted, rtol=4 * torch.finfo(dtype).eps, atol=2e-4)


def test_a_collapsed_batch_has_none_and_no_nan(device):
    x = torch.ones(8, 3, device=device, requires_grad=True)
    result = ganops.minibatch_stddev(x)
    assert result[:, 3].max() <= 1e-4
    (gradient,) = torch.autograd.grad(result.sum(), x)
    assert gradient.isfinite().all()


def test_differentiable_twice(device):
    x = torch.randn(4, 2, 3, dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(lambda x: ganops.minibatch_stddev(x, 2), x)
    assert gradgradcheck(lambda x: ganops.minibatch_stddev(x, 2), x)


def derivatives(module, x, group, upstream, tangent):
    """Value, gradient and both second derivatives."""
    x, upstream = x.detach().requires_grad_(), upstream.detach().requires_grad_()
    value = module.minibatch_stddev(x, group)
    (first,) = torch.autograd.grad(value, x, upstream, create_graph=True)
    return value, first, *torch.autograd.grad(first, (x, upstream), tangent)


def close(found, wanted, dtype):
    for got, exact in zip(found, wanted, strict=True):
        limit = 40 * torch.finfo(dtype).eps * exact.abs().max().item()
        torch.testing.assert_close(got.double(), exact, rtol=0, atol=max(limit, 1e-30))


# Groups of four in vectors, with tails summed by each warp or before; and what does not fit vectors.
SHAPES = [((8, 8, 4, 4), 4), ((4, 2, 16, 20), 4), ((12, 5, 4, 4), 3), ((8, 3, 5, 7), 8), ((4, 3, 2, 4, 4), 4)]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "group"), SHAPES, ids=str)
def test_derivatives_in_planes_and_with_channels_last(shape, group, dtype, layout, device):
    last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    memory_format = last if layout == "channels_last" else torch.contiguous_format
    x, tangent = (torch.randn(shape, device=device).to(dtype).to(memory_format=memory_format) for _ in range(2))
    upstream = torch.randn(shape[0], shape[1] + 1, *shape[2:], device=device).to(dtype)
    found = derivatives(ganops, x, group, upstream, tangent)
    wanted = derivatives(ganops.reference, x.double(), group, upstream.double(), tangent.double())
    close(found, wanted, dtype)
    if layout == "channels_last":
        assert all(v.is_contiguous(memory_format=last) for v in found)


@given(count=st.integers(1, 4), group=st.integers(1, 9), features=st.integers(1, 40), pixels=st.integers(1, 9))
def test_any_sizes(count, group, features, pixels):
    torch.manual_seed(0)
    x, tangent = torch.randn(2, count * group, features, pixels)
    upstream = torch.randn(count * group, features + 1, pixels)
    found = derivatives(ganops, x, group, upstream, tangent)
    wanted = derivatives(ganops.reference, x.double(), group, upstream.double(), tangent.double())
    # Two samples: σ = |c|, of which the second derivative is 0 but for ε, and nothing but rounding is left.
    kept = (0, 1, 3) if group == 2 else range(4)
    close([found[i] for i in kept], [wanted[i] for i in kept], torch.float32)


def test_samples_alike_have_finite_derivatives(device):
    """√ε under the deviation: gradient 0, and a second derivative that is large but a number."""
    x = torch.randn(1, 3, 4, 4, device=device).expand(4, 3, 4, 4).contiguous()
    upstream, tangent = torch.ones(4, 4, 4, 4, device=device), torch.randn(4, 3, 4, 4, device=device)
    value, first, second, _ = derivatives(ganops, x, 4, upstream, tangent)
    torch.testing.assert_close(value[:, 3], torch.full_like(value[:, 3], 1e-4))
    torch.testing.assert_close(first, torch.ones_like(first))
    exact = derivatives(ganops.reference, x.double(), 4, upstream.double(), tangent.double())[2]
    torch.testing.assert_close(second.double(), exact, rtol=1e-4, atol=1e-4)


def test_means_far_from_zero_lose_nothing_to_squares(device):
    """E x² − (E x)² would have no digit left."""
    x = 4096 + torch.randn(8, 3, 4, 4, dtype=torch.float64, device=device).mul_(64).round_().div_(64)
    got, exact = (ganops.minibatch_stddev(v)[:, 3] for v in (x.float(), x))
    torch.testing.assert_close(got.double(), exact, rtol=1e-5, atol=0)


def test_empty_and_small_batches(device):
    assert ganops.minibatch_stddev(torch.empty(0, 3, device=device)).shape == (0, 4)
    assert torch.equal(ganops.minibatch_stddev(torch.ones(1, 2, device=device))[:, 2:].round(), torch.zeros(1, 1))


@pytest.mark.parametrize(
    ("x", "size", "error", "text"),
    [
        (torch.zeros(6, 2), 4, ValueError, "a batch of 6 cannot be divided into groups of 4; choose .* of 2, 3, 6"),
        (torch.zeros(6), 2, ValueError, r"x must be \(N, F\)"),
        (torch.zeros(6, 2), 0, ValueError, "group_size must be at least 1"),
        (torch.zeros(6, 2, dtype=torch.int64), 2, TypeError, "floating-point"),
    ],
)
def test_wrong_input_is_named(x, size, error, text):
    with pytest.raises(error, match=text):
        ganops.minibatch_stddev(x, size)


def test_module():
    module = ganops.nn.MinibatchStddev(2)
    x = torch.randn(4, 3)
    assert torch.equal(module(x), ganops.minibatch_stddev(x, 2))
    assert "group_size=2" in repr(module)
