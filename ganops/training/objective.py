"""The losses of the discriminator D and the generator G, with penalties, augmentation and packing.

This module does not use optimisers, data or files, so it also works in your own training loop. Arguments named
``critic`` are the discriminator.

>>> objective = Objective(TrainingConfig(loss="wasserstein", penalty=10.0))
>>> noise = torch.Generator().manual_seed(0)
>>> for number, real in enumerate(loader):                                                      # doctest: +SKIP
...     fake = generator(torch.randn(len(real), 64))
...     for update in objective.discriminator_updates(critic, real, fake.detach(), number=number, noise=noise):
...         critic_optimizer.zero_grad()
...         update.loss.backward()
...         critic_optimizer.step()
...     generator_optimizer.zero_grad()
...     objective.generator_loss(critic, fake, real=real, noise=noise).backward()
...     generator_optimizer.step()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import parametrize

import ganops
from ganops.penalties.critics import Critic
from ganops.penalties.slopes import gradient_and_scores
from ganops.training.augment import Augmentation
from ganops.training.config import TrainingConfig
from ganops.training.kinds import descends_game_value, is_paired, undecided_logit
from ganops.training.penalties import PENALTIES, Known, Points

__all__ = ["Draws", "Objective", "Update"]


class Draws(NamedTuple):
    """The random numbers of one step of a network; None: it needs none.

    Attributes:
        real: of the augmentation of the real samples.
        fake: of the augmentation of the fakes.
        penalty: of the penalty.
    """

    real: Tensor | None = None
    fake: Tensor | None = None
    penalty: Tensor | None = None


class Update(NamedTuple):
    """The loss of one optimiser step of the discriminator, by its terms. Scalars have shape ().

    Attributes:
        adversarial: the adversarial loss, (); None in the update of a lazy penalty.
        penalty: the weighted penalty, (); None if this update has no penalty.
        real_logits: D's logits on the real samples; None in the update of a lazy penalty.
    """

    adversarial: Tensor | None
    penalty: Tensor | None
    real_logits: Tensor | None

    @property
    def loss(self) -> Tensor:
        """The sum of the terms, to be minimised."""
        terms = [term for term in (self.adversarial, self.penalty) if term is not None]
        return sum(terms[1:], terms[0])


class Objective:
    """The losses of both networks for a config. Only `observe` changes the state of this object.

    The methods take the discriminator as an argument because it varies: an unrolled GAN computes G's loss with a copy
    of D that is some optimiser steps ahead. To use another objective, override methods and pass the class to `Trainer`:

    >>> class Regularized(Objective):
    ...     def generator_loss(self, critic, fake, condition=None, real=None, *, noise):
    ...         return super().generator_loss(critic, fake, condition, real, noise=noise) + 1e-3 * fake.square().mean()
    >>> trainer = Trainer(generator, critic, loader, config, objective=Regularized)            # doctest: +SKIP

    Args:
        config: its settings of losses, penalty, packing, augmentation, unrolling and precision are used.

    Attributes:
        config: the config.
        augmentation: the augmentation, with its current probability; None if the config has none.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config
        self.augmentation: Augmentation | None = None
        if config.augment:
            middle = undecided_logit(config.loss) or 0.0  # a loss without such a logit excludes augment_target
            self.augmentation = Augmentation(
                config.augment, config.augment_target, config.augment_ramp, middle, config.torch_device()
            )

    def autocast(self, device: torch.device) -> torch.autocast:
        """A context manager for autocast according to the config's ``amp``; it has no effect if ``amp`` is off."""
        dtype = torch.float16 if self.config.amp == "fp16" else torch.bfloat16
        return torch.autocast(device.type, dtype=dtype, enabled=self.config.amp != "off")

    def augment_and_pack(self, samples: Tensor, noise: torch.Generator | Tensor | None) -> Tensor:
        """The discriminator's input for real or fake samples (N, *shape).

        Args:
            samples: the samples.
            noise: a random generator, or a field of `Draws`.
        """
        if self.augmentation is not None:
            samples = self.augmentation(samples, noise)
        return samples if self.config.pack == 1 else ganops.pack(samples, self.config.pack)

    def score_fn(self, critic: Callable[..., Tensor], condition: Tensor | None) -> Callable[[Tensor], Tensor]:
        """`critic` as a function of packed samples only, with the packed ``condition`` (N, …) bound to it."""
        if condition is None:
            return critic
        if self.config.pack > 1:
            condition = condition[:, None] if condition.ndim == 1 else condition  # labels (N,) as one channel
            condition = ganops.pack(condition, self.config.pack)
        return lambda packed: critic(packed, condition)

    def needs_real(self) -> bool:
        """Whether the generator's loss depends on real samples."""
        return bool(self._scores_real or self.config.l1_weight)

    @property
    def _scores_real(self) -> bool:
        return self._pairs or self._descends_value

    @property
    def _pairs(self) -> bool:
        """Whether G's loss compares each fake logit with a real one."""
        return is_paired(self.config.loss) and self.config.adversarial_weight != 0

    @property
    def _descends_value(self) -> bool:
        """Whether G's loss is the negative of D's whole loss, with its term for real samples.

        That term depends on G only in an unrolled GAN, through the steps of D.
        """
        config = self.config
        return descends_game_value(config.loss) and config.adversarial_weight != 0 and config.unroll > 0

    def penalty_is_due(self, number: int) -> bool:
        """Whether discriminator step `number`, counted from 0, has a penalty."""
        return bool(self.config.penalty) and number % self.config.penalty_every == 0

    def discriminator_draws(self, real: Tensor, number: int, noise: torch.Generator) -> Draws:
        """The random numbers of discriminator step `number`, for samples like `real`."""
        augmented = [None if self.augmentation is None else self.augmentation.draw(real, noise) for _ in range(2)]
        draw = PENALTIES[self.config.penalty_kind].draw
        due = draw is not None and self.penalty_is_due(number)
        return Draws(*augmented, draw(ganops.pack(real, self.config.pack), noise) if due else None)

    def generator_draws(self, fake: Tensor, noise: torch.Generator) -> Draws:
        """The random numbers of a generator step, for samples like `fake`."""
        if self.augmentation is None or not self.config.adversarial_weight:
            return Draws()
        of_fake = self.augmentation.draw(fake, noise)
        return Draws(self.augmentation.draw(fake, noise) if self._scores_real else None, of_fake)

    def discriminator_updates(
        self,
        critic: Callable[..., Tensor],
        real: Tensor,
        fake: Tensor,
        condition: Tensor | None = None,
        *,
        number: int = 0,
        noise: torch.Generator | Draws,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Iterator[Update]:
        """Yields the updates of discriminator step `number`. Take an optimiser step on each before the next.

        There is one update, or two if a lazy penalty is due in this step. A penalty is lazy if ``penalty_every`` is
        above 1: it is then computed in every ``penalty_every``-th step and weighted by that number (Karras et al. 2020,
        arXiv:1912.04958).

        Args:
            critic: the discriminator. It maps the output of `augment_and_pack`, and the packed conditions if any, to
                raw logits.
            real: (N, *shape).
            fake: generated samples of the same shape and with the same conditions.
            condition: (N, …); None in a run without conditions.
            number: index of the step, from 0; a lazy penalty is due if it is a multiple of ``penalty_every``.
            noise: random generator, or what `discriminator_draws` drew.
            scaler: the gradient scaler of a float16 run.
        """
        draws = self.discriminator_draws(real, number, noise) if isinstance(noise, torch.Generator) else noise
        score = self.score_fn(critic, condition)
        with self.autocast(real.device):
            inputs = self.augment_and_pack(real, draws.real), self.augment_and_pack(fake, draws.fake)
        yield self.update(score, *inputs, draws, scaler=scaler)
        if self.config.penalty_every > 1 and self.penalty_is_due(number):
            yield self.lazy_update(score, *inputs, draws, scaler=scaler)

    def update(
        self,
        score: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        draws: Draws,
        *,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Update:
        """The first update of a discriminator step, from D's inputs: the loss, and a penalty that is not lazy."""
        config = self.config
        penalized = bool(config.penalty) and config.penalty_every == 1
        # A penalty on the gradients at these inputs takes them from the pass that the loss makes.
        exact = penalized and not config.penalty_difference
        shared = PENALTIES[config.penalty_kind].gradients if exact else ()
        compared = penalized and PENALTIES[config.penalty_kind].estimates
        # Spectral norm would otherwise change the weights between the two passes that are compared.
        with self.autocast(real.device), parametrize.cached() if compared else contextlib.nullcontext():
            real_logits, real_gradient = _score("r1_penalty", score, real, scaler, with_gradient="real" in shared)
            fake_logits, fake_gradient = _score("r2_penalty", score, fake, scaler, with_gradient="fake" in shared)
            adversarial = ganops.discriminator_loss(real_logits, fake_logits, config.loss)
            penalty = None
            if penalized:
                known = Known(real_logits, fake_logits, real_gradient, fake_gradient)
                penalty = self.penalty(score, real, fake, noise=draws, scaler=scaler, known=known)
        return Update(adversarial, penalty, real_logits)

    def lazy_update(
        self,
        score: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        draws: Draws,
        *,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Update:
        """The update of a lazy penalty, from D's inputs."""
        with self.autocast(real.device):
            penalty = self.penalty(score, real, fake, noise=draws, scaler=scaler)
        return Update(None, self.config.penalty_every * penalty, None)

    def penalty(
        self,
        score: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        *,
        noise: torch.Generator | Draws,
        scaler: torch.amp.GradScaler | None = None,
        known: Known = Known(),  # noqa: B008 - immutable
    ) -> Tensor:
        """The config's penalty times its weight, (); see `ganops.training.penalties`.

        Args:
            score: from D's input to logits.
            real: D's input for real samples.
            fake: the same for fakes.
            noise: random generator, or `Draws`.
            scaler: the gradient scaler of a float16 run.
            known: what the critic has already computed at `real` and `fake` with its present weights.
        """
        row = PENALTIES[self.config.penalty_kind]
        if isinstance(noise, torch.Generator):
            draw = None if row.draw is None else row.draw(real, noise)
        else:
            draw = noise.penalty
        return self.config.penalty * row.term(Points(score, real, fake, draw, known, scaler), self.config)

    def generator_loss(
        self,
        critic: Callable[..., Tensor],
        fake: Tensor,
        condition: Tensor | None = None,
        real: Tensor | None = None,
        *,
        noise: torch.Generator | Draws,
    ) -> Tensor:
        """The generator's loss, ().

        Args:
            critic: as for `discriminator_updates`. In an unrolled GAN it depends on the generator.
            fake: the generator's samples (N, *shape), with their autograd graph.
            condition: (N, …); None in a run without conditions.
            real: real samples of the same shape and with the same conditions. Required if ``l1_weight`` is set, for a
                paired loss, and for ``minimax`` in an unrolled GAN, where D's loss on real samples depends on G through
                D's steps (Metz et al. 2017, eq. 7).
            noise: random generator, or the result of `generator_draws`.
        """
        config = self.config
        if real is None and self.needs_real():
            setting = f"loss {config.loss!r}" if self._scores_real else "l1_weight"
            raise ValueError(f"generator_loss: {setting} needs real samples, got real=None; pass real=…")
        draws = self.generator_draws(fake, noise) if isinstance(noise, torch.Generator) else noise
        loss = fake.new_zeros(())
        with self.autocast(fake.device):
            if config.adversarial_weight:
                loss = self._adversarial(critic, fake, condition, real, draws)
                if config.adversarial_weight != 1:
                    loss = config.adversarial_weight * loss
            if config.l1_weight:
                loss = loss + config.l1_weight * (fake - real).abs().mean()
        return loss

    def _adversarial(
        self,
        critic: Callable[..., Tensor],
        fake: Tensor,
        condition: Tensor | None,
        real: Tensor | None,
        draws: Draws,
    ) -> Tensor:
        loss = self.config.loss
        score = self.score_fn(critic, condition)
        logits = score(self.augment_and_pack(fake, draws.fake))
        if self._descends_value:
            return -ganops.discriminator_loss(score(self.augment_and_pack(real, draws.real)), logits, loss)
        if not self._pairs:
            return ganops.generator_loss(logits, loss)
        with torch.set_grad_enabled(self.config.unroll > 0):  # these logits depend on G only through an unrolled D
            real_logits = score(self.augment_and_pack(real, draws.real))
        return ganops.generator_loss(logits, loss, real_logits=real_logits)

    def observe(self, real_logits: Tensor, count: int) -> None:
        """If ``augment_target`` is set, adapt the augmentation's probability to D's logits on `count` real samples."""
        if self.augmentation is not None:
            self.augmentation.observe(real_logits, count)


def _score(
    function: str,
    score: Callable[[Tensor], Tensor],
    inputs: Tensor,
    scaler: torch.amp.GradScaler | None,
    *,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """The logits, and their gradient with respect to `inputs`, from one pass; errors name `function`."""
    if not with_gradient:
        return score(inputs), None
    points = inputs if inputs.requires_grad else inputs.detach()  # fakes of an unrolled step depend on G
    gradient, logits = gradient_and_scores(Critic(function, score), points, scaler)
    return logits, gradient
