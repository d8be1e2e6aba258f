"""Code as users write it, with the types that they expect. It is checked, never run."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import ganops

critic = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
real, fake = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)

# Losses are tensors that can be added and differentiated without a cast.
loss = ganops.discriminator_loss(critic(real), critic(fake), "hinge")
assert_type(loss, Tensor)
loss = loss + 10 * ganops.gradient_penalty(critic, real, fake)
loss.backward()
assert_type(ganops.generator_loss(critic(fake), "non_saturating"), Tensor)
assert_type(ganops.generator_loss(critic(fake), "relativistic", real_logits=critic(real)), Tensor)
real_logits: Tensor = critic(real)
fake_logits: Tensor = critic(fake)
parts = ganops.discriminator_loss(real_logits, fake_logits, reduction="none")
assert_type(parts, tuple[Tensor, Tensor])
for penalty in (ganops.r1_penalty(critic, real), ganops.dragan_penalty(critic, real)):
    assert_type(penalty, Tensor)

# A kind that comes from a configuration is a plain string.
kind: str = input()
assert_type(ganops.generator_loss(critic(fake), kind), Tensor)

# The other ops.
assert_type(ganops.interpolate(real, fake), Tensor)
assert_type(ganops.gradient_norm_penalty(real, target=0.0), Tensor)
assert_type(ganops.minibatch_stddev(real, 4), Tensor)
assert_type(ganops.minibatch_discrimination(torch.randn(4, 8), torch.randn(8, 3, 2)), Tensor)
assert_type(ganops.diff_augment(real, "color,translation"), Tensor)
assert_type(ganops.pack(real, 2), Tensor)
assert_type(ganops.feature_matching_loss([real], [fake]), Tensor)
ganops.clip_weights_(critic, 0.01)
ganops.clip_weights_(critic.parameters(), 0.01)
ganops.clip_weights_(critic, (-0.02, 0.01), normalization=True)

# The optimisers are torch's, with `clip`.
optimizer: torch.optim.Optimizer = ganops.optimizers.RMSprop(critic.parameters(), lr=5e-5, clip=0.01)
adam = ganops.optimizers.Adam(critic.parameters(), lr=2e-4, betas=(0.0, 0.9), clip=None)
adam.step()
ganops.optimizers.Adam(critic.parameters(), clipp=0.01)  # type: ignore[call-arg]

# Modules.
hinge = ganops.nn.DiscriminatorLoss("hinge")
penalise = ganops.nn.GradientPenalty(10.0)
total: Tensor = penalise(critic, real, fake)

# Modules that are imported when they are used.
dataset = ganops.data.load("ring8?size=500")
assert_type(dataset.samples, Tensor)
assert_type(dataset.labels, Tensor | None)
assert_type(ganops.metrics.frechet_distance(dataset.samples, dataset.samples), float)
assert_type(ganops.metrics.pyramid_wasserstein(real, fake), dict[str, float])
networks = ganops.models.build("mlp", dataset.shape, latent_dim=8)
assert_type(networks, tuple[nn.Module, nn.Module])
assert_type(ganops.theory.jsd(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])), Tensor)
config = ganops.training.TrainingConfig(loss="hinge", latent_dim=8)
trainer = ganops.training.Trainer(*networks, dataset, config)
trainer.run()
assert_type(trainer.sample(16), Tensor)
picture = ganops.figures.FIGURES["jsd-wasserstein"].draw()
assert_type(picture, ganops.figures.Picture)
assert_type(picture.numbers["log_2"], float)
ganops.nothing  # type: ignore[attr-defined]  # noqa: B018
