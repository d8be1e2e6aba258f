"""The training loop: one generator step after `n_critic` discriminator steps, in the order that the papers give."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import ganops
from ganops._common.clip_weights import collect
from ganops._common.optimizers import Clipping
from ganops.data import Dataset
from ganops.penalties import dragan_points, input_gradients
from ganops.training import combinations, evaluation, report
from ganops.training.augment import Augmentation
from ganops.training.batches import (
    Batch,
    Batches,
    LoaderBatches,
    TensorBatches,
    global_rng_state,
    set_global_rng_state,
)
from ganops.training.checkpoint import load_checkpoint, save_checkpoint
from ganops.training.config import TrainingConfig, with_defaults
from ganops.training.monitor import CollapseMonitor
from ganops.training.progress import Progress
from ganops.training.unroll import LookAhead

__all__ = ["Trainer", "TrainingDiverged", "TrainingInterrupted"]

#: Settings that may change between a checkpoint and its continuation: how long, where, and how often to look.
RESUMABLE_CHANGES = frozenset(
    {"steps", "minutes", "device", "log_every", "checkpoint_every", "evaluate_every", "monitor_every"}
)

_TRIPLES = 32  # pairs in the picture
_DRAGAN_SCALE = 0.5  # ganops.dragan_penalty's default
_EPS = 1e-8  # Adam's denominator, PyTorch's default
_ALPHA = 0.99  # RMSprop's decay, PyTorch's default


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
        generator: z (N, latent_dim) to samples; with ``config.conditional`` (z, condition) to samples.
        discriminator: samples to raw logits of any shape, no sigmoid; with ``config.conditional`` (samples, condition)
            to logits. With ``config.pack`` m > 1 it gets samples and conditions joined by `ganops.pack`: (N/m, m·C, …)
            and labels (N/m, m).
        data: real samples: a `ganops.data.Dataset` (then metrics are computed as well), a tensor (N, *shape), or
            anything that yields batches each time it is iterated, such as a `torch.utils.data.DataLoader` (a batch is
            a tensor or begins with one, and with the condition next; ``batch_size`` is then the loader's business). Of
            a data set with images as conditions every tenth pair is held out for the metrics and pictures.
        config: how to train.
        out: folder for ``metrics.json``, ``samples.png``, ``curves.png``, ``history.csv``, ``config.json``,
            ``checkpoint.pt`` (the last state) and ``best.pt``, which replace those of an earlier run there; None:
            nothing is written.
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
        self.held_out: Dataset | None = None
        self._last: Batch | None = None  # what the networks were trained on last
        self.batches = self._make_batches(data)
        self.generator = generator.to(self.device)
        self.discriminator = discriminator.to(self.device)
        self.ema: AveragedModel | None = None
        if config.ema:
            self.ema = AveragedModel(self.generator, multi_avg_fn=self._average, use_buffers=True)  # its own copy
        combinations.check_discriminator(config, discriminator)
        self._generator_parameters = _trainable(generator, "generator")
        self._discriminator_parameters = _trainable(discriminator, "discriminator")
        self._clipped = [p for p in collect(discriminator) if p.requires_grad] if config.clip else []
        # StyleGAN2 (Karras et al. 2020, arXiv:1912.04958, appendix B): k + 1 updates where there were k.
        k = config.penalty_every if config.penalty else 1
        slowed = 1.0 if k == 1 else k / (k + 1)
        self.generator_optimizer = self._make_optimizer(self._generator_parameters, config.generator_lr)
        self.discriminator_optimizer = self._make_optimizer(
            self._discriminator_parameters, config.discriminator_lr, slowed, self._clipped
        )
        # One for each network: their gradients differ in size. Without float16 they do nothing.
        self._generator_scaler, self._discriminator_scaler = (
            torch.amp.GradScaler(self.device.type, enabled=config.amp == "fp16") for _ in range(2)
        )
        # Noise is drawn on the CPU: the same on every device, and a checkpoint may move between devices.
        self._noise = torch.Generator().manual_seed(config.seed + 1)
        self._augmentation: Augmentation | None = None
        if config.augment:
            middle = 0.5 if config.loss == "least_squares" else 0.0
            self._augmentation = Augmentation(
                config.augment, config.augment_target, config.augment_ramp, middle, self.device
            )
        self.step_count = 0
        self._discriminator_steps = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.monitor = CollapseMonitor() if config.monitor_every else None
        self.warnings: list[str] = []  # the monitor's
        self.evaluations: list[dict[str, Any]] = []  # one row every evaluate_every steps
        self.best: dict[str, Any] | None = None  # the row of best.pt
        self._pending: list[Tensor] = []  # losses since the last record, on the device: reading them would wait for it

    # -- construction ------------------------------------------------------------------------------------------------

    def _make_batches(self, data: Dataset | Tensor | Iterable[Any]) -> Batches:
        config = self.config
        if isinstance(data, Dataset):
            if config.conditional and data.conditions is not None:
                data, self.held_out = data.split()
            conditions = None
            if config.conditional:
                conditions = data.labels if data.conditions is None else data.conditions
                if conditions is None:
                    raise ValueError(
                        f"conditional needs labels, and data {data.name!r} has none; choose labelled data such as mnist"
                    )
                conditions = conditions.to(self.device)
            return TensorBatches(data.samples.to(self.device), config.batch_size, config.seed, conditions)
        if isinstance(data, Tensor):
            if config.conditional:
                raise ValueError(
                    "conditional needs a condition for each sample, and data is a tensor; give a ganops.data.Dataset "
                    "with labels, or a DataLoader of (samples, labels)"
                )
            return TensorBatches(data.to(self.device), config.batch_size, config.seed)
        if not hasattr(data, "__iter__"):
            raise TypeError(
                f"data must be a ganops.data.Dataset, a tensor or an iterable of batches, got {type(data).__name__}"
            )
        return LoaderBatches(data, self.device, config.conditional)

    def _make_optimizer(
        self, parameters: list[nn.Parameter], lr: float, slowed: float = 1.0, clipped: Sequence[nn.Parameter] = ()
    ) -> torch.optim.Optimizer:
        """`slowed` c < 1: an optimiser whose 1/c updates go as far, and forget as much, as one of the usual one's.

        `clipped`: parameters that the optimiser clips as it updates them, if it is one that can.
        """
        config = self.config
        lr *= slowed
        if config.optimizer == "sgd":
            optimizer: torch.optim.Optimizer = torch.optim.SGD(parameters, lr=lr)
        else:
            kinds = ganops.optimizers if clipped else torch.optim
            mine = {id(p) for p in clipped}
            groups = [{"params": [p for p in parameters if id(p) not in mine]}]
            if clipped:
                groups.insert(0, {"params": list(clipped), "clip": config.clip})
            groups = [group for group in groups if group["params"]]
            if config.optimizer == "rmsprop":
                optimizer = kinds.RMSprop(groups, lr=lr, alpha=_ALPHA**slowed)
            else:
                betas = (config.beta1**slowed, config.beta2**slowed)
                optimizer = kinds.Adam(groups, lr=lr, betas=betas, eps=_EPS, fused=True)
        for group in optimizer.param_groups:
            group["initial_lr"] = lr  # as torch's schedulers call it
        return optimizer

    def _set_learning_rates(self) -> None:
        """Those of the coming step: constant, then falling to zero over the last `lr_decay` of the run."""
        config = self.config
        falling = config.lr_decay * config.steps
        left = min(1.0, (config.steps - self.step_count) / falling) if falling else 1.0
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * left

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

    def generate(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The generator's samples for z (N, latent_dim) and, in a conditional run, a condition for each."""
        samples = self.generator(z) if condition is None else self.generator(z, condition)
        return samples.float() if self.config.amp != "off" else samples

    def _scalers(self) -> dict[str, torch.amp.GradScaler]:
        return {"generator": self._generator_scaler, "discriminator": self._discriminator_scaler}

    def _autocast(self) -> torch.autocast:
        dtype = torch.float16 if self.config.amp == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.config.amp != "off")

    def show(self, samples: Tensor) -> Tensor:
        """What the discriminator is given of samples (N, *shape), real or fake: augmented, then packed."""
        if self._augmentation is not None:
            samples = self._augmentation(samples, self._noise)
        return samples if self.config.pack == 1 else ganops.pack(samples, self.config.pack)

    def judge_with(self, critic: Callable[..., Tensor], condition: Tensor | None) -> Callable[[Tensor], Tensor]:
        """`critic` as a function of shown samples alone, with the conditions (N, …) of the unpacked ones."""
        if condition is None:
            return critic
        if self.config.pack > 1:
            condition = ganops.pack(condition[:, None] if condition.ndim == 1 else condition, self.config.pack)
        return lambda shown: critic(shown, condition)

    def _penalty(self, judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty at points that depend on `fake` as it does on G: an unrolled G sees this path too."""
        config = self.config
        if config.penalty_kind in ("r1", "r2", "r1+r2"):
            places = [real.detach()] if "r1" in config.penalty_kind else []
            if "r2" in config.penalty_kind:
                places.append(fake if fake.requires_grad else fake.detach())
        elif config.penalty_kind == "dragan":
            places = [dragan_points(real, torch.randn(real.shape, generator=self._noise).to(real), _DRAGAN_SCALE)]
        else:
            weight = torch.rand(len(real), generator=self._noise).to(real)
            places = [ganops.interpolate(real, fake, weight)]
        penalties = [
            ganops.gradient_norm_penalty(
                input_gradients(
                    "gradient_penalty", judge, points, config.penalty_difference, self._discriminator_scaler
                ),
                target=0.0 if config.penalty_kind in ("r1", "r2", "r1+r2") else config.penalty_target,
                one_sided=config.penalty_kind == "one-sided",
            )
            for points in places
        ]
        return config.penalty * sum(penalties[1:], penalties[0])

    def _discriminator_losses(
        self, critic: Callable[..., Tensor], real: Tensor, fake: Tensor, condition: Tensor | None, number: int
    ) -> Iterator[tuple[Tensor | None, Tensor | None, Tensor | None]]:
        """What `critic` descends in discriminator step `number`: one item for each update, made when it is asked for.

        An item is the adversarial loss, the weighted penalty, and the logits on `real`, each None where there is none.
        A lazy penalty is an update of its own, after the other one, in every `penalty_every`-th step.
        """
        every = self.config.penalty_every
        judge = self.judge_with(critic, condition)
        with self._autocast():
            shown_real, shown_fake = self.show(real), self.show(fake)
            real_logits = judge(shown_real)
            adversarial = ganops.discriminator_loss(real_logits, judge(shown_fake), self.config.loss)
            penalty = self._penalty(judge, shown_real, shown_fake) if self.config.penalty and every == 1 else None
        yield adversarial, penalty, real_logits
        if self.config.penalty and every > 1 and number % every == 0:
            with self._autocast():
                penalty = every * self._penalty(judge, shown_real, shown_fake)
            yield None, penalty, None

    def discriminator_step(self, real: Tensor, condition: Tensor | None = None) -> Tensor:
        """One step of the discriminator on a real batch and as many fresh fakes, under the same conditions: one update,
        or two where a lazy penalty (`penalty_every`) is due.

        Returns:
            (2,): the adversarial loss, and the weighted penalty that was added to it.
        """
        with torch.no_grad(), self._autocast():  # nothing of this step may reach the generator
            fake = self.generate(self.latent(len(real)), condition)
        _check_samples(real, fake)
        adversarial = penalty = None
        items = self._discriminator_losses(self.discriminator, real, fake, condition, self._discriminator_steps)
        for loss, more, real_logits in items:
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            self._discriminator_scaler.scale(_total(loss, more)).backward()
            self._discriminator_scaler.step(self.discriminator_optimizer)
            self._discriminator_scaler.update()
            # After the update: the generator must meet the clipped critic.
            if self._clipped and not isinstance(self.discriminator_optimizer, Clipping):
                ganops.clip_weights_(self._clipped, self.config.clip)
            if self._augmentation is not None and real_logits is not None:
                self._augmentation.observe(real_logits, len(real))
            adversarial = adversarial if loss is None else loss
            penalty = penalty if more is None else more
        self._discriminator_steps += 1
        return torch.stack([adversarial, adversarial.new_zeros(()) if penalty is None else penalty]).detach()

    def _look_ahead(self) -> LookAhead:
        """D after `unroll` further steps, as a function of G. Each step has a real batch and fakes of its own."""
        ahead = LookAhead(self.discriminator, self.discriminator_optimizer, self.config.clip, self._clipped)
        for i in range(self.config.unroll):
            real, condition = self.batches.next()
            with self._autocast():
                fake = self.generate(self.latent(len(real)), condition)
            number = self._discriminator_steps + i
            for adversarial, penalty, _ in self._discriminator_losses(ahead, real, fake, condition, number):
                ahead.step(_total(adversarial, penalty))
        return ahead

    def generator_step(self, count: int, condition: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """One update of the generator through the discriminator, on `count` fresh fakes.

        Args:
            count: how many.
            condition: of each, in a conditional run.
            real: as many real samples under the same conditions: what each fake is compared with, where there is an
                ``l1_weight`` or the loss is ``relativistic``; and the real half of the value of an unrolled ``minimax``
                game, which depends on G through D's steps (Metz et al. 2017, eq. 7).

        Returns:
            Its loss, ().
        """
        config = self.config
        pairs = config.loss == "relativistic" and config.adversarial_weight != 0
        value = config.loss == "minimax" and config.adversarial_weight != 0 and config.unroll > 0
        if real is None and (pairs or value or config.l1_weight):
            which = "the loss" if pairs or value else "l1_weight"
            raise ValueError(f"generator_step: real is missing, and {which} compares the samples with it")
        with self._autocast():
            loss = self._generator_loss(count, condition, real, pairs, value)
        self.generator_optimizer.zero_grad(set_to_none=True)
        # `inputs` spares the gradients of D's weights: a third of D's backward pass that nobody would use.
        self._generator_scaler.scale(loss).backward(inputs=self._generator_parameters)
        self._generator_scaler.step(self.generator_optimizer)
        self._generator_scaler.update()
        return loss.detach()

    def _generator_loss(
        self, count: int, condition: Tensor | None, real: Tensor | None, pairs: bool, value: bool
    ) -> Tensor:
        config = self.config
        fake = self.generate(self.latent(count), condition)
        loss = fake.new_zeros(())
        if config.adversarial_weight:
            critic = self._look_ahead() if config.unroll else self.discriminator
            judge = self.judge_with(critic, condition)
            logits, compared = judge(self.show(fake)), {}
            if pairs:
                with torch.set_grad_enabled(config.unroll > 0):  # D's judgement of these depends on G only if it moves
                    compared = {"real_logits": judge(self.show(real))}
            if value:  # G descends what the moved D ascends, all of it: its real half is constant only while D is
                loss = -ganops.discriminator_loss(judge(self.show(real)), logits, "minimax")
            else:
                loss = ganops.generator_loss(logits, config.loss, **compared)
            if config.adversarial_weight != 1:
                loss = config.adversarial_weight * loss
        if config.l1_weight:
            loss = loss + config.l1_weight * (fake - real).abs().mean()
        return loss

    def step(self) -> Tensor:
        """`n_critic` discriminator steps, one generator step, and the average.

        Returns:
            (3,): the discriminator's loss and penalty (means over its steps) and the generator's loss.
        """
        self.generator.train()
        self.discriminator.train()
        self._set_learning_rates()
        losses = []
        for _ in range(self.config.n_critic):
            self._last = real, condition = self.batches.next()
            losses.append(self.discriminator_step(real, condition))
        generator_loss = self.generator_step(len(real), condition, real)
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
            if self.step_count == 0:
                for name in ("best.pt", "diverged.pt"):  # an earlier run's, which this one may never replace
                    (self.out / name).unlink(missing_ok=True)
            self._find_best()
        began = time.perf_counter() - self.seconds
        with _signals() as received:
            out_of_time = self._train(received, began)
            if self.step_count < config.steps and not out_of_time:
                self._interrupted(received[0])
            return self._finish("finished")  # a first signal from now on lets the metrics be measured

    def _train(self, received: list[int], began: float) -> bool:
        """Steps until the run's last one, the end of its minutes or a signal; whether the minutes ended it."""
        config = self.config
        out_of_time = False
        with Progress(self.step_count, config.steps) as progress:
            while self.step_count < config.steps and not received:
                self._pending.append(self.step())
                self.seconds = time.perf_counter() - began
                out_of_time = 0 < config.minutes <= self.seconds / 60
                last = self.step_count == config.steps or out_of_time
                if self.step_count % config.log_every == 0:
                    self._record()
                if self.monitor is not None and self.step_count % config.monitor_every == 0:
                    self._check_pending()
                    found = self.monitor.check(self)
                    self.warnings += found
                    for line in found:
                        progress.say(f"warning: {line}")
                if config.evaluate_every and self.step_count % config.evaluate_every == 0:
                    self._check_pending()
                    self._evaluate()
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
        return out_of_time

    def _check_pending(self) -> None:
        """Raise `TrainingDiverged` if one of the losses since the last record is not finite."""
        if not self._pending:
            return
        losses = torch.stack(self._pending)
        finite = torch.isfinite(losses)
        if self.config.amp == "fp16" and min(scaler.get_scale() for scaler in self._scalers().values()) >= 1:
            # An overflow, of which the scalers know: that step was skipped. One that no scale mends ends below 1.
            self._pending = [row for row, kept in zip(self._pending, finite.all(dim=1).tolist(), strict=True) if kept]
            return
        bad = (~finite).nonzero()
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
        if self.config.augment_target:
            row["augment_probability"] = self._augmentation.probability.item()
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
        if self.warnings:
            summary["warnings"] = self.warnings
        if self.out is not None:
            report.write_history(self.out / "history.csv", self.history)
            if self.monitor is not None and self.monitor.history:
                report.write_history(self.out / "monitor.csv", self.monitor.history)
            report.write_curves(self.out / "curves.png", self.history)
            if status != "diverged":
                self._draw_samples(self.out / "samples.png")
        if status == "finished":
            if self.out is not None:  # measuring can take a minute, and whoever ends it by force should know what lacks
                unmeasured = {
                    "status": "measuring",
                    "missing": "the metrics; continue with --resume",
                    "best": self.best,
                }
                report.write_json(self.out / "metrics.json", summary | unmeasured)
            summary |= self._evaluate(keep=False)  # a longer run would not have looked here
        if self.best is not None:
            summary["best"] = self.best
        if self.out is not None:
            report.write_json(self.out / "metrics.json", summary)
        return summary

    def _draw_samples(self, path: Path) -> None:
        pairs = self.held_out
        if pairs is None:
            classes = self.dataset.classes if self.config.conditional and self.dataset is not None else None
            report.write_samples(path, self.sample, self.dataset, classes)
            return
        pairs = pairs.part(torch.linspace(0, len(pairs) - 1, min(len(pairs), _TRIPLES)).long())
        made = self.sample(len(pairs), condition=pairs.conditions)
        report.write_triples(path, pairs.conditions, made, pairs.samples)

    def _evaluate(self, keep: bool = True) -> dict[str, Any]:
        """The data's metrics of the samples as they are now; the best so far goes to ``best.pt``.

        What is measured is left in `evaluations` if `keep`; otherwise it is the last time. All random states are as
        they were before.
        """
        before = global_rng_state()
        metrics = evaluation.metrics(self, last=not keep)
        set_global_rng_state(before)
        row = {"step": self.step_count, **metrics}
        if metrics and keep:
            self.evaluations.append(row)
        score = evaluation.score(metrics)
        if score is not None and math.isfinite(score):
            known = None if self.best is None else evaluation.score(self.best)
            if known is None or score > known:
                self.best = row
                self.save("best.pt", best=row)
        return metrics

    def _find_best(self) -> None:
        """Take up the best of the run that is continued here: it is in its own file, for a run that stops looks once
        more after its last checkpoint."""
        path = self.out / "best.pt"
        if self.step_count and path.exists():
            self.best = load_checkpoint(path)["best"]

    def conditions(self, count: int) -> Tensor | None:
        """What `count` samples are conditioned on for looking at: every class in turn, the held-out images in turn,
        or those of the last batch; None in a run without conditions."""
        if not self.config.conditional:
            return None
        turn = torch.arange(count)
        if self.held_out is not None:
            return self.held_out.conditions[turn % len(self.held_out)]
        if self.dataset is not None:
            return turn % self.dataset.classes
        if self._last is None:
            raise ValueError("sample: condition is missing, and no batch has been seen from which it could be taken")
        return self._last.condition.cpu()[turn % len(self._last.condition)]

    def batch_to_look_at(self, count: int, random: torch.Generator) -> Batch:
        """Up to `count` real samples and their conditions: drawn from the data set, or else those of the last batch.
        As many as make whole packs, and whole groups of four of them for `ganops.minibatch_stddev`."""
        if self.dataset is not None:
            chosen = torch.randint(len(self.dataset), (count,), generator=random)
            part, conditions = self.dataset.samples[chosen], None
            if self.config.conditional:
                paired = self.dataset.conditions
                conditions = (self.dataset.labels if paired is None else paired)[chosen].to(self.device)
            batch = Batch(part.to(self.device), conditions)
        elif self._last is not None:
            batch = Batch(*(None if part is None else part[:count] for part in self._last))
        else:
            raise ValueError("real is missing, and no batch has been seen from which samples could be taken")
        whole = 4 * self.config.pack if len(batch.samples) >= 4 * self.config.pack else self.config.pack
        used = len(batch.samples) // whole * whole
        return Batch(*(None if part is None else part[:used] for part in batch))

    @torch.no_grad()
    def sample(self, count: int, *, seed: int = 0, ema: bool = True, condition: Tensor | None = None) -> Tensor:
        """Samples for looking at, (count, *shape), on the CPU; training is not disturbed.

        Args:
            count: how many.
            seed: of z: the same seed shows the same z at every stage of the training.
            ema: from the moving average of the generator, where there is one.
            condition: (count, …), in a conditional run; None: that of `conditions`.
        """
        network = self.ema if ema and self.ema is not None else self.generator
        z = self.latent(count, torch.Generator().manual_seed(seed))
        return draw(network, z, self.conditions(count) if condition is None else condition)

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
            "scalers": {name: scaler.state_dict() for name, scaler in self._scalers().items()},
            "batches": self.batches.state_dict(),
            "noise": self._noise.get_state(),
            "rng": global_rng_state(),
            "augmentation": None if self._augmentation is None else self._augmentation.probability.cpu(),
            "history": self.history,
            "evaluations": self.evaluations,
            "warnings": self.warnings,
            "monitor": None if self.monitor is None else self.monitor.state_dict(),
            "pending": [loss.cpu() for loss in self._pending],
            "extra": self.extra,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken, with the same settings (but for how long, where, how often logged).

        Raises:
            ValueError: other settings or other networks; the trainer is then unchanged.
        """
        _check_same_settings(state["config"], self.config)
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
        if self.config.amp == "fp16":
            for name, scaler in self._scalers().items():
                scaler.load_state_dict(state["scalers"][name])
        self.step_count, self.seconds = state["step"], state["seconds"]
        self._discriminator_steps = self.step_count * self.config.n_critic
        self.history = list(state["history"])
        self.evaluations = list(state["evaluations"])
        self.warnings = list(state["warnings"])
        if self.monitor is not None and state["monitor"] is not None:
            self.monitor.load_state_dict(state["monitor"])
        if self._augmentation is not None:
            self._augmentation.probability = state["augmentation"].to(self.device)
        self._pending = [loss.to(self.device) for loss in state["pending"]]
        self._noise.set_state(state["noise"])
        self.batches.load_state_dict(state["batches"])
        set_global_rng_state(state["rng"])  # last: skipping a loader's used batches draws from it

    def save(self, name: str = "checkpoint.pt", **more: Any) -> None:
        """Write the state, and `more`, to ``out/name``, whole or not at all; without an output folder do nothing."""
        if self.out is not None:
            save_checkpoint(self.out / name, {**self.state_dict(), **more})

    def load(self, path: str | Path | None = None) -> None:
        """Continue from a checkpoint file or a run's folder; None: from this trainer's own `out`."""
        if path is None and self.out is None:
            raise ValueError("load: path is missing and the trainer has no output folder; give one of the two")
        self.load_state_dict(load_checkpoint(self.out if path is None else path))


@torch.no_grad()
def draw(network: nn.Module, z: Tensor, condition: Tensor | None = None, batch: int = 500) -> Tensor:
    """``network(z)``, or ``network(z, condition)``, in evaluation mode, in batches, on the CPU; its mode is put back.

    Args:
        network: a generator.
        z: (N, latent_dim), on its device.
        condition: (N, …) for a conditional one.
        batch: samples at a time.
    """
    if condition is not None and len(condition) != len(z):
        raise ValueError(f"condition must have one entry for each of the {len(z)} samples, got {len(condition)}")
    inputs = [z.split(batch)] if condition is None else [z.split(batch), condition.to(z.device).split(batch)]
    training = network.training
    network.eval()
    try:
        return torch.cat([network(*parts).cpu() for parts in zip(*inputs, strict=True)])
    finally:
        network.train(training)


def _trainable(network: nn.Module, name: str) -> list[nn.Parameter]:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(f"{name} has no trainable parameters")
    return parameters


def _total(loss: Tensor | None, more: Tensor | None) -> Tensor:
    return more if loss is None else loss if more is None else loss + more


def _check_samples(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise ValueError(
            f"generator gives samples of shape {tuple(fake.shape[1:])} and the data's have {tuple(real.shape[1:])}; "
            "they must be the same"
        )


def _check_same_settings(saved: dict[str, Any], config: TrainingConfig) -> None:
    now = asdict(config)
    saved = with_defaults(saved, config)
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
