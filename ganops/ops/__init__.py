"""The public functions: fused kernels under autograd Functions, and the reference where no kernel takes a tensor."""

from ganops.ops._penalties import (
    approximate_r1_penalty,
    dragan_penalty,
    gradient_penalty,
    input_gradient_penalty,
    lp_penalty,
    r1_penalty,
    r2_penalty,
)
from ganops.ops.adversarial_loss import discriminator_loss, gan_loss, generator_loss
from ganops.ops.clip_weights import clip_weights_
from ganops.ops.diff_augment import diff_augment
from ganops.ops.feature_matching import feature_matching_loss
from ganops.ops.filtered_lrelu import filtered_lrelu
from ganops.ops.filtered_snake import filtered_snake
from ganops.ops.gradient_penalty import gradient_norm_penalty
from ganops.ops.interpolate import interpolate
from ganops.ops.minibatch_discrimination import minibatch_discrimination
from ganops.ops.minibatch_stddev import minibatch_stddev
from ganops.ops.pack import pack
from ganops.ops.upfirdn import downsample2d, filter2d, setup_filter, upfirdn1d, upfirdn2d, upsample2d

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
    "pack",
    "r1_penalty",
    "r2_penalty",
    "setup_filter",
    "upfirdn1d",
    "upfirdn2d",
    "upsample2d",
]
