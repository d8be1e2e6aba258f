"""Every op in plain PyTorch, under the same name and signature: the tests' oracle and the fallback at run time."""

from ganops._common.upfirdn import setup_filter
from ganops.reference import optimizers
from ganops.reference._penalties import (
    approximate_r1_penalty,
    dragan_penalty,
    gradient_penalty,
    input_gradient_penalty,
    lp_penalty,
    r1_penalty,
    r2_penalty,
)
from ganops.reference.adversarial_loss import discriminator_loss, gan_loss, generator_loss
from ganops.reference.clip_weights import clip_weights_
from ganops.reference.diff_augment import diff_augment
from ganops.reference.feature_matching import feature_matching_loss
from ganops.reference.filtered_lrelu import filtered_lrelu
from ganops.reference.filtered_snake import filtered_snake
from ganops.reference.gradient_penalty import gradient_norm_penalty
from ganops.reference.interpolate import interpolate
from ganops.reference.minibatch_discrimination import minibatch_discrimination
from ganops.reference.minibatch_stddev import minibatch_stddev
from ganops.reference.pack import pack
from ganops.reference.upfirdn import downsample2d, filter2d, upfirdn1d, upfirdn2d, upsample2d

__all__ = [
    "approximate_r1_penalty",
    "clip_weights_",
    "diff_augment",
    "discriminator_loss",
    "downsample2d",
    "dragan_penalty",
    "feature_matching_loss",
    "filter2d",
    "filtered_lrelu",
    "filtered_snake",
    "gan_loss",
    "generator_loss",
    "gradient_norm_penalty",
    "gradient_penalty",
    "input_gradient_penalty",
    "interpolate",
    "lp_penalty",
    "minibatch_discrimination",
    "minibatch_stddev",
    "optimizers",
    "pack",
    "r1_penalty",
    "r2_penalty",
    "setup_filter",
    "upfirdn1d",
    "upfirdn2d",
    "upsample2d",
]
