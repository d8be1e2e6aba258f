"""Automatic mixed precision: autocast around every op, mixed dtypes, and penalties under a GradScaler."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import ganops
from ganops import reference

MODULES = pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


def images(*, device: torch.device, seed: int = 0, count: int = 8) -> Tensor:
    return torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)).to(device)


def scaler_of(device: torch.device, scale: float = 2.0**16) -> torch.amp.GradScaler:
    return torch.amp.GradScaler(device.type, init_scale=scale)


class Critic(nn.Module):
    """Convolution, the layers that see the batch, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.deviation = ganops.nn.MinibatchStddev(4)
        self.features = nn.Linear(9 * 16, 16)
        self.discrimination = ganops.nn.MinibatchDiscrimination(16, 4, 3)
        self.head = nn.Linear(20, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.deviation(nn.functional.leaky_relu(self.convolution(x), 0.2))
        return self.head(self.discrimination(torch.tanh(self.features(x.flatten(1)))))


def smooth_critic(device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 1)).to(device)


def noise_like(real: Tensor) -> Tensor:
    return torch.randn(real.shape, generator=torch.Generator().manual_seed(9)).to(real)


def r1_in_hand(module, critic: nn.Module, real: Tensor, **settings) -> Tensor:
    real = real.detach().requires_grad_()
    return module.r1_penalty(critic, real, logits=critic(real), **settings)


#: Each as a function of (module, critic, real, fake, **settings).
PENALTIES = {
    "gradient": lambda m, d, r, f, **s: m.gradient_penalty(
        d, r, f, weight=torch.full((len(r),), 0.3).to(r.device), **s
    ),
    "lp": lambda m, d, r, f, **s: m.lp_penalty(
        d, r, f, target=0.2, weight=torch.full((len(r),), 0.3).to(r.device), **s
    ),
    "r1": lambda m, d, r, f, **s: m.r1_penalty(d, r, **s),
    "r1, logits": lambda m, d, r, f, **s: r1_in_hand(m, d, r, **s),
    "r2": lambda m, d, r, f, **s: m.r2_penalty(d, f, **s),
    "dragan": lambda m, d, r, f, **s: m.dragan_penalty(d, r, noise_like(r), **s),
}
every_penalty = pytest.mark.parametrize("name", PENALTIES)


# Mixed dtypes


@MODULES
@HALVES
@pytest.mark.parametrize("kind", ["hinge", "non_saturating", "relativistic"])
def test_logits_of_two_dtypes_are_widened(module, kind, dtype, device):
    real, fake = images(device=device), images(device=device, seed=1).to(dtype)
    expected = module.discriminator_loss(real, fake.float(), kind)
    pairs = {"real_logits": real} if kind == "relativistic" else {}
    expected_g = module.generator_loss(fake.float(), kind, **pairs)
    with torch.autocast(device.type, dtype=dtype):
        assert torch.equal(module.discriminator_loss(real, fake, kind), expected)
        assert torch.equal(module.generator_loss(fake, kind, **pairs), expected_g)
    with pytest.raises(TypeError, match="same dtype"):
        module.discriminator_loss(real, fake, kind)


@MODULES
@HALVES
def test_samples_of_two_dtypes_are_promoted(module, dtype, device):
    real, fake, weight = images(device=device), images(device=device, seed=1).to(dtype), torch.rand(8).to(device)
    with torch.autocast(device.type, dtype=dtype):
        for pair in ((real, fake), (fake, real)):
            result = module.interpolate(*pair, weight)
            assert result.dtype == torch.float32
            assert torch.equal(result, module.interpolate(*(x.float() for x in pair), weight))
        assert module.interpolate(fake, fake, weight).dtype == dtype
    with pytest.raises(TypeError, match="same dtype"):
        module.interpolate(real, fake, weight)


@MODULES
@HALVES
@every_penalty
def test_penalties_take_samples_of_two_dtypes(module, name, dtype, device):
    critic, real, fake = smooth_critic(device), images(device=device), images(device=device, seed=1)
    exact = PENALTIES[name](module, critic, real, fake)
    with torch.autocast(device.type, dtype=dtype):
        value = PENALTIES[name](module, critic, real, fake.to(dtype))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=0.05, atol=0.02)


@MODULES
@HALVES
def test_half_features_meet_a_float32_weight(module, dtype, device):
    """As behind any linear layer under autocast."""
    x, weight = torch.randn(6, 5, device=device), torch.randn(5, 3, 2, device=device, requires_grad=True)
    exact = module.minibatch_discrimination(x, weight)
    with torch.autocast(device.type, dtype=dtype):
        value = module.minibatch_discrimination(x.to(dtype), weight)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=0.1, atol=0.02)
    assert torch.autograd.grad(value.sum(), weight)[0].dtype == torch.float32
    with pytest.raises(TypeError, match="same dtype"):
        module.minibatch_discrimination(x.to(dtype), weight)


# What keeps its dtype


@MODULES
@HALVES
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_layers_keep_dtype_and_layout(module, memory_format, dtype, device):
    x = images(device=device).to(dtype).contiguous(memory_format=memory_format)
    draws = torch.rand(8, 7).to(device)
    with torch.autocast(device.type, dtype=dtype):
        for value in (
            module.minibatch_stddev(x),
            module.diff_augment(x, parameters=draws),
            module.interpolate(x, x, draws[:, 0]),
        ):
            assert value.dtype == dtype
            if module is ganops:
                assert value.is_contiguous(memory_format=memory_format)


@HALVES
def test_the_deviation_is_summed_in_float32(dtype, device):
    """4,096 deviations of 1, and one of 1,024: a half-precision sum would lose it."""
    x = torch.zeros(2, 4097, device=device)
    x[1] = 2
    x[1, 0] = 2048
    column = ganops.minibatch_stddev(x.to(dtype), 2)[:, -1]
    assert torch.equal(column, torch.full_like(column, (4096 + 1024) / 4097))


# Whole steps


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("kind", ["hinge", "relativistic"])
def test_a_step_under_bfloat16(kind, memory_format, device):
    """All layers that see the batch, augmentation, loss and R1, with the weights' gradients near those in float32."""
    real, fake = (images(device=device, seed=i).contiguous(memory_format=memory_format) for i in (1, 2))
    draws = torch.full((8, 7), 0.4, device=device)
    found = []
    for enabled in (False, True):
        torch.manual_seed(0)
        critic = Critic().to(device, memory_format=memory_format)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
            shown = [ganops.diff_augment(x, parameters=draws) for x in (real, fake.bfloat16() if enabled else fake)]
            loss = ganops.discriminator_loss(*map(critic, shown), kind) + 0.1 * ganops.r1_penalty(critic, shown[0])
        assert loss.dtype == torch.float32
        loss.backward()
        found.append((loss.detach(), [p.grad for p in critic.parameters()]))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0.05, atol=0.02)
    for got, exact in zip(found[1][1], found[0][1], strict=True):
        assert got.dtype == torch.float32
        if exact.abs().max() > 1e-3:
            assert torch.cosine_similarity(got.flatten(), exact.flatten(), dim=0) > 0.95


# GradScaler


def tiny_critic(device: torch.device) -> nn.Module:
    """Its gradient, 2⁻²⁸ times a rotation's row, is nothing in float16 on its way from the last layer to the first."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(48, 16, bias=False), nn.Linear(16, 16, bias=False), nn.Linear(16, 1))
    with torch.no_grad():
        nn.init.orthogonal_(critic[1].weight)
        critic[2].weight.copy_(torch.eye(16) * 2.0**-14)
        critic[3].weight.fill_(2.0**-14 / 4)
    return critic.to(device)


@MODULES
@pytest.mark.parametrize("name", ["gradient", "dragan"])
def test_what_underflows_without_a_scaler_is_right_with_one(module, name, device):
    real, fake = images(device=device), images(device=device, seed=1)
    critic, scaler = tiny_critic(device), scaler_of(device)
    weights = [critic[i].weight for i in (1, 2, 3)]
    exact = torch.autograd.grad(PENALTIES[name](module, critic, real, fake), weights)
    with torch.autocast(device.type, dtype=torch.float16):
        lost = PENALTIES[name](module, critic, real, fake)
        kept = PENALTIES[name](module, critic, real, fake, scaler=scaler)
        for name in ("r1", "r1, logits"):
            r1 = PENALTIES[name](module, critic, real, fake, scaler=scaler)
            torch.testing.assert_close(r1.item(), 2.0**-56, rtol=0.02, atol=0)
            assert PENALTIES[name](module, critic, real, fake) == 0
    assert all(not g.any() for g in torch.autograd.grad(scaler.scale(lost), weights))
    got = [g / scaler.get_scale() for g in torch.autograd.grad(scaler.scale(kept), weights)]
    for gradient, wanted in zip(got, exact, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0.02, atol=0.02 * wanted.abs().max().item())


@MODULES
@every_penalty
@pytest.mark.parametrize("finite_difference", [0.0, 0.01])
def test_weights_gradients_equal_those_in_float32(module, name, finite_difference, device):
    critic, real, fake = smooth_critic(device), images(device=device), images(device=device, seed=1)
    scaler = scaler_of(device)
    settings = {"finite_difference": finite_difference}
    exact = PENALTIES[name](module, critic, real, fake, **settings)
    with torch.autocast(device.type, dtype=torch.float16):
        value = PENALTIES[name](module, critic, real, fake, scaler=scaler, **settings)
    torch.testing.assert_close(value, exact, rtol=5e-3, atol=1e-3)
    scaled = torch.autograd.grad(scaler.scale(value), list(critic.parameters()), materialize_grads=True)
    wanted = torch.autograd.grad(exact, list(critic.parameters()), materialize_grads=True)
    for got, right in zip(scaled, wanted, strict=True):
        limit = 1e-2 * right.abs().max().item() + 1e-4
        torch.testing.assert_close(got / scaler.get_scale(), right, rtol=0, atol=limit)


@MODULES
def test_a_scaler_changes_nothing_in_float32(module, device):
    critic, real, fake = smooth_critic(device), images(device=device), images(device=device, seed=1)
    for name, penalty in PENALTIES.items():
        found = []
        for scaler in (None, scaler_of(device), torch.amp.GradScaler(device.type, enabled=False)):
            value = penalty(module, critic, real, fake, scaler=scaler)
            found.append((value, *torch.autograd.grad(value, [critic[1].weight, critic[3].weight])))
        for other in found[1:]:
            torch.testing.assert_close(other, found[0], msg=lambda text, name=name: f"{name}: {text}")


def test_an_overflow_skips_the_step_and_the_next_one_counts(device):
    """A scale beyond float16 makes the inner gradient infinite: nothing moves, the scale falls until it fits."""
    critic, real, fake = smooth_critic(device), images(device=device), images(device=device, seed=1)
    optimizer, scaler = ganops.optimizers.Adam(critic.parameters(), lr=0.01, clip=0.5), scaler_of(device, 2.0**22)
    moved, finite = [], []
    for _ in range(10):
        before = [p.detach().clone() for p in critic.parameters()]
        with torch.autocast(device.type, dtype=torch.float16):
            penalty = ganops.gradient_penalty(critic, real, fake, scaler=scaler)
        optimizer.zero_grad()
        scaler.scale(penalty).backward()
        scaler.step(optimizer)
        scaler.update()
        moved.append(any(not torch.equal(p, q) for p, q in zip(critic.parameters(), before, strict=True)))
        assert all(p.isfinite().all() for p in critic.parameters())
        finite.append(bool(penalty.isfinite()))
    assert not any(m and not f for m, f in zip(moved, finite, strict=True))
    assert not finite[0]
    assert moved[-1]


@pytest.mark.parametrize("kind", [partial(ganops.optimizers.Adam, betas=(0.0, 0.9)), ganops.optimizers.RMSprop])
def test_a_whole_step_in_float16_follows_float32(kind, device):
    real, fake = images(device=device), images(device=device, seed=1)
    ends = []
    for enabled in (False, True):
        critic, scaler = smooth_critic(device), torch.amp.GradScaler(device.type, init_scale=256.0, enabled=enabled)
        start = torch.cat([p.detach().flatten() for p in critic.parameters()])
        optimizer = kind(critic.parameters(), lr=1e-3, clip=0.1)
        for step in range(8):
            with torch.autocast(device.type, dtype=torch.float16, enabled=enabled):
                loss = ganops.discriminator_loss(critic(real), critic(fake), "wasserstein")
                weight = torch.full((8,), step / 8, device=device)
                loss = loss + 10 * ganops.gradient_penalty(critic, real, fake, weight=weight, scaler=scaler)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(torch.cat([p.detach().flatten() for p in critic.parameters()]) - start)
        assert max(p.abs().max() for p in critic.parameters()) <= 0.1
    assert torch.cosine_similarity(*ends, dim=0) > 0.99


def test_finite_differences_are_in_float32_under_autocast(device):
    critic, real = smooth_critic(device), images(device=device)
    seen = []
    handle = critic[1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    exact = ganops.r1_penalty(critic, real, finite_difference=0.01)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        value = ganops.r1_penalty(critic, real, finite_difference=0.01)
    handle.remove()
    assert torch.equal(value, exact)
    assert set(seen) == {torch.float32}


@MODULES
@HALVES
def test_estimates_along_noise_stay_in_half_precision(module, dtype, device):
    """For attention that has no other kernels; the difference is taken and squared in float32."""
    critic, real, noise = smooth_critic(device), images(device=device), images(device=device, seed=1)
    seen = []
    critic.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    exact = module.approximate_r1_penalty(critic, real, 0.5, noise=noise)
    seen.clear()
    with torch.autocast(device.type, dtype=dtype):
        for logits in (None, critic(real)):
            value = module.approximate_r1_penalty(critic, real, 0.5, noise=noise, logits=logits)
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, exact, rtol=0.05, atol=0)
    assert set(seen) == {dtype}


def test_another_scaler_is_named(device):
    critic, real = smooth_critic(device), images(device=device)
    with pytest.raises(TypeError, match=r"r1_penalty: scaler must be a torch\.amp\.GradScaler or None, got float"):
        ganops.r1_penalty(critic, real, scaler=65536.0)


def test_module(device):
    critic, real = smooth_critic(device), images(device=device)
    module, scaler = ganops.nn.GradientPenalty(10.0), scaler_of(device)
    torch.testing.assert_close(module(critic, real, real, scaler=scaler), module(critic, real, real))


def test_the_recipe_of_the_page_runs(device):
    page = (Path(__file__).parents[2] / "docs" / "amp.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        critic = smooth_critic(device)
        names = {
            "ganops": ganops,
            "torch": torch,
            "critic": critic,
            "generator": nn.Sequential(nn.Linear(4, 48), nn.Unflatten(1, (3, 4, 4))).to(device),
            "batches": [(images(device=device), torch.randn(8, 4, device=device))] * 12,
            "device": device.type,
        }
        before = critic[1].weight.detach().clone()
        exec(block, names)
        assert not torch.equal(critic[1].weight, before)
        assert critic[1].weight.isfinite().all()
