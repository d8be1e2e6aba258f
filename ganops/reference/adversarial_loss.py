"""Adversarial losses in plain PyTorch: the oracle for the fused ones, and their fallback."""

from __future__ import annotations

from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import without_autocast
from ganops._common.loss_kinds import check_half, check_logits, check_real_logits, resolve
from ganops._common.reduction import reduce


def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    kind: str = "non_saturating",
    *,
    reduction: str = "mean",
    **parameters: float,
) -> Tensor | tuple[Tensor, Tensor]:
    """The same function as :func:`ganops.discriminator_loss`, in plain PyTorch."""
    setting = resolve("discriminator_loss", kind, reduction, parameters)
    paired = setting.kind.paired
    real_logits, fake_logits = check_logits("discriminator_loss", real_logits, fake_logits, paired)
    if paired:
        return reduce(setting.value("real", real_logits - fake_logits), reduction)
    real = reduce(setting.value("real", real_logits), reduction)
    fake = reduce(setting.value("fake", fake_logits), reduction)
    return (real, fake) if reduction == "none" else real + fake


def generator_loss(
    fake_logits: Tensor,
    kind: str = "non_saturating",
    *,
    real_logits: Tensor | None = None,
    reduction: str = "mean",
    **parameters: float,
) -> Tensor:
    """The same function as :func:`ganops.generator_loss`, in plain PyTorch."""
    setting = resolve("generator_loss", kind, reduction, parameters)
    check_real_logits(setting.name, setting.kind, real_logits)
    if real_logits is not None:
        real_logits, fake_logits = check_logits("generator_loss", real_logits, fake_logits, True)
        return reduce(setting.value("generator", fake_logits - real_logits), reduction)
    checks.tensor("generator_loss", "fake_logits", fake_logits)
    return reduce(setting.value("generator", without_autocast(fake_logits)), reduction)


def gan_loss(
    logits: Tensor,
    is_real: bool,
    kind: str = "non_saturating",
    *,
    reduction: str = "mean",
    **parameters: float,
) -> Tensor:
    """The same function as :func:`ganops.gan_loss`, in plain PyTorch."""
    setting = resolve("gan_loss", kind, reduction, parameters)
    check_half(setting.name, setting.kind, is_real)
    checks.tensor("gan_loss", "logits", logits)
    return reduce(setting.value("real" if is_real else "fake", without_autocast(logits)), reduction)
