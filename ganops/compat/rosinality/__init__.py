"""The package ``op`` of rosinality/stylegan2-pytorch and of the many repositories that carry a copy of it.

``from op import FusedLeakyReLU, fused_leaky_relu, upfirdn2d, conv2d_gradfix`` becomes
``from ganops.compat.rosinality import FusedLeakyReLU, fused_leaky_relu, upfirdn2d, conv2d_gradfix``.
"""

from ganops.compat._fused_ops import fused_leaky_relu, upfirdn2d
from ganops.compat.rosinality import conv2d_gradfix
from ganops.nn import FusedLeakyReLU

__all__ = ["FusedLeakyReLU", "conv2d_gradfix", "fused_leaky_relu", "upfirdn2d"]
