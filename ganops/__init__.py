"""Fused kernels for GAN training, as PyTorch ops for any training code, with a trainer on top.

Every function of :mod:`ganops.ops` is here under its own name, and in plain PyTorch in :mod:`ganops.reference`.
``ganops.build_info()`` says which kernels this machine uses and why. Importing needs torch alone.
"""

__version__ = "0.1.0"

from ganops import nn, optimizers, reference
from ganops._library import FallbackWarning, build_info
from ganops._watch import watch
from ganops.nn import frozen
from ganops.ops import (
    approximate_r1_penalty,
    clip_weights_,
    diff_augment,
    discriminator_loss,
    dragan_penalty,
    feature_matching_loss,
    generator_loss,
    gradient_norm_penalty,
    gradient_penalty,
    input_gradient_penalty,
    interpolate,
    lp_penalty,
    minibatch_discrimination,
    minibatch_stddev,
    pack,
    r1_penalty,
    r2_penalty,
)

__all__ = [
    "FallbackWarning",
    "approximate_r1_penalty",
    "build_info",
    "clip_weights_",
    "diff_augment",
    "discriminator_loss",
    "dragan_penalty",
    "feature_matching_loss",
    "frozen",
    "generator_loss",
    "gradient_norm_penalty",
    "gradient_penalty",
    "input_gradient_penalty",
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
    "watch",
]
