"""The adversarial loss of one side at a time, as image-to-image and restoration code calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ganops import ops
from ganops._common import checks
from ganops._common.loss_kinds import KINDS, canonical

_SCALES = ("sum", "mean")


def _half(
    logits: Tensor | list[Tensor], is_real: bool, kind: str, label: float, scale_reduction: str = "sum"
) -> Tensor:
    """What D pays on average for logits of real or of generated samples, of one discriminator or of several. ``label``
    is their target, where the kind has one."""
    labels = {"real_target" if is_real else "fake_target": label} if _has_labels(kind) else {}
    return ops.gan_loss(logits, is_real, kind, scale_reduction=scale_reduction, **labels)


def _has_labels(kind: str) -> bool:
    return "real_target" in KINDS[kind].defaults


def _logits_of(function: str, logits: Any) -> list[Tensor]:
    """The logits of each scale: of a list of discriminators' outputs, and of features the last."""
    if isinstance(logits, Tensor):
        return [logits]
    if not isinstance(logits, list | tuple):
        raise TypeError(f"{function}: logits must be a tensor or a list, got {type(logits).__name__}")
    found = []
    for place, entry in enumerate(logits):
        last = entry[-1] if isinstance(entry, list | tuple) and entry else entry
        checks.tensor(function, f"logits[{place}]", last)
        found.append(last)
    if not found:
        raise ValueError(f"{function}: logits is an empty list; pass the logits of at least one discriminator")
    return found


class GANLoss(nn.Module):
    """What D pays for one batch of logits, or what G does.

    D's step calls it twice, ``loss(real_logits, True) + loss(fake_logits, False)``, and G's step once,
    ``loss(fake_logits, True)``. Where G's loss is not that of D for real samples (``hinge``, ``minimax``, ``kl``,
    ``mle``), ``is_disc`` has to say whose step it is.

    Args:
        kind: A kind of :func:`ganops.discriminator_loss` or another name of it, except ``relativistic``, which needs
            the logits of both sides at once.
        real_label_val, fake_label_val: The targets of ``least_squares``, ``non_saturating``, ``minimax``, ``kl`` and
            ``mle`` (0.9 and 0.1, for instance: label smoothing). Other kinds have none.
        scale_reduction: ``"sum"`` or ``"mean"`` over the entries of a list of logits.

    Raises:
        ValueError: If the kind is unknown or needs both sides, or has no labels and gets some.

    Example:
        >>> loss = ganops.nn.GANLoss("hinge")
        >>> loss_d = loss(D(real), True, is_disc=True) + loss(D(fake.detach()), False, is_disc=True)
        >>> loss_g = loss(D(fake), True, is_disc=False)
    """

    def __init__(
        self,
        kind: str = "non_saturating",
        real_label_val: float = 1.0,
        fake_label_val: float = 0.0,
        *,
        scale_reduction: str = "sum",
    ) -> None:
        super().__init__()
        self.kind = canonical("GANLoss", kind)
        if KINDS[self.kind].paired:
            raise ValueError(
                f"GANLoss: {self.kind} compares real with generated logits; use ganops.discriminator_loss and "
                "ganops.generator_loss, which take both"
            )
        self.real_label_val = checks.number("GANLoss", "real_label_val", real_label_val)
        self.fake_label_val = checks.number("GANLoss", "fake_label_val", fake_label_val)
        if not _has_labels(self.kind) and (real_label_val, fake_label_val) != (1, 0):
            raise ValueError(
                f"GANLoss: {self.kind} has no labels, got real_label_val {real_label_val!r} and fake_label_val "
                f"{fake_label_val!r}; leave them out, or choose least_squares or non_saturating"
            )
        checks.choice("GANLoss", "scale_reduction", scale_reduction, _SCALES)
        self.scale_reduction = scale_reduction
        real, generator = KINDS[self.kind].real, KINDS[self.kind].generator
        self._sides_differ = any(
            getattr(real, name) != getattr(generator, name) for name in ("base", "outer", "inner", "shift")
        )

    def forward(self, logits: Tensor | Sequence[Any], target_is_real: bool, is_disc: bool | None = None) -> Tensor:
        """The mean loss ().

        Args:
            logits: D's raw outputs (no sigmoid), any shape; or a list with one entry for each discriminator or scale:
                its logits, or a list of its features of which the last are the logits. The logits of a list have one
                dtype and one device; one kernel launch serves all of them.
            target_is_real: What the logits are to be: True for real samples in D's step and for generated ones in G's.
            is_disc: True in D's step, False in G's. Needed for the kinds named above only.
        """
        for name, value in (("target_is_real", target_is_real), ("is_disc", is_disc)):
            if not isinstance(value, bool) and not (name == "is_disc" and value is None):
                raise TypeError(f"GANLoss: {name} must be True or False, got {value!r}")
        if self._sides_differ and is_disc is None:
            raise TypeError(
                f"GANLoss: is_disc must be given for kind {self.kind!r}, whose generator does not minimise what the "
                "discriminator pays for real samples; pass is_disc=True in D's step and is_disc=False in G's"
            )
        if self._sides_differ and not is_disc and not target_is_real:
            raise ValueError("GANLoss: in the generator's step (is_disc=False) target_is_real must be True, got False")
        several = logits if isinstance(logits, Tensor) else _logits_of("GANLoss", logits)
        if self._sides_differ and not is_disc:
            return ops.generator_loss(several, self.kind, scale_reduction=self.scale_reduction)
        label = self.real_label_val if target_is_real else self.fake_label_val
        return _half(several, target_is_real, self.kind, label, self.scale_reduction)

    def extra_repr(self) -> str:
        """The settings, for the module's text."""
        labels = f"real_label_val={self.real_label_val}, fake_label_val={self.fake_label_val}"
        return f"{self.kind!r}, {labels}, scale_reduction={self.scale_reduction!r}"
