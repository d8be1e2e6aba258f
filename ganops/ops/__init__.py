"""The public functions: fused kernels under autograd Functions, with the reference where no kernel serves."""

from ganops.ops.adversarial_loss import discriminator_loss, generator_loss
from ganops.ops.clip_weights import clip_weights_
from ganops.ops.gradient_penalty import gradient_norm_penalty, gradient_penalty
from ganops.ops.interpolate import interpolate

__all__ = [
    "clip_weights_",
    "discriminator_loss",
    "generator_loss",
    "gradient_norm_penalty",
    "gradient_penalty",
    "interpolate",
]
