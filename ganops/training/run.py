"""From names to a finished run: data, models and trainer as the settings say."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ganops import _checks, data, models
from ganops.models import Norm
from ganops.training import report
from ganops.training.checkpoint import load_checkpoint
from ganops.training.config import TrainingConfig
from ganops.training.trainer import Trainer

__all__ = ["RunConfig", "build_trainer", "generator_of", "train"]

#: Files of an earlier run that a new one in the same folder replaces.
RUN_FILES = (
    "checkpoint.pt", "diverged.pt", "config.json", "metrics.json", "samples.png", "curves.png", "history.csv",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunConfig(TrainingConfig):
    """A run by names: what `TrainingConfig` says, and which data and which networks."""

    recipe: str = "hinge"
    """Where these settings came from; a label once they are made."""
    data: str = "mnist"
    """Data set: mnist, digits, grid25, ring8 or swiss_roll."""
    model: str = "dcgan"
    """Networks: dcgan or mlp."""
    width: int | None = None
    """Units per hidden layer (mlp, 256) or channels beside the image (dcgan, 32); None: the model's own."""
    generator_norm: Norm = "batch"
    """Normalisation in the generator."""
    discriminator_norm: Norm = "none"
    """Normalisation in the discriminator; a gradient penalty forbids batch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        data.source(self.data)
        _checks.choice("train", "model", self.model, models.MODELS)
        _checks.choice("train", "generator_norm", self.generator_norm, models.NORMS)
        _checks.choice("train", "discriminator_norm", self.discriminator_norm, models.NORMS)
        if self.penalty and self.discriminator_norm == "batch":
            raise ValueError(
                "discriminator_norm 'batch' ties the samples of a batch together and a gradient penalty is per sample; "
                "choose none, layer, instance or spectral"
            )


def _build(config: RunConfig, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    return models.build(
        config.model,
        shape,
        latent_dim=config.latent_dim,
        width=config.width,
        generator_norm=config.generator_norm,
        discriminator_norm=config.discriminator_norm,
    )


def build_trainer(config: RunConfig, out: str | Path | None = None) -> Trainer:
    """Load the data, seed every generator, build the networks, and give the trainer that would train them."""
    config.torch_device()  # fail before the data is loaded
    dataset = data.load(config.data)
    random.seed(config.seed)
    np.random.seed(config.seed % 2**32)  # the generator of user code, not ours
    torch.manual_seed(config.seed)
    generator, discriminator = _build(config, dataset.shape)
    return Trainer(generator, discriminator, dataset, config, out=out, extra={"shape": list(dataset.shape)})


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
    if out is not None:
        report.check_folder(out)
        if not resume:
            for name in RUN_FILES:
                (out / name).unlink(missing_ok=True)
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
    generator, _ = _build(config, tuple(state["extra"]["shape"]))
    if ema and state["ema"] is not None:
        prefix = "module."
        weights = {name[len(prefix) :]: v for name, v in state["ema"].items() if name.startswith(prefix)}
    else:
        weights = state["generator"]
    generator.load_state_dict(weights)
    return generator, config
