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

#: Every model by name: sample shape and options to (generator, discriminator). G maps (N, latent_dim) to (N, *shape), D
#: maps (N, *shape) to raw logits; conditional ones take the condition as a second argument.
MODELS: dict[str, Callable[..., tuple[nn.Module, nn.Module]]] = {
    "mlp": mlp,
    "dcgan": dcgan,
    "unet": unet,
    "maxout": maxout,
    "shallow": shallow,
}

#: Why a model has no such option.
_LACKS = {
    ("mlp", "upsample"): "its dense layers enlarge nothing",
    ("maxout", "upsample"): "its dense layers enlarge nothing",
    ("shallow", "upsample"): "its dense layers enlarge nothing",
    ("unet", "pack"): "its discriminator sees each image beside its own condition, and packs would mix them",
    ("unet", "minibatch_discrimination"): "its discriminator judges patches and has no features of whole samples",
    ("unet", "minibatch_stddev"): "its discriminator judges patches and has no features of whole samples",
    ("unet", "classes"): "its condition is an image",
}


def refusal(name: str, option: str) -> str | None:
    """Why the model called `name` cannot have `option`, one of the keywords of `build`; None if it can."""
    if option in inspect.signature(MODELS[name]).parameters:
        return None
    return f"model {name!r} takes no {option}: {_LACKS.get((name, option), 'it is not made for it')}"


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
    """A generator and a discriminator for samples of one shape.

    Args:
        name: one of `MODELS`.
        shape: of one sample: (F,) for points, (C, H, W) for images, which G's tanh bounds to [-1, 1].
        latent_dim: length of z.
        width: units per hidden layer (mlp) or channels at the image's largest feature map (dcgan, unet); None: the
            model's own default.
        discriminator_width: the same for D alone; None: as `width`.
        generator_norm, discriminator_norm: one of `NORMS`. A critic with a per-sample gradient penalty takes no batch
            norm, which ties the samples of a batch together (Gulrajani et al. 2017, section 4).
        pack: how many samples D sees at once, joined by `ganops.pack`.
        classes: number of classes of a conditional GAN: G takes (z, labels), D takes (samples, labels), labels (N,)
            int64, or (N, pack) for D where samples are packed; None: no labels.
        condition_shape: (C', H, W), of the images from which ``unet`` makes others: G takes (z, images), D takes
            (samples, images).
        upsample: one of `UPSAMPLINGS`, how G enlarges its maps.
        minibatch_discrimination, minibatch_stddev: give D that layer before its last one.
        lipschitz: D's logits are multiplied by this: with ``discriminator_norm="spectral"`` the bound of its slope.

    Raises:
        ValueError: an unknown name, a shape that the model cannot serve, or an option that it cannot have.
    """
    checks.choice("models.build", "name", name, MODELS)
    checks.choice("models.build", "generator_norm", generator_norm, NORMS)
    checks.choice("models.build", "discriminator_norm", discriminator_norm, NORMS)
    checks.choice("models.build", "upsample", upsample, UPSAMPLINGS)
    for option, value in (("width", width), ("discriminator_width", discriminator_width)):
        if value is not None and value < 1:
            raise ValueError(f"models.build: {option} must be at least 1, got {value}")
    if name == "unet" and condition_shape is None:
        raise ValueError("models.build: model 'unet' makes images from images: condition_shape is missing")
    chosen: dict[str, Any] = {"width": width, "classes": classes, "condition_shape": condition_shape}
    chosen = {option: value for option, value in chosen.items() if value is not None}
    usual = {"pack": 1, "upsample": "transposed", "minibatch_discrimination": False, "minibatch_stddev": False}
    given = (pack, upsample, minibatch_discrimination, minibatch_stddev)
    chosen |= {option: value for option, value in zip(usual, given, strict=True) if value != usual[option]}
    for option in chosen:
        reason = refusal(name, option)
        if reason is not None:
            raise ValueError(f"models.build: {reason}")
    if not lipschitz > 0:
        raise ValueError(f"models.build: lipschitz must be above 0, got {lipschitz}")
    generator, discriminator = MODELS[name](
        shape,
        latent_dim=latent_dim,
        discriminator_width=discriminator_width,
        generator_norm=generator_norm,
        discriminator_norm=discriminator_norm,
        **chosen,
    )
    return generator, discriminator if lipschitz == 1 else Scaled(discriminator, lipschitz)
