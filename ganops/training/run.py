"""From names to a finished run: data, models and trainer as the settings say."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ganops import data, models
from ganops._common import checks
from ganops.models import Norm, Upsampling
from ganops.training import combinations, evaluation
from ganops.training.checkpoint import load_checkpoint
from ganops.training.config import TrainingConfig
from ganops.training.examples import draw
from ganops.training.folder import RunFolder
from ganops.training.noise import cpu_generator, normal
from ganops.training.trainer import Trainer

__all__ = ["RunConfig", "build_trainer", "evaluate_checkpoint", "generator_of", "sample_condition", "train"]


@dataclass(frozen=True, kw_only=True)
class RunConfig(TrainingConfig):
    """A run by names: what `TrainingConfig` says, and which data and which networks."""

    recipe: str = "hinge"
    """Where these settings came from; a label once they are made."""
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
    """With spectral_norm, what the logits are multiplied by: the bound of the discriminator's slope, which 1 makes too
    flat where the data is finer than the loss's margin."""
    minibatch_discrimination: bool = False
    """Tell the discriminator's last layer how close the samples of its batch are to each other."""
    minibatch_stddev: bool = False
    """Tell the discriminator's last layer how varied its batch is, in groups of four."""
    upsample: Upsampling = "transposed"
    """How dcgan's and unet's generators enlarge their maps."""

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
        """What the discriminator is normalised by, when all is said."""
        return "spectral" if self.spectral_norm else self.discriminator_norm

    @property
    def source(self) -> data.Source:
        """The data set before it is loaded."""
        return data.source(self.data)


def _build(
    config: RunConfig, shape: tuple[int, ...], classes: int | None, condition_shape: tuple[int, ...] | None
) -> tuple[nn.Module, nn.Module]:
    return models.build(
        config.model,
        shape,
        latent_dim=config.latent_dim,
        width=config.width,
        discriminator_width=config.discriminator_width,
        generator_norm=config.generator_norm,
        discriminator_norm=config.norm_of_discriminator,
        pack=config.pack,
        classes=classes,
        condition_shape=condition_shape,
        upsample=config.upsample,
        minibatch_discrimination=config.minibatch_discrimination,
        minibatch_stddev=config.minibatch_stddev,
        lipschitz=config.lipschitz,
    )


def _for_model(config: RunConfig, dataset: data.Dataset) -> data.Dataset:
    """The data set with the conditions that the model takes, images or labels; a `ValueError` if it has none."""
    if config.model != "unet":
        return replace(dataset, conditions=None)  # labels, if anything
    if dataset.conditions is None:
        paired = [name for name in data.SOURCES if name.startswith("mnist_")]
        raise ValueError(
            f"model 'unet' makes images from images, and data {config.data!r} has no pairs; "
            f"choose {' or '.join(paired)}"
        )
    return dataset


def build_trainer(config: RunConfig, out: str | Path | None = None) -> Trainer:
    """Load the data, seed every generator, build the networks, and give the trainer that would train them."""
    config.torch_device()  # fail before the data is loaded
    dataset = _for_model(config, data.load(config.data))
    if config.conditional and dataset.conditions is None and dataset.labels is None:
        raise ValueError(
            f"conditional needs labels, and data {config.data!r} has none; choose labelled data such as mnist"
        )
    random.seed(config.seed)
    np.random.seed(config.seed % 2**32)  # the generator of user code, not ours
    torch.manual_seed(config.seed)
    images = config.conditional and dataset.conditions is not None
    extra = {
        "shape": list(dataset.shape),
        "classes": dataset.classes if config.conditional and not images else None,
        "condition_shape": list(dataset.conditions.shape[1:]) if images else None,
    }
    generator, discriminator = _build(config, *_shapes(extra))
    return Trainer(generator, discriminator, dataset, config, out=out, extra=extra)


def _shapes(extra: dict[str, Any]) -> tuple[tuple[int, ...], int | None, tuple[int, ...] | None]:
    """What the networks depend on beside the settings, from what a checkpoint keeps of it."""
    condition = extra["condition_shape"]
    return tuple(extra["shape"]), extra["classes"], None if condition is None else tuple(condition)


def train(
    config: RunConfig, out: str | Path | None = None, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Train as `config` says and write the run's folder.

    Args:
        config: see `ganops.training.settings` for those of a recipe.
        out: the run's folder; None: nothing is written.
        resume: continue the run in `out`, to the bit as if it had not stopped.
        overwrite: replace a run that is already in `out`.

    Returns:
        What ``metrics.json`` holds; see `Trainer.run`.

    Raises:
        ValueError: `out` cannot be written, or holds a run that nothing was said about.
        FileNotFoundError: `resume` and there is no checkpoint.
    """
    out = None if out is None else Path(out)
    if resume and out is None:
        raise ValueError("resume: out is missing; give the folder of the run to continue")
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other; choose one")
    if resume:
        state = load_checkpoint(out)  # a missing or damaged one is noticed before anything else is done
        trainer = build_trainer(config, out)
        trainer.load_state_dict(state)
    else:
        if out is not None and (out / "checkpoint.pt").exists() and not overwrite:
            raise ValueError(
                f"out: folder {str(out)!r} already holds a run; add --resume to continue it, --overwrite to replace "
                "it, or choose another --out"
            )
        trainer = build_trainer(config, out)
    if out is not None and not resume:
        RunFolder(out).clear()
    return trainer.run()


def generator_of(state: dict[str, Any], *, ema: bool = True) -> tuple[nn.Module, RunConfig]:
    """The generator in a checkpoint of a named run, and the run's settings.

    Args:
        state: from `load_checkpoint`.
        ema: its moving average, where there is one, rather than the generator itself.
    """
    if "shape" not in state["extra"]:
        raise ValueError(
            "checkpoint: it is of your own networks, which only your code can build: make a Trainer and load it there"
        )
    known = {field.name for field in fields(RunConfig)}
    config = RunConfig(**{name: value for name, value in state["config"].items() if name in known})
    generator, _ = _build(config, *_shapes(state["extra"]))
    if ema and state["ema"] is not None:
        prefix = "module."
        weights = {name[len(prefix) :]: v for name, v in state["ema"].items() if name.startswith(prefix)}
    else:
        weights = state["generator"]
    generator.load_state_dict(weights)
    return generator, config


def sample_condition(state: dict[str, Any], config: RunConfig, count: int, label: int | None) -> torch.Tensor | None:
    """What `count` samples from a checkpoint are conditioned on: one class, every class in turn, or the data's images.

    Args:
        state: from `load_checkpoint`.
        config: the run's settings.
        count: how many.
        label: the class; None: all in turn.

    Raises:
        ValueError: a label for a generator that knows none, or one out of range.
    """
    classes = state["extra"]["classes"]
    if label is not None and classes is None:
        raise ValueError("label: this generator was not trained on labels; leave it out, or train with --conditional")
    if label is not None and not 0 <= label < classes:
        raise ValueError(f"label must lie in [0, {classes}), got {label}")
    if not config.conditional:
        return None
    turn = torch.arange(count)
    if classes is None:
        images = data.load(config.data).conditions
        return images[(turn * (len(images) // count or 1)) % len(images)]  # from all over the data
    return turn % classes if label is None else torch.full((count,), label)


def evaluate_checkpoint(path: str | Path, *, ema: bool = True, seed: int = 0) -> dict[str, Any]:
    """The metrics of a checkpoint of a named run, measured again: with the same seed those of its ``metrics.json``.

    Args:
        path: a run's folder, or one of its checkpoints.
        ema: of the generator's moving average, where there is one, rather than of the generator itself.
        seed: of z; the runs' own is 0.

    Returns:
        ``recipe``, ``data``, ``step``, ``samples_from``, ``seed``, and what `ganops.metrics.evaluate` returns.

    Raises:
        ValueError: nothing is known about the data that could be measured.
    """
    state = load_checkpoint(path)
    generator, config = generator_of(state, ema=ema)
    dataset = _for_model(config, data.load(config.data))
    paired = config.conditional and dataset.conditions is not None

    def sample(count: int, condition: torch.Tensor | None) -> torch.Tensor:
        return draw(generator, normal(count, config.latent_dim, generator=cpu_generator(seed)), condition)

    held_out = dataset.split()[1] if paired else None
    found = evaluation.measure(sample, dataset, held_out, state["extra"]["classes"], last=True)
    if not found:
        raise ValueError(f"evaluate: data {config.data!r} has neither labels nor modes, so nothing can be measured")
    return {
        "recipe": config.recipe,
        "data": config.data,
        "step": state["step"],
        "samples_from": "moving average of the generator" if ema and state["ema"] is not None else "generator",
        "seed": seed,
        **found,
    }
