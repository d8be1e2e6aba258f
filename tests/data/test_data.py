import math

import pytest
import torch

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
        ValueError, match=r"'minst' is unknown \(did you mean 'mnist'\?\); choose one of digits, grid25"
    ):
        data.load("minst")
