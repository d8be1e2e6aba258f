"""Differentiable augmentation: each change as its definition says, another one for every image, gradients through."""

import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

import ganops
from ganops import reference

from .scale import EMULATED


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
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, device=device, requires_grad=True)
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


@pytest.mark.parametrize("policy", ["translation,cutout", "color,translation,cutout"])
@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [
        ((2, 3, 101, 71), torch.contiguous_format),
        ((2, 3, 101, 71), torch.channels_last),
        ((1, 3, 16, 3001), torch.contiguous_format),  # a row is more than a buffer
        ((4, 1, 101, 71), torch.contiguous_format),
    ],
    ids=str,
)
def test_several_buffers(shape, memory_format, policy, device):
    x = torch.randn(shape, device=device).to(memory_format=memory_format).requires_grad_()
    upstream, u = torch.randn_like(x), torch.rand(shape[0], 7, device=device)
    found, wanted = (
        (y, *torch.autograd.grad(y, x, upstream))
        for y in (module.diff_augment(x, policy, parameters=u) for module in (ganops, reference))
    )
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_empty_and_odd(device):
    assert ganops.diff_augment(torch.empty(0, 1, 4, 4, device=device)).shape == (0, 1, 4, 4)
    assert ganops.diff_augment(torch.ones(2, 1, 1, 3, device=device)).shape == (2, 1, 1, 3)


# ------------------------------------------------------------------------------------------------- the distribution

IMAGES = 2_000 if EMULATED else 20_000


def ks(sample, low, high):
    """Kolmogorov–Smirnov distance from U[low, high), times √n: below 1.95 with probability 0.999."""
    places = (sample.double().sort().values - low) / (high - low)
    n = len(places)
    steps = torch.arange(1, n + 1) / n
    return max((steps - places).max().item(), (places - steps + 1 / n).max().item()) * math.sqrt(n)


def assert_equally_likely(found, values):
    """χ² of whole numbers against equal shares of ``values``: within 5 standard deviations of its mean."""
    values = list(values)
    assert set(found.tolist()) == set(values)
    expected = len(found) / len(values)
    squares = sum(((found == value).sum().item() - expected) ** 2 / expected for value in values)
    freedom = len(values) - 1
    assert squares <= freedom + 5 * math.sqrt(2 * freedom)


def test_colours_are_distributed_as_published(device):
    """Offset U[−½, ½), saturation U[0, 2), contrast U[½, 3/2), as the paper's code draws them, each on its own."""
    # Channels (1, −1) at one pixel and (3, 1) at the other: three unknowns in the image's four numbers.
    x = torch.tensor([[1.0, 3.0], [-1.0, 1.0]], device=device).reshape(1, 2, 1, 2).expand(IMAGES, 2, 1, 2)
    y = ganops.diff_augment(x, "color", generator=generator(1)).cpu().double().flatten(2)
    grey = y.mean(1)
    contrast = (grey[:, 1] - grey[:, 0]) / 2
    saturation = (y[:, 0, 0] - y[:, 1, 0]) / 2 / contrast
    brightness = y.mean((1, 2)) - 1
    for found, low, high in ((brightness, -0.5, 0.5), (saturation, 0, 2), (contrast, 0.5, 1.5)):
        assert ks(found, low, high) < 1.95
    together = torch.corrcoef(torch.stack([brightness, saturation, contrast]))
    assert (together - torch.eye(3)).abs().max() < 5 / math.sqrt(IMAGES)


@pytest.mark.parametrize(("height", "width"), [(8, 12), (7, 16), (4, 3)])
def test_moves_are_distributed_as_published(height, width, device):
    """Each whole number from −m to m is as likely as any other, m the nearest to an eighth of the side."""
    rows, columns = torch.arange(1.0, height + 1), torch.arange(1.0, width + 1)
    x = (rows[:, None] * 100 + columns).expand(IMAGES, 1, height, width).to(device)
    moved = ganops.diff_augment(x, "translation", generator=generator(2)).cpu()[:, 0]
    centre = moved[:, height // 2, width // 2]
    for found, side, middle in ((centre // 100, height, height // 2), (centre % 100, width, width // 2)):
        most = int(side / 8 + 0.5)
        assert_equally_likely(found.long() - 1 - middle, range(-most, most + 1))


@pytest.mark.parametrize(("height", "width"), [(8, 6), (5, 7), (2, 3), (1, 4)])
def test_holes_are_distributed_as_published(height, width, device):
    """The published code draws an offset from 0 to the side, that one included for holes of even length, puts half a
    hole before it, and clamps what lies outside to the edge."""
    x = torch.ones(1, 1, height, width, device=device).expand(IMAGES, 1, height, width)
    left = ganops.diff_augment(x, "cutout", generator=generator(3)).cpu()[:, 0] == 0
    for along, side in ((left.any(2), height), (left.any(1), width)):
        length = int(side / 2 + 0.5)
        expected = {}  # places as bits, and how many of the offsets lead there
        for offset in range(side + 1 - length % 2):
            hole = sum(1 << place for place in {min(max(offset - length // 2 + k, 0), side - 1) for k in range(length)})
            expected[hole] = expected.get(hole, 0) + 1
        values, counts = (along.long() << torch.arange(side)).sum(1).unique(return_counts=True)
        assert set(values.tolist()) == set(expected)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            share = expected[value] / sum(expected.values())
            assert abs(count / IMAGES - share) <= 5 * math.sqrt(share * (1 - share) / IMAGES)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_each_change_is_made_with_probability_p(as_tensor, device):
    x = torch.randn(4000 if not EMULATED else 1000, 2, 4, 8, device=device)
    p = torch.tensor(0.3) if as_tensor else 0.3
    for policy in ("color", "translation", "cutout"):
        changed = (ganops.diff_augment(x, policy, generator=generator(4), p=p) != x).flatten(1).any(1)
        # A move by nothing changes nothing: one in three along a side of 4 or 8.
        share = 0.3 * (1 - 1 / 9 if policy == "translation" else 1)
        assert abs(changed.float().mean().item() - share) < 5 * math.sqrt(share * (1 - share) / len(x))
    assert torch.equal(ganops.diff_augment(x, p=0.0), x), "to the bit"


def test_the_changes_are_chosen_one_by_one(device):
    u = ganops.nn.DiffAugment(p=0.5).draw(torch.empty(IMAGES, 1, 1, 1, device=device), generator(5)).cpu()
    made = torch.stack([(u[:, a:b] != unchanged).all(1) for a, b, unchanged in ((0, 3, 0.5), (3, 5, 0.5), (5, 7, -1))])
    counts = (made.long() * torch.tensor([[1], [2], [4]])).sum(0)
    assert_equally_likely(counts, range(8))


# ------------------------------------------------------------------------------------------------- parameters


def test_parameters_replay(device):
    module = ganops.nn.DiffAugment("color,translation,cutout")
    x = torch.randn(6, 3, 16, 16, device=device)
    result, parameters = module(x, return_parameters=True)
    assert parameters.shape == (6, 7)
    assert torch.equal(module(x, parameters), result)
    assert torch.equal(ganops.diff_augment(x, parameters=parameters), result)
    torch.testing.assert_close(reference.diff_augment(x, parameters=parameters), result)
    again = module(x[2:4], parameters[2:4])
    assert torch.equal(again, result[2:4]), "an image's numbers are its own"


def test_the_module_draws_anew_and_is_switched_off(device):
    module = ganops.nn.DiffAugment()
    x = torch.randn(2, 3, 8, 8, device=device)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module(x, module.draw(x, generator(1))), ganops.diff_augment(x, generator=generator(1)))
    assert repr(module) == "DiffAugment('color,translation,cutout', p=1.0)"
    strength = ganops.nn.DiffAugment("color", p=torch.zeros((), device=device))
    assert torch.equal(strength(x), x)
    strength.p.fill_(1)
    assert not torch.equal(strength(x), x)
    assert list(strength.state_dict()) == ["p"]
    critic = nn.Sequential(module, nn.Flatten(), nn.Linear(192, 1).to(device))
    assert critic(x).shape == (2, 1)


def test_wild_parameters_stay_inside_of_memory(device):
    """Whatever the numbers are: nothing is left of an image that was moved by more than its side."""
    x = torch.randn(5, 1, 6, 7, device=device)
    for number in (1e30, -1e30, math.inf, -math.inf, math.nan, 40.0):
        u = torch.full((5, 7), number, device=device)
        y = ganops.diff_augment(x.requires_grad_(), "translation,cutout", parameters=u)
        assert not y.any()
        assert not torch.autograd.grad(y.sum(), x)[0].any()


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_pixel_that_is_no_number_spoils_its_own_image_alone(value, module, device):
    for channels in (1, 3):
        x, u = torch.randn(3, channels, 5, 6, device=device), torch.rand(3, 7, device=device)
        clean = module.diff_augment(x, "color", parameters=u)
        x[1, 0, 2, 3] = value
        y = module.diff_augment(x, "color", parameters=u)
        assert not y[1].isfinite().any()
        assert torch.equal(y[::2], clean[::2])
        moved = module.diff_augment(x, "translation", parameters=u)
        assert (~moved.isfinite()).sum() == (~moved[1, 0].isfinite()).sum() <= 1


def test_moves_do_not_depend_on_the_dtype(device):
    """A number just below a whole multiple: in float32 the product would round up to it."""
    u = torch.full((1, 7), 0.5)
    below = 1 - 2**-24
    u[0, 3:5] = below
    x = torch.rand(1, 1, 64, 64, device=device) + 1
    for dtype in (torch.float16, torch.float32, torch.float64):
        y = ganops.diff_augment(x.to(dtype), "translation", parameters=u.to(device))
        assert torch.equal(y[..., :-8, :-8], x.to(dtype)[..., 8:, 8:])
        assert not y[..., -8:, :].any()


@pytest.mark.parametrize("policy", ["cutout,color", "translation,color,color", "cutout,translation", "color"])
def test_every_order_is_that_of_the_reference(policy, device):
    x = torch.randn(4, 3, 9, 8, dtype=torch.float64, device=device, requires_grad=True)
    above = torch.randn(4, 3, 9, 8, dtype=torch.float64, device=device)
    u = draws(4).to(device)
    found, wanted = (
        (y, torch.autograd.grad(y, x, above)[0])
        for y in (module.diff_augment(x, policy, parameters=u) for module in (ganops, reference))
    )
    torch.testing.assert_close(found, wanted)


def test_the_backward_is_the_adjoint(device):
    """⟨A·x, g⟩ = ⟨x, Aᵀ·g⟩, and the second derivative with respect to g is A again."""
    x, g, t = torch.randn(3, 2, 3, 10, 12, dtype=torch.float64, device=device).unbind()
    u = draws(2).to(device)
    x.requires_grad_(), g.requires_grad_()
    y = ganops.diff_augment(x, parameters=u)
    linear = y - ganops.diff_augment(torch.zeros_like(x), parameters=u)
    (back,) = torch.autograd.grad(y, x, g, create_graph=True)
    torch.testing.assert_close((linear * g).sum(), (x * back).sum())
    (again,) = torch.autograd.grad(back, g, t)
    torch.testing.assert_close(again, ganops.diff_augment(t, parameters=u) - y + linear)


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
    for function in (ganops.diff_augment, reference.diff_augment, lambda x, policy: ganops.nn.DiffAugment(policy)(x)):
        with pytest.raises(error, match=text):
            function(x, policy)


U = torch.zeros(2, 7)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"parameters": U, "generator": torch.Generator()}, ValueError, "give parameters, or generator and p"),
        ({"parameters": U, "p": 0.5}, ValueError, "give parameters, or generator and p"),
        ({"parameters": U[:1]}, ValueError, r"7 numbers per image, shape \(2, 7\), got \(1, 7\)"),
        ({"parameters": U.long()}, TypeError, "parameters must be a floating-point tensor"),
        ({"parameters": [0.5]}, TypeError, "parameters must be a tensor, got list"),
        ({"parameters": U.clone().requires_grad_()}, ValueError, r"pass parameters.detach\(\)"),
        ({"parameters": U.to("meta")}, ValueError, r"parameters \(meta\) and x \(cpu\) must be on one device"),
        ({"p": 1.5}, ValueError, "p must be a probability, at most 1, got 1.5"),
        ({"p": -0.5}, ValueError, "p must be finite and at least 0"),
        ({"p": "often"}, TypeError, "p must be a number, got str"),
        ({"p": torch.ones(2)}, ValueError, r"p must be one number, got shape \(2,\)"),
    ],
)
def test_wrong_settings_are_named(settings, error, text):
    for module in (ganops, reference):
        with pytest.raises(error, match=f"diff_augment: .*{text}"):
            module.diff_augment(torch.zeros(2, 3, 4, 4), **settings)
