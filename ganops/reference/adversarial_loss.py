"""Adversarial losses in plain PyTorch: the oracle for the fused ones, and their fallback."""

from __future__ import annotations

from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import without_autocast
from ganops._common.loss_kinds import KINDS, Setting, check_pair, check_real_logits, resolve
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
    if KINDS[kind].paired:
        return _paired_loss("discriminator_loss", setting, "real", real_logits, fake_logits, reduction)
    checks.tensor("discriminator_loss", "real_logits", real_logits)
    checks.tensor("discriminator_loss", "fake_logits", fake_logits)
    real_logits, fake_logits = without_autocast(real_logits), without_autocast(fake_logits)
    checks.same_kind("discriminator_loss", "real_logits", real_logits, "fake_logits", fake_logits)
    real = reduce(setting.term("real", real_logits), reduction)
    fake = reduce(setting.term("fake", fake_logits), reduction)
    return (real, fake) if reduction == "none" else real + fake


def _paired_loss(
    function: str, setting: Setting, role: str, real_logits: Tensor, fake_logits: Tensor, reduction: str
) -> Tensor:
    real_logits, fake_logits = check_pair(function, real_logits, fake_logits)
    difference = real_logits - fake_logits if role == "real" else fake_logits - real_logits
    return reduce(setting.term(role, difference), reduction)


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
    check_real_logits(kind, real_logits)
    if real_logits is not None:
        return _paired_loss("generator_loss", setting, "generator", real_logits, fake_logits, reduction)
    checks.tensor("generator_loss", "fake_logits", fake_logits)
    fake_logits = without_autocast(fake_logits)
    return reduce(setting.term("generator", fake_logits), reduction)
