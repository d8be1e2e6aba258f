"""The adversarial loss of SPADE (NVlabs/SPADE, ``models/networks/loss.py``)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ganops import ops
from ganops.nn.gan_loss import _half, _logits_of

__all__ = ["GANLoss"]

_KINDS = {"ls": "least_squares", "original": "non_saturating", "w": "wasserstein", "hinge": "hinge"}


class GANLoss(nn.Module):
    """``GANLoss(gan_mode)(input, target_is_real, for_discriminator=True)``; ``gan_mode``: ls, original, w or hinge.

    A list is averaged over its entries, of which each is the logits or a list of features that ends with them; the
    result then has the shape (1,). ``tensor`` and ``opt`` are accepted and not used.
    """

    def __init__(
        self,
        gan_mode: str,
        target_real_label: float = 1.0,
        target_fake_label: float = 0.0,
        tensor: Any = None,
        opt: Any = None,
    ) -> None:
        super().__init__()
        if gan_mode not in _KINDS:
            raise ValueError(f"GANLoss: gan_mode {gan_mode!r} is unknown; choose one of {', '.join(_KINDS)}")
        self.gan_mode = gan_mode
        self.labels = {True: float(target_real_label), False: float(target_fake_label)}

    def loss(self, input: Tensor, target_is_real: bool, for_discriminator: bool = True) -> Tensor:
        """The mean loss () of one tensor of logits."""
        if self.gan_mode == "hinge" and not for_discriminator:
            if not target_is_real:
                raise AssertionError("GANLoss: the generator's hinge loss has target_is_real=True")
            return ops.generator_loss(input, "hinge")
        return _half(input, bool(target_is_real), _KINDS[self.gan_mode], self.labels[bool(target_is_real)])

    def forward(self, input: Tensor | list, target_is_real: bool, for_discriminator: bool = True) -> Tensor:
        """The mean loss: () of a tensor, (1,) of a list."""
        if isinstance(input, Tensor):
            return self.loss(input, target_is_real, for_discriminator)
        values = [self.loss(x, target_is_real, for_discriminator) for x in _logits_of("GANLoss", input)]
        return sum(values[1:], values[0]).reshape(1) / len(values)
