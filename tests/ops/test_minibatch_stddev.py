"""Minibatch standard deviation: within groups, one number per group, the same at every pixel."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import ganops


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
