"""The settings of a training run. The command line reads them, and checkpoints store them."""

from __future__ import annotations

import math
import numbers
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from ganops._common import checks
from ganops._common.diff_augment import POLICIES
from ganops._common.loss_kinds import ALIASES
from ganops.training import combinations
from ganops.training.kinds import LOSSES
from ganops.training.penalties import PENALTIES

__all__ = ["Amp", "Loss", "Optimizer", "PenaltyKind", "TrainingConfig", "typed"]

Optimizer = Literal["adam", "rmsprop", "sgd"]
Amp = Literal["off", "bf16", "fp16"]
if TYPE_CHECKING:
    Loss = str
    PenaltyKind = str
else:  # the command line lists these choices
    Loss = Literal[tuple(LOSSES)]
    PenaltyKind = Literal[tuple(PENALTIES)]


def with_defaults(saved: dict[str, Any], config: Any) -> dict[str, Any]:
    """Fill in settings that are newer than the file; the defaults keep its behaviour."""
    return {each.name: each.default for each in fields(config) if each.default is not MISSING} | saved


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of training. The defaults are usable; a recipe is a set of other values."""

    steps: int = 5000
    """Generator steps; each comes after n_critic discriminator steps."""
    minutes: float = 0.0
    """Time limit in minutes, after which the run finishes even if steps remain; 0: no limit."""
    batch_size: int = 64
    """Samples per step, real and fake each."""
    loss: Loss = "non_saturating"
    """Adversarial loss: a kind of ganops.discriminator_loss, or an alias of one (lsgan, wgan, ...)."""
    n_critic: int = 1
    """Discriminator steps per generator step."""
    optimizer: Optimizer = "adam"
    """Optimiser of both networks; sgd: plain, no momentum."""
    generator_lr: float = 2e-4
    """Learning rate of the generator."""
    discriminator_lr: float = 2e-4
    """Learning rate of the discriminator (two time scales: Heusel et al. 2017)."""
    beta1: float = 0.5
    """Adam's decay of the mean gradient."""
    beta2: float = 0.999
    """Adam's decay of the mean squared gradient."""
    lr_decay: float = 0.0
    """Share of the steps, at the end, over which both learning rates fall linearly to zero; 0: constant. A
    run that is resumed with more steps follows the new schedule from there on."""
    clip: float = 0.0
    """After each discriminator step clamp its weights to [-clip, clip]; 0: off."""
    penalty: float = 0.0
    """Weight (lambda) of the gradient penalty in the discriminator's loss; 0: off."""
    penalty_kind: PenaltyKind = "gradient"
    """Which penalty. gradient: (norm - target)^2 between real and fake (WGAN-GP); one-sided: the same for norms above
    the target only (WGAN-LP); r1, r2: norm^2 at real, at fake samples (R1's gamma is twice the weight); r1+r2: the sum
    of both (R3GAN); dragan: (norm - target)^2 at noise around real samples; approximate-r1, approximate-r2: r1 and r2
    estimated from the change of the logits under noise, without double backward."""
    penalty_target: float = 1.0
    """Target of the gradient norm, of gradient, one-sided and dragan."""
    penalty_every: int = 1
    """Lazy regularisation (StyleGAN2): the penalty only every k discriminator steps, as a separate update with k times
    the weight. The discriminator's learning rate and decays are rescaled for the additional updates."""
    penalty_difference: float = 0.0
    """Step, in the units of the data, of a finite difference that replaces the exact gradient norm (e.g. 0.01; see
    ganops.gradient_penalty for its error). It needs no double backward. 0: exact."""
    penalty_sigma: float = 0.01
    """Standard deviation, in the units of the data, of the noise of approximate-r1 and approximate-r2 (see
    ganops.approximate_r1_penalty for its error)."""
    pack: int = 1
    """Samples per pack, which the discriminator sees as one (PacGAN); 1: no packing."""
    unroll: int = 0
    """Discriminator steps that the generator looks ahead and differentiates through (unrolled GAN); 0: none. With loss
    minimax the generator minimises the whole value of the game, as in the paper, since D's loss on real samples depends
    on G through D's steps."""
    conditional: bool = False
    """Whether both networks take the sample's class, or for paired data its source image, as an input."""
    l1_weight: float = 0.0
    """Weight of the mean absolute difference to the paired target in the generator's loss (pix2pix: 100)."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial loss in the generator's loss; 0: L1 only."""
    augment: str = ""
    """DiffAugment of the discriminator's input: any of color,translation,cutout; empty: off."""
    augment_target: float = 0.0
    """Target mean sign of the discriminator's real logits (ADA: 0.6). The probability of augmentation rises while the
    mean is above it and falls while it is below. 0: every image is augmented."""
    augment_ramp: int = 50_000
    """Number of real images in which the adapted probability can rise from 0 to 1."""
    ema: float = 0.999
    """Decay per step of the generator's moving average, from which samples are drawn; 0: off."""
    latent_dim: int = 64
    """Length of the generator's input z ~ N(0, I)."""
    seed: int = 0
    """Seed of initial weights, batches and noise."""
    amp: Amp = "off"
    """Automatic mixed precision of both networks' steps: bf16, or fp16 with a gradient scaler for each network, which
    skips steps that overflow. Weights, losses, averages and samples stay in float32."""
    compile: bool = False
    """Run the updates of both networks as functions compiled by torch.compile, which takes a minute at the start and
    needs a C++ compiler. The first step is not compiled."""
    cuda_graph: bool = False
    """Capture the updates of both networks in CUDA graphs and replay them, on a GPU. The first step is ordinary.
    Not yet tried on a GPU."""
    device_noise: bool = False
    """Draw random numbers on the device instead of on the CPU: fewer copies, but other numbers on each device."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto: cuda where there is one, else cpu."""
    workers: int | None = None
    """Processes that decode data that are not kept in memory; 0: the one that trains; None: one for each core, at most
    8. The samples are the same with any number (except those of WebDataset shards)."""
    log_every: int = 20
    """Steps between records in the history (each the mean over the steps since the last) and checks for NaN."""
    checkpoint_every: int = 1000
    """Steps between checkpoints. One is also written at the end and on Ctrl-C. 0: only these."""
    evaluate_every: int = 500
    """Steps between evaluations; best.pt is the best state so far. 0: only at the end."""
    monitor_every: int = 250
    """Steps between checks for mode collapse, saturation and a discriminator that is too strong; 0: off."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = typed(field.name, str(field.type), getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        for name in (
            "steps",
            "batch_size",
            "n_critic",
            "latent_dim",
            "log_every",
            "pack",
            "augment_ramp",
            "penalty_every",
        ):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("generator_lr", "discriminator_lr", "penalty_sigma"):
            _require(self, name, getattr(self, name) > 0, "above 0")
        for name in (
            "minutes", "clip", "penalty", "penalty_target", "penalty_difference", "unroll", "l1_weight",
            "adversarial_weight", "seed", "checkpoint_every", "evaluate_every", "monitor_every",
        ):  # fmt: skip
            _require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("beta1", "beta2", "ema", "augment_target"):
            _require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        _require(self, "workers", self.workers is None or self.workers >= 0, "at least 0")
        _require(self, "lr_decay", 0 <= self.lr_decay <= 1, "in [0, 1]")
        _require(self, "seed", self.seed < 2**63 - 1, "below 2^63 - 1")
        object.__setattr__(self, "loss", ALIASES.get(self.loss, self.loss))
        checks.choice("train", "loss", self.loss, LOSSES)
        checks.choice("train", "optimizer", self.optimizer, get_args(Optimizer))
        checks.choice("train", "amp", self.amp, get_args(Amp))
        checks.choice("train", "penalty_kind", self.penalty_kind, PENALTIES)
        for policy in filter(None, (part.strip() for part in self.augment.split(","))):
            checks.choice("train", "augment", policy, POLICIES)
        combinations.check(self)

    def torch_device(self) -> torch.device:
        """The device. Raises ValueError if it is not available on this machine or in this build of torch."""
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
            if device.type == "meta":
                raise ValueError("device 'meta' holds no numbers to train with; choose auto or cpu")
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {self.device!r} cannot be used here ({reason}); choose auto or cpu") from None
        return device


def _require(config: Any, name: str, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {wanted}, got {getattr(config, name)!r}")


def typed(name: str, kind: str, value: Any) -> Any:
    """`value` converted to the field type `kind`. Raises TypeError for a wrong type, ValueError for a wrong range."""
    optional = kind.endswith(" | None")
    kind = kind.removesuffix(" | None")
    if optional and value is None:
        return None
    if kind == "bool":
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} must be True or False, got {type(value).__name__} {value!r}")
        return bool(value)
    if kind not in ("int", "float"):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be text, got {type(value).__name__} {value!r}")
        return value
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__} {value!r}")
    if kind == "int":
        if not isinstance(value, numbers.Integral):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{name} must be below 2^63, got {value}")
        return int(value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return value if isinstance(value, int) else number
