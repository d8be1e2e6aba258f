"""Losses, metrics and pictures of a run in TensorBoard, Weights & Biases, or a logger of your own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ganops._optional import require
from ganops.training.folder import TENSORBOARD

if TYPE_CHECKING:
    from ganops.training.trainer import Trainer

__all__ = ["LOGGERS", "Logger", "attach"]


class Logger(Protocol):
    """What `attach` calls."""

    def numbers(self, step: int, values: dict[str, float]) -> None:
        """Losses or metrics, by names such as ``losses/generator_loss``."""

    def picture(self, step: int, pixels: np.ndarray) -> None:
        """The samples, (H, W, 3) uint8."""

    def close(self) -> None:
        """The run has ended."""


class _TensorBoard:
    def __init__(self, folder: Path, config: dict[str, Any], step: int) -> None:
        require("tensorboard", "log tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        # Records of an interrupted run after its last checkpoint are hidden.
        self._writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1 if step else None)

    def numbers(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, pixels: np.ndarray) -> None:
        self._writer.add_image("samples", pixels, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, config: dict[str, Any], step: int) -> None:
        self._wandb = require("wandb", "log wandb", "wandb")
        self._run = self._wandb.init(project="ganops", name=folder.name, dir=str(folder), config=config)

    def numbers(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def picture(self, step: int, pixels: np.ndarray) -> None:
        self._run.log({"samples": self._wandb.Image(pixels)}, step=step)

    def close(self) -> None:
        self._run.finish()


#: Loggers by the name of their package and its extra: functions of the run's folder, its settings, and its first step.
LOGGERS: dict[str, Callable[[Path, dict[str, Any], int], Logger]] = {"tensorboard": _TensorBoard, "wandb": _Wandb}


def attach(logger: Logger, trainer: Trainer) -> None:
    """Send the trainer's losses at every record, and metrics and a picture of samples at every evaluation, to a logger.

    Training is not affected: a run without a logger has bit-identical weights.
    """

    @trainer.on_record
    def losses(trainer: Trainer, row: dict[str, float]) -> None:
        logger.numbers(trainer.step_count, {f"losses/{name}": v for name, v in row.items() if name != "step"})

    @trainer.on_evaluate
    def metrics(trainer: Trainer, found: dict[str, Any]) -> None:
        numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
        logger.numbers(trainer.step_count, {f"metrics/{name}": value for name, value in numbers.items()})
        pixels = _picture(trainer)
        if pixels is not None:
            logger.picture(trainer.step_count, pixels)


def _picture(trainer: Trainer) -> np.ndarray | None:
    """The picture that the run's folder gets at the end; None for samples that are neither images nor points."""
    image = require("PIL.Image", "drawing pictures")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.png"
        trainer.examples.draw_picture(path, lambda count, condition: trainer.sample(count, condition=condition))
        if not path.exists():
            return None
        with image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
