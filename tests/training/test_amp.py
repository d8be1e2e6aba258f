"""Training in mixed precision: what is half and what is not, skipped steps, and continuing to the bit."""

import pytest
import torch
from torch import nn

from ganops.training import Trainer, TrainingConfig, TrainingDiverged

POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))
IMAGES = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1


class Spy(nn.Sequential):
    """A small network that notes the dtypes of its inputs and outputs while it trains."""

    def __init__(self, inputs, outputs):
        super().__init__(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, outputs))
        self.seen = set()

    def forward(self, x):
        result = super().forward(x)
        if self.training:
            self.seen.add((x.dtype, result.dtype))
        return result


def make(out=None, **options):
    torch.manual_seed(0)
    settings = {"steps": 4, "batch_size": 8, "latent_dim": 3, "monitor_every": 0, "evaluate_every": 0, **options}
    return Trainer(Spy(3, 2), Spy(2, 1), POINTS, TrainingConfig(**settings), out=out)


WGAN_GP = {"loss": "wasserstein", "penalty": 1.0, "n_critic": 2}


@pytest.mark.parametrize(("amp", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_the_networks_compute_in_half_and_keep_float32(amp, dtype):
    trainer = make(amp=amp, **WGAN_GP)
    trainer.run()
    for network in (trainer.generator, trainer.discriminator):
        assert network.seen == {(torch.float32, dtype)}
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in network.parameters())
    assert trainer.sample(5).dtype == torch.float32


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_steps_are_those_of_float32_but_for_rounding(amp, optimizer):
    moves = []
    for precision in ("off", amp):
        trainer = make(amp=precision, optimizer=optimizer, clip=0.5, **WGAN_GP)
        for scaler in trainer.scalers.values():
            if scaler.is_enabled():
                scaler.load_state_dict({**scaler.state_dict(), "scale": 64.0})  # nothing overflows: no step is skipped
        trainer.step()  # the first one clips what the initial weights have too much
        before = [p.detach().clone() for p in trainer.discriminator.parameters()]
        for _ in range(3):
            trainer.step()
        assert max(p.abs().max().item() for p in trainer.discriminator.parameters()) <= 0.5
        after = trainer.discriminator.parameters()
        moves.append(torch.cat([(p.detach() - q).flatten() for p, q in zip(after, before, strict=True)]))
    assert torch.cosine_similarity(*moves, dim=0) > 0.98
    torch.testing.assert_close(moves[1].norm(), moves[0].norm(), rtol=0.05, atol=0)


def test_an_overflow_is_skipped_and_is_no_divergence():
    trainer = make(amp="fp16", **WGAN_GP)
    scaler = trainer.scalers["discriminator"]
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**40})
    before = [p.detach().clone() for p in trainer.discriminator.parameters()]
    losses = trainer.discriminator_step(POINTS[:8])
    assert not losses.isfinite().all()  # the penalty's own gradient overflowed
    assert all(torch.equal(p, q) for p, q in zip(trainer.discriminator.parameters(), before, strict=True))
    assert scaler.get_scale() == 2.0**39
    trainer.losses.pending = [torch.tensor([1.0, torch.nan, 1.0]), torch.tensor([1.0, 2.0, 3.0])]
    trainer._record()
    assert trainer.history[-1]["penalty"] == 2.0


def test_a_divergence_is_one_in_float16_too():
    trainer = make(amp="fp16", steps=200, log_every=10, **WGAN_GP)
    with torch.no_grad():
        trainer.discriminator[0].weight.fill_(torch.nan)
    with pytest.raises(TrainingDiverged):
        trainer.run()


def test_continued_to_the_bit_with_the_scalers(tmp_path):
    make(tmp_path / "whole", amp="fp16", steps=7, **WGAN_GP).run()
    make(tmp_path / "parts", amp="fp16", steps=4, **WGAN_GP).run()
    resumed = make(tmp_path / "parts", amp="fp16", steps=7, **WGAN_GP)
    resumed.load()
    assert resumed.scalers["discriminator"].get_scale() < 2.0**16  # steps have been skipped: there is something to keep
    resumed.run()
    whole, parts = (torch.load(tmp_path / n / "checkpoint.pt", weights_only=False) for n in ("whole", "parts"))
    assert whole["scalers"] == parts["scalers"]
    for name in ("generator", "discriminator"):
        assert all(torch.equal(a, b) for a, b in zip(whole[name].values(), parts[name].values(), strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "relativistic", "penalty": 0.1, "penalty_kind": "r1+r2"},
        {"loss": "hinge", "penalty": 0.1, "penalty_kind": "dragan", "penalty_every": 2},
        {"loss": "hinge", "penalty": 0.1, "penalty_difference": 0.01, "pack": 2},
        {"loss": "minimax", "unroll": 2},
        {"augment": "color,translation,cutout", "augment_target": 0.6},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_methods_under_bfloat16(options):
    torch.manual_seed(0)
    pack = options.get("pack", 1)
    generator = nn.Sequential(nn.Linear(3, 64), nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 1, 3, padding=1), nn.Tanh())
    critic = nn.Sequential(nn.Conv2d(pack, 4, 3, stride=2), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(36, 1))
    config = TrainingConfig(
        steps=2, batch_size=8, latent_dim=3, amp="bf16", monitor_every=0, evaluate_every=0, **options
    )
    trainer = Trainer(generator, critic, IMAGES, config)
    summary = trainer.run()
    assert summary["status"] == "finished"
    assert all(p.isfinite().all() for p in (*generator.parameters(), *critic.parameters()))


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="choose amp bf16"):
        TrainingConfig(amp="fp16", unroll=2)
    with pytest.raises(ValueError, match="amp 'fp8' is unknown"):
        TrainingConfig(amp="fp8")
