"""What BasicSR and Real-ESRGAN call: adversarial losses."""

from ganops.compat._basicsr_losses import GANLoss, MultiScaleGANLoss

__all__ = ["GANLoss", "MultiScaleGANLoss"]
