"""The adversarial losses of BasicSR and Real-ESRGAN (XPixelGroup/BasicSR, ``basicsr/losses/gan_loss.py``)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ganops import ops
from ganops.nn.gan_loss import _half, _logits_of

# wgan_softplus is the logistic loss, which takes no labels there.
_KINDS = {
    "vanilla": "non_saturating",
    "lsgan": "least_squares",
    "wgan": "wasserstein",
    "wgan_softplus": "non_saturating",
    "hinge": "hinge",
}


class GANLoss(nn.Module):
    """``GANLoss(gan_type)(input, target_is_real, is_disc=False)``; ``gan_type``: vanilla, lsgan, wgan, wgan_softplus or
    hinge.

    ``loss_weight`` multiplies the generator's loss alone. The labels are those of vanilla and lsgan; other types ignore
    them. With ``is_disc=False`` hinge is −mean(input), whatever the target. An unknown type raises NotImplementedError.
    """

    def __init__(
        self, gan_type: str, real_label_val: float = 1.0, fake_label_val: float = 0.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if gan_type not in _KINDS:
            raise NotImplementedError(f"GANLoss: gan_type {gan_type!r} is unknown; choose one of {', '.join(_KINDS)}")
        self.gan_type = gan_type
        self.loss_weight = loss_weight
        self.real_label_val, self.fake_label_val = real_label_val, fake_label_val

    def _value(self, input: Tensor, target_is_real: bool, is_disc: bool) -> Tensor:
        if self.gan_type == "hinge" and not is_disc:
            return ops.generator_loss(input, "hinge")
        label = float(target_is_real)
        if self.gan_type in ("vanilla", "lsgan"):
            label = float(self.real_label_val if target_is_real else self.fake_label_val)
        return _half(input, bool(target_is_real), _KINDS[self.gan_type], label)

    def forward(self, input: Tensor, target_is_real: bool, is_disc: bool = False) -> Tensor:
        """The mean loss () of logits of any shape."""
        value = self._value(input, target_is_real, is_disc)
        return value if is_disc else value * self.loss_weight


class MultiScaleGANLoss(GANLoss):
    """The same for a list, averaged over its entries: logits, or lists of features that end with them."""

    def forward(self, input: Tensor | list[Any], target_is_real: bool, is_disc: bool = False) -> Tensor:
        """The mean loss ()."""
        if isinstance(input, Tensor):
            return super().forward(input, target_is_real, is_disc)
        values = [
            super(MultiScaleGANLoss, self).forward(x, target_is_real, is_disc) for x in _logits_of("GANLoss", input)
        ]
        return sum(values[1:], values[0]) / len(values)
