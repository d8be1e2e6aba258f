"""Fused kernels for GAN training, as PyTorch ops for any training code, with a trainer on top.

Every function of :mod:`ganops.ops` is here under its own name, and in plain PyTorch in :mod:`ganops.reference`.
``ganops.build_info()`` says which kernels this machine uses and why. Importing needs torch alone.
"""

__version__ = "0.1.0"

from ganops import nn, optimizers, reference
from ganops._library import FallbackWarning, build_info
from ganops.ops import (
    clip_weights_,
    diff_augment,
    discriminator_loss,
    downsample2d,
    dragan_penalty,
    filter2d,
    generator_loss,
    gradient_norm_penalty,
    gradient_penalty,
    interpolate,
    lp_penalty,
    minibatch_discrimination,
    minibatch_stddev,
    pack,
    r1_penalty,
    r2_penalty,
    setup_filter,
    upfirdn1d,
    upfirdn2d,
    upsample2d,
)

__all__ = [
    "FallbackWarning",
    "build_info",
    "clip_weights_",
    "diff_augment",
    "discriminator_loss",
    "downsample2d",
    "dragan_penalty",
    "filter2d",
    "generator_loss",
    "gradient_norm_penalty",
    "gradient_penalty",
    "interpolate",
    "lp_penalty",
    "minibatch_discrimination",
    "minibatch_stddev",
    "nn",
    "optimizers",
    "pack",
    "r1_penalty",
    "r2_penalty",
    "reference",
    "setup_filter",
    "upfirdn1d",
    "upfirdn2d",
    "upsample2d",
]
