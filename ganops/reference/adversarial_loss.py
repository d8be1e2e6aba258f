"""Adversarial losses in plain PyTorch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ganops._common import checks
from ganops._common.loss_kinds import (
    CENTRED,
    Setting,
    centred,
    check_half,
    check_logits,
    check_no_weight,
    check_one,
    check_real_logits,
    resolve,
)
from ganops._common.loss_lists import (
    LISTS,
    Logits,
    check_lists,
    check_parts,
    check_sample_weight,
    check_scale_reduction,
    weighted,
)
from ganops._common.reduction import reduce, reduce_scales


def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    kind: str = "non_saturating",
    *,
    reduction: str = "mean",
    scale_reduction: str = "sum",
    return_parts: bool = False,
    **parameters: float,
) -> Any:
    """The same function as :func:`ganops.discriminator_loss`, in plain PyTorch."""
    setting = resolve("discriminator_loss", kind, reduction, parameters)
    check_scale_reduction("discriminator_loss", scale_reduction)
    check_parts("discriminator_loss", setting, reduction, return_parts)
    average = setting.kind.average
    paired = setting.kind.paired and not average
    if isinstance(real_logits, LISTS) or isinstance(fake_logits, LISTS):
        lists = {"real_logits": real_logits, "fake_logits": fake_logits}
        real, fake = check_lists("discriminator_loss", lists, reduction, scale_reduction, paired)
        if paired:
            differences = [r - f for r, f in zip(real, fake, strict=True)]
            return _reduce(setting, "real", differences, reduction, scale_reduction)
        if average:
            return _of_averages(real, fake, reduction, scale_reduction)
        parts = [
            _reduce(setting, "real", real, reduction, scale_reduction),
            _reduce(setting, "fake", fake, reduction, scale_reduction),
        ]
    else:
        checks.tensor("discriminator_loss", "real_logits", real_logits)
        checks.tensor("discriminator_loss", "fake_logits", fake_logits)
        real, fake = check_logits("discriminator_loss", real_logits, fake_logits, paired)
        if paired:
            return reduce(setting.value("real", real - fake), reduction)
        if average:
            return _of_averages(real, fake, reduction)
        parts = [reduce(setting.value("real", real), reduction), reduce(setting.value("fake", fake), reduction)]
    if reduction == "none":
        return tuple(parts)
    loss = parts[0] + parts[1]
    return (loss, *parts) if return_parts else loss


def generator_loss(
    fake_logits: Logits,
    kind: str = "non_saturating",
    *,
    real_logits: Logits | None = None,
    reduction: str = "mean",
    scale_reduction: str = "sum",
    sample_weight: Tensor | None = None,
    **parameters: float,
) -> Any:
    """The same function as :func:`ganops.generator_loss`, in plain PyTorch."""
    setting = resolve("generator_loss", kind, reduction, parameters)
    check_scale_reduction("generator_loss", scale_reduction)
    check_real_logits(setting.name, setting.kind, real_logits)
    check_no_weight(setting.name, setting.kind, sample_weight)
    average = setting.kind.average
    paired = setting.kind.paired and not average
    if isinstance(fake_logits, LISTS) or isinstance(real_logits, LISTS):
        lists = {} if real_logits is None else {"real_logits": real_logits}
        lists["fake_logits"] = fake_logits
        *partners, fake = check_lists("generator_loss", lists, reduction, scale_reduction, paired)
        if average:
            return _of_averages(fake, partners[0], reduction, scale_reduction)
        weight = check_sample_weight("generator_loss", sample_weight, fake)
        if partners:
            fake = [f - r for f, r in zip(fake, partners[0], strict=True)]
        return _reduce(setting, "generator", fake, reduction, scale_reduction, weight)
    checks.tensor("generator_loss", "fake_logits", fake_logits)
    if real_logits is not None:
        checks.tensor("generator_loss", "real_logits", real_logits)
        real_logits, fake_logits = check_logits("generator_loss", real_logits, fake_logits, paired)
        if average:
            return _of_averages(fake_logits, real_logits, reduction)
        weight = check_sample_weight("generator_loss", sample_weight, [fake_logits])
        return reduce(weighted(setting.value("generator", fake_logits - real_logits), weight), reduction)
    fake_logits = check_one("generator_loss", "fake_logits", fake_logits)
    weight = check_sample_weight("generator_loss", sample_weight, [fake_logits])
    return reduce(weighted(setting.value("generator", fake_logits), weight), reduction)


def gan_loss(
    logits: Logits,
    is_real: bool,
    kind: str = "non_saturating",
    *,
    reduction: str = "mean",
    scale_reduction: str = "sum",
    sample_weight: Tensor | None = None,
    **parameters: float,
) -> Any:
    """The same function as :func:`ganops.gan_loss`, in plain PyTorch."""
    setting = resolve("gan_loss", kind, reduction, parameters)
    check_scale_reduction("gan_loss", scale_reduction)
    check_half(setting.name, setting.kind, is_real)
    role = "real" if is_real else "fake"
    if isinstance(logits, LISTS):
        (flat,) = check_lists("gan_loss", {"logits": logits}, reduction, scale_reduction)
        weight = check_sample_weight("gan_loss", sample_weight, flat)
        return _reduce(setting, role, flat, reduction, scale_reduction, weight)
    checks.tensor("gan_loss", "logits", logits)
    logits = check_one("gan_loss", "logits", logits)
    weight = check_sample_weight("gan_loss", sample_weight, [logits])
    return reduce(weighted(setting.value(role, logits), weight), reduction)


def _of_averages(first: Any, second: Any, reduction: str, scale_reduction: str = "sum") -> Any:
    """The average-relativistic loss, small if the first logits exceed the mean of the second; tensors or lists."""
    if isinstance(first, Tensor):
        pairs = centred(first, second)
    else:
        each = [centred(one, other) for one, other in zip(first, second, strict=True)]
        pairs = tuple(map(list, zip(*each, strict=True)))
    more = {} if isinstance(first, Tensor) else {"scale_reduction": scale_reduction}
    return discriminator_loss(*pairs, CENTRED.name, reduction=reduction, **more)


def _reduce(
    setting: Setting,
    role: str,
    logits: list[Tensor],
    reduction: str,
    scale_reduction: str,
    sample_weight: Tensor | None = None,
) -> Tensor | list[Tensor]:
    """The loss of each discriminator, reduced over its logits and over the discriminators."""
    values = [reduce(weighted(setting.value(role, x), sample_weight), reduction) for x in logits]
    return values if reduction == "none" else reduce_scales(values, scale_reduction)
