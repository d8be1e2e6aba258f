"""The adversarial loss of pix2pix and CycleGAN (junyanz/pytorch-CycleGAN-and-pix2pix, ``models/networks.py``)."""

from __future__ import annotations

from torch import Tensor, nn

from ganops.nn.gan_loss import _half

__all__ = ["GANLoss"]

_KINDS = {"lsgan": "least_squares", "vanilla": "non_saturating", "wgangp": "wasserstein"}


class GANLoss(nn.Module):
    """``GANLoss(gan_mode)(prediction, target_is_real)``; ``gan_mode``: lsgan, vanilla or wgangp.

    The target labels are those of lsgan and vanilla; wgangp ignores them. An unknown mode raises NotImplementedError.
    """

    def __init__(self, gan_mode: str, target_real_label: float = 1.0, target_fake_label: float = 0.0) -> None:
        super().__init__()
        if gan_mode not in _KINDS:
            raise NotImplementedError(f"GANLoss: gan_mode {gan_mode!r} is unknown; choose one of {', '.join(_KINDS)}")
        self.gan_mode = gan_mode
        self.labels = {True: float(target_real_label), False: float(target_fake_label)}

    def forward(self, prediction: Tensor, target_is_real: bool) -> Tensor:
        """The mean loss () of logits of any shape."""
        return _half(prediction, bool(target_is_real), _KINDS[self.gan_mode], self.labels[bool(target_is_real)])
