"""Differentiable augmentation: each change as its definition says, another one for every image, gradients through."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import ganops


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def augmented(x, policy, seed=0):
    return ganops.diff_augment(x, policy, generator=generator(seed))


def draws(n, seed=0):
    return torch.rand(n, 7, generator=generator(seed)).double()


def test_colour_is_brightness_saturation_contrast(device):
    x = torch.randn(6, 3, 5, 4, dtype=torch.float64, device=device)
    result = augmented(x, "color")
    for image, changed, u in zip(x, result, draws(6).to(device), strict=True):
        wanted = image + (u[0] - 0.5)
        grey = wanted.mean(0)
        wanted = grey + (wanted - grey) * 2 * u[1]
        wanted = wanted.mean() + (wanted - wanted.mean()) * (u[2] + 0.5)
        torch.testing.assert_close(changed, wanted)


def test_translation_moves_by_up_to_an_eighth(device):
    x = 1 + torch.rand(64, 2, 16, 24, device=device)
    result = augmented(x, "translation")
    seen = set()
    for image, moved in zip(x, result, strict=True):
        fits = []
        for dy in range(-2, 3):
            for dx in range(-3, 4):
                wanted = torch.zeros_like(image)
                h, w = 16 - abs(dy), 24 - abs(dx)
                wanted[:, max(0, -dy) :][:, :h, max(0, -dx) :][:, :, :w] = image[:, max(0, dy) :][:, :h, max(0, dx) :][
                    :, :, :w
                ]
                if torch.equal(moved, wanted):
                    fits.append((dy, dx))
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) > 15  # of 35, and both directions of both axes
    assert {min(dy for dy, _ in seen), max(dy for dy, _ in seen)} == {-2, 2}
    assert {min(dx for _, dx in seen), max(dx for _, dx in seen)} == {-3, 3}


def test_cutout_takes_out_a_box(device):
    x = 1 + torch.rand(200, 2, 16, 9, device=device)
    result = augmented(x, "cutout")
    hole = result == 0
    assert torch.equal(hole[:, 0], hole[:, 1])
    assert torch.equal(result[~hole], x[~hole])
    heights, widths = hole[:, 0].any(2).sum(1), hole[:, 0].any(1).sum(1)
    assert torch.equal(hole[:, 0].sum((1, 2)), heights * widths)  # a box
    assert (heights.max(), widths.max()) == (8, 5)
    assert (heights.min(), widths.min()) == (4, 3)  # its middle on the edge: half of it is outside


def test_every_image_has_its_own_draw_and_a_seed_repeats_it(device):
    x = torch.randn(1, 3, 16, 16, device=device).expand(12, 3, 16, 16)
    result = ganops.diff_augment(x)
    assert len({tuple(image.flatten().tolist()) for image in result}) == 12
    assert torch.equal(augmented(x, "color,translation,cutout", 3), augmented(x, "color,translation,cutout", 3))
    assert not torch.equal(augmented(x, "color", 3), augmented(x, "color", 4))


def test_policies_apply_in_order(device):
    x = torch.randn(8, 1, 16, 16, device=device)
    # A hole after the colours is 0; before them it is not.
    assert (augmented(x, "color,cutout") == 0).any()
    assert not (augmented(x, "cutout, color") == 0).any()
    assert torch.equal(augmented(x, ""), x)


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", "color,translation,cutout"])
def test_differentiable_twice(policy, device):
    x = torch.randn(3, 2, 5, 6, dtype=torch.float64, device=device, requires_grad=True)
    assert gradcheck(lambda x: augmented(x, policy).sin(), x)
    assert gradgradcheck(lambda x: augmented(x, policy).sin(), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_and_layouts(dtype, device):
    x = torch.randn(5, 3, 12, 10, dtype=torch.float64, device=device)
    wanted = augmented(x.to(dtype).double(), "color,translation,cutout")
    for low in (x.to(dtype), x.to(dtype).to(memory_format=torch.channels_last)):
        result = augmented(low, "color,translation,cutout")
        assert result.dtype == dtype
        torch.testing.assert_close(result.double(), wanted, rtol=4 * torch.finfo(dtype).eps, atol=1e-5)


def test_empty_and_odd(device):
    assert ganops.diff_augment(torch.empty(0, 1, 4, 4, device=device)).shape == (0, 1, 4, 4)
    assert ganops.diff_augment(torch.ones(2, 1, 1, 3, device=device)).shape == (2, 1, 1, 3)


@pytest.mark.parametrize(
    ("x", "policy", "error", "text"),
    [
        (torch.zeros(2, 3, 4, 4), "colour", ValueError, "policy 'colour' is unknown .did you mean 'color'"),
        (torch.zeros(2, 3), "color", ValueError, r"images \(N, C, H, W\), got shape \(2, 3\)"),
        (torch.zeros(2, 3, 4, 4), None, TypeError, "policy must be text"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "color", TypeError, "floating-point"),
    ],
)
def test_wrong_input_is_named(x, policy, error, text):
    with pytest.raises(error, match=text):
        ganops.diff_augment(x, policy)
