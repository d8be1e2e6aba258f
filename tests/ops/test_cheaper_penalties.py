"""Penalties without a second pass through the critic, and without second derivatives."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

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


def _sum(x: Tensor) -> Tensor:
    return x.square().sum(1)


# ------------------------------------------------------------------------------------- from a forward pass in hand


@MODULES
def test_from_logits_by_hand(module, device):
    """For ½a‖x‖² + ⟨b, x⟩, spread over patches whose sum it is, the gradient is a·x + b."""
    a, b = torch.tensor(0.7, dtype=torch.float64, device=device, requires_grad=True), _double(6, device=device)
    x = _double(5, 2, 3, device=device).requires_grad_()
    logits = 0.5 * a * x.flatten(1).square() + x.flatten(1) * b
    norm = (a * x.flatten(1) + b).norm(dim=1)
    for target, one_sided in ((0, False), (1.0, False), (1.5, True)):
        excess = norm - target
        expected = (excess.relu() if one_sided else excess).square()
        settings = {"target": target, "one_sided": one_sided}
        for reduction in ("none", "mean", "sum"):
            value = module.input_gradient_penalty(logits, x, **settings, reduction=reduction)
            torch.testing.assert_close(value, expected if reduction == "none" else getattr(expected, reduction)())
        found, wanted = (torch.autograd.grad(v, (a, x), retain_graph=True) for v in (value, expected.sum()))
        torch.testing.assert_close(found, wanted)


@MODULES
@pytest.mark.parametrize("finite_difference", [0.0, 0.01])
def test_logits_in_hand_change_nothing(module, finite_difference, device):
    critic, seen = _critic(6, device), []
    critic.register_forward_hook(lambda *_: seen.append(1))
    for name in ("r1_penalty", "r2_penalty"):
        x = _double(4, 6, device=device).requires_grad_()
        logits = critic(x)
        seen.clear()
        value = getattr(module, name)(critic, x, logits=logits, finite_difference=finite_difference)
        assert len(seen) == (2 if finite_difference else 0)
        expected = getattr(module, name)(critic, x, finite_difference=finite_difference)
        with torch.no_grad():
            evaluated = getattr(module, name)(critic, x, logits=logits, finite_difference=finite_difference)
        assert not evaluated.requires_grad
        for found in (value, evaluated):
            torch.testing.assert_close(found.detach(), expected.detach())
        torch.autograd.grad(logits.sum(), x, retain_graph=True)  # the graph is still the caller's
        torch.testing.assert_close(_gradients(value, critic), _gradients(expected, critic))


@pytest.mark.parametrize(("one_pass", "forwards"), [(False, 4), (True, 2)])
def test_forward_passes_of_r3gan(one_pass, forwards, device):
    """Relativistic loss, R1 and R2: the update by hand has a forward pass for real and one for fake samples."""
    critic, seen = _critic(6, device), []
    x, z = (_double(4, 6, device=device).requires_grad_() for _ in range(2))

    def by_hand():
        real, fake = critic(x), critic(z)
        loss = nn.functional.softplus(fake - real).mean()
        for scores, points in ((real, x), (fake, z)):
            (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
            loss = loss + 0.5 * gradient.square().sum(1).mean()
        return loss

    expected = by_hand()
    critic.register_forward_hook(lambda *_: seen.append(1))
    real, fake = critic(x), critic(z)
    in_hand = ({"logits": real}, {"logits": fake}) if one_pass else ({}, {})
    loss = ganops.discriminator_loss(real, fake, "relativistic")
    loss = loss + 0.5 * (ganops.r1_penalty(critic, x, **in_hand[0]) + ganops.r2_penalty(critic, z, **in_hand[1]))
    assert len(seen) == forwards
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(_gradients(loss, critic), _gradients(expected, critic))


@pytest.mark.compile
def test_one_pass_under_compile(device):
    """As the docs say: loss and gradient from one call of torch.func.grad."""
    critic, x = _critic(6, device), _double(4, 6, device=device)

    def scores_and_sum(x):
        logits = critic(x)
        return logits.sum(), logits

    def loss(x):
        gradient, logits = torch.func.grad(scores_and_sum, has_aux=True)(x)
        return ganops.generator_loss(logits) + ganops.gradient_norm_penalty(gradient, target=0)

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(x)
    expected = ganops.generator_loss(critic(x)) + ganops.r1_penalty(critic, x)
    torch.testing.assert_close(compiled, expected)
    torch.testing.assert_close(_gradients(compiled, critic), _gradients(expected, critic))


def test_under_a_transform_the_error_names_the_way(device):
    def penalty(x):
        return ganops.input_gradient_penalty(x.square(), x, target=0)

    with pytest.raises(RuntimeError, match=r"torch\.func\.grad\(total, has_aux=True\)"):
        torch.func.grad(penalty)(torch.ones(2, 3, device=device))


@pytest.mark.compile
def test_the_code_of_the_page_runs(device):
    page = (Path(__file__).parents[2] / "docs" / "penalties.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        critic = _critic(6, device)
        real, fake = (_double(4, 6, device=device) for _ in range(2))
        torch._dynamo.reset()
        names = {"ganops": ganops, "torch": torch, "critic": critic, "real": real, "fake": fake}
        exec(block.replace("fullgraph=True", 'fullgraph=True, backend="aot_eager"'), names)
        assert all(p.grad.isfinite().all() for p in critic.parameters())


# ----------------------------------------------------------------------------------------- estimates along noise


@MODULES
def test_estimates_by_hand(module, device):
    """Value, weights' gradients, patches summed per sample, logits in hand, reductions."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3, device=device), nn.Tanh()).double()
    x, noise, sigma = _double(3, 1, 5, 5, device=device), _double(3, 1, 5, 5, device=device), 0.2
    expected = ((net(x + sigma * noise) - net(x)).flatten(1).sum(1) / sigma).square()
    for reduction in ("none", "mean", "sum"):
        for logits in (None, net(x)):
            value = module.approximate_r1_penalty(net, x, sigma, noise=noise, logits=logits, reduction=reduction)
            wanted = expected if reduction == "none" else getattr(expected, reduction)()
            torch.testing.assert_close(value, wanted)
            found, right = (torch.autograd.grad(v.sum(), net[0].weight, retain_graph=True) for v in (value, wanted))
            torch.testing.assert_close(found, right)


@MODULES
def test_the_estimates_mean_and_variance(module, device):
    """For ½⟨x, Hx⟩ + ⟨b, x⟩ the mean is ‖g‖² + σ²(½‖H‖² + ¼(tr H)²), and for H = 0 the variance 2‖g‖⁴."""
    torch.manual_seed(0)
    count, sigma = 200_000, 1.0
    generator = torch.Generator(device).manual_seed(0)
    b = _double(3, device=device)
    half = _double(3, 3, device=device)
    hessian = half + half.T
    x = 0.1 * _double(3, device=device)
    samples = x.expand(count, 3)

    def each(hessian):
        def critic(x):
            return 0.5 * (x @ hessian * x).sum(1) + x @ b

        return module.approximate_r1_penalty(critic, samples, sigma, generator=generator, reduction="none")

    gradient = hessian @ x + b
    curvature = 0.5 * hessian.square().sum() + 0.25 * hessian.trace().square()
    values = each(hessian)
    error = values.std() / math.sqrt(count)
    assert abs(values.mean() - (gradient.square().sum() + sigma**2 * curvature)) < 4 * error
    assert 4 * error < 0.1 * sigma**2 * curvature  # else the line above says nothing of the bias
    values = each(torch.zeros_like(hessian))
    assert values.mean().item() == pytest.approx(b.square().sum().item(), rel=0.02)
    assert values.var().item() == pytest.approx(2 * b.square().sum().item() ** 2, rel=0.05)


@MODULES
def test_the_estimate_approaches_r1_and_its_weights_gradients(module, device):
    torch.manual_seed(0)
    critic = _critic(6, device)
    x = _double(50, 6, device=device)
    exact = ganops.r1_penalty(critic, x)
    many = x.repeat(2000, 1)
    value = module.approximate_r1_penalty(critic, many, 0.01)
    assert value.item() == pytest.approx(exact.item(), rel=0.02)
    for found, wanted in zip(_gradients(value, critic), _gradients(exact, critic), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.05 * wanted.abs().max().item() + 1e-4)


@MODULES
def test_the_noise_does_not_depend_on_torchs_defaults(module, device):
    x = torch.randn(4, 3, device=device)
    draw = {"generator": torch.Generator().manual_seed(0)}
    values = [module.approximate_r1_penalty(_sum, x, 0.1, **draw)]
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        draw["generator"].manual_seed(0)
        values += [module.approximate_r1_penalty(_sum, x, 0.1, **draw), module.approximate_r1_penalty(_sum, x, 0.1)]
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(values[0], values[1])
    assert values[2].device == x.device
    assert values[2].dtype == x.dtype
