"""The functions of the theory against closed forms worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import Laplace, MultivariateNormal, Normal, Uniform

from ganops import theory

DATA, GENERATED = Normal(2.0, 1.0), Normal(0.0, 1.0)
LOG2 = math.log(2)


def double(mean, deviation):
    return Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(deviation, dtype=torch.float64))


def test_optimal_discriminator_between_two_gaussians_is_a_logistic_function():
    x = torch.linspace(-30, 30, 101)
    torch.testing.assert_close(theory.optimal_discriminator(DATA, GENERATED, x), torch.sigmoid(2 * x - 2))
    # ... of which the mirror image belongs to the generator.
    torch.testing.assert_close(theory.optimal_discriminator(GENERATED, DATA, x), torch.sigmoid(2 - 2 * x))
    assert (theory.optimal_discriminator(DATA, DATA, x) == 0.5).all()


def test_optimal_discriminator_is_the_ratio_of_densities():
    p, q = Laplace(0.0, 2.0), Normal(1.0, 3.0)
    x = torch.linspace(-5, 5, 51)
    a, b = p.log_prob(x).exp(), q.log_prob(x).exp()
    torch.testing.assert_close(theory.optimal_discriminator(p, q, x), a / (a + b))


@given(st.floats(-3, 3), st.floats(0.3, 3), st.floats(0.3, 3))
def test_kl_of_gaussians(mean, s, t):
    p, q = double(mean, s), double(0.0, t)
    expected = math.log(t / s) + (s**2 + mean**2) / (2 * t**2) - 0.5
    assert theory.kl(p, q).item() == pytest.approx(expected, abs=1e-12)
    grid = torch.linspace(-40, 40, 8001, dtype=torch.float64)
    assert theory.kl(p, q, grid).item() == pytest.approx(expected, abs=1e-6)
    densities = p.log_prob(grid).exp(), q.log_prob(grid).exp()
    if min(s, t) > 1.1:  # a narrower density underflows on this grid, where its logarithm does not
        assert theory.kl(*densities, grid).item() == pytest.approx(expected, abs=1e-6)


def test_kl_of_probability_vectors():
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.25, 0.5])
    assert theory.kl(p, q).item() == pytest.approx(LOG2)
    assert theory.kl(q, p).item() == math.inf
    assert theory.kl(p, p).item() == 0
    both = theory.kl(torch.stack([p, q]), torch.stack([q, q]))
    torch.testing.assert_close(both, torch.tensor([LOG2, 0.0]))


def test_kl_without_a_closed_form_is_integrated():
    p, q = Normal(0.0, 1.0), Laplace(0.0, 1.0)
    # E_p log p - E_p log q = -(1 + log 2 pi)/2 + log 2 + E|Z|
    expected = -(1 + math.log(2 * math.pi)) / 2 + LOG2 + math.sqrt(2 / math.pi)
    assert theory.kl(p, q).item() == pytest.approx(expected, abs=1e-6)


def test_jsd_is_log_2_for_disjoint_supports_and_zero_for_equal_ones():
    far = theory.jsd(double(0.0, 1.0), double(60.0, 1.0))
    assert far.item() == pytest.approx(LOG2, abs=1e-9)
    assert theory.jsd(DATA, DATA).item() == pytest.approx(0, abs=1e-7)
    assert theory.jsd(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).item() == pytest.approx(LOG2)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_jsd_is_symmetric_and_bounded(a, b):
    p, q = (torch.tensor(v, dtype=torch.float64) + 1e-3 for v in (a, b))
    p, q = p / p.sum(), q / q.sum()
    value = theory.jsd(p, q).item()
    assert -1e-12 <= value <= LOG2
    assert value == pytest.approx(theory.jsd(q, p).item(), abs=1e-12)


def test_jsd_ways_agree():
    p, q = double(0.0, 1.0), double(1.5, 2.0)
    grid = torch.linspace(-25, 25, 5001, dtype=torch.float64)
    by_density = theory.jsd(p.log_prob(grid).exp(), q.log_prob(grid).exp(), grid)
    assert theory.jsd(p, q).item() == pytest.approx(by_density.item(), abs=1e-9)
    half = (theory.jsd(p, q, grid), by_density)
    assert half[0].item() == pytest.approx(half[1].item(), abs=1e-9)


@pytest.mark.parametrize("mean", [0.0, 0.5, 2.0, 8.0])
def test_value_of_the_game(mean):
    p, q = double(mean, 1.0), double(0.0, 1.0)
    optimal = theory.game_value(p, q)
    assert optimal.item() == pytest.approx(-math.log(4) + 2 * theory.jsd(p, q).item(), abs=1e-9)
    # The logit of D* between equal-variance Gaussians is linear: mean x - mean^2/2.
    assert theory.game_value(p, q, lambda x: mean * x - mean**2 / 2).item() == pytest.approx(optimal.item(), abs=1e-9)
    ignorant = theory.game_value(p, q, torch.zeros_like)
    assert ignorant.item() == pytest.approx(-math.log(4), abs=1e-9)
    assert theory.game_value(p, q, lambda x: 3 * x).item() < optimal.item()


def test_wasserstein_1_of_gaussians():
    assert theory.wasserstein_1(DATA, GENERATED).item() == 2
    # Equal means: E|(s - t) Z|.
    assert theory.wasserstein_1(Normal(0.0, 3.0), GENERATED).item() == pytest.approx(2 * math.sqrt(2 / math.pi))


@given(st.floats(-3, 3), st.floats(0.3, 3), st.floats(0.3, 3))
def test_wasserstein_1_of_gaussians_is_the_area_between_their_cdfs(mean, s, t):
    x = torch.linspace(-40, 40, 20_001, dtype=torch.float64)
    p, q = double(mean, s), double(0.0, t)
    area = torch.trapezoid((p.cdf(x) - q.cdf(x)).abs(), x).item()
    assert theory.wasserstein_1(p, q).item() == pytest.approx(area, abs=1e-4)


def test_wasserstein_1_of_other_distributions():
    # Moving [0, 1] onto [2, 3] moves every point by 2.
    assert theory.wasserstein_1(Laplace(2.0, 1.0), Laplace(0.0, 1.0)).item() == pytest.approx(2, abs=1e-4)
    assert theory.wasserstein_1(Normal(2.0, 1.0), Laplace(0.0, 1.0)).item() > 1.9


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=12),
    st.lists(st.floats(-5, 5), min_size=1, max_size=12),
)
def test_wasserstein_1_of_samples_agrees_with_scipy(a, b):
    mine = theory.wasserstein_1(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    assert mine.item() == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-9)


def test_wasserstein_1_of_samples_has_the_gradient_of_transport():
    x = torch.tensor([0.0, 5.0, 1.0], requires_grad=True)
    theory.wasserstein_1(x, torch.tensor([2.0, 3.0, 4.0])).backward()
    torch.testing.assert_close(x.grad, torch.tensor([-1.0, 1.0, -1.0]) / 3)
    assert theory.wasserstein_1(torch.zeros(3, 1), torch.ones(3, 1)) == 1


@pytest.mark.parametrize("mean", [0.5, 10.0])
def test_wasserstein_1_of_gaussians_has_a_gradient(mean):
    m = torch.tensor(mean, dtype=torch.float64, requires_grad=True)
    theory.wasserstein_1(Normal(m, torch.ones_like(m)), double(0.0, 1.0)).backward()
    assert m.grad.item() == 1


def test_wasserstein_2():
    assert theory.wasserstein_2(Normal(3.0, 1.0), Normal(0.0, 5.0)).item() == pytest.approx(5)
    # Diagonal covariances: coordinates apart.
    p = MultivariateNormal(torch.tensor([1.0, 2.0]), torch.diag(torch.tensor([4.0, 9.0])))
    q = MultivariateNormal(torch.tensor([0.0, 0.0]), torch.diag(torch.tensor([1.0, 1.0])))
    assert theory.wasserstein_2(p, q).item() == pytest.approx(math.sqrt(5 + 1 + 4), rel=1e-5)
    assert theory.wasserstein_2(torch.tensor([0.0, 2.0]), torch.tensor([3.0, 1.0])).item() == 1


def test_wasserstein_2_of_gaussians_that_do_not_commute():
    # One dimension of samples cannot check this: compare with the matrix square root of SciPy.
    from scipy.linalg import sqrtm

    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 5, generator=random, dtype=torch.float64) for _ in range(2))
    a, b = a @ a.T, b @ b.T
    mean = torch.randn(5, generator=random, dtype=torch.float64)
    expected = mean.square().sum() + a.trace() + b.trace() - 2 * sqrtm((a @ b).numpy()).trace().real
    mine = theory.gaussian_wasserstein_2(mean, a, torch.zeros(5, dtype=torch.float64), b)
    assert mine.item() ** 2 == pytest.approx(expected.item(), rel=1e-9)
    singular = torch.diag(torch.tensor([1.0, 0, 0, 0, 0], dtype=torch.float64))
    zero = torch.zeros(5, dtype=torch.float64)
    assert theory.gaussian_wasserstein_2(zero, singular, zero, singular).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: theory.kl(DATA, torch.ones(3)), TypeError, "both tensors, got Normal and Tensor"),
        (lambda: theory.jsd(torch.ones(3), torch.ones(3), torch.ones(4)), ValueError, r"\(3,\) and points x \(4,\)"),
        (lambda: theory.wasserstein_1(torch.zeros(3, 2), torch.zeros(3, 2)), ValueError, "sliced_wasserstein"),
        (lambda: theory.wasserstein_2(torch.zeros(3), torch.zeros(4)), ValueError, r"a \(3\) and b \(4\)"),
        (lambda: theory.wasserstein_2(DATA, Laplace(0.0, 1.0)), TypeError, "Normal.*and b .Laplace"),
        (lambda: theory.jsd(Normal(torch.zeros(2), 1.0), DATA), ValueError, "one-dimensional"),
    ],
)
def test_wrong_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_uniform_supports_need_no_overlap():
    # Densities that vanish: infinite KL, JSD log 2.
    p, q = Uniform(0.0, 1.0, validate_args=False), Uniform(2.0, 3.0, validate_args=False)
    assert theory.kl(p, q).item() == math.inf
    x = torch.linspace(-1, 4, 5001, dtype=torch.float64)
    assert theory.jsd(p, q, x).item() == pytest.approx(LOG2, abs=1e-3)


def test_results_do_not_depend_on_torchs_defaults(request):
    p, q = double(0.0, 1.0), double(1.0, 2.0)
    laplace = Laplace(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
    cloud = [torch.linspace(0, 1, n, dtype=torch.float64) for n in (5, 7)]

    def numbers():
        values = [theory.kl(p, laplace), theory.jsd(p, q), theory.game_value(p, q), theory.wasserstein_1(p, laplace)]
        return [value.item() for value in (*values, theory.wasserstein_1(*cloud), theory.wasserstein_2(p, q))]

    usual = numbers()
    request.getfixturevalue("other_defaults")
    assert numbers() == usual
