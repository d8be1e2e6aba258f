"""Settings that exclude each other, one rule each. Everything that takes settings applies these rules.

Options that no rule excludes can be combined, any number at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from ganops.models import refusal
from ganops.training.kinds import undecided_logit
from ganops.training.penalties import PENALTIES

__all__ = ["MODEL_RULES", "RULES", "Rule", "check", "check_discriminator", "check_model"]


class Rule(NamedTuple):
    """Settings for which `forbids` is true are refused with `reason`."""

    forbids: Callable[[Any], bool]
    reason: str


#: Rules for `TrainingConfig`, whatever the networks.
RULES: tuple[Rule, ...] = (
    Rule(
        lambda c: c.batch_size % c.pack != 0,
        "batch_size {batch_size} cannot be divided into packs of {pack}; choose a multiple of {pack}",
    ),
    Rule(
        lambda c: bool(c.penalty) and not PENALTIES[c.penalty_kind].takes_target and c.penalty_target != 1.0,
        "penalty_target {penalty_target} has no meaning for penalty_kind {penalty_kind!r}, whose target is 0; leave it "
        "out, or choose gradient, one-sided or dragan",
    ),
    Rule(
        lambda c: (
            bool(c.penalty)
            and not PENALTIES[c.penalty_kind].estimates
            and c.penalty_sigma != c.__dataclass_fields__["penalty_sigma"].default
        ),
        "penalty_sigma {penalty_sigma} has no meaning for penalty_kind {penalty_kind!r}, which adds no noise; leave it "
        "out, or choose approximate-r1 or approximate-r2",
    ),
    Rule(
        lambda c: bool(c.penalty) and c.penalty_difference > 0 and PENALTIES[c.penalty_kind].estimates,
        "penalty_difference replaces a gradient, and penalty_kind {penalty_kind!r} takes none; leave it out",
    ),
    Rule(
        lambda c: bool(c.penalty) and c.penalty_difference > 0 and c.unroll > 0,
        "unroll differentiates the penalty twice, and penalty_difference can be differentiated once; leave one of them "
        "out",
    ),
    Rule(
        lambda c: c.amp == "fp16" and c.unroll > 0,
        "unroll differentiates through steps whose gradients amp 'fp16' would have to scale; choose amp bf16",
    ),
    Rule(
        lambda c: (c.compile or c.cuda_graph) and c.unroll > 0,
        "compile and cuda_graph make a function of each update, and unroll differentiates through several; leave "
        "unroll or these out",
    ),
    Rule(
        lambda c: (c.compile or c.cuda_graph) and c.amp == "fp16",
        "compile and cuda_graph cannot skip the steps that overflow in amp 'fp16'; choose amp bf16",
    ),
    Rule(
        lambda c: c.augment_target > 0 and not c.augment,
        "augment_target adapts an augmentation and augment is empty; add one, e.g. augment color,translation,cutout",
    ),
    Rule(
        lambda c: c.augment_target > 0 and undecided_logit(c.loss) is None,
        "augment_target compares the discriminator's real logits with its decision threshold, and loss {loss!r} has "
        "none; choose another loss, or augment without a target",
    ),
    Rule(
        lambda c: c.l1_weight > 0 and not c.conditional,
        "l1_weight compares with the target that belongs to a condition; add conditional, on paired data",
    ),
    Rule(
        lambda c: c.l1_weight > 0 and bool(c.augment),
        "augment moves the image and not the target that l1_weight compares it with; leave one of them out",
    ),
    Rule(
        lambda c: c.adversarial_weight == 0 and c.l1_weight == 0,
        "adversarial_weight 0 and l1_weight 0 leave the generator no loss; raise one",
    ),
    Rule(
        lambda c: c.adversarial_weight == 0 and c.unroll > 0,
        "unroll looks ahead in the adversarial loss, and adversarial_weight is 0; leave one out",
    ),
)

#: Rules for `RunConfig`, which names the networks.
MODEL_RULES: tuple[Rule, ...] = (
    Rule(
        lambda c: bool(c.penalty) and c.norm_of_discriminator == "batch",
        "discriminator_norm 'batch' ties the samples of a batch together and a gradient penalty is per sample; "
        "choose none, layer, instance or spectral",
    ),
    Rule(
        lambda c: bool(c.penalty) and c.minibatch_discrimination,
        "minibatch_discrimination ties the samples of a batch together and a gradient penalty is per sample; "
        "leave one of them out (minibatch_stddev and a penalty can be combined, as in ProGAN)",
    ),
    Rule(
        lambda c: c.unroll > 0 and c.norm_of_discriminator == "batch",
        "unroll differentiates through discriminator steps that are taken back, and discriminator_norm 'batch' keeps "
        "running statistics beside the weights; choose none, layer, instance or spectral",
    ),
    Rule(
        lambda c: bool(c.clip) and c.norm_of_discriminator == "spectral",
        "clip limits weights that spectral norm divides by their norm anyway; leave one of them out",
    ),
    Rule(
        lambda c: (
            c.compile
            and bool(c.penalty)
            and PENALTIES[c.penalty_kind].estimates
            and c.norm_of_discriminator == "spectral"
        ),
        "compile cannot hold spectral norm fixed between the passes that penalty_kind {penalty_kind!r} compares; leave "
        "one of them out",
    ),
    Rule(
        lambda c: c.lipschitz != 1 and c.norm_of_discriminator != "spectral",
        "lipschitz {lipschitz} bounds the slope of a spectrally normalised discriminator; add spectral_norm, or leave "
        "lipschitz out",
    ),
    Rule(
        lambda c: c.minibatch_stddev and c.batch_size // c.pack > 4 and (c.batch_size // c.pack) % 4 != 0,
        "minibatch_stddev takes groups of 4, and batch_size {batch_size} in packs of {pack} cannot be divided into "
        "them; choose a multiple of 4 times pack",
    ),
    Rule(
        lambda c: c.source.kind == "points" and bool(c.augment),
        "augment changes images, and data {data!r} holds points",
    ),
    Rule(
        lambda c: c.model == "unet" and not c.conditional,
        "model 'unet' makes images from images; add conditional, on paired data such as mnist_outline",
    ),
    Rule(
        lambda c: c.model == "unet" and bool(c.augment),
        "augment moves the image and not its condition, and model 'unet' needs both aligned; leave augment out",
    ),
    Rule(
        lambda c: c.l1_weight > 0 and c.model != "unet",
        "l1_weight needs a target for each sample, which model {model!r} does not have; choose model unet",
    ),
)


def _apply(rules: tuple[Rule, ...], config: Any) -> None:
    for rule in rules:
        if rule.forbids(config):
            values = {name: getattr(config, name) for name in config.__dataclass_fields__}
            raise ValueError(rule.reason.format(**values))


def check(config: Any) -> None:
    """Raise a `ValueError` with the reason if settings of a `TrainingConfig` exclude each other."""
    _apply(RULES, config)


def check_model(config: Any) -> None:
    """The same for the settings of the model in a `RunConfig`."""
    for option, wanted in (
        ("pack", config.pack > 1),
        ("upsample", config.upsample != "transposed"),
        ("minibatch_discrimination", config.minibatch_discrimination),
        ("minibatch_stddev", config.minibatch_stddev),
    ):
        reason = refusal(config.model, option) if wanted else None
        if reason is not None:
            raise ValueError(reason)
    _apply(MODEL_RULES, config)


def check_discriminator(config: Any, discriminator: nn.Module) -> None:
    """The same for the layers of a discriminator."""
    if config.unroll and any(name.endswith("running_mean") for name, _ in discriminator.named_buffers()):
        raise ValueError(
            "unroll differentiates through discriminator steps that are taken back, and this discriminator's "
            "normalisation keeps running statistics beside its weights; use layer, instance (without "
            "track_running_stats), spectral or no normalisation"
        )
