"""The training loop: one generator step after `n_critic` discriminator steps, in the order that the papers give."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import ganops
from ganops.data import Dataset
from ganops.metrics import evaluate
from ganops.training import report
from ganops.training.batches import (
    Batches,
    LoaderBatches,
    TensorBatches,
    global_rng_state,
    set_global_rng_state,
)
from ganops.training.checkpoint import load_checkpoint, save_checkpoint
from ganops.training.config import TrainingConfig
from ganops.training.progress import Progress

__all__ = ["Trainer", "TrainingDiverged", "TrainingInterrupted"]

#: Settings that may change between a checkpoint and its continuation: how long, where, and how often to look.
RESUMABLE_CHANGES = frozenset({"steps", "minutes", "device", "log_every", "checkpoint_every"})

_METRIC_SAMPLES = {"points": 2500, "images": 1000}  # PacGAN's number for points
_EPS = 1e-8  # Adam's denominator, PyTorch's default


class TrainingDiverged(FloatingPointError):
    """A loss became NaN or infinite."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM arrived, the step in progress was finished and the state was saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number  # the shells' convention: 130 for Ctrl-C, 143 for SIGTERM


class Trainer:
    """Train any generator and discriminator against each other.

    >>> trainer = Trainer(generator, discriminator, loader, TrainingConfig(loss="hinge"), out="runs/mine")
    >>> trainer.run()

    Args:
        generator: z (N, latent_dim) to samples.
        discriminator: samples to raw logits of any shape, no sigmoid.
        data: real samples: a `ganops.data.Dataset` (then metrics are computed as well), a tensor (N, *shape), or
            anything that yields batches each time it is iterated, such as a `torch.utils.data.DataLoader` (a batch is
            a tensor or begins with one; ``batch_size`` is then the loader's business).
        config: how to train.
        out: folder for ``metrics.json``, ``samples.png``, ``curves.png``, ``history.csv``, ``config.json`` and
            ``checkpoint.pt``, which replace those of an earlier run there; None: nothing is written.
        extra: kept in checkpoints beside the state, for whoever reads them (plain data only).

    The networks are moved to the config's device and trained in place. The attributes `generator`, `discriminator`,
    `ema` (None if off), `step_count` and `history` are there to be read at any time.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        data: Dataset | Tensor | Iterable[Any],
        config: TrainingConfig | None = None,
        *,
        out: str | Path | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.config = config = TrainingConfig() if config is None else config
        self.device = config.torch_device()
        self.dataset = data if isinstance(data, Dataset) else None
        self.out = None if out is None else Path(out)
        self.extra = {} if extra is None else extra
        self.batches = self._make_batches(data)
        self.generator = generator.to(self.device)
        self.discriminator = discriminator.to(self.device)
        self.ema: AveragedModel | None = None
        if config.ema:
            self.ema = AveragedModel(self.generator, multi_avg_fn=self._average, use_buffers=True)  # its own copy
        self._generator_parameters = _trainable(generator, "generator")
        self._discriminator_parameters = _trainable(discriminator, "discriminator")
        self._clipped = [p for p in _outside_norms(discriminator) if p.requires_grad] if config.clip else []
        self.generator_optimizer = self._make_optimizer(self._generator_parameters, config.generator_lr)
        self.discriminator_optimizer = self._make_optimizer(self._discriminator_parameters, config.discriminator_lr)
        # Noise is drawn on the CPU: the same on every device, and a checkpoint may move between devices.
        self._noise = torch.Generator().manual_seed(config.seed + 1)
        self.step_count = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self._pending: list[Tensor] = []  # losses since the last record, on the device: reading them would wait for it

    # -- construction ------------------------------------------------------------------------------------------------

    def _make_batches(self, data: Dataset | Tensor | Iterable[Any]) -> Batches:
        config = self.config
        samples = data.samples if isinstance(data, Dataset) else data
        if isinstance(samples, Tensor):
            return TensorBatches(samples.to(self.device), config.batch_size, config.seed)
        if not hasattr(samples, "__iter__"):
            raise TypeError(
                f"data must be a ganops.data.Dataset, a tensor or an iterable of batches, got {type(samples).__name__}"
            )
        return LoaderBatches(samples, self.device)

    def _make_optimizer(self, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        config = self.config
        if config.optimizer == "rmsprop":
            return torch.optim.RMSprop(parameters, lr=lr)
        return torch.optim.Adam(parameters, lr=lr, betas=(config.beta1, config.beta2), eps=_EPS, fused=True)

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        # A young average would mostly remember the initial weights, so its decay grows: after t steps the window is
        # about t/10 steps, until the decay asked for is reached.
        decay = min(self.config.ema, (1 + self.step_count) / (10 + self.step_count))
        get_ema_multi_avg_fn(decay)(averaged, current, count)

    # -- one step ----------------------------------------------------------------------------------------------------

    def latent(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Fresh z ~ N(0, I), (count, latent_dim), on the trainer's device."""
        z = torch.randn(count, self.config.latent_dim, generator=self._noise if generator is None else generator)
        return z.to(self.device, non_blocking=True)

    def discriminator_step(self, real: Tensor) -> Tensor:
        """One update of the discriminator on a real batch and as many fresh fakes.

        Returns:
            (2,): the adversarial loss, and the weighted penalty that was added to it.
        """
        config, critic = self.config, self.discriminator
        with torch.no_grad():  # nothing of this step may reach the generator
            fake = self.generator(self.latent(len(real)))
        _check_samples(real, fake)
        adversarial = ganops.discriminator_loss(critic(real), critic(fake), config.loss)
        loss = adversarial
        if config.penalty:
            penalty = config.penalty * ganops.gradient_penalty(
                critic,
                real,
                fake,
                target=config.penalty_target,
                one_sided=config.penalty_one_sided,
                weight=torch.rand(len(real), generator=self._noise).to(real),
            )
            loss = adversarial + penalty
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.discriminator_optimizer.step()
        if self._clipped:  # after the update: the generator must meet the clipped critic
            ganops.clip_weights_(self._clipped, config.clip)
        return torch.stack([adversarial.detach(), (loss - adversarial).detach()])

    def generator_step(self, count: int) -> Tensor:
        """One update of the generator through the discriminator, on `count` fresh fakes. Returns its loss, ()."""
        logits = self.discriminator(self.generator(self.latent(count)))
        loss = ganops.generator_loss(logits, self.config.loss)
        self.generator_optimizer.zero_grad(set_to_none=True)
        # `inputs` spares the gradients of D's weights: a third of D's backward pass that nobody would use.
        loss.backward(inputs=self._generator_parameters)
        self.generator_optimizer.step()
        return loss.detach()

    def step(self) -> Tensor:
        """`n_critic` discriminator steps, one generator step, and the average.

        Returns:
            (3,): the discriminator's loss and penalty (means over its steps) and the generator's loss.
        """
        self.generator.train()
        self.discriminator.train()
        losses = []
        for _ in range(self.config.n_critic):
            real = self.batches.next()
            losses.append(self.discriminator_step(real))
        generator_loss = self.generator_step(len(real))
        self.step_count += 1
        if self.ema is not None:
            self.ema.update_parameters(self.generator)
        return torch.cat([torch.stack(losses).mean(dim=0), generator_loss.reshape(1)])

    # -- a run -------------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Train until `config.steps` steps are done or `config.minutes` are over, then write the run's folder.

        Returns:
            What ``metrics.json`` holds: status, steps, seconds, last losses, and the metrics of the data set.

        Raises:
            TrainingDiverged: a loss became NaN or infinite. The state is in ``diverged.pt``; ``checkpoint.pt`` is the
                last good one.
            TrainingInterrupted: Ctrl-C or SIGTERM, once the step is finished and ``checkpoint.pt`` written.
        """
        config = self.config
        if self.out is not None:
            report.check_folder(self.out)
            report.write_json(self.out / "config.json", asdict(config))
        began = time.perf_counter() - self.seconds
        with _signals() as received, Progress(self.step_count, config.steps) as progress:
            out_of_time = False
            while self.step_count < config.steps and not received:
                self._pending.append(self.step())
                self.seconds = time.perf_counter() - began
                out_of_time = 0 < config.minutes <= self.seconds / 60
                last = self.step_count == config.steps or out_of_time
                if self.step_count % config.log_every == 0:
                    self._record()
                if last or (config.checkpoint_every and self.step_count % config.checkpoint_every == 0):
                    self._check_pending()  # a checkpoint never holds a state that has gone wrong
                    self.save()
                if last:  # after saving: a longer run would not have recorded here, and resuming continues that one
                    self._record()
                if self._pending:
                    progress.advance(self.step_count)
                else:
                    progress.show(self.step_count, self.history[-1])
                if last:
                    break
        if self.step_count < config.steps and not out_of_time:
            self._interrupted(received[0])
        return self._finish("finished")

    def _check_pending(self) -> None:
        """Raise `TrainingDiverged` if one of the losses since the last record is not finite."""
        if not self._pending:
            return
        losses = torch.stack(self._pending)
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad) == 0:
            return
        row, column = bad[0].tolist()
        value = losses[row, column].item()
        step = self.step_count - len(self._pending) + row + 1
        what = ("discriminator's loss", "gradient penalty", "generator's loss")[column]
        message = f"the {what} became {value} at step {step} of {self.config.steps}"
        self._pending = self._pending[:row]
        if self.out is not None:
            self.save("diverged.pt")
            self._finish("diverged", reason=message)
            last = self.out / "checkpoint.pt"
            message += f"; the state is in {self.out / 'diverged.pt'} for study"
            message += f", the last good checkpoint is {last}" if last.exists() else ", there is no earlier checkpoint"
        raise TrainingDiverged(f"{message}; try a lower learning rate, a penalty or clipping")

    def _record(self) -> None:
        """Move the pending losses into the history, as their mean."""
        self._check_pending()
        if not self._pending:
            return
        adversarial, penalty, generator = torch.stack(self._pending).double().mean(dim=0).tolist()
        row = {"step": self.step_count, "discriminator_loss": adversarial, "generator_loss": generator}
        if self.config.penalty:
            row["penalty"] = penalty
        self.history.append(row)
        self._pending = []

    def _interrupted(self, number: int) -> NoReturn:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        message = f"{name}: stopped after step {self.step_count} of {self.config.steps}"
        if self.out is None:
            raise TrainingInterrupted(f"{message}; nothing was saved, there is no output folder", number)
        self._check_pending()
        self.save()
        self._finish("interrupted")
        raise TrainingInterrupted(
            f"{message}; saved to {self.out / 'checkpoint.pt'}, continue it with --resume", number
        )

    def _finish(self, status: str, **more: Any) -> dict[str, Any]:
        """Write the folder's pictures and numbers (if there is a folder), and return the numbers."""
        summary: dict[str, Any] = {
            "status": status,
            "step": self.step_count,
            "steps": self.config.steps,
            "seconds": round(self.seconds, 2),
            "samples_from": "generator" if self.ema is None else "moving average of the generator",
            **more,
        }
        if self.history:
            summary |= {name: value for name, value in self.history[-1].items() if name != "step"}
        if status == "finished" and self.dataset is not None:
            summary |= evaluate(self.sample(_METRIC_SAMPLES[self.dataset.kind]), self.dataset)
        if self.out is not None:
            report.write_history(self.out / "history.csv", self.history)
            report.write_curves(self.out / "curves.png", self.history)
            if status != "diverged":
                report.write_samples(self.out / "samples.png", self.sample, self.dataset)
            report.write_json(self.out / "metrics.json", summary)
        return summary

    @torch.no_grad()
    def sample(self, count: int, *, seed: int = 0, ema: bool = True) -> Tensor:
        """Samples for looking at, (count, *shape), on the CPU; training is not disturbed.

        Args:
            count: how many.
            seed: of z: the same seed shows the same z at every stage of the training.
            ema: from the moving average of the generator, where there is one.
        """
        network = self.ema if ema and self.ema is not None else self.generator
        return draw(network, self.latent(count, torch.Generator().manual_seed(seed)))

    # -- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, and the history."""
        return {
            "config": asdict(self.config),
            "step": self.step_count,
            "seconds": self.seconds,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "noise": self._noise.get_state(),
            "rng": global_rng_state(),
            "history": self.history,
            "pending": [loss.cpu() for loss in self._pending],
            "extra": self.extra,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, with the same settings (but for how long, where, how often logged).

        Raises:
            ValueError: other settings or other networks; the trainer is then unchanged.
        """
        _check_same_settings(state["config"], asdict(self.config))
        for name in ("generator", "discriminator", "ema"):
            network = getattr(self, name)
            if network is not None:
                _check_fits(name, network, state[name])
        if state["step"] > self.config.steps:
            raise ValueError(
                f"steps is {self.config.steps} and the checkpoint already has {state['step']}; ask for more steps"
            )
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.step_count, self.seconds = state["step"], state["seconds"]
        self.history = list(state["history"])
        self._pending = [loss.to(self.device) for loss in state["pending"]]
        self._noise.set_state(state["noise"])
        self.batches.load_state_dict(state["batches"])
        set_global_rng_state(state["rng"])  # last: skipping a loader's used batches draws from it

    def save(self, name: str = "checkpoint.pt") -> None:
        """Write the state to ``out/name``, whole or not at all; without an output folder do nothing."""
        if self.out is not None:
            save_checkpoint(self.out / name, self.state_dict())

    def load(self, path: str | Path | None = None) -> None:
        """Continue from a checkpoint file or a run's folder; None: from this trainer's own `out`."""
        if path is None and self.out is None:
            raise ValueError("load: path is missing and the trainer has no output folder; give one of the two")
        self.load_state_dict(load_checkpoint(self.out if path is None else path))


@torch.no_grad()
def draw(network: nn.Module, z: Tensor, batch: int = 500) -> Tensor:
    """``network(z)`` in evaluation mode, in batches, on the CPU; the network's mode is put back."""
    training = network.training
    network.eval()
    try:
        return torch.cat([network(part).cpu() for part in z.split(batch)])
    finally:
        network.train(training)


def _trainable(network: nn.Module, name: str) -> list[nn.Parameter]:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(f"{name} has no trainable parameters")
    return parameters


def _outside_norms(network: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of all modules but normalisation layers: clipping a scale of 1 to 0.01 would silence its layer."""
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
    for module in network.modules():
        if not isinstance(module, norms):
            yield from module.parameters(recurse=False)


def _check_samples(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise ValueError(
            f"generator gives samples of shape {tuple(fake.shape[1:])} and the data's have {tuple(real.shape[1:])}; "
            "they must be the same"
        )


def _check_same_settings(saved: dict[str, Any], now: dict[str, Any]) -> None:
    differences = [
        f"{name} was {saved.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(saved.keys() | now.keys())
        if name not in RESUMABLE_CHANGES and saved.get(name) != now.get(name)
    ]
    if differences:
        raise ValueError(
            f"resume: the settings differ from the checkpoint's: {'; '.join(differences)}; "
            f"only {', '.join(sorted(RESUMABLE_CHANGES))} may change"
        )


def _check_fits(name: str, network: nn.Module, state: dict[str, Tensor] | None) -> None:
    mine = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    theirs = {key: tuple(value.shape) for key, value in (state or {}).items()}
    if mine != theirs:
        key = sorted(set(mine.items()) ^ set(theirs.items()))[0][0]
        raise ValueError(
            f"resume: the checkpoint's {name} is another network: {key} is {theirs.get(key, 'absent')} there and "
            f"{mine.get(key, 'absent')} here"
        )


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the first Ctrl-C or SIGTERM instead of dying of it, so that a step can end and be saved.

    The second one acts at once, as it would have without us. Outside of the main thread, where Python allows no
    handlers, the list stays empty.
    """
    received: list[int] = []
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)
        previous.clear()

    def note(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.getsignal(number)
            signal.signal(number, note)
    try:
        yield received
    finally:
        restore()
