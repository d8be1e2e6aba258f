"""The monitor speaks when a run fails, and not when it is well."""

import math

import pytest
import torch

from ganops import data
from ganops.training import TrainingConfig, build_trainer, settings
from ganops.training.monitor import CollapseMonitor, Observation
from ganops.training.trainer import Trainer

RING = data.ring8(size=4000)


def observation(fake, step=500, real_logit=0.0, fake_logit=0.0, noise=1.0, **more):
    random = torch.Generator().manual_seed(step)
    real = RING.samples[:256]
    logits = [c + noise * torch.randn(256, 1, generator=random) for c in (real_logit, fake_logit)]
    more = {"loss": "non_saturating", "steps": 1000, "dataset": RING} | more
    return Observation(step=step, real=real, fake=fake, real_logits=logits[0], fake_logits=logits[1], **more)


def judged(checks=3, **arguments):
    monitor = CollapseMonitor()
    warnings = [w for i in range(checks) for w in monitor.check(observation(step=500 + i, **arguments))]
    return monitor, warnings


def test_real_samples_raise_no_warning_and_measure_as_real():
    monitor, warnings = judged(fake=RING.samples[256:512])
    assert warnings == []
    row = monitor.history[-1]
    assert row["diversity"] == pytest.approx(1, abs=0.05)
    assert row["spread"] == pytest.approx(1, abs=0.05)
    assert row["separation"] == pytest.approx(0.5, abs=0.1)
    assert row["generator_slope"] == pytest.approx(0.5, abs=0.1)


def test_one_mode_of_eight_is_a_collapse():
    _, (warning,) = judged(fake=RING.samples[RING.labels == 3][:256])
    assert warning.startswith("step 502: collapse: ")
    assert "over 1.0 modes or classes where those have 7.9" in warning
    assert "--pack" in warning


def test_two_opposite_modes_are_a_collapse_though_far_apart():
    monitor, (warning,) = judged(fake=RING.samples[(RING.labels == 0) | (RING.labels == 4)][:256])
    assert monitor.history[-1]["diversity"] > 0.7
    assert "over 2.0 modes" in warning


def test_without_labels_the_distances_alone_tell():
    bare = data.Dataset("bare", RING.samples)
    _, (warning,) = judged(fake=RING.samples[RING.labels == 3][:256], dataset=bare)
    assert "distances between fakes are 0.01" in warning
    assert "modes" not in warning


def test_one_image_for_each_class_is_a_collapse_though_the_classes_are_all_there():
    digits = data.digits()
    means = torch.stack([digits.samples[digits.labels == k].mean(dim=0) for k in range(10)])
    copies = means.repeat(26, 1, 1, 1)[:256] + 0.02 * torch.randn(256, 1, 8, 8)

    def warnings(fake):
        monitor = CollapseMonitor(patience=1)
        logits = torch.randn(256, 1)
        look = {"real": digits.samples[:256], "real_logits": logits, "fake_logits": logits, "dataset": digits}
        return monitor.check(Observation(step=500, loss="hinge", fake=fake, **look)), monitor.history[0]

    assert warnings(digits.samples[256:512])[0] == []
    (warning,), row = warnings(copies)
    assert row["spread"] > 0.9
    assert "the nearest other fake is 0." in warning


def test_collapse_with_a_discriminator_that_lags_names_that_cause():
    _, (warning,) = judged(fake=RING.samples[RING.labels == 3][:256], real_logit=-2.0)
    assert "raise --discriminator-lr" in warning


def test_minimax_saturates_where_the_discriminator_is_sure():
    fake = RING.samples[256:512]
    _, (warning,) = judged(fake=fake, real_logit=12.0, fake_logit=-12.0, loss="minimax")
    assert "saturation: D rejects every fake and the minimax loss is flat" in warning
    assert "--loss non_saturating" in warning
    # The non-saturating loss has its whole gradient there; it is D that has nothing left to learn.
    monitor, (warning,) = judged(fake=fake, real_logit=12.0, fake_logit=-12.0)
    assert monitor.history[-1]["generator_slope"] == pytest.approx(1, abs=1e-3)
    assert "discriminator wins" in warning
    # A critic that separates is a good critic.
    assert judged(fake=fake, real_logit=12.0, fake_logit=-12.0, loss="wasserstein")[1] == []


def test_saturation_on_the_other_side_and_in_the_weights():
    fake = RING.samples[256:512]
    assert "D takes every fake for real" in judged(fake=fake, real_logit=8.0, fake_logit=9.0, noise=0.1)[1][0]
    assert "no gradient reaches" in judged(fake=fake, generator_gradient=0.0, loss="wasserstein")[1][0]


def test_warnings_wait_for_warmup_and_patience_and_come_once():
    fake = RING.samples[RING.labels == 3][:256]
    monitor = CollapseMonitor(patience=2, warmup=0.3, quiet_steps=150)
    found = {step: monitor.check(observation(fake, step=step)) for step in range(100, 1000, 100)}
    assert [step for step, warnings in found.items() if warnings] == [400]  # 300 and 400 are the first two
    assert monitor.check(observation(RING.samples[:256], step=1000)) == []
    again = [monitor.check(observation(fake, step=step)) for step in (1100, 1200)]
    assert [len(w) for w in again] == [0, 1]  # it had cleared in between


def test_the_first_steps_are_never_judged():
    fake = RING.samples[RING.labels == 3][:256]
    monitor = CollapseMonitor(patience=1)
    found = {step: monitor.check(observation(fake, step=step, steps=500)) for step in range(100, 500, 100)}
    assert [step for step, warnings in found.items() if warnings] == [300]


def test_variety_that_grows_is_no_collapse():
    monitor = CollapseMonitor()
    for i, modes in enumerate((1, 1, 1, 2, 3, 4, 5, 6, 7, 8)):
        fake = RING.samples[RING.labels < modes][:256]
        assert len(monitor.check(observation(fake, step=500 + i))) == (i == 2), modes


def test_state_goes_on_where_it_was():
    fake = RING.samples[RING.labels == 3][:256]
    first, second = CollapseMonitor(), CollapseMonitor()
    for step in (500, 600):
        assert first.check(observation(fake, step=step)) == []
    second.load_state_dict(first.state_dict())
    assert second.history == first.history
    assert len(second.check(observation(fake, step=700))) == 1


def test_logits_that_are_equal_separate_nothing():
    monitor, _ = judged(fake=RING.samples[256:512], noise=0.0)
    assert monitor.history[0]["separation"] == 0.5
    assert monitor.history[0]["gap"] == 0


def test_nan_samples_are_no_collapse_and_no_crash():
    monitor, warnings = judged(fake=torch.full((256, 2), math.nan))
    assert math.isnan(monitor.history[0]["diversity"])
    assert all("collapse" in w for w in warnings)


def test_looking_leaves_no_trace():
    config = settings("hinge", "digits", width=4, batch_size=16, steps=8, discriminator_norm="spectral")
    one, other = build_trainer(config), None
    monitor = CollapseMonitor(samples=32)
    for _ in range(4):
        one.step()
        monitor.check(one.observe(monitor.samples))
    one_state = one.state_dict()
    other = build_trainer(config)
    for _ in range(4):
        other.step()
    other_state = other.state_dict()
    for name in ("generator", "discriminator", "ema"):
        for key, value in one_state[name].items():
            assert torch.equal(value, other_state[name][key]), (name, key)
    for key in ("torch",):
        assert torch.equal(one_state["rng"][key], other_state["rng"][key])
    assert torch.equal(one_state["noise"], other_state["noise"])
    assert len(monitor.history) == 4
    assert monitor.history[-1]["generator_gradient"] > 0
    assert one.generator.training == other.generator.training


def test_a_trainer_without_a_data_set_brings_its_batch():
    generator, discriminator = torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)
    trainer = Trainer(
        generator, discriminator, torch.randn(64, 2), TrainingConfig(latent_dim=3, batch_size=16, steps=5)
    )
    monitor = CollapseMonitor()
    with pytest.raises(ValueError, match="real is missing"):
        trainer.observe()
    assert monitor.check(trainer.observe(real=torch.randn(16, 2))) == []
    trainer.step()
    assert monitor.check(trainer.observe()) == []  # on the batch of that step
    assert "spread" not in monitor.history[0]


def warnings_of(config, every):
    trainer, monitor, found = build_trainer(config), CollapseMonitor(quiet_steps=0), []
    while trainer.step_count < config.steps:
        trainer.step()
        if trainer.step_count % every == 0:
            found += monitor.check(trainer.observe())
    return found, monitor.history


def test_a_generator_far_faster_than_its_discriminator_collapses():
    config = settings("nsgan", "ring8", steps=500, width=64, generator_lr=1e-2, discriminator_lr=1e-5)
    found, _ = warnings_of(config, every=25)
    assert any(": collapse: " in warning for warning in found), found


def test_a_discriminator_far_faster_than_its_generator_is_named():
    config = settings("nsgan", "digits", steps=100, width=8, loss="minimax", generator_lr=1e-6, discriminator_lr=2e-3)
    found, _ = warnings_of(config, every=10)
    assert any("minimax loss is flat" in warning for warning in found)


def test_a_healthy_run_is_left_alone():
    found, history = warnings_of(settings("wgan-gp", "ring8", steps=300, width=64), every=20)
    assert found == []
    assert history[-1]["spread"] > 0.8
    assert history[-1]["diversity"] > 0.8
