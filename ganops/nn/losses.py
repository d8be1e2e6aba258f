"""The losses and the gradient penalty as modules: settings at construction, tensors at the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganops import ops
from ganops._common import checks
from ganops._common.gradient_penalty import check_select, check_settings
from ganops._common.loss_kinds import resolve
from ganops._common.loss_lists import Logits, check_scale_reduction


class _AdversarialLoss(nn.Module):
    def __init__(
        self,
        kind: str = "non_saturating",
        *,
        reduction: str = "mean",
        scale_reduction: str = "sum",
        **parameters: float,
    ) -> None:
        super().__init__()
        kind = resolve(type(self).__name__, kind, reduction, parameters).name
        check_scale_reduction(type(self).__name__, scale_reduction)
        self.kind, self.reduction, self.scale_reduction = kind, reduction, scale_reduction
        self.parameters_of_kind = parameters

    def extra_repr(self) -> str:
        settings: dict[str, str | float] = {"reduction": self.reduction}
        if self.scale_reduction != "sum":
            settings["scale_reduction"] = self.scale_reduction
        settings |= self.parameters_of_kind
        return ", ".join([repr(self.kind), *(f"{name}={value!r}" for name, value in settings.items())])


class DiscriminatorLoss(_AdversarialLoss):
    """:func:`ganops.discriminator_loss` with its settings fixed."""

    def forward(self, real_logits: Logits, fake_logits: Logits) -> Any:
        """The loss of logits of any shapes, or of lists of them; see the function."""
        return ops.discriminator_loss(
            real_logits,
            fake_logits,
            self.kind,
            reduction=self.reduction,
            scale_reduction=self.scale_reduction,
            **self.parameters_of_kind,
        )


class GeneratorLoss(_AdversarialLoss):
    """:func:`ganops.generator_loss` with its settings fixed."""

    def forward(self, fake_logits: Logits, real_logits: Logits | None = None) -> Any:
        """The loss of logits of any shape, or of a list, and for ``relativistic`` the real ones; see the function."""
        return ops.generator_loss(
            fake_logits,
            self.kind,
            real_logits=real_logits,
            reduction=self.reduction,
            scale_reduction=self.scale_reduction,
            **self.parameters_of_kind,
        )


class GradientPenalty(nn.Module):
    """``weight`` times :func:`ganops.gradient_penalty`: λ = 10 on images (Gulrajani et al. 2017), 0.1 on 2-D toys.

    Args:
        weight: λ.
        target, one_sided, select: As for the function.
    """

    def __init__(
        self,
        weight: float = 10.0,
        *,
        target: float = 1.0,
        one_sided: bool = False,
        select: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.weight = checks.number("GradientPenalty", "weight", weight)
        self.target = check_settings("GradientPenalty", target, "mean", one_sided)
        self.one_sided = one_sided
        check_select("GradientPenalty", select)
        self.select = select

    def forward(
        self,
        critic: Callable[[Tensor], Any],
        real: Tensor,
        fake: Tensor,
        *,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor:
        """The penalty (), of ``critic`` between real and fake samples (N, …)."""
        settings = {"target": self.target, "one_sided": self.one_sided, "scaler": scaler, "select": self.select}
        return self.weight * ops.gradient_penalty(critic, real, fake, **settings)

    def extra_repr(self) -> str:
        """The settings, for the module's text."""
        settings = f"weight={self.weight}, target={self.target}, one_sided={self.one_sided}"
        return settings if self.select is None else f"{settings}, select={self.select}"
