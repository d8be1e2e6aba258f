import math

import numpy as np
import pytest
import torch
from PIL import Image

from ganops import data


def test_ring_has_eight_distinct_modes_evenly_spaced():
    centres = data.ring8(size=8).centres
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(8))
    gaps = torch.cdist(centres, centres).fill_diagonal_(9).amin(dim=1)
    # Neighbours on the circle are 2 sin(pi/8) apart; with linspace(0, 2 pi, 8) one gap would be 0.
    torch.testing.assert_close(gaps, torch.full((8,), 2 * math.sin(math.pi / 8)))


def test_grid_centres_are_those_of_pacgan():
    centres = {tuple(c) for c in data.grid25(size=25).centres.tolist()}
    assert centres == {(x, y) for x in (-4.0, -2.0, 0.0, 2.0, 4.0) for y in (-4.0, -2.0, 0.0, 2.0, 4.0)}


@pytest.mark.parametrize(("name", "modes", "sigma"), [("ring8", 8, 0.01), ("grid25", 25, 0.05)])
def test_mixtures_have_their_sigma_and_even_shares(name, modes, sigma):
    mixture = data.load(name)
    assert mixture.samples.shape == (100_000, 2)
    assert mixture.num_modes == modes
    residual = mixture.samples - mixture.centres[mixture.labels]
    # Standard error of a standard deviation from n draws: sigma / sqrt(2 n), n = 200,000 coordinates; 5 of them.
    assert residual.std().item() == pytest.approx(sigma, rel=5 / math.sqrt(2 * 200_000))
    assert residual.mean().item() == pytest.approx(0, abs=5 * sigma / math.sqrt(200_000))
    shares = torch.bincount(mixture.labels, minlength=modes) / 100_000
    assert (shares - 1 / modes).abs().max() < 5 * math.sqrt(1 / modes / 100_000)


def test_swiss_roll_lies_about_its_curve_and_fills_its_arcs_evenly():
    roll = data.load("swiss_roll")
    assert roll.num_modes == 20
    distance, nearest = torch.cdist(roll.samples[:5000], roll.centres).min(dim=1)
    # The distance to a curve is the normal component of the noise: |N(0, sigma^2)|, mean sigma sqrt(2/pi).
    assert distance.mean().item() == pytest.approx(roll.sigma * math.sqrt(2 / math.pi), rel=0.05)
    shares = torch.bincount(roll.centre_mode[nearest], minlength=20) / 5000
    assert (shares - 0.05).abs().max() < 0.02


@pytest.mark.parametrize(
    ("name", "count", "side", "ink"), [("mnist", 5000, 28, (0.05, 0.25)), ("digits", 1797, 8, (0.2, 0.4))]
)
def test_images_are_real_digits_in_the_range_of_tanh(name, count, side, ink):
    images = data.load(name)
    assert images.samples.shape == (count, 1, side, side)
    assert images.samples.dtype == torch.float32
    assert (images.samples.min(), images.samples.max()) == (-1, 1)
    assert images.labels.unique().tolist() == list(range(10))
    mean = (images.samples.mean().item() + 1) / 2
    assert ink[0] < mean < ink[1]  # white on black, and not scaled twice
    # Nearest class mean is a poor classifier and right far more often than chance: images and labels belong together.
    means = torch.stack([images.samples[images.labels == k].mean(dim=0) for k in range(10)]).flatten(1)
    guess = torch.cdist(images.samples.flatten(1), means).argmin(dim=1)
    assert (guess == images.labels).float().mean() > 0.7


def test_data_is_the_same_every_time():
    torch.manual_seed(1)
    first = data.load("grid25").samples
    torch.manual_seed(2)
    assert torch.equal(first, data.load("grid25").samples)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        ValueError,
        match=r"'minst' is unknown \(did you mean 'mnist'\?\); choose one of digits, emoji, folder:, gaussian1d",
    ):
        data.load("minst")


def test_labels_are_the_components_of_the_mixture():
    grid = data.load("grid9")
    assert (grid.num_modes, grid.classes) == (9, 9)
    assert torch.equal(torch.cdist(grid.samples[:2000], grid.centres).argmin(dim=1), grid.labels[:2000])
    roll = data.load("swiss_roll")
    assert roll.classes == roll.num_modes == 20


def test_gaussian_on_the_line():
    line = data.gaussian1d()
    assert (line.shape, line.kind) == ((1,), "points")
    assert line.samples.mean().item() == pytest.approx(2, abs=5 / math.sqrt(len(line)))
    assert line.samples.std().item() == pytest.approx(1, rel=5 / math.sqrt(2 * len(line)))
    wide = data.load("gaussian1d?mean=-1&sigma=3")
    assert wide.samples.mean().item() == pytest.approx(-1, abs=15 / math.sqrt(len(line)))
    assert wide.sigma == 3


def test_stacked_digits_spell_their_label():
    stacked, single = data.stacked_mnist(size=3000), data.mnist()
    assert stacked.shape == (3, 28, 28)
    assert stacked.classes == 1000
    # Each channel is a digit of the data set: find it, and read its label.
    flat = single.samples.flatten(1)
    spelled = torch.zeros(300, dtype=torch.int64)
    for channel in range(3):
        distance, nearest = torch.cdist(stacked.samples[:300, channel].flatten(1), flat).min(dim=1)
        assert distance.max() < 0.1
        spelled = 10 * spelled + single.labels[nearest]
    assert torch.equal(spelled, stacked.labels[:300])
    # 3,000 draws of 1,000 equally likely numbers leave about 1000 e^-3 = 50 out (standard deviation 6.3).
    assert len(stacked.labels.unique()) == pytest.approx(950, abs=32)


def test_stacked_digits_follow_the_seed():
    assert torch.equal(data.stacked_mnist(50, seed=1).samples, data.stacked_mnist(50, seed=1).samples)
    assert not torch.equal(data.stacked_mnist(50, seed=1).labels, data.stacked_mnist(50, seed=2).labels)


def tensors(dataset):
    fields = ("samples", "labels", "conditions", "centres", "centre_mode", "modes")
    return {name: getattr(dataset, name) for name in fields if getattr(dataset, name) is not None}


@pytest.mark.parametrize(
    "name",  # without `emoji`, whose images become a tensor as those of a folder do
    [
        *(name for name in data.SOURCES if name not in ("emoji", "patches")),
        "patches?count=20",
        "folder:{folder}?labels=folders",
    ],
)
def test_data_do_not_depend_on_torchs_defaults(name, tmp_path, request):
    for i in range(12):
        (tmp_path / f"{i % 3}").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (20 * i, 0, 255)).save(tmp_path / f"{i % 3}" / f"{i}.png")
    name = name.format(folder=tmp_path)
    usual = data.load(name)
    request.getfixturevalue("other_defaults")
    other = data.load(name)
    for (field, expected), found in zip(tensors(usual).items(), tensors(other).values(), strict=True):
        assert (found.dtype, found.device, field) == (expected.dtype, expected.device, field)
        assert torch.equal(found, expected)
    assert torch.equal(other.split()[1].samples, usual.samples[9::10])


def test_numpy_scalars_are_numbers():
    dataset = data.ring8(size=np.int64(50), seed=np.uint32(3), scale=np.float32(2))
    assert torch.equal(dataset.samples, data.ring8(50, 3, 2.0).samples)
    line = data.gaussian1d(mean=np.float64(1), sigma=np.float16(0.5), size=np.int8(5))
    assert (len(line), line.sigma) == (5, 0.5)
    assert torch.equal(data.patches(np.int64(8), np.int32(3)).samples, data.patches(8, 3).samples)
    assert len(data.stacked_mnist(np.int64(7))) == 7


@pytest.mark.parametrize("name", ["mnist_outline", "mnist_half"])
def test_pairs_lie_one_by_one(name):
    pairs = data.load(name)
    assert pairs.conditions.shape == pairs.samples.shape
    assert pairs.conditions.dtype == torch.float32
    assert torch.equal(pairs.samples, data.mnist().samples)
    assert torch.equal(pairs.labels, data.mnist().labels)


def test_an_outline_is_the_edge_of_the_ink():
    pairs = data.mnist_outline()
    outline, ink = pairs.conditions > 0, pairs.samples > 0
    assert (pairs.conditions.abs() == 1).all()
    assert not (outline & ~ink).any()  # it lies within the ink
    # Every pixel of ink that touches paper belongs to it, and no other does.
    paper = torch.nn.functional.pad(~ink, (1, 1, 1, 1), value=False).float()
    touches = torch.nn.functional.max_pool2d(paper, 3, stride=1) > 0
    assert torch.equal(outline, ink & touches)
    assert 0.3 < outline.sum() / ink.sum() < 0.95


def test_a_half_shows_the_upper_rows_alone():
    pairs = data.mnist_half()
    assert torch.equal(pairs.conditions[:, :, :14], pairs.samples[:, :, :14])
    assert (pairs.conditions[:, :, 14:] == 0).all()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ring8?size", "option 'size' has no value; write size=VALUE"),
        ("ring8?size=many", "option size must be a whole number, got 'many'"),
        ("ring8?size=0", "option size must be at least 1"),
        ("ring8?sized=3", "option 'sized' is unknown .did you mean 'size'"),
        ("mnist?size=3", "mnist has no options, got 'size'"),
        ("ring8?size=1000000000000", "1,000,000,000,000 points need .* GiB of memory .* choose a smaller size"),
        ("stacked_mnist?size=1000000000000", "choose a smaller size"),
        ("ring8?seed=18446744073709551616", "seed must be at most 18446744073709551615, got 18446744073709551616"),
        ("gaussian1d?mean=inf", "mean must be finite"),
        ("gaussian1d?sigma=0", "sigma must be finite and above 0"),
    ],
)
def test_wrong_options_are_named(name, text):
    with pytest.raises(ValueError, match=text):
        data.load(name)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"labels": torch.zeros(3, dtype=torch.int64)}, r"labels \(3\) and samples \(4\)"),
        ({"labels": torch.zeros(4)}, r"labels must be \(N,\) int64, got \(4,\) torch.float32"),
        ({"labels": torch.arange(4), "classes": 3}, r"labels must lie in \[0, 3\), got 0 to 3"),
        ({"conditions": torch.zeros(4, 3)}, r"conditions must be images \(N, C, H, W\), got \(4, 3\)"),
        ({"conditions": torch.zeros(2, 1, 4, 4)}, r"conditions \(2\) and samples \(4\)"),
    ],
)
def test_a_data_set_that_does_not_fit_together_is_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        data.Dataset("mine", torch.zeros(4, 2), **fields)


def test_classes_follow_from_labels():
    assert data.Dataset("mine", torch.zeros(4, 2), labels=torch.tensor([0, 2, 1, 0])).classes == 3
    assert data.Dataset("mine", torch.zeros(4, 2)).classes is None


def test_every_tenth_pair_is_held_out_with_what_belongs_to_it():
    pairs = data.Dataset("pairs", torch.rand(25, 1, 2, 2), torch.arange(25), conditions=torch.rand(25, 3, 2, 2))
    trained, held_out = pairs.split()
    assert held_out.labels.tolist() == [9, 19]
    assert torch.equal(held_out.samples, pairs.samples[9::10])
    assert torch.equal(held_out.conditions, pairs.conditions[9::10])
    assert sorted([*trained.labels.tolist(), 9, 19]) == list(range(25))


@pytest.mark.parametrize("name", ["ring8", "grid25"])
def test_a_scaled_mixture_is_the_same_points_in_other_units(name):
    usual, scaled = data.load(f"{name}?size=50"), data.load(f"{name}?size=50&scale=0.25")
    torch.testing.assert_close(scaled.samples, 0.25 * usual.samples)
    torch.testing.assert_close(scaled.centres, 0.25 * usual.centres)
    assert scaled.sigma == pytest.approx(0.25 * usual.sigma)
    with pytest.raises(ValueError, match=r"scale must be finite and above 0, got 0\.0"):
        data.load(f"{name}?scale=0")
