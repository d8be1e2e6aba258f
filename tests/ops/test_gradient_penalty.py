"""Gradient penalties beyond conformance: closed forms, and a test for each mistake that published code has made."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import ganops
from ganops import reference

from .properties import given, st

REDUCTIONS = ("mean", "sum", "none")


def _double(*shape: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.randn(shape, dtype=torch.float64, device=device)


# ------------------------------------------------------------------------------------- the norm's own penalty


def test_by_hand(device):
    gradient = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.0], [0.0, -0.5]], dtype=torch.float64, device=device)

    def penalty(**settings):
        return ganops.gradient_norm_penalty(gradient, **settings)

    assert penalty(reduction="none").tolist() == pytest.approx([16, 0, 1, 0.25])
    assert penalty(reduction="none", one_sided=True).tolist() == pytest.approx([16, 0, 0, 0])
    assert penalty(reduction="none", target=0.0).tolist() == pytest.approx([25, 1, 0, 0.25])
    assert penalty(reduction="none", target=2).tolist() == pytest.approx([9, 1, 4, 2.25])
    assert penalty().item() == pytest.approx(17.25 / 4)
    assert penalty(reduction="sum").item() == pytest.approx(17.25)


def test_gradient_by_hand(device):
    """∂(n − t)²/∂g = 2(1 − t/n)·g."""
    g = _double(6, 3, 2, device=device).requires_grad_()
    norm = g.detach().square().sum((1, 2)).sqrt()[:, None, None]
    for target in (0.0, 1.0, 2.5):
        penalty = ganops.gradient_norm_penalty(g, target=target, reduction="sum")
        torch.testing.assert_close(torch.autograd.grad(penalty, g)[0], 2 * (1 - target / norm) * g.detach())
        penalty = ganops.gradient_norm_penalty(g, target=target, one_sided=True, reduction="sum")
        expected = torch.where(norm > target, 2 * (1 - target / norm) * g.detach(), 0)
        torch.testing.assert_close(torch.autograd.grad(penalty, g)[0], expected)


def test_hessian_by_hand(device):
    """∂²(n − t)²/∂g² = 2(1 − t/n)·I + (2t/n)·u·uᵀ with u = g/n."""
    g = _double(1, 4, device=device)

    def slope(x):
        (found,) = torch.autograd.grad(ganops.gradient_norm_penalty(x, target=1.5), x, create_graph=True)
        return found

    hessian = torch.autograd.functional.jacobian(slope, g.clone().requires_grad_()).reshape(4, 4)
    n = g.norm()
    u = (g / n).flatten()
    torch.testing.assert_close(hessian, 2 * (1 - 1.5 / n) * torch.eye(4).to(g) + 3 / n * torch.outer(u, u))


@pytest.mark.parametrize("shape", [(4, 3, 5, 5), (4, 1, 6, 6), (4, 7, 2, 3), (4, 11), (4,), (4, 2, 3, 2, 3), (4, 1, 1)])
def test_the_norm_is_over_everything_but_the_batch(shape, device):
    """Not over the channels alone, nor over the whole batch: both were published."""
    g = _double(*shape, device=device)
    flat = g.reshape(4, -1)
    expected = (flat.square().sum(1).sqrt() - 1).square()
    torch.testing.assert_close(ganops.gradient_norm_penalty(g, reduction="none"), expected)
    if len(shape) > 2 and math.prod(shape[2:]) > 1:
        over_channels = (g.norm(dim=1) - 1).square().mean()
        assert not torch.allclose(ganops.gradient_norm_penalty(g), over_channels, rtol=1e-3)
    if math.prod(shape[1:]) > 1:
        over_the_batch = (g.norm() - 1).square()
        assert not torch.allclose(ganops.gradient_norm_penalty(g), over_the_batch, rtol=1e-3)


def test_each_sample_on_its_own(device):
    """A sample's penalty and gradient do not change with the rest of the batch."""
    g = _double(5, 3, 4, 4, device=device).requires_grad_()
    together = ganops.gradient_norm_penalty(g, reduction="none")
    gradient = torch.autograd.grad(together.sum(), g)[0]
    for i in range(5):
        alone = g[i : i + 1].detach().requires_grad_()
        value = ganops.gradient_norm_penalty(alone, reduction="none")
        assert torch.equal(value[0], together[i])
        assert torch.equal(torch.autograd.grad(value.sum(), alone)[0][0], gradient[i])


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_zero_gradients(dtype, target, one_sided, device):
    """A dead critic has gradient 0, where the norm has no derivative: 0, never NaN, in every order."""
    g = torch.zeros(3, 2, 4, dtype=dtype, device=device)
    g[1] = 1  # beside a living sample
    g.requires_grad_()
    for reduction in REDUCTIONS:
        value = ganops.gradient_norm_penalty(g, target=target, one_sided=one_sided, reduction=reduction)
        above = torch.ones_like(value).requires_grad_()
        (first,) = torch.autograd.grad(value, g, above, create_graph=True)
        assert first.isfinite().all()
        assert not first[0].any()
        assert not first[2].any()
        if target == 0 or reduction == "none":
            assert first[1].any()
        for create_graph in (False, True):
            second, by_above = torch.autograd.grad(
                first.sum(), (g, above), create_graph=create_graph, retain_graph=True
            )
            assert second.isfinite().all()
            assert by_above.isfinite().all()
            if target != 0:
                assert not second[0].any(), "flat where the subgradient is taken"
        if second.requires_grad:
            assert torch.autograd.grad(second.sum(), g)[0].isfinite().all()


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e-18, 1e15, 1e18])
def test_tiny_and_huge_norms_stay_finite(size, device):
    """float32 squares underflow below 1e-23 and overflow above 1e19; nothing in between may become NaN."""
    g = torch.full((2, 3), size, device=device, requires_grad=True)
    value = ganops.gradient_norm_penalty(g)
    (first,) = torch.autograd.grad(value, g, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), g)
    assert value.isfinite()
    assert first.isfinite().all()
    assert not second.isnan().any()


def test_one_sided_is_flat_at_and_below_the_target(device):
    g = torch.tensor([[1.0, 0.0], [0.5, 0.0], [1.5, 0.0]], dtype=torch.float64, device=device, requires_grad=True)
    value = ganops.gradient_norm_penalty(g, one_sided=True, reduction="none")
    assert value.tolist() == [0, 0, 0.25]
    assert torch.autograd.grad(value.sum(), g)[0].tolist() == [[0, 0], [0, 0], [1, 0]]


def test_zero_centred_is_smooth_at_zero(device):
    """‖g‖² has curvature 2 at g = 0, unlike (‖g‖ − t)²."""
    g = torch.zeros(1, 3, dtype=torch.float64, device=device, requires_grad=True)
    (first,) = torch.autograd.grad(ganops.gradient_norm_penalty(g, target=0.0), g, create_graph=True)
    assert torch.autograd.grad(first.sum(), g)[0].tolist() == [[2, 2, 2]]


@given(
    shape=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    target=st.floats(0, 3),
    one_sided=st.booleans(),
    reduction=st.sampled_from(REDUCTIONS),
    seed=st.integers(0, 99),
)
def test_property_matches_the_reference(shape, target, one_sided, reduction, seed):
    g = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()
    found = []
    for module in (ganops, reference):
        value = module.gradient_norm_penalty(g, target=target, one_sided=one_sided, reduction=reduction)
        (first,) = torch.autograd.grad(value.sum(), g, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), g)
        found.append((value, first, second))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-8)


@given(scale=st.floats(0.125, 8), seed=st.integers(0, 99))
def test_property_scaling_gradient_and_target_together(scale, seed):
    g = torch.randn(4, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scaled = ganops.gradient_norm_penalty(scale * g, target=scale)
    torch.testing.assert_close(scaled, scale**2 * ganops.gradient_norm_penalty(g), rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 99))
def test_property_rotating_a_sample_changes_nothing(seed):
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
    torch.testing.assert_close(ganops.gradient_norm_penalty(g @ rotation), ganops.gradient_norm_penalty(g))


# ------------------------------------------------------------------------------------------------ the whole term


class Quadratic(nn.Module):
    """x ↦ ½ a‖x‖² + ⟨b, x⟩, whose gradient at x is a·x + b."""

    def __init__(self, size: int, device: torch.device) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.7, dtype=torch.float64, device=device))
        self.b = nn.Parameter(_double(size, device=device))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return 0.5 * self.a * x.square().sum(1) + x @ self.b


def test_closed_form(device):
    """Value and gradients to the critic's weights for a critic whose gradient is known."""
    critic = Quadratic(12, device)
    real, fake = _double(5, 3, 2, 2, device=device), _double(5, 3, 2, 2, device=device)
    weight = torch.rand(5, dtype=torch.float64, device=device)
    value = ganops.gradient_penalty(critic, real, fake, weight=weight)
    found = torch.autograd.grad(value, list(critic.parameters()))
    points = (weight[:, None] * real.flatten(1) + (1 - weight[:, None]) * fake.flatten(1)).detach()
    slopes = critic.a * points + critic.b
    norm = slopes.square().sum(1).sqrt()
    expected = (norm - 1).square().mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected, list(critic.parameters())))


def test_linear_critic_has_the_norm_of_its_weights(device):
    critic = nn.Linear(6, 1, device=device)
    real, fake = torch.randn(2, 9, 6, device=device)
    norm = critic.weight.detach().norm()
    torch.testing.assert_close(ganops.gradient_penalty(critic, real, fake), (norm - 1).square())
    each = ganops.gradient_penalty(critic, real, fake, target=2.0, reduction="none")
    torch.testing.assert_close(each, (norm - 2).square().expand(9))


def test_reaches_the_critics_weights(device):
    """Detached, or taken without create_graph, it would train nothing."""
    critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)
    real, fake = torch.randn(2, 6, 4, device=device)
    ganops.gradient_penalty(critic, real, fake).backward()
    first, last = critic[0], critic[2]
    assert all(p.grad is not None and p.grad.any() for p in (first.weight, first.bias, last.weight))
    assert last.bias.grad is None or not last.bias.grad.any(), "a constant has no slope"


def test_adds_to_the_gradient_of_the_loss(device):
    """λ·penalty + loss in one backward is the sum of both: the penalty is neither lost nor a step of its own."""
    critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(device)
    real, fake, weight = (
        torch.randn(6, 4, device=device),
        torch.randn(6, 4, device=device),
        torch.rand(6, device=device),
    )

    def gradients(with_loss: float, with_penalty: float) -> list[Tensor]:
        loss = with_loss * ganops.discriminator_loss(critic(real), critic(fake), "wasserstein")
        loss = loss + with_penalty * ganops.gradient_penalty(critic, real, fake, weight=weight)
        return list(torch.autograd.grad(loss, list(critic.parameters()), materialize_grads=True))

    for both, loss, penalty in zip(gradients(1, 10), gradients(1, 0), gradients(0, 1), strict=True):
        torch.testing.assert_close(both, loss + 10 * penalty, rtol=1e-4, atol=1e-5)


def test_descending_it_brings_the_slope_to_the_target(device):
    critic = nn.Linear(3, 1, device=device)
    optimiser = torch.optim.SGD(critic.parameters(), lr=0.2)
    real, fake = torch.randn(2, 8, 3, device=device)
    for _ in range(60):
        optimiser.zero_grad()
        ganops.gradient_penalty(critic, real, fake).backward()
        optimiser.step()
    assert critic.weight.norm().item() == pytest.approx(1, abs=1e-3)


def test_leaves_the_generator_alone(device):
    """Fakes need not be detached by the caller: nothing flows into whatever made them, nor into the data."""
    generator, critic = (
        nn.Linear(2, 4).to(device),
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(device),
    )
    real = torch.randn(5, 4, device=device, requires_grad=True)
    fake = generator(torch.randn(5, 2, device=device))
    fake.retain_grad()
    ganops.gradient_penalty(critic, real, fake).backward()
    assert fake.grad is None
    assert real.grad is None
    assert all(p.grad is None for p in generator.parameters())
    assert critic[0].weight.grad.any()


def test_does_not_touch_what_the_caller_holds(device):
    """No gradient is left in the weights, no flag on the samples, no mode changed."""
    critic = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 1)).to(device).eval()
    real, fake = torch.randn(2, 5, 4, device=device)
    before = real.clone(), fake.clone()
    ganops.gradient_penalty(critic, real, fake)
    assert not real.requires_grad
    assert not fake.requires_grad
    assert torch.equal(real, before[0])
    assert torch.equal(fake, before[1])
    assert all(p.grad is None for p in critic.parameters())
    assert not critic.training


@pytest.mark.parametrize("shape", [(4, 1, 6, 6), (4, 5, 6, 6), (4, 30), (4, 2, 3, 2, 3), (4,)])
def test_samples_of_any_shape(shape, device):
    real, fake, weight = (
        torch.randn(shape, device=device),
        torch.randn(shape, device=device),
        torch.rand(shape[0], device=device),
    )

    def critic(x: Tensor) -> Tensor:
        return x.square() if x.dim() == 1 else x.square().flatten(1).sum(1)

    points = weight.reshape(-1, *(1 for _ in shape[1:])) * (real - fake) + fake
    expected = ((2 * points).reshape(4, -1).norm(dim=1) - 1).square()
    torch.testing.assert_close(ganops.gradient_penalty(critic, real, fake, weight=weight, reduction="none"), expected)


def test_penalises_between_real_and_fake(device):
    """The critic sees one point on the line between each pair, and with weights 1 and 0 the ends (R1, R2)."""
    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return x.square().sum(1)

    real, fake = torch.randn(2, 7, 3, device=device)
    ganops.gradient_penalty(critic, real, fake)
    share = (seen[0] - fake) / (real - fake)
    torch.testing.assert_close(share, share[:, :1].expand_as(share), rtol=1e-3, atol=1e-4)
    assert share.min() > -1e-4
    assert share.max() < 1 + 1e-4
    assert share[:, 0].unique().numel() == 7
    r1 = ganops.gradient_penalty(critic, real, fake, target=0.0, weight=torch.ones(7, device=device))
    torch.testing.assert_close(r1, (2 * real).square().sum(1).mean())
    assert torch.equal(seen[-1], real)
    ganops.gradient_penalty(critic, real, fake, target=0.0, weight=torch.zeros(7, device=device))
    assert torch.equal(seen[-1], fake)


def test_critics_of_any_output_shape(device):
    """A patch critic's scores are summed per sample; (N,) and (N, 1) are the same."""
    net = nn.Conv2d(3, 2, 3, device=device)
    real, fake, weight = (
        torch.randn(4, 3, 6, 6, device=device),
        torch.randn(4, 3, 6, 6, device=device),
        torch.rand(4, device=device),
    )
    patches = ganops.gradient_penalty(net, real, fake, weight=weight)
    summed = ganops.gradient_penalty(lambda x: net(x).flatten(1).sum(1), real, fake, weight=weight)
    torch.testing.assert_close(patches, summed)


def test_without_gradients_it_is_a_number(device):
    critic = nn.Linear(3, 1, device=device)
    real, fake = torch.randn(2, 4, 3, device=device)
    with torch.no_grad():
        value = ganops.gradient_penalty(critic, real, fake)
    assert not value.requires_grad
    torch.testing.assert_close(value, (critic.weight.detach().norm() - 1).square())


def test_a_frozen_critic(device):
    critic = nn.Linear(3, 1, device=device).requires_grad_(False)
    value = ganops.gradient_penalty(critic, *torch.randn(2, 4, 3, device=device))
    torch.testing.assert_close(value.detach(), (critic.weight.norm() - 1).square())


def test_inside_another_derivative(device):
    """Unrolled steps: the weights after a step of gradient descent on the penalty, differentiated."""
    found = []
    for module in (ganops, reference):
        torch.manual_seed(0)
        weights = [_double(4, 3, device=device).requires_grad_(), _double(3, device=device).requires_grad_()]
        real, fake, epsilon = (
            _double(5, 4, device=device),
            _double(5, 4, device=device),
            torch.rand(5, dtype=torch.float64, device=device),
        )
        now = weights
        for _ in range(2):
            value = module.gradient_penalty(lambda x, w=now: torch.tanh(x @ w[0]) @ w[1], real, fake, weight=epsilon)
            steps = torch.autograd.grad(value, now, create_graph=True)
            now = [w - 0.1 * s for w, s in zip(now, steps, strict=True)]
        total = sum(w.square().sum() for w in now)
        found.append((total, *torch.autograd.grad(total, weights)))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


def test_penalty_of_a_penalty(device):
    """∇ₓ of the penalty's own gradient field: four orders through both ops."""
    found = []
    for module in (ganops, reference):
        torch.manual_seed(0)
        a = _double(3, 3, device=device).requires_grad_()
        real, fake, epsilon = (
            _double(4, 3, device=device),
            _double(4, 3, device=device),
            torch.rand(4, dtype=torch.float64, device=device),
        )

        def inner(x: Tensor, a=a, module=module) -> Tensor:
            (gradient,) = torch.autograd.grad(torch.tanh(x @ a).square().sum(), x, create_graph=True)
            return module.gradient_norm_penalty(gradient, reduction="none")

        value = module.gradient_penalty(inner, real, fake, weight=epsilon)
        found.append((value, *torch.autograd.grad(value, a)))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision(dtype, device):
    """Under autocast, with weights in float32: a float32 penalty close to the one in full precision."""
    critic = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 1)).to(device)
    real, fake, weight = (
        torch.randn(8, 16, device=device),
        torch.randn(8, 16, device=device),
        torch.rand(8, device=device),
    )
    exact = ganops.gradient_penalty(critic, real, fake, weight=weight)
    with torch.autocast(device.type, dtype=dtype):
        value = ganops.gradient_penalty(critic, real, fake, weight=weight)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=0.05, atol=0.02)
    gradients = [torch.autograd.grad(v, critic[0].weight)[0] for v in (value, exact)]
    assert torch.cosine_similarity(*(g.flatten() for g in gradients), dim=0) > 0.99


def test_spectral_norm_in_the_critic(device):
    """Its power iteration writes to buffers between two forwards."""
    spectral = nn.utils.parametrizations.spectral_norm
    critic = nn.Sequential(spectral(nn.Linear(4, 8)), nn.Tanh(), spectral(nn.Linear(8, 1))).to(device)
    real, fake = torch.randn(2, 5, 4, device=device)
    loss = ganops.discriminator_loss(critic(real), critic(fake), "hinge") + ganops.gradient_penalty(critic, real, fake)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in critic.parameters() if p.grad is not None)


def test_a_rectified_critic_with_dead_samples(device):
    """Relu units that are all off give a gradient of exactly 0 for some samples; the rest must still train."""
    critic = nn.Sequential(nn.Linear(1, 1), nn.ReLU()).to(device)
    with torch.no_grad():
        critic[0].weight.fill_(2)
        critic[0].bias.fill_(0)
    x = torch.tensor([[-1.0], [1.0]], device=device)
    each = ganops.gradient_penalty(critic, x, x, reduction="none")
    assert each.tolist() == [1, 1]
    each.sum().backward()
    assert critic[0].weight.grad.item() == 2  # d(2 − 1)²/dw of the living sample alone


def test_module(device):
    critic = nn.Linear(3, 1, device=device)
    real, fake = torch.randn(2, 4, 3, device=device)
    norm = critic.weight.detach().norm()
    assert ganops.nn.GradientPenalty()(critic, real, fake).item() == pytest.approx(
        10 * (norm.item() - 1) ** 2, rel=1e-4
    )
    module = ganops.nn.GradientPenalty(0.5, target=0.0)
    assert module(critic, real, fake).item() == pytest.approx(0.5 * norm.item() ** 2, rel=1e-4)
    assert repr(module) == "GradientPenalty(weight=0.5, target=0.0, one_sided=False)"


# ---------------------------------------------------------------------------------------------------- bad input

G = torch.zeros(4, 3)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("gradient", "settings", "error", "text"),
    [
        (G.int(), {}, TypeError, "^gradient_norm_penalty: gradient must be a floating-point tensor, got torch.int32"),
        (None, {}, TypeError, "gradient_norm_penalty: gradient must be a tensor, got NoneType"),
        ((G,), {}, TypeError, "gradient must be a tensor, got tuple"),
        (G.to_sparse(), {}, TypeError, "gradient_norm_penalty: gradient must be a (dense|strided) tensor"),
        (
            torch.tensor(1.0),
            {},
            ValueError,
            r"gradient must have a batch dimension, \(N, …\), got a tensor of shape \(\)",
        ),
        (G, {"target": -1}, ValueError, "gradient_norm_penalty: target must be finite and at least 0, got -1"),
        (G, {"target": math.nan}, ValueError, "target must be finite and at least 0, got nan"),
        (G, {"target": math.inf}, ValueError, "target must be finite and at least 0, got inf"),
        (G, {"target": "1"}, TypeError, "target must be a number, got str"),
        (
            G,
            {"reduction": "batchmean"},
            ValueError,
            "gradient_norm_penalty: reduction 'batchmean' is unknown.*mean, none, sum",
        ),
    ],
)
def test_bad_input_of_the_norm_penalty(module, gradient, settings, error, text):
    with pytest.raises(error, match=text):
        module.gradient_norm_penalty(gradient, **settings)


def _sum(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(1)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("critic", "real", "fake", "settings", "error", "text"),
    [
        (_sum, G, G[:2], {}, ValueError, r"real \(4, 3\) and fake \(2, 3\) must have the same shape"),
        (
            _sum,
            G,
            G.double(),
            {},
            TypeError,
            r"real \(torch.float32\) and fake \(torch.float64\) must have the same dtype",
        ),
        (_sum, G, G.to("meta"), {}, ValueError, r"real \(cpu\) and fake \(meta\) must be on the same device"),
        (_sum, G.int(), G.int(), {}, TypeError, "real must be a floating-point tensor, got torch.int32"),
        (_sum, [0.0], G, {}, TypeError, "gradient_penalty: real must be a tensor, got list"),
        (_sum, G, None, {}, TypeError, "gradient_penalty: fake must be a tensor, got NoneType"),
        (_sum, G, G, {"weight": torch.zeros(3)}, ValueError, r"weight must have one entry per sample, shape \(4,\)"),
        (_sum, G, G, {"target": -0.5}, ValueError, "target must be finite and at least 0, got -0.5"),
        (_sum, G, G, {"reduction": "avg"}, ValueError, "reduction 'avg' is unknown.*choose one of mean, none, sum"),
        (
            lambda x: x.detach().sum(1),
            G,
            G,
            {},
            ValueError,
            "gradient_penalty: the critic's output does not depend on its input.*detach",
        ),
        (lambda x: torch.ones(4, requires_grad=True), G, G, {}, ValueError, "does not depend on its input"),
        (
            lambda x: (_sum(x), x),
            G,
            G,
            {},
            TypeError,
            "gradient_penalty: critic must return one floating-point tensor, got tuple",
        ),
        (lambda x: x.argmax(1), G, G, {}, TypeError, "critic must return one floating-point tensor, got torch.int64"),
    ],
)
def test_bad_input_of_the_whole_penalty(module, critic, real, fake, settings, error, text):
    with pytest.raises(error, match=text):
        module.gradient_penalty(critic, real, fake, **settings)


@pytest.mark.parametrize("settings", [{"reduction": "avg"}, {"target": -1.0}])
def test_settings_are_checked_before_the_critic_runs(settings):
    def critic(x: Tensor) -> Tensor:
        raise AssertionError("the critic ran")

    with pytest.raises(ValueError, match=r"reduction|target"):
        ganops.gradient_penalty(critic, G, G, **settings)


def test_inference_mode_is_named_where_it_is_the_cause(device):
    critic = nn.Linear(3, 1, device=device)
    with torch.inference_mode():
        try:
            value = ganops.gradient_penalty(critic, *torch.randn(2, 4, 3, device=device))
        except (ValueError, RuntimeError) as error:
            assert "inference_mode" in str(error)  # noqa: PT017
        else:
            assert value.item() == pytest.approx((critic.weight.norm().item() - 1) ** 2, rel=1e-4)


@pytest.mark.parametrize("function", [ganops.gradient_norm_penalty, ganops.reference.gradient_norm_penalty])
def test_a_zero_gradient_has_no_curvature_either(function, device):
    """The zero subgradient is taken as a constant: its derivative is zero, not that of a formula behind it."""
    g = torch.zeros(1, 2, dtype=torch.float64, device=device, requires_grad=True)
    (first,) = torch.autograd.grad(function(g), g, create_graph=True)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), g)
        assert second.eq(0).all()
