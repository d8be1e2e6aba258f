import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from ganops import data
from ganops.metrics import (
    classifier,
    evaluate,
    frechet_distance,
    image_classifier,
    image_metrics,
    inception_fid,
    kernel_distance,
    mode_metrics,
    precision_recall,
    sliced_wasserstein,
    stacked_metrics,
)

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


def test_total_variation_of_modes():
    # Shares 1/2, 1/4, 1/4, 0 of four modes: half of (1/4 + 0 + 0 + 1/4).
    samples = CENTRES[[0, 0, 1, 2]]
    assert mode_metrics(samples, CENTRES, 1.0)["mode_tv"] == pytest.approx(0.25)
    assert mode_metrics(CENTRES, CENTRES, 1.0)["mode_tv"] == 0
    assert mode_metrics(CENTRES[:1], CENTRES, 1.0)["mode_tv"] == pytest.approx(0.75)


def test_distance_ratio_tells_copies_digits_and_noise_apart():
    digits = data.load("digits")
    noise = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shifted = digits.samples[:200] + 0.01
    assert evaluate(noise, digits)["judge_accuracy"] > 0.95
    copies, strange = evaluate(shifted, digits)["nearest_real_ratio"], evaluate(noise, digits)["nearest_real_ratio"]
    assert copies < 0.2
    assert strange > 1.5


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mode_metrics(torch.zeros(0, 2), CENTRES, 1.0), "samples is empty"),
        (lambda: mode_metrics(torch.zeros(3, 3), CENTRES, 1.0), r"\(3, 3\)"),
        (lambda: image_metrics(torch.zeros(20, 1, 4, 4), data.digits()), r"\(1, 4, 4\) and real images \(1, 8, 8\)"),
        (lambda: image_metrics(torch.full((20, 1, 8, 8), math.nan), data.digits()), "NaN or infinite"),
        (lambda: image_metrics(torch.zeros(3, 1, 8, 8), data.digits()), "samples must be at least 10, got 3"),
        (lambda: stacked_metrics(torch.zeros(3, 1, 28, 28)), r"\(N, 3, 28, 28\), got \(3, 1, 28, 28\)"),
        (lambda: evaluate(torch.zeros(9, 2), data.ring8(50), labels=torch.zeros(8).long()), r"labels \(8,\)"),
        (lambda: evaluate(torch.zeros(9, 2), data.ring8(50), targets=torch.zeros(8, 2)), r"targets \(8, 2\)"),
        (lambda: classifier(data.ring8(50)), "'ring8' must be images with labels"),
        (lambda: precision_recall(torch.zeros(4, 2), torch.zeros(9, 2)), "neighbours must be below 4"),
        (lambda: frechet_distance(torch.zeros(4, 2), torch.zeros(9, 3)), "2 and 3 wide"),
        (lambda: kernel_distance(torch.zeros(4, 2), torch.zeros(1, 2)), "at least 2, got"),
        (lambda: sliced_wasserstein(torch.full((4, 2), math.inf), torch.zeros(1, 2)), "NaN or infinite"),
        (lambda: frechet_distance(torch.zeros(4, 1, 8, 8), torch.zeros(9, 1, 8, 8)), "flatten images"),
    ],
)
def test_wrong_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_halves_of_real_digits_and_noise_are_told_apart():
    digits = data.load("digits")
    real = evaluate(digits.samples[::2], digits)
    noise = evaluate(torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1, digits)
    assert real["frechet_distance"] < 2 * real["frechet_distance_real"] < 0.1 * noise["frechet_distance"]
    assert real["kernel_distance"] < 0.01 * noise["kernel_distance"]
    for name in ("precision", "recall", "density", "coverage"):
        assert real[name] > 0.8
    assert noise["coverage"] < 0.05
    assert (real["classes"], real["class_entropy"]) == (10, pytest.approx(1, abs=0.01))


def test_conditional_accuracy_on_images_and_points():
    digits = data.load("digits")
    samples, labels = digits.samples[:500], digits.labels[:500].clone()
    assert evaluate(samples, digits, labels)["label_accuracy"] > 0.95
    labels[labels == 3] = 4  # asked for a 4, shown a 3
    result = evaluate(samples, digits, labels)
    shares = result["label_accuracy_by_class"]
    assert shares[3] is None
    assert 0.3 < shares[4] < 0.7
    assert min(shares[k] for k in (0, 1, 2, 5, 6, 7, 8, 9)) > 0.8
    ring = data.ring8(500)
    assert evaluate(ring.samples, ring, ring.labels)["label_accuracy"] == 1
    assert evaluate(ring.samples, ring, (ring.labels + 1) % 8)["label_accuracy"] == 0


def test_targets_of_image_to_image():
    pairs = data.mnist_half()
    few = pairs.samples[:64]
    assert evaluate(few, pairs, targets=few)["l1"] == 0
    assert evaluate(few, pairs, targets=few.clamp(max=0.5) + 0.25)["l1"] > 0.2


def test_stacked_digits_are_read_channel_by_channel():
    stacked = data.stacked_mnist(size=600)
    result = stacked_metrics(stacked.samples, stacked.labels)
    assert result["label_accuracy"] > 0.93  # three digits right at once
    assert result["modes"] == pytest.approx(len(stacked.labels.unique()), abs=15)
    assert result["modes"] == pytest.approx(result["modes_real"], abs=40)
    one = stacked_metrics(stacked.samples[:1].expand(50, -1, -1, -1))
    assert (one["modes"], one["reverse_kl"]) == (1, pytest.approx(math.log(1000)))


# -- distances -------------------------------------------------------------------------------------------------------


def cloud(count, width, seed, shift=0.0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + shift


def test_sliced_wasserstein():
    a = cloud(2000, 1, 0)
    assert sliced_wasserstein(a, a + 3) == pytest.approx(3, abs=1e-6)
    plane = cloud(2000, 2, 0)
    # A shift by v projects to |v cos|, whose mean is 2/pi |v|.
    assert sliced_wasserstein(plane, plane + torch.tensor([3.0, 4.0])) == pytest.approx(10 / math.pi, rel=0.1)
    assert sliced_wasserstein(plane, plane[torch.randperm(2000)]) == pytest.approx(0, abs=1e-12)
    unequal = sliced_wasserstein(plane, plane.repeat(2, 1))  # the same distribution in twice as many points
    assert unequal == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_that_of_gaussians():
    a, b = cloud(20_000, 3, 0), cloud(20_000, 3, 1) * 2 + 1
    # 3 coordinates: (1 - 0)^2 + (2 - 1)^2 each.
    assert frechet_distance(a, b) == pytest.approx(6, rel=0.05)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_has_no_bias_and_sees_a_shift():
    values = [kernel_distance(cloud(60, 4, 2 * i), cloud(80, 4, 2 * i + 1)) for i in range(200)]
    mean, error = sum(values) / 200, torch.tensor(values).std().item() / math.sqrt(200)
    assert abs(mean) < 4 * error
    assert min(values) < 0 < max(values)
    assert kernel_distance(cloud(300, 4, 0), cloud(300, 4, 1, shift=1.0)) > 100 * abs(mean)


def test_kernel_distance_by_hand():
    # Kernel (xy + 1)^3 on the line: within {0, 1} k(0, 1) = 1; within {2, 3} k = 343; across 1, 1, 27, 64.
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    assert kernel_distance(a, b) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)


def test_precision_and_recall_by_hand():
    # Real points 0, 1, 2, 10 with k = 1: radii 1, 1, 1, 8. Fakes 2.5 and 50 have radius 47.5.
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    fake = torch.tensor([[2.5], [50.0]])
    result = precision_recall(fake, real, neighbours=1)
    assert result["precision"] == 0.5  # 2.5 lies in the balls of 2 and of 10, 50 in none
    assert result["density"] == pytest.approx(2 / 2)
    assert result["coverage"] == pytest.approx(2 / 4)
    assert result["recall"] == 1  # the ball of 2.5 reaches all
    assert precision_recall(real, fake, neighbours=1)["precision"] == 1


def test_precision_and_recall_tell_collapse_from_noise():
    real = cloud(1500, 2, 0)
    collapsed, wide = 0.05 * cloud(1500, 2, 1), 8 * cloud(1500, 2, 2)
    low, high = precision_recall(collapsed, real), precision_recall(wide, real)
    assert (low["precision"] > 0.95, low["recall"] < 0.1, low["coverage"] < 0.2) == (True, True, True)
    assert (high["precision"] < 0.3, high["recall"] > 0.9) == (True, True)
    same = precision_recall(cloud(1500, 2, 3), real)
    assert same["density"] == pytest.approx(1, abs=0.05)
    assert same["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)


@pytest.mark.parametrize("name", ["ring8?size=500", "swiss_roll?size=500", "digits"])
def test_metrics_do_not_depend_on_torchs_defaults(name, request, cache):
    dataset = data.load(name)
    samples = dataset.samples[:300] * 0.9
    usual = evaluate(samples, dataset, None if dataset.labels is None else dataset.labels[:300])
    request.getfixturevalue("other_defaults")
    image_classifier._KNOWN.clear()
    (cache / "nothing").parent.mkdir(exist_ok=True)
    for file in cache.iterdir():
        file.unlink()  # the classifier is trained again
    assert evaluate(samples, dataset, None if dataset.labels is None else dataset.labels[:300]) == usual


def test_numpy_scalars_are_numbers():
    points = cloud(50, 2, 0)
    assert precision_recall(points, points, neighbours=np.int64(3)) == precision_recall(points, points, neighbours=3)
    few = sliced_wasserstein(points, points + 1, projections=np.int32(9), seed=np.int64(2))
    assert few == sliced_wasserstein(points, points + 1, projections=9, seed=2)
    assert mode_metrics(points, CENTRES, np.float32(1)) == mode_metrics(points, CENTRES, 1.0)


# -- the classifier --------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(image_classifier, "_KNOWN", {})
    monkeypatch.setattr(image_classifier, "_STEPS", 5)
    return tmp_path / "ganops"


def few_digits(count=200):
    digits = data.digits()
    return data.Dataset("few", digits.samples[:count], labels=digits.labels[:count], classes=10)


def test_a_classifier_is_kept_and_found_again(cache, monkeypatch):
    before = torch.get_rng_state()
    first = classifier(few_digits())
    assert torch.equal(torch.get_rng_state(), before)
    (file,) = cache.iterdir()
    assert file.name.startswith("classifier-")
    monkeypatch.setattr(image_classifier, "_KNOWN", {})
    monkeypatch.setattr(image_classifier, "_train", lambda *_: pytest.fail("trained again"))
    second = classifier(few_digits())
    assert second.test_accuracy == first.test_accuracy
    images = data.digits().samples[:20]
    assert torch.equal(first.features(images), second.features(images))
    assert classifier(few_digits()) is second


def test_other_data_or_another_version_is_another_classifier(cache, monkeypatch):
    classifier(few_digits())
    classifier(few_digits(199))
    monkeypatch.setattr(image_classifier, "_VERSION", image_classifier._VERSION + 1)
    classifier(few_digits())
    assert len(list(cache.iterdir())) == 3


def test_a_damaged_classifier_is_made_again(cache, monkeypatch):
    first = classifier(few_digits())
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    monkeypatch.setattr(image_classifier, "_KNOWN", {})
    assert classifier(few_digits()).test_accuracy == first.test_accuracy
    assert file.stat().st_size > 1000


def test_a_cache_that_cannot_be_written_is_no_error(cache):
    cache.write_text("a file where the folder would be")
    with pytest.warns(UserWarning, match="could not be cached"):
        assert classifier(few_digits()).classes == 10


def test_large_images_are_reduced_and_odd_ones_taken():
    for shape in ((3, 64, 48), (1, 17, 23), (1, 5, 9)):
        network = image_classifier.Classifier(shape, 4).eval()
        assert network(torch.zeros(2, *shape)).shape == (2, 4)
    with pytest.raises(ValueError, match="must have the same shape"):
        network(torch.zeros(2, 1, 9, 5))


def test_inception_is_not_fetched(monkeypatch):
    images = torch.zeros(4, 1, 8, 8)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ModuleNotFoundError, match="pip install torchmetrics torch-fidelity"):
        inception_fid(images, images)
    for name in ("torch_fidelity", "torchmetrics", "torchmetrics.image", "torchmetrics.image.fid"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["torchmetrics.image.fid"].FrechetInceptionDistance = lambda **_: pytest.fail("would fetch weights")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nonexistent")
    with pytest.raises(FileNotFoundError, match=r"weights are not at /nonexistent/checkpoints/weights-inception"):
        inception_fid(images, images)
    with pytest.raises(ValueError, match=r"fake must be \(N, 1 or 3, H, W\)"):
        inception_fid(torch.zeros(4, 2, 8, 8), images)
