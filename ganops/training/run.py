"""Runs by name: the data, networks and trainer of a recipe's settings, and what is made from its checkpoints."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from ganops import data, models
from ganops._common import checks
from ganops._memory import MemoryBudget, available_memory, format_bytes
from ganops._optional import require
from ganops.models import Norm, Upsampling
from ganops.training import combinations, evaluation, schema
from ganops.training.checkpoint import load_checkpoint
from ganops.training.config import TrainingConfig
from ganops.training.examples import draw
from ganops.training.folder import RunFolder
from ganops.training.loggers import LOGGERS, attach
from ganops.training.noise import cpu_generator, normal
from ganops.training.state import check_fits
from ganops.training.trainer import Trainer

__all__ = [
    "RunConfig",
    "build_trainer",
    "evaluate_checkpoint",
    "generator_from",
    "generator_of",
    "sample_condition",
    "train",
]


@dataclass(frozen=True, kw_only=True)
class RunConfig(TrainingConfig):
    """A run by names: how to train, on which data, which networks."""

    recipe: str = "hinge"
    """The recipe that these settings came from; a label only."""
    data: str = "mnist"
    """Data set: mnist, ring8, ...; ganops recipes lists them."""
    model: str = "dcgan"
    """Networks: dcgan, mlp, unet (image to image), maxout (PacGAN's toys) or shallow (Unrolled GAN's ring)."""
    width: int | None = None
    """Units per hidden layer (mlp, 256; shallow, 128) or channels beside the image (dcgan and unet, 32); None: the
    model's own."""
    discriminator_width: int | None = None
    """The same for the discriminator alone; None: as width."""
    generator_norm: Norm = "batch"
    """Normalisation in the generator."""
    discriminator_norm: Norm = "none"
    """Normalisation in the discriminator; a gradient penalty and unrolling forbid batch."""
    spectral_norm: bool = False
    """Spectral normalisation of the discriminator's weights, in place of its discriminator_norm."""
    lipschitz: float = 1.0
    """With spectral_norm, a factor of the logits: the bound of the discriminator's slope. 1 is too flat for data that
    is finer than the loss's margin."""
    minibatch_discrimination: bool = False
    """Add to the discriminator's last layer how close the samples of its batch are to each other."""
    minibatch_stddev: bool = False
    """Add to the discriminator's last layer the standard deviation over groups of four samples."""
    upsample: Upsampling = "transposed"
    """How the generators of dcgan and unet upsample; filtered also low-passes where their discriminators downsample."""

    def __post_init__(self) -> None:
        super().__post_init__()
        data.source(self.data)
        checks.choice("train", "model", self.model, models.MODELS)
        checks.choice("train", "generator_norm", self.generator_norm, models.NORMS)
        checks.choice("train", "discriminator_norm", self.discriminator_norm, models.NORMS)
        checks.choice("train", "upsample", self.upsample, models.UPSAMPLINGS)
        if not self.lipschitz > 0:
            raise ValueError(f"lipschitz must be above 0, got {self.lipschitz!r}")
        combinations.check_model(self)

    @property
    def norm_of_discriminator(self) -> Norm:
        """The normalisation of the discriminator, spectral norm included."""
        return "spectral" if self.spectral_norm else self.discriminator_norm

    @property
    def source(self) -> data.Source:
        """The entry of the data set, which is not loaded."""
        return data.source(self.data)


#: Numbers kept for a weight: itself, its gradient, two means of the optimiser's; for half of them an average.
_COPIES = 4.5


def _build(config: RunConfig, extra: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """The networks for the settings and the shapes in a checkpoint's ``extra``.

    Raises:
        ValueError: they do not fit into memory.
    """
    condition = extra["condition_shape"]
    limit = available_memory()
    try:
        with MemoryBudget(limit / _COPIES), torch.device("cpu"), _float32():
            return models.build(
                config.model,
                tuple(extra["shape"]),
                latent_dim=config.latent_dim,
                width=config.width,
                discriminator_width=config.discriminator_width,
                generator_norm=config.generator_norm,
                discriminator_norm=config.norm_of_discriminator,
                pack=config.pack,
                classes=extra["classes"],
                condition_shape=None if condition is None else tuple(condition),
                upsample=config.upsample,
                minibatch_discrimination=config.minibatch_discrimination,
                minibatch_stddev=config.minibatch_stddev,
                lipschitz=config.lipschitz,
            )
    except MemoryError as error:
        raise ValueError(
            f"model {config.model!r} with width {config.width} and latent_dim {config.latent_dim} does not fit into "
            f"{format_bytes(limit)} of memory ({error}); choose smaller ones"
        ) from None


_Data = TypeVar("_Data", data.Dataset, data.Images, data.Shards)


@contextlib.contextmanager
def _float32() -> Iterator[None]:
    """Make float32 the default dtype, whatever it was."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _for_model(config: RunConfig, dataset: _Data) -> _Data:
    """The data set with the conditions that the model takes, images or labels; a `ValueError` if it has none."""
    if not isinstance(dataset, data.Dataset) and config.model != "unet":
        return dataset  # they have labels, if anything
    if config.model != "unet":
        return replace(dataset, conditions=None)  # labels, if anything
    if dataset.conditions is None:
        paired = [name for name in data.SOURCES if name.startswith("mnist_")]
        raise ValueError(
            f"model 'unet' makes images from images, and data {config.data!r} has no pairs; "
            f"choose {' or '.join(paired)}"
        )
    return dataset


def build_trainer(config: RunConfig, out: str | Path | RunFolder | None = None) -> Trainer:
    """Load the data, seed the global generators, build the networks, and return their trainer."""
    config.torch_device()  # fail before the data is loaded
    dataset = _for_model(config, data.open(config.data))
    random.seed(config.seed)
    np.random.seed(config.seed % 2**32)  # the generator of user code, not ours
    torch.manual_seed(config.seed)
    images = config.conditional and dataset.conditions is not None
    extra = {
        "shape": list(dataset.shape),
        "classes": dataset.classes if config.conditional and not images else None,
        "condition_shape": list(dataset.conditions.shape[1:]) if images else None,
    }
    generator, discriminator = _build(config, extra)
    return Trainer(generator, discriminator, dataset, config, out=out, extra=extra)


def train(
    config: RunConfig,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    allow_changes: bool = False,
    log: Sequence[str] = (),
) -> dict[str, Any]:
    """Train as `config` says and write the run's folder.

    Args:
        config: see `ganops.training.settings` for those of a recipe.
        out: the run's folder; None: nothing is written.
        resume: continue the run in `out`, bit-exactly as if it had not stopped.
        overwrite: replace a run that is already in `out`.
        allow_changes: with `resume`, accept other data and some other settings, with a warning; see
            `Trainer.load_state_dict`.
        log: where losses, metrics and pictures go besides the run's folder: names of `ganops.training.LOGGERS`.

    Returns:
        The content of ``metrics.json``; see `Trainer.run`.

    Raises:
        ValueError: `out` is empty, cannot be written, is in use, holds a run and neither `resume` nor `overwrite` is
            given, or holds other files of the same names; or the networks do not fit into memory.
        FileNotFoundError: `resume` and there is no checkpoint.
    """
    folder = None if out is None else RunFolder(out)
    if resume and folder is None:
        raise ValueError("resume: out is missing; give the folder of the run to continue")
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other; choose one")
    if allow_changes and not resume:
        raise ValueError("allow_changes says what a resumed run may differ in; add --resume, or leave it out")
    _refuse_several_processes()
    for name in log:
        checks.choice("train", "log", name, LOGGERS)
        require(name, f"log {name}", name)  # now, before anything is written
    if log and folder is None:
        raise ValueError("log: out is missing; logs are written to the folder of the run")
    if folder is None:
        return build_trainer(config).run()
    if resume:
        load_checkpoint(folder.path)  # refuse a missing or damaged one before anything is written
        with folder.use():
            trainer = build_trainer(config, folder)
            trainer.load(allow_changes=allow_changes)
            return _run(trainer, log)
    folder.check()
    if not overwrite:
        folder.check_unused()
    trainer = build_trainer(config, folder)
    with folder.use():
        if not overwrite:
            folder.check_unused()  # again: meanwhile another process may have trained there
        folder.clear()
        return _run(trainer, log)


def _run(trainer: Trainer, log: Sequence[str]) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        for name in log:
            logger = LOGGERS[name](trainer.out, asdict(trainer.config), trainer.step_count)
            stack.callback(logger.close)
            attach(logger, trainer)
        return trainer.run()


def _refuse_several_processes() -> None:
    """Every process would train a whole run of its own."""
    processes = int(os.environ.get("WORLD_SIZE", "1")) if torch.distributed.is_torchelastic_launched() else 1
    if processes > 1:
        raise ValueError(
            f"train: {processes} processes were started by torchrun, and a run is trained by one; start it without "
            "torchrun"
        )


def generator_of(state: dict[str, Any], *, ema: bool = True) -> tuple[nn.Module, RunConfig]:
    """The generator in a checkpoint of a named run, and the run's settings.

    Args:
        state: from `load_checkpoint`.
        ema: its moving average, if there is one, instead of the generator itself.

    Raises:
        ValueError: the checkpoint is of your own networks, or its parts do not fit together.
    """
    if "shape" not in state["extra"]:
        raise ValueError(
            "checkpoint: it is of your own networks, which only your code can build: make a Trainer and load it there"
        )
    weights = state["generator"]
    if ema and state["ema"] is not None:
        prefix = "module."
        weights = {name.removeprefix(prefix): v for name, v in state["ema"].items() if name.startswith(prefix)}
    return generator_from(state["config"], state["extra"], weights)


def generator_from(
    settings: dict[str, Any], extra: dict[str, Any], weights: dict[str, torch.Tensor]
) -> tuple[nn.Module, RunConfig]:
    """The generator with these weights, and its run's settings.

    Args:
        settings: of the run; names that are not known any more are left out.
        extra: the shapes that `build_trainer` stores in checkpoints.
        weights: a state dict.

    Raises:
        ValueError: the parts are invalid, or do not fit together.
    """
    schema.check(extra, schema.NAMED_RUN, "checkpoint: extra")
    known = {field.name for field in fields(RunConfig)}
    try:
        config = RunConfig(**{name: value for name, value in settings.items() if name in known})
    except (ValueError, TypeError) as error:
        raise ValueError(f"checkpoint: its settings are invalid: {error}") from error
    generator, _ = _build(config, extra)
    check_fits("generator", generator, weights)
    generator.load_state_dict(weights)
    return generator, config


def sample_condition(state: dict[str, Any], config: RunConfig, count: int, label: int | None) -> torch.Tensor | None:
    """Conditions for `count` samples from a checkpoint: one class, every class in turn, or the data's images.

    Args:
        state: from `load_checkpoint`.
        config: the run's settings.
        count: how many.
        label: the class; None: all in turn.

    Raises:
        ValueError: a label for a generator without classes, or one out of range.
    """
    classes = state["extra"].get("classes")
    if label is not None and classes is None:
        raise ValueError("label: this generator was not trained on labels; leave it out, or train with --conditional")
    if label is not None and not 0 <= label < classes:
        raise ValueError(f"label must lie in [0, {classes}), got {label}")
    if not config.conditional:
        return None
    turn = torch.arange(count, device="cpu")
    if classes is None:
        images = data.open(config.data).conditions
        if images is None:
            raise ValueError(f"checkpoint: it makes images from images, and data {config.data!r} has no pairs")
        return images[(turn * (len(images) // count or 1)) % len(images)]  # from all over the data
    return turn % classes if label is None else torch.full((count,), label, device="cpu")


def evaluate_checkpoint(path: str | Path, *, ema: bool = True, seed: int = 0) -> dict[str, Any]:
    """The metrics of a checkpoint of a named run, measured again: with the same seed those of its ``metrics.json``.

    Args:
        path: a run's folder, or one of its checkpoints.
        ema: of the generator's moving average, if there is one, instead of the generator itself.
        seed: of z; runs use 0.

    Returns:
        ``recipe``, ``data``, ``step``, ``samples_from``, ``seed``, and the result of `ganops.metrics.evaluate`.

    Raises:
        ValueError: the data has neither labels nor modes, so there are no metrics for it.
    """
    state = load_checkpoint(path)
    generator, config = generator_of(state, ema=ema)
    dataset = data.reference(_for_model(config, data.open(config.data)))
    paired = config.conditional and dataset.conditions is not None

    def sample(count: int, condition: torch.Tensor | None) -> torch.Tensor:
        return draw(generator, normal(count, config.latent_dim, generator=cpu_generator(seed)), condition)

    held_out = dataset.split()[1] if paired else None
    found = evaluation.measure(sample, dataset, held_out, state["extra"].get("classes"), last=True)
    if not found:
        raise ValueError(f"evaluate: data {config.data!r} has neither labels nor modes, so there are no metrics for it")
    return {
        "recipe": config.recipe,
        "data": config.data,
        "step": state["step"],
        "samples_from": "moving average of the generator" if ema and state["ema"] is not None else "generator",
        "seed": seed,
        **found,
    }
