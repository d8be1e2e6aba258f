"""Generators and discriminators: plain `torch.nn` modules, built by name for any sample shape.

>>> from ganops import models
>>> generator, discriminator = models.build("dcgan", (1, 28, 28), latent_dim=64)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from ganops._common import checks
from ganops.models.conditional import LabelledGenerator, ProjectionDiscriminator
from ganops.models.dcgan import dcgan
from ganops.models.layers import NORMS, UPSAMPLINGS, Norm, Scaled, Upsampling
from ganops.models.mlp import maxout, mlp, shallow
from ganops.models.unet import PatchDiscriminator, UNet, unet

__all__ = [
    "MODELS",
    "NORMS",
    "UPSAMPLINGS",
    "LabelledGenerator",
    "Norm",
    "PatchDiscriminator",
    "ProjectionDiscriminator",
    "UNet",
    "Upsampling",
    "build",
    "dcgan",
    "maxout",
    "mlp",
    "refusal",
    "shallow",
    "unet",
]

#: Every model by name: a function from a sample shape and options to (generator, discriminator). G maps (N, latent_dim)
#: to (N, *shape), D maps (N, *shape) to logits; conditional models take the condition as a second argument.
MODELS: dict[str, Callable[..., tuple[nn.Module, nn.Module]]] = {
    "mlp": mlp,
    "dcgan": dcgan,
    "unet": unet,
    "maxout": maxout,
    "shallow": shallow,
}

#: Why a model does not have an option.
_LACKS = {
    ("mlp", "upsample"): "its layers are dense",
    ("maxout", "upsample"): "its layers are dense",
    ("shallow", "upsample"): "its layers are dense",
    ("unet", "pack"): "its discriminator sees each image beside its condition, and packs would mix them",
    ("unet", "minibatch_discrimination"): "its discriminator sees patches and has no features of whole samples",
    ("unet", "minibatch_stddev"): "its discriminator sees patches and has no features of whole samples",
    ("unet", "classes"): "its condition is an image",
}


def refusal(name: str, option: str) -> str | None:
    """Return why the model `name` cannot have `option`, a keyword of `build`; None if it can."""
    if option in inspect.signature(MODELS[name]).parameters:
        return None
    return f"model {name!r} takes no {option}: {_LACKS.get((name, option), 'it has no such option')}"


def build(
    name: str,
    shape: tuple[int, ...],
    *,
    latent_dim: int,
    width: int | None = None,
    discriminator_width: int | None = None,
    generator_norm: Norm = "batch",
    discriminator_norm: Norm = "none",
    pack: int = 1,
    classes: int | None = None,
    condition_shape: tuple[int, ...] | None = None,
    upsample: Upsampling = "transposed",
    minibatch_discrimination: bool = False,
    minibatch_stddev: bool = False,
    lipschitz: float = 1.0,
) -> tuple[nn.Module, nn.Module]:
    """Build a generator and a discriminator for samples of one shape.

    Weights are created with torch's default dtype and device, as those of any module.

    Args:
        name: one of `MODELS`.
        shape: shape of one sample: (F,) for points, (C, H, W) for images, which G's tanh bounds to [-1, 1].
        latent_dim: length of z.
        width: units per hidden layer (mlp) or channels of the largest feature map (dcgan, unet); None: the model's
            default.
        discriminator_width: the same for D only; None: `width`.
        generator_norm, discriminator_norm: one of `NORMS`. Do not use batch norm in a critic with a per-sample gradient
            penalty: it makes each output depend on the whole batch (Gulrajani et al. 2017, section 4).
        pack: how many samples D sees at once, joined by `ganops.pack`.
        classes: number of classes of a conditional GAN: G takes (z, labels), D takes (samples, labels), labels (N,)
            int64, or (N, pack) for D where samples are packed; None: no labels.
        condition_shape: (C', H, W) of the input images of ``unet``: G takes (z, images), D takes (samples, images).
        upsample: one of `UPSAMPLINGS`, how G enlarges its feature maps; ``filtered`` also low-passes in D before each
            strided convolution.
        minibatch_discrimination, minibatch_stddev: give D this layer before its last one.
        lipschitz: factor of D's logits; with ``discriminator_norm="spectral"`` it is D's Lipschitz bound.

    Returns:
        (generator, discriminator).

    Raises:
        TypeError: an argument is not a number.
        ValueError: the name is unknown, or the model does not support the shape or an option.

    >>> generator, discriminator = build("mlp", (2,), latent_dim=8, width=32)
    """
    checks.choice("models.build", "name", name, MODELS)
    checks.choice("models.build", "generator_norm", generator_norm, NORMS)
    checks.choice("models.build", "discriminator_norm", discriminator_norm, NORMS)
    checks.choice("models.build", "upsample", upsample, UPSAMPLINGS)
    shape = tuple(checks.whole("models.build", "shape", side, minimum=1) for side in shape)
    latent_dim = checks.whole("models.build", "latent_dim", latent_dim, minimum=1)
    pack = checks.whole("models.build", "pack", pack, minimum=1)
    lipschitz = checks.number("models.build", "lipschitz", lipschitz, above=0)
    if width is not None:
        width = checks.whole("models.build", "width", width, minimum=1)
    if discriminator_width is not None:
        discriminator_width = checks.whole("models.build", "discriminator_width", discriminator_width, minimum=1)
    if classes is not None:
        classes = checks.whole("models.build", "classes", classes, minimum=1)
    if name == "unet" and condition_shape is None:
        raise ValueError("models.build: model 'unet' needs condition_shape, the shape of its input images")
    chosen: dict[str, Any] = {"width": width, "classes": classes, "condition_shape": condition_shape}
    chosen = {option: value for option, value in chosen.items() if value is not None}
    defaults = {"pack": 1, "upsample": "transposed", "minibatch_discrimination": False, "minibatch_stddev": False}
    given = (pack, upsample, minibatch_discrimination, minibatch_stddev)
    chosen |= {option: value for option, value in zip(defaults, given, strict=True) if value != defaults[option]}
    for option in chosen:
        reason = refusal(name, option)
        if reason is not None:
            raise ValueError(f"models.build: {reason}")
    generator, discriminator = MODELS[name](
        shape,
        latent_dim=latent_dim,
        discriminator_width=discriminator_width,
        generator_norm=generator_norm,
        discriminator_norm=discriminator_norm,
        **chosen,
    )
    return generator, discriminator if lipschitz == 1 else Scaled(discriminator, lipschitz)
