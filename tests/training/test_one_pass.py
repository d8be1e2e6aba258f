"""Penalties at points that D has just judged: from the pass of the loss, with the numbers of a pass of their own."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import ganops
from ganops import data
from ganops.training import Objective, Trainer, TrainingConfig
from ganops.training.unroll import LookAhead

POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
KINDS = ("r1", "r2", "r1+r2")


class Counting(nn.Module):
    """A smooth critic that counts its calls."""

    def __init__(self, inputs=2):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, 1))
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.layers(x)


def make(samples=POINTS, shape=(2,), **options):
    torch.manual_seed(0)
    size = torch.Size(shape).numel()
    config = TrainingConfig(**{"steps": 4, "batch_size": 8, "latent_dim": 3, "penalty": 3.0, **options})
    generator = nn.Sequential(nn.Linear(3, size), nn.Unflatten(1, shape)).double()
    return Trainer(generator, Counting(size * config.pack).double(), samples, config)


class SecondPass(Objective):
    """Every penalty runs the critic itself."""

    def penalty(self, score, real, fake, *, noise, scaler=None, known=None):
        return super().penalty(score, real, fake, noise=noise, scaler=scaler)


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        *(({"penalty_kind": kind}, 2) for kind in KINDS),
        ({"penalty_kind": "gradient"}, 3),
        *(({"penalty_kind": f"approximate-{kind}"}, 3) for kind in ("r1", "r2")),
        ({"penalty_kind": "approximate-r1", "penalty_every": 2}, 4),
        ({"penalty_kind": "r1+r2", "penalty_every": 2}, 4),  # D has changed since
        ({"penalty_kind": "r1", "penalty_difference": 0.01}, 5),
    ],
    ids=str,
)
def test_passes_through_the_critic_in_a_discriminator_step(options, calls):
    trainer = make(**options)
    trainer.discriminator_step(POINTS[:8])
    assert trainer.discriminator.calls == calls


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["points", "packed", "augmented"])
def test_one_pass_takes_the_steps_of_two(kind, case):
    """Augmented, the penalty is at the augmented images, as it is with its own pass."""
    options = {"penalty_kind": kind}
    if case == "packed":
        options |= {"pack": 2}
    if case == "augmented":
        images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
        options |= {"augment": "color,translation", "samples": data.Dataset("mine", images), "shape": (1, 8, 8)}
    one, two = make(**options), make(**options)
    two.objective = SecondPass(two.config)
    for _ in range(4):
        torch.testing.assert_close(one.step(), two.step(), rtol=1e-12, atol=0)
    for mine, other in zip(one.discriminator.parameters(), two.discriminator.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_one_pass_of_an_unrolled_step_reaches_the_generator_as_two_do(kind):
    """Twice differentiated: D's step along the penalty's gradient depends on the fakes, and so on G."""
    slopes = []
    for objective in (Objective, SecondPass):
        trainer = make(unroll=1, loss="wasserstein", penalty_kind=kind, optimizer="sgd")
        trainer.objective = objective(trainer.config)
        fake = trainer.generate(torch.ones(8, 3, dtype=torch.float64))
        ahead = LookAhead(trainer.discriminator, trainer.discriminator_optimizer)
        (update,) = trainer.objective.discriminator_updates(ahead, POINTS[:8], fake, noise=trainer.noise)
        ahead.step(update.penalty)
        slopes.append(torch.autograd.grad(ahead(POINTS[:8]).sum(), fake, allow_unused=True)[0])
    if kind == "r1":
        assert slopes == [None, None]
    else:
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-14)
        assert slopes[0].abs().sum() > 0


def test_the_batch_and_the_fakes_are_left_as_they_were():
    """The points need a gradient, and the tensors of the caller do not get one."""
    trainer = make(penalty_kind="r1+r2")
    real, fake = POINTS[:8].clone(), POINTS[8:16].clone()
    (update,) = trainer.objective.discriminator_updates(trainer.discriminator, real, fake, noise=trainer.noise)
    update.loss.backward()
    assert not real.requires_grad
    assert not fake.requires_grad
    assert real.grad is None


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.score = nn.Linear(1, 8), nn.Linear(8, 1)

    def forward(self, x):
        tokens = self.embed(x[:, :, None])[:, None]
        return self.score(nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).mean((1, 2)))


def test_a_critic_with_attention_has_second_derivatives():
    torch.manual_seed(0)
    config = TrainingConfig(batch_size=8, latent_dim=3, penalty=1.0, penalty_kind="r1")
    trainer = Trainer(nn.Linear(3, 2), Attending(), POINTS.float(), config)
    _, penalty, _ = trainer.step()
    assert penalty > 0


@pytest.mark.parametrize("kind", ["approximate-r1", "approximate-r2"])
def test_the_estimate_is_the_public_function_with_the_trainers_noise(kind):
    trainer, twin = (make(penalty_kind=kind, penalty_sigma=0.2) for _ in range(2))
    real = POINTS[:8]
    _, penalty = trainer.discriminator_step(real)
    fake = twin.generate(twin.latent(8)).detach()
    noise = torch.randn(real.shape, generator=twin.noise).double()
    at = real if kind == "approximate-r1" else fake
    wanted = 3 * ganops.approximate_r1_penalty(twin.discriminator, at, 0.2, noise=noise)
    torch.testing.assert_close(penalty, wanted.detach(), rtol=1e-9, atol=0)


def test_the_estimate_meets_spectral_norm_with_one_set_of_weights():
    """A power iteration between the two passes would look like a slope; this D is constant."""
    torch.manual_seed(0)
    first = nn.Linear(2, 64)
    nn.init.zeros_(first.weight)
    critic = nn.Sequential(first, nn.Tanh(), parametrizations.spectral_norm(nn.Linear(64, 64)), nn.Linear(64, 1))
    for vector in critic.buffers():  # far from converged
        vector.copy_(nn.functional.normalize(torch.randn(64), dim=0))
    config = TrainingConfig(batch_size=8, latent_dim=3, penalty=1.0, penalty_kind="approximate-r1", penalty_sigma=1e-3)
    trainer = Trainer(nn.Linear(3, 2), critic, POINTS.float(), config)
    _, penalty = trainer.discriminator_step(POINTS[:8].float())
    assert penalty < 1e-6


def test_under_autocast_the_estimate_is_taken_in_float32():
    values = []
    for amp in ("off", "bf16"):
        torch.manual_seed(0)
        config = TrainingConfig(batch_size=8, latent_dim=3, penalty=1.0, penalty_kind="approximate-r1", amp=amp)
        trainer = Trainer(nn.Linear(3, 2), Counting(), POINTS.float(), config)
        values.append(trainer.discriminator_step(POINTS[:8].float())[1])
    torch.testing.assert_close(*values)
