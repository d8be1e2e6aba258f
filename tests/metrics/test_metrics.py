import math

import pytest
import torch

from ganops import data
from ganops.metrics import evaluate, image_metrics, mode_metrics

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def test_modes_by_hand():
    # sigma 1: within 3 of a centre counts. Mode 0: 2 samples, mode 1: 1, mode 2: 1 just inside; mode 3: 1 just outside.
    samples = torch.tensor([[0.0, 0.0], [1.0, 1.0], [10.0, 2.0], [0.0, 12.999], [10.0, 13.001]])
    result = mode_metrics(samples, CENTRES, 1.0)
    assert result["modes"] == 3
    assert result["modes_total"] == 4
    assert result["high_quality"] == pytest.approx(4 / 5)
    assert result["mode_shares"] == pytest.approx([0.5, 0.25, 0.25, 0])
    entropy = 0.5 * math.log(2) + 2 * 0.25 * math.log(4)
    assert result["reverse_kl"] == pytest.approx(math.log(4) - entropy)


@pytest.mark.parametrize(("repeats", "expected"), [((1, 1, 1, 1), 0.0), ((7, 0, 0, 0), math.log(4))])
def test_reverse_kl_at_its_ends(repeats, expected):
    samples = CENTRES.repeat_interleave(torch.tensor(repeats), dim=0)
    assert mode_metrics(samples, CENTRES, 1.0)["reverse_kl"] == pytest.approx(expected, abs=1e-12)


def test_a_sample_near_a_mode_along_both_axes_but_not_in_distance_is_bad():
    # (2.5, 2.5) is within 3 in each coordinate and 3.54 away: a per-coordinate test would accept it.
    assert mode_metrics(torch.tensor([[2.5, 2.5]]), CENTRES, 1.0)["high_quality"] == 0


def test_nothing_good_has_no_reverse_kl():
    result = mode_metrics(torch.full((3, 2), math.nan), CENTRES, 1.0)
    assert (result["modes"], result["high_quality"], result["reverse_kl"]) == (0, 0, None)


def test_centres_that_share_a_mode_count_once():
    result = mode_metrics(CENTRES, CENTRES, 1.0, centre_mode=torch.tensor([0, 0, 1, 1]))
    assert (result["modes"], result["modes_total"]) == (2, 2)
    assert result["reverse_kl"] == pytest.approx(0)


@pytest.mark.parametrize(("name", "share"), [("ring8", 0.989), ("grid25", 0.989), ("swiss_roll", 0.997)])
def test_real_data_reaches_what_theory_allows(name, share):
    # In the plane 1 - exp(-9/2) = 98.9 % lie within 3 sigma of a point; about a curve erf(3/sqrt 2) = 99.7 %.
    dataset = data.load(name)
    result = evaluate(dataset.samples[:20_000], dataset)
    assert result["modes"] == result["modes_total"]
    assert result["high_quality"] == pytest.approx(share, abs=0.003)
    assert 0 <= result["reverse_kl"] < 0.005


def test_images_of_two_classes_are_seen_as_two_classes():
    digits = data.load("digits")
    zeros_and_sixes = digits.samples[(digits.labels == 0) | (digits.labels == 6)]
    result = evaluate(zeros_and_sixes, digits)
    assert result["classes"] == 2
    assert result["class_shares"][0] + result["class_shares"][6] > 0.98
    assert result["class_entropy"] == pytest.approx(math.log(2) / math.log(10), abs=0.03)
    assert result["judge_accuracy"] > 0.95


def test_distance_ratio_tells_copies_digits_and_noise_apart():
    digits = data.load("digits")
    noise = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shifted = digits.samples[:200] + 0.01
    copies, strange = evaluate(shifted, digits)["nearest_real_ratio"], evaluate(noise, digits)["nearest_real_ratio"]
    assert copies < 0.2
    assert strange > 1.5


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mode_metrics(torch.zeros(0, 2), CENTRES, 1.0), "samples is empty"),
        (lambda: mode_metrics(torch.zeros(3, 3), CENTRES, 1.0), r"\(3, 3\)"),
        (lambda: image_metrics(torch.zeros(2, 1, 4, 4), torch.zeros(9, 1, 8, 8), torch.zeros(9)), r"\(1, 4, 4\)"),
        (
            lambda: image_metrics(torch.full((2, 1, 8, 8), math.nan), torch.zeros(9, 1, 8, 8), torch.zeros(9)),
            "NaN or infinity",
        ),
    ],
)
def test_wrong_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
