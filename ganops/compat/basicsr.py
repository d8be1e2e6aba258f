"""What BasicSR, Real-ESRGAN and GFPGAN call: adversarial losses, and the operations of ``basicsr.ops``.

``from basicsr.ops.fused_act import FusedLeakyReLU, fused_leaky_relu`` and ``from basicsr.ops.upfirdn2d import
upfirdn2d`` become ``from ganops.compat.basicsr import FusedLeakyReLU, fused_leaky_relu, upfirdn2d``.
"""

from ganops import nn
from ganops.compat._basicsr_losses import GANLoss, MultiScaleGANLoss
from ganops.compat._fused_ops import fused_leaky_relu, upfirdn2d

__all__ = ["FusedLeakyReLU", "GANLoss", "MultiScaleGANLoss", "fused_leaky_relu", "upfirdn2d"]


class FusedLeakyReLU(nn.FusedLeakyReLU):
    """:class:`ganops.nn.FusedLeakyReLU`, always with a bias, and without that argument."""

    def __init__(self, channel: int, negative_slope: float = 0.2, scale: float = 2**0.5) -> None:
        super().__init__(channel, negative_slope=negative_slope, scale=scale)
