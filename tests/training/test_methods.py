"""Unrolling, packing, conditions, augmentation, image to image: each against what it is by definition."""

import copy
import math

import pytest
import torch
from torch import nn

import ganops
from ganops import data
from ganops.training import Trainer, TrainingConfig, build_trainer, settings
from ganops.training.augment import Augmentation
from ganops.training.unroll import LookAhead

POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(64) % 5


class Spy(nn.Module):
    """A small network that notes its inputs; a condition is concatenated as it is."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))
        self.calls = []

    def forward(self, x, condition=None):
        self.calls.append((x.detach().clone(), condition))
        if condition is not None:
            x = torch.cat([x, condition.reshape(len(x), -1).to(x)], dim=1)
        return self.layers(x)


def make(samples=POINTS, generator=(3, 2), discriminator=(2, 1), **options):
    torch.manual_seed(0)
    config = TrainingConfig(**{"steps": 4, "batch_size": 8, "latent_dim": 3, **options})
    return Trainer(Spy(*generator), Spy(*discriminator), samples, config)


# -- unrolling -------------------------------------------------------------------------------------------------------


def by_hand(trainer, batches, rule, kind, through=True, real=None):
    """G's gradient through one SGD, RMSprop or Adam step of D per batch, written out in float64 for this network."""
    lr, softplus = 0.05, nn.functional.softplus
    g = [p.detach().clone().requires_grad_() for p in trainer.generator.parameters()]
    d = [p.detach().clone().requires_grad_() for p in trainer.discriminator.parameters()]
    noise = torch.Generator().manual_seed(trainer.config.seed + 1)

    def network(weights, x):
        return torch.tanh(x @ weights[0].T + weights[1]) @ weights[2].T + weights[3]

    def fake():
        return network(g, torch.randn(8, 3, generator=noise).double())

    last = fake()
    m, v = [torch.zeros_like(p) for p in d], [torch.zeros_like(p) for p in d]
    for t, batch in enumerate(batches, 1):
        made = fake()
        if kind == "relativistic":
            loss = softplus(network(d, made) - network(d, batch)).mean()
        else:
            loss = softplus(-network(d, batch)).mean() + softplus(network(d, made)).mean()
        slopes = torch.autograd.grad(loss, d, create_graph=True)
        if not through:
            slopes = [s.detach() for s in slopes]
        if rule == "sgd":
            d = [p - lr * s for p, s in zip(d, slopes, strict=True)]
        elif rule == "rmsprop":
            v = [0.99 * a + 0.01 * s**2 for a, s in zip(v, slopes, strict=True)]
            d = [p - lr * s / (a.sqrt() + 1e-8) for p, s, a in zip(d, slopes, v, strict=True)]
        else:
            m = [0.5 * a + 0.5 * s for a, s in zip(m, slopes, strict=True)]
            v = [0.999 * a + 0.001 * s**2 for a, s in zip(v, slopes, strict=True)]
            d = [
                p - lr * (a / (1 - 0.5**t)) / ((b / (1 - 0.999**t)).sqrt() + 1e-8)
                for p, a, b in zip(d, m, v, strict=True)
            ]
    if kind == "non_saturating":
        loss = softplus(-network(d, last)).mean()
    elif kind == "relativistic":
        loss = softplus(network(d, real) - network(d, last)).mean()
    else:
        loss = -softplus(-network(d, real)).mean() - softplus(network(d, last)).mean()
    return loss.detach(), torch.autograd.grad(loss, g)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [("sgd", "minimax"), ("sgd", "relativistic"), *((r, "non_saturating") for r in ("sgd", "rmsprop", "adam"))],
)
def test_two_unrolled_steps_by_hand(rule, kind):
    trainer = make(POINTS.double(), optimizer=rule, discriminator_lr=0.05, unroll=2, ema=0.0, loss=kind)
    for network in (trainer.generator, trainer.discriminator):
        network.double()
    trainer.latent = lambda count, generator=None: torch.randn(count, 3, generator=trainer.noise).double()
    twin = make(POINTS.double(), optimizer=rule, discriminator_lr=0.05, unroll=2, ema=0.0)
    batches = [twin.batches.next().samples for _ in range(2)]
    real = None if kind == "non_saturating" else POINTS[:8].double()
    wanted_loss, wanted = by_hand(trainer, batches, rule, kind, real=real)
    _, truncated = by_hand(trainer, batches, rule, kind, through=False, real=real)
    loss = trainer.generator_step(8, real=real)
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-9, atol=1e-12)
    for parameter, gradient in zip(trainer.generator.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-10)

    # The same steps taken as they come, without differentiating through them, are no unrolling.
    assert not torch.allclose(wanted[0], truncated[0], rtol=1e-2)


@pytest.mark.parametrize("rule", ["sgd", "rmsprop", "adam"])
def test_a_step_ahead_is_the_step_that_the_optimiser_takes(rule):
    """With the state that it has after some steps, clipping included."""
    trainer = make(optimizer=rule, discriminator_lr=0.02, clip=0.3, loss="wasserstein")
    for _ in range(3):
        trainer.step()
    real, fake = POINTS[:8], POINTS[8:16] + 3
    ahead = LookAhead(trainer.discriminator, trainer.discriminator_optimizer, 0.3, trainer.clipped)
    for _ in range(2):
        ahead.step(ganops.discriminator_loss(ahead(real), ahead(fake), "wasserstein"))
    for _ in range(2):
        critic = trainer.discriminator
        trainer.discriminator_optimizer.zero_grad()
        ganops.discriminator_loss(critic(real), critic(fake), "wasserstein").backward()
        trainer.discriminator_optimizer.step()
        ganops.clip_weights_(trainer.clipped, 0.3)
    torch.testing.assert_close(ahead(real), trainer.discriminator(real), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"spectral_norm": True}, {"penalty": 1.0}, {"minibatch_discrimination": True}])
def test_looking_ahead_leaves_the_discriminator_as_it_was_to_the_bit(options):
    trainer = build_trainer(settings("unrolled", "digits", width=4, batch_size=8, unroll=2, **options))
    trainer.step()
    state = (
        copy.deepcopy(trainer.discriminator.state_dict()),
        copy.deepcopy(trainer.discriminator_optimizer.state_dict()),
    )
    ahead = trainer._look_ahead()
    assert not torch.equal(next(iter(ahead._parameters.values())), next(trainer.discriminator.parameters()))
    for name, value in trainer.discriminator.state_dict().items():
        assert torch.equal(value, state[0][name]), name
    for key, entry in trainer.discriminator_optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, state[1]["state"][key][name]) for name, value in entry.items())


def test_unrolled_steps_have_batches_and_noise_of_their_own():
    trainer = make(unroll=3)
    trainer.step()
    # D: real and fake of its own step, then three times real and fake, then the fakes for G.
    seen = [x for x, _ in trainer.discriminator.calls]
    assert len(seen) == 2 + 2 * 3 + 1
    reals = torch.cat(seen[0:8:2])
    assert len({tuple(row) for row in reals.tolist()}) == 32
    codes = torch.cat([z for z, _ in trainer.generator.calls])
    assert len({tuple(row) for row in codes.tolist()}) == len(codes) == 8 * 5


@pytest.mark.parametrize("kind", ["gradient", "one-sided", "r1", "r2", "r1+r2", "approximate-r2"])
def test_the_penalty_inside_an_unrolled_step_reaches_the_generator(kind):
    """At points that depend on fakes the penalty steers D by G's doing; the loss by itself is made to say nothing."""
    trainer = make(unroll=1, penalty=10.0, penalty_kind=kind, penalty_target=0.01 if kind == "one-sided" else 1.0)
    trainer.config.__dict__["loss"] = "wasserstein"
    fake = trainer.generate(trainer.latent(8))
    ahead = LookAhead(trainer.discriminator, trainer.discriminator_optimizer)
    penalty = trainer.objective.penalty(ahead, POINTS[:8], fake, noise=trainer.noise)
    ahead.step(penalty)
    (slope,) = torch.autograd.grad(ahead(POINTS[:8]).sum(), fake, allow_unused=True)
    if kind == "r1":  # at real samples: nothing of G is in it
        assert slope is None
    else:
        assert slope.abs().sum() > 0


@pytest.mark.parametrize("kind", ["minimax", "relativistic"])
def test_an_unrolled_step_hands_the_real_batch_to_the_generators_loss(kind):
    trainer = make(unroll=1, loss=kind)
    assert trainer.step().isfinite().all()


def test_weights_that_nothing_has_moved_give_no_nan():
    critic = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    nn.init.constant_(critic[0].bias, -100.0)  # all units are dead: gradients are exactly zero
    trainer = Trainer(nn.Linear(3, 2), critic, POINTS, TrainingConfig(latent_dim=3, batch_size=8, unroll=2, ema=0.0))
    for _ in range(2):
        trainer.step()
    assert all(p.isfinite().all() for p in trainer.generator.parameters())


# -- packing ---------------------------------------------------------------------------------------------------------


def test_the_discriminator_sees_packs():
    trainer = make(discriminator=(6, 1), pack=3, batch_size=9, penalty=1.0)
    trainer.step()
    assert all(x.shape == (3, 6) for x, _ in trainer.discriminator.calls)
    real = trainer.discriminator.calls[0][0]
    twin = make(discriminator=(6, 1), pack=3, batch_size=9)
    assert torch.equal(real, twin.batches.next().samples.reshape(3, 6))


def test_labels_are_packed_with_their_samples():
    dataset = data.Dataset("mine", POINTS, labels=LABELS)
    trainer = make(dataset, generator=(4, 2), discriminator=(6, 1), pack=2, conditional=True)
    trainer.step()
    shown, labels = trainer.discriminator.calls[0]
    assert shown.shape == (4, 4)
    assert labels.shape == (4, 2)
    for pair, own in zip(shown.reshape(4, 2, 2), labels, strict=True):
        for sample, label in zip(pair, own, strict=True):
            assert LABELS[(sample == POINTS).all(1)] == label


def test_a_loaders_odd_last_batch_is_named():
    loader = torch.utils.data.DataLoader(POINTS[:9], batch_size=6)
    trainer = Trainer(Spy(3, 2), Spy(4, 1), loader, TrainingConfig(latent_dim=3, batch_size=6, pack=2))
    trainer.step()
    with pytest.raises(ValueError, match=r"batch of 3 cannot be divided into packs of 2.*drop_last=True"):
        trainer.step()


# -- conditions ------------------------------------------------------------------------------------------------------


def test_both_networks_get_the_label_of_each_sample():
    dataset = data.Dataset("mine", POINTS, labels=LABELS)
    trainer = make(dataset, generator=(4, 2), discriminator=(3, 1), conditional=True)
    trainer.step()
    (real, of_real), (_, of_fake), (_, of_fake_for_generator) = trainer.discriminator.calls
    for sample, label in zip(real, of_real, strict=True):
        assert LABELS[(sample == POINTS).all(1)] == label
    assert torch.equal(of_fake, of_real)
    assert torch.equal(of_fake_for_generator, of_real)
    assert all(torch.equal(labels, of_real) for _, labels in trainer.generator.calls)


def test_labels_from_a_loader_and_samples_of_a_class():
    dataset = torch.utils.data.TensorDataset(POINTS, LABELS)
    loader = torch.utils.data.DataLoader(dataset, batch_size=16)
    trainer = Trainer(Spy(4, 2), Spy(3, 1), loader, TrainingConfig(latent_dim=3, steps=3, conditional=True, ema=0.0))
    with pytest.raises(ValueError, match="condition is missing"):
        trainer.sample(4)
    trainer.run()
    assert trainer.sample(20).shape == (20, 2)
    drawn = trainer.sample(4, condition=torch.full((4,), 2))
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, trainer.generator(z, torch.full((4,), 2)).detach())
    with pytest.raises(ValueError, match="condition must have one entry for each of the 4 samples, got 3"):
        trainer.sample(4, condition=torch.zeros(3))


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (POINTS, "data is a tensor; give a ganops.data.Dataset with labels"),
        (data.Dataset("bare", POINTS), "data 'bare' has none"),
        ([POINTS[:8]], r"the loader gives samples"),
    ],
)
def test_missing_labels_are_named(samples, text):
    with pytest.raises(ValueError, match=text):
        make(samples, conditional=True).step()


def test_a_projection_is_one_more_inner_product():
    torch.manual_seed(0)
    trainer = build_trainer(settings("cgan", "digits", width=4, batch_size=8))
    critic = trainer.discriminator.eval()
    x, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 9, 3])
    features = critic.features(x)
    wanted = critic.head(features) + (critic.vectors.weight[labels] * features).sum(1, keepdim=True)
    torch.testing.assert_close(critic(x, labels), wanted)


# -- image to image --------------------------------------------------------------------------------------------------


def pairs(count=40):
    wholes = torch.rand(count, 1, 8, 8) * 2 - 1
    return data.Dataset("pairs", wholes, conditions=-wholes)


class Through(nn.Module):
    """Image to image: one convolution, and noise that a weight of zero leaves out at first."""

    def __init__(self):
        super().__init__()
        self.layer, self.noise = nn.Conv2d(1, 1, 1), nn.Linear(3, 1)

    def forward(self, z, condition):
        return self.layer(condition) + 0 * self.noise(z)[:, :, None, None]


class Beside(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 1, 3)

    def forward(self, x, condition):
        return self.layer(torch.cat([x, condition], 1))


def test_l1_alone_learns_the_map_and_every_tenth_pair_is_held_out():
    config = TrainingConfig(
        latent_dim=3, batch_size=12, steps=150, conditional=True, l1_weight=1.0, adversarial_weight=0.0, ema=0.0,
        generator_lr=0.05,
    )  # fmt: skip
    torch.manual_seed(0)
    dataset = pairs()
    trainer = Trainer(Through(), Beside(), dataset, config)
    assert len(trainer.held_out) == 4
    assert torch.equal(trainer.held_out.samples, dataset.samples[9::10])
    metrics = trainer.run()
    assert metrics["l1"] < 0.05
    assert trainer.generator.layer.weight.item() == pytest.approx(-1, abs=0.05)


def test_l1_and_adversarial_loss_add_up():
    config = {"latent_dim": 3, "batch_size": 12, "conditional": True, "ema": 0.0}
    losses = []
    for weights in ((1.0, 0.0), (0.0, 10.0), (1.0, 10.0), (0.5, 10.0)):
        torch.manual_seed(0)
        trainer = Trainer(
            Through(), Beside(), pairs(), TrainingConfig(adversarial_weight=weights[0], l1_weight=weights[1], **config)
        )
        real, condition = trainer.batches.next()
        losses.append(trainer.generator_step(12, condition, real).item())
    adversarial, l1, both, half = losses
    assert both == pytest.approx(adversarial + l1)
    assert half == pytest.approx(adversarial / 2 + l1)


# -- augmentation ----------------------------------------------------------------------------------------------------


class Eye(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(64, 1), []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.layer(x.flatten(1))


def test_real_and_fake_are_augmented_in_both_steps():
    images = torch.full((32, 1, 8, 8), 0.9)
    generator = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)))
    nn.init.zeros_(generator[0].weight)
    nn.init.constant_(generator[0].bias, 0.9)
    config = TrainingConfig(latent_dim=3, batch_size=8, augment="cutout", generator_lr=1e-9)
    trainer = Trainer(generator, Eye(), images, config)
    trainer.step()
    assert len(trainer.discriminator.seen) == 3  # real and fake for D, fake for G
    for shown in trainer.discriminator.seen:
        holes = (shown == 0).flatten(1).sum(1)
        assert (holes >= 4).all()
        assert (shown.amax((1, 2, 3)) > 0.89).all()
    assert generator[0].bias.grad.abs().sum() > 0


def test_the_probability_follows_the_discriminators_confidence():
    noise = torch.Generator().manual_seed(0)
    augmentation = Augmentation("cutout", 0.6, 1000, 0.0, torch.device("cpu"))
    images = torch.ones(400, 1, 8, 8)
    assert torch.equal(augmentation(images, noise), images)  # p begins at 0
    for _ in range(3):
        augmentation.observe(torch.ones(100, 1), 100)  # all real images are recognised
    assert augmentation.probability == pytest.approx(0.3)
    changed = (augmentation(images, noise) == 0).flatten(1).any(1).float().mean().item()
    assert changed == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 400))
    augmentation.observe(torch.cat([torch.ones(75, 1), -torch.ones(25, 1)]), 100)  # r = 0.5, below the target
    assert augmentation.probability == pytest.approx(0.2)
    for _ in range(20):
        augmentation.observe(-torch.ones(100, 1), 100)
    assert augmentation.probability == 0


def test_least_squares_is_undecided_at_a_half():
    trainer = build_trainer(settings("lsgan", "digits", width=4, batch_size=8, augment="cutout", augment_target=0.5))
    trainer.objective.augmentation.observe(torch.full((8, 1), 0.4), 100)
    assert trainer.objective.augmentation.probability == 0
    trainer.objective.augmentation.observe(torch.full((8, 1), 0.6), 100)
    assert trainer.objective.augmentation.probability > 0
