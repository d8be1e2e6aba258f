"""Packing: consecutive samples become the channels of one."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import ganops


def test_points_by_hand(device):
    x = torch.arange(8.0, device=device).reshape(4, 2)
    assert ganops.pack(x, 2).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert ganops.pack(x, 4).tolist() == [list(range(8))]
    assert torch.equal(ganops.pack(x, 1), x)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_images_are_stacked_as_channels(device, memory_format):
    x = torch.randn(6, 3, 4, 5, device=device).to(memory_format=memory_format)
    packed = ganops.pack(x, 2)
    assert packed.shape == (3, 6, 4, 5)
    for i in range(3):
        assert torch.equal(packed[i], torch.cat([x[2 * i], x[2 * i + 1]]))


def test_a_view_where_the_layout_allows():
    x = torch.randn(4, 3, 2, 2)
    assert ganops.pack(x, 2).data_ptr() == x.data_ptr()


def test_labels_keep_their_dtype():
    labels = torch.arange(6)
    assert ganops.pack(labels[:, None], 3).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_differentiable(device):
    x = torch.randn(4, 3, dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(lambda x: ganops.pack(x, 2).sin(), x)
    assert gradgradcheck(lambda x: ganops.pack(x, 2).sin(), x)


@pytest.mark.parametrize(
    ("x", "degree", "error", "text"),
    [
        (torch.zeros(5, 2), 2, ValueError, "a batch of 5 cannot be divided into packs of 2; use .* multiple of 2"),
        (torch.zeros(4), 2, ValueError, r"x must be \(N, F\)"),
        (torch.zeros(4, 2), 0, ValueError, "degree must be at least 1, got 0"),
        (torch.zeros(4, 2), 2.0, TypeError, "degree must be a whole number, got float"),
        ([1, 2], 2, TypeError, "x must be a tensor, got list"),
    ],
)
def test_wrong_input_is_named(x, degree, error, text):
    with pytest.raises(error, match=f"pack: {text}"):
        ganops.pack(x, degree)
