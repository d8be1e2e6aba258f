"""The order of operations within a step: what the papers prescribe and popular code gets wrong."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import ganops
from ganops import data
from ganops.training import Trainer, TrainingConfig, build_trainer, settings
from ganops.training.kinds import LOSSES

POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))


class Spy(nn.Module):
    """A small network that notes every input and the parameters it was used with."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))
        self.calls = []

    def forward(self, x):
        self.calls.append((x, [p.detach().clone() for p in self.parameters()]))
        return self.layers(x)


def make(**options):
    torch.manual_seed(0)
    config = TrainingConfig(**{"steps": 4, "batch_size": 8, "latent_dim": 3, **options})
    return Trainer(Spy(3, 2), Spy(2, 1), POINTS, config)


def parameters(network):
    return [p.detach().clone() for p in network.parameters()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_generator_never_meets_an_unclipped_critic():
    trainer = make(loss="wasserstein", clip=0.01, n_critic=2, optimizer="rmsprop", discriminator_lr=0.1)
    for _ in range(3):
        trainer.discriminator.calls.clear()
        trainer.step()
        # Per step: (real, fake) for each of two critic steps, then one call for the generator.
        assert len(trainer.discriminator.calls) == 5
        _, met_by_generator = trainer.discriminator.calls[-1]
        assert max(p.abs().max().item() for p in met_by_generator) <= 0.01
        _, met_by_second_critic_step = trainer.discriminator.calls[2]
        assert max(p.abs().max().item() for p in met_by_second_critic_step) <= 0.01
    # The learning rate is ten times the limit, so that clipping before the update would have been seen.
    free = make(loss="wasserstein", n_critic=2, optimizer="rmsprop", discriminator_lr=0.1)
    free.step()
    assert max(p.abs().max().item() for p in free.discriminator.parameters()) > 0.05


def test_clipping_spares_normalisation_scales():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))
    trainer = Trainer(Spy(3, 2), critic, POINTS, TrainingConfig(latent_dim=3, clip=0.01))
    trainer.step()
    assert critic[0].weight.abs().max() <= 0.01
    assert critic[1].weight.min() > 0.9


KINDS = {"rmsprop": "RMSprop", "adam": "Adam"}


@pytest.mark.parametrize("rule", KINDS)
def test_clipping_in_the_optimisers_own_pass(rule):
    """The same numbers as torch's step and clipping after it, normalisation spared; checkpoints go from one to the
    other."""

    def trainer_of() -> Trainer:
        torch.manual_seed(0)
        critic = nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))
        config = TrainingConfig(latent_dim=3, clip=0.02, optimizer=rule, discriminator_lr=0.01, loss="wasserstein")
        return Trainer(nn.Linear(3, 2), critic, POINTS, config)

    fused, plain = trainer_of(), trainer_of()
    assert isinstance(fused.discriminator_optimizer, getattr(ganops.optimizers, KINDS[rule]))
    groups = fused.discriminator_optimizer.param_groups
    assert [group["clip"] for group in groups] == [0.02, None]
    separate = [{**group, "params": list(group["params"])} for group in plain.discriminator_optimizer.param_groups]
    for group in separate:
        del group["clip"]
    plain.discriminator_optimizer = getattr(torch.optim, KINDS[rule])(separate)
    for _ in range(5):
        fused.step()
        plain.step()
    for a, b in zip(fused.discriminator.parameters(), plain.discriminator.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert max(p.abs().max().item() for p in plain.clipped) == pytest.approx(0.02)
    fused.load_state_dict(plain.state_dict())
    assert [group["clip"] for group in fused.discriminator_optimizer.param_groups] == [0.02, None]


def test_a_discriminator_step_leaves_the_generator_alone():
    trainer = make(penalty=10.0, loss="wasserstein")
    before = parameters(trainer.generator)
    trainer.discriminator_step(POINTS[:8])
    assert same(before, parameters(trainer.generator))
    assert all(p.grad is None for p in trainer.generator.parameters())  # the fakes, and the penalty's, are detached
    fake, _ = trainer.discriminator.calls[1]
    assert not fake.requires_grad


def test_a_generator_step_leaves_the_discriminator_alone():
    trainer = make()
    before = parameters(trainer.discriminator)
    trainer.generator_step(8)
    assert same(before, parameters(trainer.discriminator))
    assert all(p.grad is None for p in trainer.discriminator.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trainer.generator.parameters())


def test_every_update_has_fresh_noise():
    trainer = make(n_critic=3)
    for _ in range(2):
        trainer.step()
    codes = [z for z, _ in trainer.generator.calls]
    assert len(codes) == 8  # per step three for the critic and one for the generator
    assert len({tuple(z.flatten().tolist()) for z in codes}) == 8


def test_every_critic_step_has_its_own_real_batch():
    trainer = make(n_critic=4)
    trainer.step()
    reals = [x for x, _ in trainer.discriminator.calls[:8:2]]
    rows = torch.cat(reals)
    assert rows.shape == (32, 2)
    assert len({tuple(row) for row in rows.tolist()}) == 32  # an epoch visits each sample once


def test_the_penalty_is_part_of_the_critic_loss():
    """The critic's gradient is that of D loss + lambda * penalty, to rounding, and not that of D loss alone."""
    trainer = make(loss="wasserstein", penalty=10.0)
    reference = make(loss="wasserstein", penalty=10.0)
    real = POINTS[:8]
    adversarial, penalty = trainer.discriminator_step(real)

    critic = reference.discriminator
    fake = reference.generator(reference.latent(8)).detach()
    weight = torch.rand(8, generator=reference.noise)
    loss = ganops.reference.discriminator_loss(critic(real), critic(fake), "wasserstein")
    term = 10 * ganops.reference.gradient_penalty(critic, real, fake, weight=weight)
    torch.testing.assert_close(adversarial, loss.detach())
    torch.testing.assert_close(penalty, term.detach())
    with_penalty = torch.autograd.grad(loss + term, list(critic.parameters()), retain_graph=True, allow_unused=True)
    without = torch.autograd.grad(loss, list(critic.parameters()), allow_unused=True)
    for parameter, wanted, other in zip(trainer.discriminator.parameters(), with_penalty, without, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)
        if parameter.ndim == 2:
            assert not torch.allclose(wanted, other, rtol=1e-3)


def test_penalty_parameters_reach_the_penalty():
    values = {
        options: make(loss="wasserstein", penalty=1.0, penalty_target=options[0], penalty_kind=options[1])
        .discriminator_step(POINTS[:8])[1]
        .item()
        for options in [
            (1.0, "gradient"), (0.0, "gradient"), (5.0, "one-sided"), (1.0, "r1"), (1.0, "r2"), (1.0, "dragan"),
            (5.0, "dragan"),
        ]
    }  # fmt: skip
    assert values[(5.0, "one-sided")] == 0  # no gradient of this critic has norm 5
    assert len(set(values.values())) == 7


def test_dragan_is_the_public_function_with_the_trainers_noise():
    trainer, twin = (make(penalty=3.0, penalty_kind="dragan", penalty_target=0.7) for _ in range(2))
    real = POINTS[:8]
    _, penalty = trainer.discriminator_step(real)
    twin.latent(8)
    noise = torch.randn(real.shape, generator=twin.noise)
    wanted = 3 * ganops.dragan_penalty(twin.discriminator, real, noise, target=0.7)
    torch.testing.assert_close(penalty, wanted.detach())


def test_the_penalty_by_differences_is_close_to_the_exact_one_and_has_no_double_backward(monkeypatch):
    exact, close = (make(penalty=1.0, penalty_kind="r1", penalty_difference=step) for step in (0.0, 1e-2))
    graphs = []
    grad = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *a, create_graph=False, **k: graphs.append(create_graph) or grad(*a, **k)
    )
    _, found = close.discriminator_step(POINTS[:8])
    assert graphs == [False]
    monkeypatch.undo()
    _, wanted = exact.discriminator_step(POINTS[:8])
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(parameters(close.discriminator), parameters(exact.discriminator), rtol=1e-3, atol=1e-4)


def test_a_lazy_penalty_is_an_update_of_its_own_every_so_many_steps():
    """By hand: after the usual update of every third step one on three times the penalty alone, with Adam's rate and
    decays for four updates in place of three."""
    options = {"penalty": 2.0, "penalty_kind": "r1", "discriminator_lr": 0.01, "beta1": 0.5, "beta2": 0.9}
    trainer, twin = make(penalty_every=3, n_critic=2, **options), make(n_critic=2, **options)
    c = 3 / 4
    adam = torch.optim.Adam(twin.discriminator.parameters(), lr=0.01 * c, betas=(0.5**c, 0.9**c))
    penalties = []
    for number in range(5):
        real = POINTS[8 * number : 8 * number + 8]
        _, penalty = trainer.discriminator_step(real)
        penalties.append(penalty.item())
        fake = twin.generator(twin.latent(8)).detach()
        critic = twin.discriminator
        losses = [lambda: ganops.discriminator_loss(critic(real), critic(fake))]  # noqa: B023 - called in this round
        losses += [lambda: 3 * 2 * ganops.r1_penalty(critic, real)] * (number % 3 == 0)  # noqa: B023
        for loss in losses:
            adam.zero_grad()
            value = loss()
            value.backward()
            adam.step()
        assert (penalties[-1] == pytest.approx(value.item(), rel=1e-4)) == (number % 3 == 0)
        torch.testing.assert_close(parameters(trainer.discriminator), parameters(critic), rtol=1e-4, atol=1e-6)
    assert [penalty > 0 for penalty in penalties] == [True, False, False, True, False]


@pytest.mark.parametrize(("optimizer", "decay"), [("adam", "betas"), ("rmsprop", "alpha"), ("sgd", None)])
def test_a_lazy_optimiser_forgets_as_much_in_more_updates(optimizer, decay):
    plain, lazy = (make(penalty=1.0, penalty_every=k, optimizer=optimizer) for k in (1, 4))
    usual, slowed = (trainer.discriminator_optimizer.param_groups[0] for trainer in (plain, lazy))
    assert 5 * slowed["lr"] == pytest.approx(4 * usual["lr"])
    if decay:
        before, after = (torch.tensor(group[decay], dtype=torch.float64) for group in (usual, slowed))
        torch.testing.assert_close(after**5, before**4)
    assert lazy.generator_optimizer.param_groups[0] | {"params": 0} == (
        plain.generator_optimizer.param_groups[0] | {"params": 0}
    )
    off = make(penalty_every=4, optimizer=optimizer)  # without a penalty there is nothing to make up for
    assert off.discriminator_optimizer.param_groups[0]["lr"] == usual["lr"]


def test_learning_rates_fall_in_a_straight_line_at_the_end():
    trainer = make(lr_decay=0.5, steps=8, generator_lr=0.1, discriminator_lr=0.2)
    rates = []
    for _ in range(8):
        trainer.step()
        optimizers = trainer.generator_optimizer, trainer.discriminator_optimizer
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in optimizers])
    share = [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    torch.testing.assert_close(torch.tensor(rates), torch.tensor([[0.1 * s, 0.2 * s] for s in share]))


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_those_of_ganops(loss):
    trainer, reference = make(loss=loss), make(loss=loss)
    real = POINTS[:8]
    adversarial, penalty = trainer.discriminator_step(real)
    critic, fake = reference.discriminator, reference.generator(reference.latent(8))
    wanted = ganops.reference.discriminator_loss(critic(real), critic(fake), loss)
    torch.testing.assert_close(adversarial, wanted.detach())
    assert penalty == 0


def test_a_relativistic_generator_is_compared_with_the_real_batch():
    trainer, reference = make(loss="relativistic"), make(loss="relativistic")
    real = POINTS[:8]
    found = trainer.generator_step(8, real=real)
    critic, fake = reference.discriminator, reference.generator(reference.latent(8))
    wanted = ganops.reference.generator_loss(critic(fake), "relativistic", real_logits=critic(real))
    torch.testing.assert_close(found, wanted.detach())
    assert all(p.grad is None for p in trainer.discriminator.parameters())
    with pytest.raises(ValueError, match="real is missing, and the loss compares"):
        trainer.generator_step(8)


def test_r1_and_r2_together_are_their_sum():
    real, fake = POINTS[:8], POINTS[8:16] + 0.5
    critic, noise = make().discriminator, torch.Generator()
    both, one, other = (
        make(penalty=3.0, penalty_kind=kind).objective.penalty(critic, real, fake, noise=noise)
        for kind in ("r1+r2", "r1", "r2")
    )
    torch.testing.assert_close(both, one + other)
    assert one > 0
    assert other > 0


def test_two_learning_rates():
    trainer = make(generator_lr=1e-3, discriminator_lr=1e-5, loss="hinge", ema=0.0)
    before = parameters(trainer.generator), parameters(trainer.discriminator)
    trainer.step()
    # Adam's first step moves each parameter with a gradient by its learning rate.
    for network, old, lr in ((trainer.generator, before[0], 1e-3), (trainer.discriminator, before[1], 1e-5)):
        moved = max((a - b).abs().max().item() for a, b in zip(network.parameters(), old, strict=True))
        assert moved == pytest.approx(lr, rel=0.02)


def test_the_average_follows_its_formula_and_samples_come_from_it():
    trainer = make(ema=0.5, generator_lr=0.1)
    wanted = None
    for t in range(1, 13):
        trainer.step()
        decay = min(0.5, (1 + t) / (10 + t))
        now = parameters(trainer.generator)
        wanted = now if wanted is None else [decay * w + (1 - decay) * p for w, p in zip(wanted, now, strict=True)]
    for mine, w in zip(trainer.ema.module.parameters(), wanted, strict=True):
        torch.testing.assert_close(mine, w)
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(trainer.sample(5, seed=4), trainer.ema.module(z).detach())
    torch.testing.assert_close(trainer.sample(5, seed=4, ema=False), trainer.generator(z).detach())
    assert make(ema=0.0).ema is None


def test_looking_at_samples_changes_nothing():
    looked, left = (build_trainer(settings("nsgan", "digits", width=4, batch_size=8, steps=4)) for _ in range(2))
    for trainer in (looked, left):
        torch.manual_seed(9)
        trainer.step()
        if trainer is looked:
            trainer.sample(7, ema=False)
            assert trainer.generator.training
        trainer.step()
    assert same(looked.generator.state_dict().values(), left.generator.state_dict().values())


def test_the_seed_decides_everything():
    def run(seed):
        trainer = build_trainer(settings("wgan-gp", "ring8", width=8, batch_size=16, n_critic=2, seed=seed))
        return torch.stack([trainer.step() for _ in range(3)])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize("shape", [(3, 12, 12), (2, 8, 8), (1, 9, 9)], ids=str)
def test_any_number_of_channels(shape):
    images = torch.rand(32, *shape) * 2 - 1
    critic = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 1))
    generator = nn.Sequential(nn.Linear(4, images[0].numel()), nn.Tanh(), nn.Unflatten(1, shape))
    config = TrainingConfig(latent_dim=4, batch_size=8, loss="wasserstein", penalty=10.0, steps=2)
    result = Trainer(generator, critic, data.Dataset("mine", images), config).run()
    assert result["penalty"] > 0


def test_data_may_be_a_loader_of_pairs():
    dataset = torch.utils.data.TensorDataset(POINTS, torch.arange(64))
    loader = torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=True)
    trainer = Trainer(Spy(3, 2), Spy(2, 1), loader, TrainingConfig(latent_dim=3, steps=9))
    assert trainer.run()["step"] == 9  # more than the four batches of an epoch
    real, _ = trainer.discriminator.calls[0]
    assert real.shape == (16, 2)


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (
            lambda: Trainer(Spy(3, 5), Spy(5, 1), POINTS, TrainingConfig(latent_dim=3)).step(),
            ValueError,
            r"\(5,\).*\(2,\)",
        ),
        (lambda: Trainer(Spy(3, 2), Spy(2, 1), POINTS, TrainingConfig(batch_size=65)), ValueError, "at most the 64"),
        (lambda: Trainer(nn.Tanh(), Spy(2, 1), POINTS), ValueError, "generator has no trainable parameters"),
        (lambda: Trainer(Spy(3, 2), Spy(2, 1), 7), TypeError, "iterable of batches, got int"),
        (lambda: Trainer(Spy(3, 2), Spy(2, 1), []).step(), ValueError, "data gave no batch"),
        (lambda: Trainer(Spy(3, 2), Spy(2, 1), [["a"]]).step(), TypeError, "a batch must be a tensor"),
        (lambda: TrainingConfig(steps=0), ValueError, "steps must be at least 1, got 0"),
        (lambda: TrainingConfig(steps=2.5), TypeError, "steps must be a whole number, got 2.5"),
        (lambda: TrainingConfig(generator_lr=-1.0), ValueError, "generator_lr must be above 0, got -1"),
        (lambda: TrainingConfig(clip=float("nan")), ValueError, "clip must be finite"),
        (lambda: TrainingConfig(ema=1.0), ValueError, r"ema must be in \[0, 1\), got 1.0"),
        (lambda: TrainingConfig(loss="hinges"), ValueError, "did you mean 'hinge'"),
        (lambda: settings("wgan_gp"), ValueError, "did you mean 'wgan-gp'"),
        (lambda: settings("wgan-gp", discriminator_norm="batch"), ValueError, "ties the samples of a batch together"),
        (lambda: TrainingConfig(device="cuda:99").torch_device(), ValueError, "device 'cuda:99' cannot be used here"),
    ],
)
def test_wrong_input_is_named(build, error, text):
    with pytest.raises(error, match=text):
        build()


def test_the_readme_trains_anybodys_networks_in_under_ten_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Trainer(" in block]
    assert len([line for line in code.splitlines() if line.strip()]) < 10
    names = {
        "generator": nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2)),
        "critic": nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)),
        "loader": torch.utils.data.DataLoader(POINTS, batch_size=16),
    }
    exec(code.replace("10_000", "3"), names)
    assert names["metrics"]["step"] == 3
    assert names["pictures"].shape == (64, 2)
    assert (tmp_path / "runs/mine/checkpoint.pt").exists()
