"""One training step: `n_critic` discriminator steps, then one generator step."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

import ganops
from ganops.training import combinations, optimizers, schema
from ganops.training.batches import Batch, global_rng_state, set_global_rng_state
from ganops.training.compiled import CompiledUpdates, Player, check_objective, compiled
from ganops.training.config import TrainingConfig
from ganops.training.ema import MovingAverage
from ganops.training.fingerprint import fingerprint
from ganops.training.graphs import Captured
from ganops.training.inputs import check_batch, check_copyable, check_network, dtype_mismatch, trainable
from ganops.training.noise import normal, seeded
from ganops.training.objective import Objective, Update
from ganops.training.open_data import TrainingData, open_data
from ganops.training.state import (
    check_data,
    check_fits,
    check_scalers,
    check_settings,
    check_step,
    fitting_optimizer_state,
)
from ganops.training.unroll import LookAhead

__all__ = ["Stepper"]


class Stepper:
    """Trains two networks step by step. `Trainer` adds checkpoints, evaluations and the loop around the steps.

    Args:
        generator, discriminator, data, config, objective: as for `Trainer`.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        data: TrainingData,
        config: TrainingConfig,
        objective: Callable[[TrainingConfig], Objective] = Objective,
    ) -> None:
        check_network("generator", generator)
        check_network("discriminator", discriminator)
        if config.ema:
            check_copyable("generator", generator)
        combinations.check_discriminator(config, discriminator)
        self.config = config
        self.device = config.torch_device()
        if config.cuda_graph and self.device.type != "cuda":
            raise ValueError(
                f"cuda_graph captures the work of a GPU, and this run is on {self.device}; choose device cuda, or "
                "leave cuda_graph out"
            )
        self._data = data
        self.batches, self.held_out = open_data(data, config, self.device)
        self._last: Batch | None = None  # the most recent batch
        self.generator = generator.to(self.device)
        self.discriminator = discriminator.to(self.device)
        self.ema = MovingAverage(self.generator, config.ema) if config.ema else None
        self._generator_parameters = trainable(generator, "generator")
        self.clipped = optimizers.clipped_parameters(config, discriminator)
        self.generator_optimizer = optimizers.generator_optimizer(config, self._generator_parameters)
        self.discriminator_optimizer = optimizers.discriminator_optimizer(
            config, trainable(discriminator, "discriminator"), self.clipped
        )
        # One scaler for each network, since their gradients differ in size. They are disabled without float16.
        self.scalers = {
            name: torch.amp.GradScaler(self.device.type, enabled=config.amp == "fp16")
            for name in ("generator", "discriminator")
        }
        self.objective = objective(config)
        if config.compile or config.cuda_graph:
            check_objective(self.objective)
        # Drawn on the CPU, noise is the same on every device and a checkpoint can move between devices.
        self.noise = seeded(config.seed + 1, self.device if config.device_noise else "cpu")
        self.step_count = 0
        self._discriminator_steps = 0
        self._compiled: CompiledUpdates | None = None

    def latent(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Fresh z ~ N(0, I), (count, latent_dim), on the trainer's device."""
        z = normal(count, self.config.latent_dim, generator=self.noise if generator is None else generator)
        dtype = torch.float64 if self._double else torch.float32
        return z.to(self.device, dtype, non_blocking=True)

    @property
    def _double(self) -> bool:
        """Whether the generator computes in float64."""
        return self._generator_parameters[0].dtype == torch.float64

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The generator's samples for z (N, latent_dim) and, in a conditional run, a condition for each."""
        inputs = (z,) if condition is None else (z, condition)
        try:
            samples = self.generator(*inputs)
        except RuntimeError as error:
            reason = dtype_mismatch("generator", self.generator, z)
            if reason is None:
                raise
            raise TypeError(reason) from error
        return samples.float() if self.config.amp != "off" else samples

    def discriminator_step(self, real: Tensor, condition: Tensor | None = None) -> Tensor:
        """Train the discriminator on a real batch and as many new fakes with the same conditions.

        This is one update, or two if a lazy penalty (``penalty_every``) is due.

        Returns:
            (2,): the adversarial loss and the weighted penalty.
        """
        functions = self._compiled_updates()
        if functions is not None:
            z = self.latent(len(real))
            draws = self.objective.discriminator_draws(real, self._discriminator_steps, self.noise)
            adversarial, penalty, logits = functions.discriminator_step(
                z, real, condition, draws, self._discriminator_steps
            )
            self.objective.observe(logits, len(real))
            return self._end_of_discriminator_step(adversarial, penalty)
        with torch.no_grad(), self.objective.autocast(self.device):  # this step does not train the generator
            fake = self.generate(self.latent(len(real)), condition)
        check_batch(real, fake)
        scaler = self.scalers["discriminator"]
        adversarial = penalty = None
        for update in self._updates(self.discriminator, real, fake, condition, self._discriminator_steps):
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            scaler.scale(update.loss).backward()
            scaler.step(self.discriminator_optimizer)
            scaler.update()
            # Clip after the update, so that the generator step uses the clipped critic.
            if self.clipped and not optimizers.clips(self.discriminator_optimizer):
                ganops.clip_weights_(self.clipped, self.config.clip)
            if update.real_logits is not None:
                self.objective.observe(update.real_logits, len(real))
            adversarial = update.adversarial if adversarial is None else adversarial
            penalty = update.penalty if penalty is None else penalty
        return self._end_of_discriminator_step(adversarial, penalty)

    def _end_of_discriminator_step(self, adversarial: Tensor, penalty: Tensor | None) -> Tensor:
        self._discriminator_steps += 1
        return torch.stack([adversarial, adversarial.new_zeros(()) if penalty is None else penalty]).detach()

    def _compiled_updates(self) -> CompiledUpdates | None:
        """The updates as functions, for ``compile`` and ``cuda_graph``; None in the first step.

        That step makes the optimisers' state.
        """
        config = self.config
        if not (config.compile or config.cuda_graph) or self.step_count == 0:
            return None
        if self._compiled is None:
            generator = Player(self.generator, self.generator_optimizer)
            clipped = tuple(self.clipped), config.clip
            discriminator = Player(self.discriminator, self.discriminator_optimizer, *clipped)

            def wrap(function: types.MethodType) -> Callable[..., Any]:
                faster = compiled(function) if config.compile else function
                return Captured(faster) if config.cuda_graph else faster

            self._compiled = CompiledUpdates(generator, discriminator, self.objective, self.device, wrap)
        return self._compiled

    def _updates(
        self, critic: Callable[..., Tensor], real: Tensor, fake: Tensor, condition: Tensor | None, number: int
    ) -> Iterator[Update]:
        try:
            yield from self.objective.discriminator_updates(
                critic, real, fake, condition, number=number, noise=self.noise, scaler=self.scalers["discriminator"]
            )
        except RuntimeError as error:
            reason = dtype_mismatch("discriminator", self.discriminator, real)
            if reason is None:
                raise
            raise TypeError(reason) from error

    def _look_ahead(self) -> LookAhead:
        """D after `unroll` further steps, as a function of G. Each step uses a new real batch and new fakes."""
        ahead = LookAhead(self.discriminator, self.discriminator_optimizer, self.config.clip, self.clipped)
        for i in range(self.config.unroll):
            real, condition = self.batches.next()
            fake = self.generate(self.latent(len(real)), condition)
            for update in self._updates(ahead, real, fake, condition, self._discriminator_steps + i):
                ahead.step(update.loss)
        return ahead

    def generator_step(self, count: int, condition: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """Update the generator through the discriminator, with `count` new fakes.

        Args:
            count: number of fakes.
            condition: one for each fake, in a conditional run.
            real: as many real samples with the same conditions, if the loss depends on them; see
                `Objective.generator_loss`.

        Returns:
            The generator's loss, ().
        """
        functions = self._compiled_updates()
        if functions is not None:
            z = self.latent(count)
            return functions.generator_step(z, condition, real, self.objective.generator_draws(z, self.noise))
        scaler = self.scalers["generator"]
        with self.objective.autocast(self.device):
            fake = self.generate(self.latent(count), condition)
            unrolls = self.config.unroll and self.config.adversarial_weight
            critic = self._look_ahead() if unrolls else self.discriminator
            loss = self.objective.generator_loss(critic, fake, condition, real, noise=self.noise)
        self.generator_optimizer.zero_grad(set_to_none=True)
        # With `inputs` backward omits the gradients of D's weights, a third of D's backward pass.
        scaler.scale(loss).backward(inputs=self._generator_parameters)
        scaler.step(self.generator_optimizer)
        scaler.update()
        return loss.detach()

    def step(self) -> Tensor:
        """`n_critic` discriminator steps, one generator step, and an update of the moving average.

        Returns:
            (3,): the discriminator's loss and penalty (means over its steps) and the generator's loss.
        """
        self.generator.train()
        self.discriminator.train()
        optimizers.set_learning_rates(
            self.config, self.step_count, self.generator_optimizer, self.discriminator_optimizer
        )
        losses = []
        for _ in range(self.config.n_critic):
            self._last = real, condition = self.batches.next()
            losses.append(self.discriminator_step(real, condition))
        generator_loss = self.generator_step(len(real), condition, real)
        self.step_count += 1
        if self.ema is not None:
            self.ema.update(self.generator, self.step_count)
        return torch.cat([torch.stack(losses).mean(dim=0), generator_loss.reshape(1)])

    def state_dict(self) -> dict[str, Any]:
        """All state that the next step depends on."""
        augmentation = self.objective.augmentation
        return {
            "config": asdict(self.config),
            "step": self.step_count,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
            "batches": self.batches.state_dict(),
            "noise": self.noise.get_state(),
            "rng": global_rng_state(),
            "augmentation": None if augmentation is None else augmentation.probability.clone().cpu(),
            "discriminator_steps": self._discriminator_steps,
            "data": self.fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any], *, allow_changes: bool = False) -> None:
        """Restore a state from `state_dict`.

        The settings must be the same, except the length of the run, the device and the intervals of logs, checkpoints,
        evaluations and checks.

        Args:
            state: a state from `load_checkpoint`.
            allow_changes: accept, with a warning, other data and other settings under which the state is still valid
                (batch size, learning rates, penalty, …). The result then differs from an uninterrupted run.

        Raises:
            ValueError: the settings, data or networks differ, or the state is invalid. Nothing is changed then.
        """
        schema.check(state, schema.CHECKPOINT, "")
        check_settings(state["config"], self.config, allow_changes)
        for name in ("generator", "discriminator", "ema"):
            network = getattr(self, name)
            if network is not None:
                check_fits(name, network, state[name])
        check_step(state["step"], self.config)
        check_scalers(state["scalers"], self.scalers)
        self.batches.check_state(state["batches"])
        schema.check(state["noise"], schema.generator_state(self.noise.device), "resume: the checkpoint's noise")
        if self.objective.augmentation is not None and state["augmentation"] is None:
            raise ValueError("resume: the checkpoint has no probability of the augmentation")
        optimizers_ = {
            optimizer: fitting_optimizer_state(name, optimizer, state[name])
            for name, optimizer in (
                ("generator_optimizer", self.generator_optimizer),
                ("discriminator_optimizer", self.discriminator_optimizer),
            )
        }
        check_data(state.get("data"), self.fingerprint, allow_changes)

        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self._compiled = None  # it holds the optimisers' present state
        for optimizer, saved in optimizers_.items():
            optimizer.load_state_dict(saved)
        for name, scaler in self.scalers.items():
            if scaler.is_enabled():
                scaler.load_state_dict(state["scalers"][name])
        self.step_count = state["step"]
        self._discriminator_steps = state.get("discriminator_steps", self.step_count * self.config.n_critic)
        if self.objective.augmentation is not None:
            self.objective.augmentation.probability.copy_(state["augmentation"])
        self.noise.set_state(state["noise"])
        self.batches.load_state_dict(state["batches"])
        set_global_rng_state(state["rng"])  # last, because skipping a loader's used batches draws from it

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """The count and a hash of the data, see `ganops.training.fingerprint`."""
        return fingerprint(self._data)
