"""Sliced Wasserstein distance over Laplacian pyramids, on cases with known answers."""

import math

import numpy as np
import pytest
import torch

from ganops import data
from ganops.metrics import evaluate, pyramid_wasserstein
from ganops.metrics.pyramid import enlarge, laplacian_pyramid


def noise(count, *shape, seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("side", "levels"),
    [
        ((7, 9), [(7, 9)]),
        ((28, 28), [(28, 28)]),
        ((31, 40), [(31, 40), (16, 20)]),
        ((64, 64), [(64,) * 2, (32,) * 2, (16,) * 2]),
    ],
)
def test_the_levels_of_a_pyramid_sum_to_the_images(side, levels):
    images = noise(2, 3, *side).double()
    pyramid = laplacian_pyramid(images)
    assert [tuple(level.shape[2:]) for level in pyramid] == levels
    whole = pyramid[-1]
    for level in reversed(pyramid[:-1]):
        whole = level + enlarge(whole, level.shape[2:])
    torch.testing.assert_close(whole, images)


def test_a_level_is_that_of_the_papers_filter():
    ndimage = pytest.importorskip("scipy.ndimage")
    images = noise(1, 1, 32, 32).double()
    fine, coarse = laplacian_pyramid(images)
    weight = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    half = ndimage.convolve(images[0, 0].numpy(), weight, mode="mirror")[::2, ::2]
    large = np.zeros((32, 32))
    large[::2, ::2] = half
    difference = images[0, 0].numpy() - ndimage.convolve(large, 4 * weight, mode="mirror")
    np.testing.assert_allclose(coarse[0, 0].numpy(), half, atol=1e-12)
    np.testing.assert_allclose(fine[0, 0].numpy(), difference, atol=1e-12)


def test_equal_sets_have_distance_zero():
    images = noise(20, 3, 32, 32)
    assert pyramid_wasserstein(images, images.clone()) == {"swd": 0, "swd_32": 0, "swd_16": 0}


def test_brightness_and_contrast_of_channels_do_not_count():
    images = noise(20, 3, 32, 32)
    other = images * torch.tensor([0.5, 2, 3])[:, None, None] + torch.tensor([1.0, -1, 0])[:, None, None]
    assert pyramid_wasserstein(other, images)["swd"] == pytest.approx(0, abs=1e-2)


def test_flat_images_by_hand():
    # A 7x7 image is one patch, here c in all places. Normalised: c = -1, -1, 1, 1 and -r, 0, 0, r for r = sqrt 2.
    # Sorted they differ by r - 1, 1, 1, r - 1: by 1/r on average. A direction u multiplies c by the sum of u, whose
    # mean size is 7 E|u_1| = 7 gamma(49/2) / (sqrt(pi) gamma(25)).
    a = torch.tensor([-3.0, 3, 3, -3])[:, None, None, None].expand(-1, 1, 7, 7)
    b = torch.tensor([5.0, 4, 3, 4])[:, None, None, None].expand(-1, 1, 7, 7)
    size = 7 * math.exp(math.lgamma(49 / 2) - math.lgamma(25)) / math.sqrt(math.pi)
    found = pyramid_wasserstein(a, b, patches=3, projections=5000)
    assert found["swd_7"] == pytest.approx(1000 / math.sqrt(2) * size, rel=0.05)


def test_blur_counts_in_the_fine_level_and_large_shapes_in_the_coarse_one():
    real = noise(300, 1, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(real, 3, stride=1, padding=1)
    same = pyramid_wasserstein(noise(300, 1, 32, 32, seed=1), real, patches=32, projections=64)
    blur = pyramid_wasserstein(blurred, real, patches=32, projections=64)
    assert same["swd"] < 30  # what 300 images differ by
    assert blur["swd_32"] > 3 * same["swd_32"]
    assert blur["swd_16"] < 2 * same["swd_16"]
    waves = real + 3 * torch.sin(torch.arange(32) / 32 * 2 * math.pi)
    coarse = pyramid_wasserstein(waves, real, patches=32, projections=64)
    assert coarse["swd_16"] > 10 * coarse["swd_32"]


def test_the_first_images_of_the_smaller_number_are_compared():
    real = noise(30, 3, 16, 16)
    assert pyramid_wasserstein(real[:20], real)["swd"] == 0


def test_a_set_of_one_grey_is_far_from_real_images_and_finite():
    found = pyramid_wasserstein(torch.zeros(20, 1, 16, 16), noise(20, 1, 16, 16))["swd"]
    assert found == pytest.approx(1000 * math.sqrt(2 / math.pi), rel=0.05)  # E|N(0, 1)|


def test_seed_and_default_dtype_and_device(request):
    real, fake = noise(10, 1, 16, 16), noise(10, 1, 16, 16, seed=1)
    first = pyramid_wasserstein(fake, real, patches=np.int64(8), seed=3)
    assert first != pyramid_wasserstein(fake, real, patches=8, seed=4)
    request.getfixturevalue("other_defaults")
    assert first == pyramid_wasserstein(fake, real, patches=8, seed=3)


def test_unlabelled_images_are_evaluated_by_it():
    patches = data.patches(size=32, count=200)
    real, blurred = patches.samples[:100], torch.nn.functional.avg_pool2d(patches.samples[:100], 5, 1, 2)
    good, bad = evaluate(real, patches), evaluate(blurred, patches)
    assert set(good) == {"swd", "swd_32", "swd_16"}
    assert bad["swd_32"] > 3 * good["swd_32"]


@pytest.mark.parametrize(
    ("fake", "real", "text"),
    [
        (torch.zeros(3, 1, 6, 9), torch.zeros(3, 1, 6, 9), r"at least 7x7, got \(3, 1, 6, 9\)"),
        (torch.zeros(3, 1, 9, 9), torch.zeros(3, 3, 9, 9), r"fake \(1, 9, 9\) and real \(3, 9, 9\)"),
        (torch.zeros(0, 1, 9, 9), torch.zeros(3, 1, 9, 9), "fake must be images"),
        (torch.full((3, 1, 9, 9), math.nan), torch.zeros(3, 1, 9, 9), "NaN or infinite"),
    ],
)
def test_wrong_input_is_named(fake, real, text):
    with pytest.raises(ValueError, match=text):
        pyramid_wasserstein(fake, real)
