"""What users put around and into the trainer: callbacks, objectives, loops of their own."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from ganops.training import Objective, Trainer, TrainingConfig
from ganops.training.penalties import PENALTIES

POINTS = torch.randn(64, 2, generator=torch.Generator().manual_seed(3))


def networks():
    torch.manual_seed(0)
    return (
        nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 2)),
        nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)),
    )


def test_the_page_on_training_runs_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    generator, critic = networks()
    names = {"generator": generator, "critic": critic, "loader": torch.utils.data.DataLoader(POINTS, batch_size=16)}
    for block in blocks:
        exec(block.replace("steps=300", "steps=3").replace("steps=400", "steps=100").replace("n_critic=5, ", ""), names)
    assert names["metrics"]["step"] == 100
    output = capsys.readouterr().out
    assert output.startswith("100 ")
    assert "saved runs/logged/checkpoint.pt" in output


def test_callbacks_see_every_step_evaluation_and_checkpoint(tmp_path):
    config = TrainingConfig(latent_dim=64, batch_size=8, steps=5, checkpoint_every=2, evaluate_every=2)
    trainer, seen = Trainer(*networks(), POINTS, config, out=tmp_path), []
    trainer.on_step(lambda t, losses: seen.append((t.step_count, tuple(losses.shape))))
    trainer.on_evaluate(lambda t, metrics: seen.append((t.step_count, metrics)))
    trainer.on_checkpoint(lambda t, path: seen.append((t.step_count, path.name)))
    trainer.run()
    saved, shape = "checkpoint.pt", (3,)
    assert seen == [
        (1, shape),
        (2, shape),
        (2, {}),
        (2, saved),
        (3, shape),
        (4, shape),
        (4, {}),
        (4, saved),
        (5, shape),
        (5, saved),
        (5, {}),
    ]


def test_a_loop_with_an_objective_takes_the_trainers_steps():
    """Bit for bit, lazy penalty included."""
    config = TrainingConfig(
        latent_dim=64, batch_size=8, loss="hinge", penalty=1.0, penalty_kind="dragan", penalty_every=2, ema=0.0
    )
    trainer = Trainer(*networks(), POINTS, config)
    twin = Trainer(*networks(), POINTS, config)
    objective = Objective(config)
    for number in range(4):
        trainer.step()
        real = twin.batches.next().samples
        fake = twin.generator(twin.latent(8)).detach()
        for update in objective.discriminator_updates(twin.discriminator, real, fake, number=number, noise=twin.noise):
            twin.discriminator_optimizer.zero_grad()
            update.loss.backward()
            twin.discriminator_optimizer.step()
        twin.generator_optimizer.zero_grad()
        loss = objective.generator_loss(twin.discriminator, twin.generator(twin.latent(8)), noise=twin.noise)
        loss.backward(inputs=list(twin.generator.parameters()))
        twin.generator_optimizer.step()
    for name in ("generator", "discriminator"):
        for mine, other in zip(getattr(trainer, name).parameters(), getattr(twin, name).parameters(), strict=True):
            assert torch.equal(mine, other)


@pytest.mark.parametrize("kind", PENALTIES)
def test_a_row_of_the_table_is_an_option_everywhere(kind, monkeypatch):
    """A new penalty is one row: the config, the objective and the rules take it from there."""
    monkeypatch.setitem(PENALTIES, "other", PENALTIES[kind])
    critic = networks()[1]
    target = {"penalty_target": 1e-4} if PENALTIES[kind].takes_target else {}  # the critic is flat
    values = []
    for name in (kind, "other"):
        objective = Objective(TrainingConfig(penalty=2.0, penalty_kind=name, **target))
        noise = torch.Generator().manual_seed(0)
        (update,) = objective.discriminator_updates(critic, POINTS[:8], POINTS[8:16] + 1, noise=noise)
        values.append(update.penalty)
    assert torch.equal(*values)
    assert values[0] > 0
    if not PENALTIES[kind].takes_target:
        with pytest.raises(ValueError, match=r"penalty_target 2\.0 has no meaning for penalty_kind 'other'"):
            TrainingConfig(penalty=2.0, penalty_kind="other", penalty_target=2.0)
