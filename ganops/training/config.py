"""The settings of a training run, as plain data: what the command line shows and what a checkpoint remembers."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch

from ganops import _checks

__all__ = ["Loss", "Optimizer", "TrainingConfig"]

Loss = Literal["hinge", "kl", "least_squares", "minimax", "mle", "non_saturating", "wasserstein"]
Optimizer = Literal["adam", "rmsprop"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the two networks are trained. Every field has a default that trains; recipes are sets of other values."""

    steps: int = 5000
    """Generator steps; each comes after n_critic discriminator steps."""
    minutes: float = 0.0
    """Stop after this long even if steps remain, as if these had been all; 0: no limit."""
    batch_size: int = 64
    """Samples per step, real and fake each."""
    loss: Loss = "non_saturating"
    """Objective, as in ganops.discriminator_loss and ganops.generator_loss."""
    n_critic: int = 1
    """Discriminator steps per generator step."""
    optimizer: Optimizer = "adam"
    """Optimiser of both networks."""
    generator_lr: float = 2e-4
    """Learning rate of the generator."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminator (two time scales: Heusel et al. 2017)."""
    beta1: float = 0.5
    """Adam's decay of the mean gradient."""
    beta2: float = 0.999
    """Adam's decay of the mean squared gradient."""
    clip: float = 0.0
    """After each discriminator step clamp its weights to [-clip, clip]; 0: off."""
    penalty: float = 0.0
    """Weight (lambda) of the gradient penalty in the discriminator's loss; 0: off."""
    penalty_target: float = 1.0
    """Gradient norm that the penalty asks for."""
    penalty_one_sided: bool = False
    """Penalise only norms above the target (WGAN-LP)."""
    ema: float = 0.999
    """Decay per step of the generator's moving average, from which samples are drawn; 0: off."""
    latent_dim: int = 64
    """Length of the generator's input z ~ N(0, I)."""
    seed: int = 0
    """Seed of initial weights, batches and noise."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto: cuda where there is one, else cpu."""
    log_every: int = 20
    """Steps between records in the history (each the mean over the steps since the last) and checks for NaN."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; one is also written at the end and on Ctrl-C. 0: only those."""

    def __post_init__(self) -> None:
        for field in fields(self):
            kind, value = field.type, getattr(self, field.name)
            if kind in ("int", "float") and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise TypeError(f"{field.name} must be a number, got {type(value).__name__} {value!r}")
            if kind == "int" and not isinstance(value, int):
                raise TypeError(f"{field.name} must be a whole number, got {value!r}")
            if kind == "float" and not math.isfinite(value):
                raise ValueError(f"{field.name} must be finite, got {value!r}")
        for name in ("steps", "batch_size", "n_critic", "latent_dim", "log_every"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("generator_lr", "discriminator_lr"):
            _require(self, name, getattr(self, name) > 0, "above 0")
        for name in ("minutes", "clip", "penalty", "penalty_target", "seed", "checkpoint_every"):
            _require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("beta1", "beta2", "ema"):
            _require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        _checks.choice("train", "loss", self.loss, get_args(Loss))
        _checks.choice("train", "optimizer", self.optimizer, get_args(Optimizer))

    def torch_device(self) -> torch.device:
        """The device that `device` names; a `ValueError` if this machine, or this build of torch, has none such."""
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {self.device!r} cannot be used here ({reason}); choose auto or cpu") from None
        return device


def _require(config: Any, name: str, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {wanted}, got {getattr(config, name)!r}")
