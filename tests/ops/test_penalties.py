"""The penalties by name, and the finite difference: closed forms, what each is in terms of the other, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import ganops
from ganops import reference

MODULES = pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])


def _double(*shape: int, device: torch.device) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, device=device)


def _critic(inputs: int, device: torch.device) -> nn.Module:
    """Smooth, nowhere linear."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 9), nn.Tanh(), nn.Linear(9, 1)).to(device).double()


def _gradients(value: Tensor, critic: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(critic.parameters()), materialize_grads=True))


@MODULES
def test_zero_centred_penalties_by_hand(module, device):
    """For ½a‖x‖² + ⟨b, x⟩ the gradient is a·x + b."""
    a, b = torch.tensor(0.7, dtype=torch.float64, device=device), _double(6, device=device)
    a.requires_grad_()
    x = _double(5, 2, 3, device=device)

    def critic(points):
        flat = points.flatten(1)
        return 0.5 * a * flat.square().sum(1) + flat @ b

    expected = (a * x.flatten(1) + b).square().sum(1)
    for penalty in (module.r1_penalty, module.r2_penalty):
        torch.testing.assert_close(penalty(critic, x, reduction="none"), expected)
        value = penalty(critic, x)
        torch.testing.assert_close(value, expected.mean())
        wanted = torch.autograd.grad(expected.mean(), a, retain_graph=True)
        torch.testing.assert_close(torch.autograd.grad(value, a), wanted)


@MODULES
def test_each_is_the_general_penalty_at_its_points(module, device):
    critic = _critic(6, device)
    real, fake, noise = (_double(4, 6, device=device) for _ in range(3))
    weight = torch.rand(4, dtype=torch.float64, device=device)
    ones, zeros = torch.ones_like(weight), torch.zeros_like(weight)
    near = real + 0.3 * real.square().mean().sub(real.mean().square()).sqrt() * noise
    for reduction in ("mean", "sum", "none"):
        general = {"reduction": reduction}
        for found, wanted in (
            (
                module.r1_penalty(critic, real, **general),
                ganops.gradient_penalty(critic, real, fake, target=0.0, weight=ones, **general),
            ),
            (
                module.r2_penalty(critic, fake, **general),
                ganops.gradient_penalty(critic, real, fake, target=0.0, weight=zeros, **general),
            ),
            (
                module.lp_penalty(critic, real, fake, target=0.2, weight=weight, **general),
                ganops.gradient_penalty(critic, real, fake, target=0.2, one_sided=True, weight=weight, **general),
            ),
            (
                module.dragan_penalty(critic, real, noise, scale=0.3, target=0.8, **general),
                ganops.gradient_penalty(critic, near, near, target=0.8, **general),
            ),
        ):
            torch.testing.assert_close(found, wanted)
            torch.testing.assert_close(_gradients(found.sum(), critic), _gradients(wanted.sum(), critic))


@MODULES
def test_dragan_draws_normal_noise_around_all_real_samples(module, device):
    seen = []

    def critic(x):
        seen.append(x.detach().clone())
        return x.square().sum(1)

    real = 3 * torch.randn(4000, 2, device=device) + 5
    torch.manual_seed(0)
    module.dragan_penalty(critic, real)
    shift = (seen[0] - real) / real.std()
    assert shift.std().item() == pytest.approx(0.5, rel=0.05)
    assert shift.mean().item() == pytest.approx(0, abs=0.03)
    assert seen[0].unique(dim=0).shape == real.shape
    module.dragan_penalty(critic, real)
    assert not torch.equal(seen[0], seen[1])


def test_whatever_made_the_samples_is_left_alone(device):
    critic = _critic(3, device)
    made = nn.Linear(2, 3, device=device, dtype=torch.float64)(_double(4, 2, device=device))
    made.retain_grad()
    for value in (
        ganops.r1_penalty(critic, made),
        ganops.r2_penalty(critic, made),
        ganops.lp_penalty(critic, made, made, target=0.0),
        ganops.dragan_penalty(critic, made, made),
        ganops.r1_penalty(critic, made, finite_difference=0.01),
    ):
        value.backward()
        assert made.grad is None


@MODULES
def test_samples_made_in_inference_mode(module, device):
    critic = _critic(3, device)
    with torch.inference_mode():
        x = _double(4, 3, device=device)
    for settings in ({}, {"finite_difference": 0.01}):
        for value in (module.r1_penalty(critic, x, **settings), module.gradient_penalty(critic, x, x, **settings)):
            value.backward()
        torch.testing.assert_close(
            module.r2_penalty(critic, x, **settings), module.r2_penalty(critic, x.clone(), **settings)
        )
    assert not x.requires_grad


# --------------------------------------------------------------------------------------------- finite differences


@MODULES
def test_the_difference_approaches_the_norm_with_the_square_of_its_step(module, device):
    """Value and gradient to the weights: a tenth of the step, a hundredth of the error."""
    critic = _critic(6, device)
    real, fake = _double(4, 2, 3, device=device), _double(4, 2, 3, device=device)
    weight = torch.rand(4, dtype=torch.float64, device=device)

    def found(step):
        value = module.gradient_penalty(critic, real, fake, weight=weight, finite_difference=step)
        return torch.cat([value.reshape(1), *(g.flatten() for g in _gradients(value, critic))]).detach()

    exact = found(0.0)
    errors = [(found(step) - exact).norm() / exact.norm() for step in (0.1, 0.01)]
    assert 1e-7 < errors[0] < 0.05
    assert errors[1] == pytest.approx(errors[0].item() / 100, rel=0.1)


def test_its_bias_is_the_third_derivative(device):
    """D(x) = x + c·x³ in one dimension: the difference is D' + c·δ², and the third derivative is 6c."""
    c, x, step = 0.3, torch.tensor([[0.5], [-1.2]], dtype=torch.float64, device=device), 0.1

    def critic(points):
        return points + c * points**3

    slope = 1 + 3 * c * x.flatten() ** 2
    each = ganops.gradient_penalty(critic, x, x, target=0.0, finite_difference=step, reduction="none")
    torch.testing.assert_close(each, (slope + c * step**2).square())


def test_a_piecewise_linear_critic_has_no_bias(device):
    """Up to the rounding of its scores over the step, in float32."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1)).to(device)
    real = 4 * torch.randn(8, 5, device=device)
    exact = ganops.r1_penalty(critic, real)
    close = ganops.r1_penalty(critic, real, finite_difference=1e-3)
    torch.testing.assert_close(close, exact, rtol=1e-2, atol=1e-3)
    for a, b in zip(_gradients(close, critic), _gradients(exact, critic), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-3)


@MODULES
def test_it_never_differentiates_the_critic_twice(module, device):
    class Squares(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.square()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    scale = torch.tensor(1.5, device=device, requires_grad=True)
    x = torch.randn(4, 3, device=device)

    def critic(points):
        return (scale * Squares.apply(points)).sum(1)

    with pytest.raises(RuntimeError, match="once_differentiable"):
        module.r1_penalty(critic, x).backward()
    scale.grad = None
    module.r1_penalty(critic, x, finite_difference=1e-2).backward()
    assert scale.grad.item() == pytest.approx((8 * scale * x.square().sum(1).mean()).item(), rel=1e-2)


def test_a_dead_critic_gives_no_nan(device):
    critic = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).to(device)
    with torch.no_grad():
        critic[0].weight.zero_()
        critic[0].bias.fill_(-1)
    x = torch.randn(3, 2, device=device)
    value = ganops.gradient_penalty(critic, x, x, finite_difference=0.01)
    assert value.item() == 1
    assert all(not g.any() for g in _gradients(value, critic))


def test_spectral_norm_is_the_same_at_both_ends(device):
    """Its estimate moves at every forward in training mode: ends with different weights would differ by that."""
    torch.manual_seed(0)
    critic = nn.Sequential(spectral_norm(nn.Linear(8, 16)), nn.Tanh(), spectral_norm(nn.Linear(16, 1)))
    critic = critic.double().to(device).train()
    x = _double(4, 8, device=device)
    noise = _double(4, 8, device=device)
    along_noise = ganops.approximate_r1_penalty(critic, x, 1e-5, noise=noise)
    close = ganops.r1_penalty(critic, x, finite_difference=1e-5)
    for _ in range(300):  # to the end of the iteration: what moves the exact value now is rounding
        critic(x)
    settled = ganops.r1_penalty(critic, x)
    assert close.item() == pytest.approx(settled.item(), rel=0.5)
    settled_along_noise = ganops.approximate_r1_penalty(critic, x, 1e-5, noise=noise)
    assert along_noise.item() == pytest.approx(settled_along_noise.item(), rel=0.5)
    torch.testing.assert_close(ganops.r1_penalty(critic, x, finite_difference=1e-5), settled, rtol=1e-6, atol=0)


def test_critics_of_patches(device):
    net = nn.Conv2d(1, 2, 3, device=device)
    x = torch.randn(3, 1, 5, 5, device=device)
    exact, close = (ganops.r1_penalty(net, x, finite_difference=step) for step in (0.0, 0.05))
    torch.testing.assert_close(close, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.compile
def test_under_compile(device):
    critic = _critic(6, device)
    real, fake, noise = (_double(4, 6, device=device) for _ in range(3))
    weight = torch.rand(4, dtype=torch.float64, device=device)

    def every(real, fake, noise, weight):
        value = ganops.r1_penalty(critic, real) + ganops.dragan_penalty(critic, real, noise)
        value = value + ganops.lp_penalty(critic, real, fake, target=0.1, weight=weight)
        return value + ganops.gradient_penalty(critic, real, fake, weight=weight, finite_difference=0.01)

    torch._dynamo.reset()
    compiled = torch.compile(every, fullgraph=True, backend="aot_eager")(real, fake, noise, weight)
    eager = every(real, fake, noise, weight)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(_gradients(compiled, critic), _gradients(eager, critic))


# ------------------------------------------------------------------------------------------------------ bad input

X = torch.zeros(4, 3)
LEAF = torch.ones(4, 3, requires_grad=True)


def _sum(x: Tensor) -> Tensor:
    return x.square().sum(1)


@MODULES
@pytest.mark.parametrize(
    ("name", "arguments", "settings", "error", "text"),
    [
        ("r1_penalty", (_sum, [0.0]), {}, TypeError, "^r1_penalty: real must be a tensor, got list"),
        ("r2_penalty", (_sum, X.int()), {}, TypeError, "^r2_penalty: fake must be a floating-point tensor"),
        ("r1_penalty", (_sum, X[0, 0]), {}, ValueError, r"^r1_penalty: real must have a batch dimension"),
        ("r1_penalty", (_sum, X), {"reduction": "avg"}, ValueError, "^r1_penalty: reduction 'avg' is unknown"),
        ("r1_penalty", (lambda x: x.detach().sum(1), X), {}, ValueError, "^r1_penalty: the critic's output does not"),
        ("r2_penalty", (lambda x: (x, x), X), {}, TypeError, "^r2_penalty: critic must return one .* got tuple"),
        ("lp_penalty", (_sum, X, X[:2]), {}, ValueError, r"\(4, 3\) and fake \(2, 3\) must have the same shape"),
        ("dragan_penalty", (_sum, X), {"target": -1}, ValueError, "^dragan_penalty: target must be .*at least 0"),
        ("dragan_penalty", (_sum, X), {"scale": math.nan}, ValueError, "^dragan_penalty: scale must be finite"),
        ("dragan_penalty", (_sum, X, X[:2]), {}, ValueError, r"^dragan_penalty: real \(4, 3\) and noise \(2, 3\)"),
        ("dragan_penalty", (_sum, X, X.double()), {}, TypeError, "noise .torch.float64. must have the same dtype"),
        (
            "gradient_penalty",
            (_sum, X, X),
            {"finite_difference": -0.1},
            ValueError,
            "finite_difference must be finite and at least 0, got -0.1",
        ),
        (
            "r1_penalty",
            (lambda x: x.square().sum(0), X),
            {"finite_difference": 0.1},
            ValueError,
            r"^r1_penalty: for a difference the critic must return scores \(N, …\) for 4 samples, got \(3,\)",
        ),
        (
            "r1_penalty",
            (lambda x: x.square().mean(), X),
            {},
            ValueError,
            "at least one score per sample, got one number",
        ),
        ("r1_penalty", (_sum, X), {"logits": 1.0}, TypeError, "^r1_penalty: logits must be a tensor, got float"),
        (
            "r1_penalty",
            (_sum, X),
            {"logits": X},
            ValueError,
            r"real must require a gradient .* real.requires_grad_\(\)",
        ),
        ("r2_penalty", (_sum, LEAF * 2), {"logits": LEAF}, ValueError, "^r2_penalty: fake must be a leaf if logits"),
        ("r2_penalty", (_sum, LEAF), {"logits": X}, ValueError, "^r2_penalty: logits do not depend on fake; pass the"),
        ("input_gradient_penalty", (X, LEAF), {"target": 0}, ValueError, "logits do not depend on inputs; pass the"),
        ("input_gradient_penalty", (LEAF * 2, LEAF[:2]), {"target": 0}, ValueError, "logits do not depend on inputs"),
        ("input_gradient_penalty", (LEAF * 2, X), {"target": 0}, ValueError, "inputs must require a gradient"),
        (
            "input_gradient_penalty",
            (LEAF.mean(), LEAF),
            {"target": 0},
            ValueError,
            "one value per sample, got one",
        ),
        ("input_gradient_penalty", ([LEAF], LEAF), {"target": 0}, TypeError, "logits must be a tensor, got list"),
        ("input_gradient_penalty", (LEAF * 2, LEAF), {"target": -1}, ValueError, "target must be .*at least 0, got -1"),
        ("approximate_r1_penalty", (_sum, X, 0), {}, ValueError, "sigma must be finite and above 0, got 0"),
        ("approximate_r1_penalty", (_sum, X, -0.1), {}, ValueError, "sigma must be finite and above 0, got -0.1"),
        ("approximate_r1_penalty", (_sum, X, math.nan), {}, ValueError, "sigma must be finite and above 0, got nan"),
        ("approximate_r1_penalty", (_sum, X, None), {}, TypeError, "sigma must be a number, got NoneType"),
        ("approximate_r1_penalty", (_sum, X, 1), {"noise": X[:2]}, ValueError, r"samples \(4, 3\) and noise \(2, 3\)"),
        ("approximate_r1_penalty", (_sum, X, 1), {"logits": X}, ValueError, r"logits \(4, 3\) must have the shape of"),
        ("approximate_r1_penalty", (_sum, X, 1), {"generator": 3}, TypeError, "generator must be a torch.Generator"),
        (
            "approximate_r1_penalty",
            (_sum, X, 1),
            {"noise": X, "generator": torch.Generator()},
            ValueError,
            "pass noise or generator, not both",
        ),
    ],
)
def test_bad_input(module, name, arguments, settings, error, text):
    with pytest.raises(error, match=text):
        getattr(module, name)(*arguments, **settings)
