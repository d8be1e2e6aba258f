"""The training loop, with its output folder, checkpoints, evaluations and warnings."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn

import ganops
from ganops.data import DataError
from ganops.training import evaluation
from ganops.training.batches import Batch, global_rng_state, set_global_rng_state
from ganops.training.checkpoint import load_checkpoint, save_checkpoint
from ganops.training.config import TrainingConfig
from ganops.training.examples import Examples, draw
from ganops.training.folder import RunFolder
from ganops.training.losses import LossLog, TrainingDiverged
from ganops.training.monitor import CollapseMonitor, Observation, as_in_training, gradient_norm, own_randomness
from ganops.training.noise import cpu_generator
from ganops.training.objective import Objective
from ganops.training.open_data import TrainingData, reference_of
from ganops.training.progress import Progress
from ganops.training.signals import TrainingInterrupted, deferred_signals, signal_name
from ganops.training.steps import Stepper

__all__ = ["Trainer"]

Callback = TypeVar("Callback", bound=Callable[..., None])


class Trainer(Stepper):
    """Train any generator and discriminator against each other.

    >>> trainer = Trainer(generator, discriminator, loader, TrainingConfig(loss="hinge"), out="runs/mine")
    >>> trainer.run()

    Args:
        generator: maps z (N, latent_dim), and with ``config.conditional`` a condition, to samples.
        discriminator: maps samples, and with ``config.conditional`` a condition, to raw logits of any shape (no
            sigmoid). With ``config.pack`` m > 1 its input is packed by `ganops.pack`: samples (N/m, m·C, …), labels
            (N/m, m).
        data: real samples: what `ganops.data.open` returns (which is needed for metrics), a tensor (N, *shape), a
            `torch.utils.data.Dataset`, or an iterable of batches that can be iterated again, such as a
            `torch.utils.data.DataLoader`. An entry or a batch is a tensor, or a sequence or mapping that begins with
            the samples and, if needed, their conditions. With an iterable of batches ``batch_size`` is ignored. Of a
            torch data set, uint8 images (C, H, W) are scaled to [-1, 1]; ``workers`` processes read it, and a resumed
            run continues bit-exactly, see `StreamBatches`.
            If the conditions of a data set are images, every tenth pair is held out for metrics and pictures.
        config: the settings.
        out: folder for ``metrics.json``, ``samples.png``, ``curves.png``, ``history.csv``, ``config.json``,
            ``checkpoint.pt`` (the last state) and ``best.pt``. They replace those of an earlier run, but never files
            that a run did not write. None: nothing is written.
        extra: plain data to store in checkpoints beside the state.
        objective: creates the `Objective` from the config; see there for how to change it.

    The networks are moved to the config's device and trained in place. The attributes `generator`, `discriminator`,
    `ema` (None if off), `step_count` and `history` can be read at any time.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        data: TrainingData,
        config: TrainingConfig | None = None,
        *,
        out: str | Path | RunFolder | None = None,
        extra: dict[str, Any] | None = None,
        objective: Callable[[TrainingConfig], Objective] = Objective,
    ) -> None:
        super().__init__(generator, discriminator, data, TrainingConfig() if config is None else config, objective)
        self.examples = Examples(self.config, reference_of(data), self.held_out)
        self.folder = out if out is None or isinstance(out, RunFolder) else RunFolder(out)
        self.extra = {} if extra is None else extra
        self.seconds = 0.0
        self.losses = LossLog()
        self.monitor = CollapseMonitor() if self.config.monitor_every else None
        self.warnings: list[str] = []  # the monitor's
        self.evaluations: list[dict[str, Any]] = []  # one row every evaluate_every steps
        self.best: dict[str, Any] | None = None  # the row of best.pt
        self._callbacks: dict[str, list[Callable[..., None]]] = {
            "step": [],
            "record": [],
            "evaluate": [],
            "checkpoint": [],
        }

    @property
    def history(self) -> list[dict[str, float]]:
        """One row every ``log_every`` steps, with the mean losses."""
        return self.losses.history

    @property
    def out(self) -> Path | None:
        """The run's folder; None if nothing is written."""
        return None if self.folder is None else self.folder.path

    # -- callbacks ---------------------------------------------------------------------------------------------------

    def on_step(self, callback: Callback) -> Callback:
        """Call ``callback(trainer, losses)`` after every step, with the result of `step`. Usable as a decorator.

        Callbacks run in the order of registration. A callback that uses the global random generators changes the run.

        >>> @trainer.on_step                                                                    # doctest: +SKIP
        ... def show(trainer, losses):
        ...     print(trainer.step_count, losses.tolist())
        """
        self._callbacks["step"].append(callback)
        return callback

    def on_record(self, callback: Callback) -> Callback:
        """Call ``callback(trainer, row)`` after every record, with the new row of `history`."""
        self._callbacks["record"].append(callback)
        return callback

    def on_evaluate(self, callback: Callback) -> Callback:
        """Call ``callback(trainer, metrics)`` after every evaluation of the samples, with a dictionary of numbers."""
        self._callbacks["evaluate"].append(callback)
        return callback

    def on_checkpoint(self, callback: Callback) -> Callback:
        """Call ``callback(trainer, path)`` after every checkpoint is written: checkpoint.pt, best.pt, diverged.pt."""
        self._callbacks["checkpoint"].append(callback)
        return callback

    def _call(self, event: str, value: Any) -> None:
        for callback in self._callbacks[event]:
            callback(self, value)

    def step(self) -> Tensor:
        """`Stepper.step`, and the callbacks of `on_step`."""
        losses = super().step()
        self._call("step", losses)
        return losses

    # -- a run -------------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Train for `config.steps` steps or `config.minutes` minutes, whichever is less, then write the run's folder.

        Returns:
            The content of ``metrics.json``: status, steps, seconds, last losses, and the metrics of the data set.

        Raises:
            TrainingDiverged: a loss became NaN or infinite. The state is in ``diverged.pt``; ``checkpoint.pt`` is the
                last good one.
            TrainingInterrupted: Ctrl-C, SIGTERM or SIGHUP. The step was finished and ``checkpoint.pt`` written.
            DataError: the data cannot be read any more. ``checkpoint.pt`` has the state after the last step.
            ValueError: another run uses the folder, or it has files of these names that no run wrote.
        """
        config = self.config
        with contextlib.ExitStack() as stack:
            if self.folder is not None:
                stack.enter_context(self.folder.use())
                self.folder.begin(asdict(config), fresh=self.step_count == 0)
                self.best = self.folder.find_best() if self.step_count else None
            began = time.perf_counter() - self.seconds
            stack.callback(self.batches.close)
            received = stack.enter_context(deferred_signals())
            out_of_time = self._train(received, began)
            if self.step_count < config.steps and not out_of_time:
                self._interrupted(received[0])
            return self._finish("finished")  # the first signal does not interrupt the metrics

    def _train(self, received: list[int], began: float) -> bool:
        """Train until the last step, the time limit or a signal. Returns whether the time limit was reached."""
        config = self.config
        out_of_time = False
        with Progress(self.step_count, config.steps) as progress:
            while self.step_count < config.steps and not received:
                self._prepare_batches()
                self.losses.pending.append(self.step())
                self.seconds = time.perf_counter() - began
                out_of_time = 0 < config.minutes <= self.seconds / 60
                last = self.step_count == config.steps or out_of_time
                if self.step_count % config.log_every == 0:
                    self._record()
                if self.monitor is not None and self.step_count % config.monitor_every == 0:
                    self._check_losses()
                    found = self.monitor.check(self.observe(self.monitor.samples))
                    self.warnings += found
                    for line in found:
                        progress.say(f"warning: {line}")
                if config.evaluate_every and self.step_count % config.evaluate_every == 0:
                    self._check_losses()
                    self._evaluate()
                if last or (config.checkpoint_every and self.step_count % config.checkpoint_every == 0):
                    self._check_losses()  # never save a diverged state as a checkpoint
                    self.save()
                if last:  # after saving, because a resumed longer run has no record at this step
                    self._record()
                if self.losses.pending:
                    progress.advance(self.step_count)
                else:
                    progress.show(self.step_count, self.history[-1])
                if last:
                    break
        return out_of_time

    def _prepare_batches(self) -> None:
        """Read the batches of the next step in advance. If that fails, save the state after the last step."""
        try:
            self.batches.prepare(self.config.n_critic + self.config.unroll)
        except Exception as error:
            if self.folder is None or not self.step_count:
                raise
            self._check_losses()
            self.save()
            reason = f"{error}; the run stopped after step {self.step_count} of {self.config.steps}"
            self._finish("stopped", reason=reason)
            saved = self.folder / "checkpoint.pt"
            raise DataError(f"{reason}, saved to {saved}; continue it with --resume") from error

    def _check_losses(self) -> None:
        """Raise `TrainingDiverged` if one of the losses since the last record is not finite."""
        if self.config.amp == "fp16" and min(scaler.get_scale() for scaler in self.scalers.values()) >= 1:
            self.losses.drop_skipped()  # a real divergence overflows at every scale, until the scale is below 1
            return
        found = self.losses.find_divergence(self.step_count)
        if found is None:
            return
        message = f"{found} of {self.config.steps}"
        if self.folder is not None:
            self.save("diverged.pt")
            self._finish("diverged", reason=message)
            last = self.folder / "checkpoint.pt"
            message += f"; the state is in {self.folder / 'diverged.pt'} for study"
            message += f", the last good checkpoint is {last}" if last.exists() else ", there is no earlier checkpoint"
        raise TrainingDiverged(f"{message}; try a lower learning rate, a penalty or clipping")

    def _record(self) -> None:
        """Move the pending losses into the history, as their mean."""
        self._check_losses()
        more = {}
        if self.config.augment_target and self.losses.pending:
            more["augment_probability"] = self.objective.augmentation.probability.item()
        if self.losses.record(self.step_count, penalty=bool(self.config.penalty), **more):
            self._call("record", self.history[-1])

    def _interrupted(self, number: int) -> NoReturn:
        message = f"{signal_name(number)}: stopped after step {self.step_count} of {self.config.steps}"
        if self.folder is None:
            raise TrainingInterrupted(f"{message}; nothing was saved, there is no output folder", number)
        self._check_losses()
        self.save()
        self._finish("interrupted")
        raise TrainingInterrupted(
            f"{message}; saved to {self.folder / 'checkpoint.pt'}, repeat the command with --resume to continue", number
        )

    def _finish(self, status: str, **more: Any) -> dict[str, Any]:
        """Write the folder's pictures and numbers, if there is a folder, and return the numbers."""
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
        if self.folder is not None:
            self.folder.write_numbers(self.history, [] if self.monitor is None else self.monitor.history)
            if status != "diverged":
                self.examples.draw_picture(
                    self.folder / "samples.png", lambda count, condition: self.sample(count, condition=condition)
                )
        if status == "finished":
            if self.folder is not None:  # leave a note in case the process is killed while measuring
                missing = "the metrics; continue with --resume"
                self.folder.write_metrics(summary | {"status": "measuring", "missing": missing, "best": self.best})
            summary |= self._evaluate(last=True)
        if self.best is not None:
            summary["best"] = self.best
        if self.folder is not None:
            self.folder.write_metrics(summary)
        return summary

    # -- evaluation --------------------------------------------------------------------------------------------------

    def measure(self, *, last: bool = False) -> dict[str, Any]:
        """The metrics of current samples; empty unless the data is a `ganops.data.Dataset`.

        Args:
            last: whether this is the end of the run, for which more samples are drawn.
        """
        return self.examples.measure(lambda count, condition: self.sample(count, condition=condition), last=last)

    def _evaluate(self, *, last: bool = False) -> dict[str, Any]:
        """Call `measure` without changing random states, and save ``best.pt`` if the score is the best so far.

        The result is appended to `evaluations`, except the `last`, because a longer run has no evaluation at that step.
        """
        before = global_rng_state()
        metrics = self.measure(last=last)
        set_global_rng_state(before)
        row = {"step": self.step_count, **metrics}
        if metrics and not last:
            self.evaluations.append(row)
        score = evaluation.score(metrics)
        if score is not None and math.isfinite(score):
            known = None if self.best is None else evaluation.score(self.best)
            if known is None or score > known:
                self.best = row
                self.save("best.pt", best=row)
        self._call("evaluate", metrics)
        return metrics

    def observe(self, count: int = 256, real: Tensor | None = None) -> Observation:
        """Up to `count` real and as many fake samples, and D's logits on them, for `CollapseMonitor.check`.

        No state changes: the networks run in training mode (batch norm with the statistics of this batch) on copies of
        their buffers, and all random numbers come from generators seeded with the step.

        Args:
            count: how many.
            real: real samples to compare with, (N, …); None: drawn from the data set, or those of the last batch if the
                data is no `ganops.data.Dataset`.
        """
        random = cpu_generator(self.step_count)
        with torch.no_grad(), own_randomness(self.step_count, self.device):
            batch = self.examples.real_batch(count, random, self._last) if real is None else Batch(real[:count])
            real, condition = (None if part is None else part.to(self.device) for part in batch)
            inputs = (self.latent(len(real), random), *(() if condition is None else (condition,)))
            fake = as_in_training(self.generator)(*inputs)
            score = self.objective.score_fn(as_in_training(self.discriminator), condition)
            real_logits, fake_logits = (score(ganops.pack(x, self.config.pack)) for x in (real, fake))
        return Observation(
            step=self.step_count,
            steps=self.config.steps,
            loss=self.config.loss,
            real=real,
            fake=fake,
            real_logits=real_logits,
            fake_logits=fake_logits,
            generator_gradient=gradient_norm(self.generator),
            discriminator_gradient=gradient_norm(self.discriminator),
            dataset=self.examples.dataset,
        )

    @torch.no_grad()
    def sample(self, count: int, *, seed: int = 0, ema: bool = True, condition: Tensor | None = None) -> Tensor:
        """Samples (count, *shape), on the CPU; training is not affected.

        Args:
            count: how many.
            seed: seed of z; the same seed gives the same z at every stage of training.
            ema: whether to use the generator's moving average, if there is one.
            condition: (count, …), in a conditional run; None: every class in turn, the held-out images in turn, or
                those of the last batch.
        """
        network = self.ema if ema and self.ema is not None else self.generator
        z = self.latent(count, cpu_generator(seed))
        return draw(network, z, self.examples.conditions(count, self._last) if condition is None else condition)

    # -- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All state that the next step depends on, and the history."""
        return super().state_dict() | {
            "seconds": self.seconds,
            "evaluations": self.evaluations,
            "warnings": self.warnings,
            "monitor": None if self.monitor is None else self.monitor.state_dict(),
            **self.losses.state_dict(),
            "extra": self.extra,
        }

    def load_state_dict(self, state: dict[str, Any], *, allow_changes: bool = False) -> None:
        """See `Stepper.load_state_dict`."""
        super().load_state_dict(state, allow_changes=allow_changes)
        self.seconds = state["seconds"]
        self.losses.load_state_dict(state, self.device)
        self.evaluations = list(state["evaluations"])
        self.warnings = list(state["warnings"])
        if self.monitor is not None and state["monitor"] is not None:
            self.monitor.load_state_dict(state["monitor"])

    def save(self, name: str = "checkpoint.pt", **more: Any) -> None:
        """Write the state, and `more`, to ``out/name`` atomically; without an output folder do nothing."""
        if self.folder is not None:
            with self.folder.use():
                save_checkpoint(self.folder / name, {**self.state_dict(), **more})
            self._call("checkpoint", self.folder / name)

    def load(self, path: str | Path | None = None, *, allow_changes: bool = False) -> None:
        """Continue from a checkpoint file or a run's folder; None: from this trainer's own `out`.

        Args:
            path: path of the file or folder.
            allow_changes: see `load_state_dict`.
        """
        if path is None and self.out is None:
            raise ValueError("load: path is missing and the trainer has no output folder; give one of the two")
        self.load_state_dict(load_checkpoint(self.out if path is None else path), allow_changes=allow_changes)
