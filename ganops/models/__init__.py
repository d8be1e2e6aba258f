"""Generators and discriminators: plain `torch.nn` modules, built by name for any sample shape.

>>> from ganops import models
>>> generator, discriminator = models.build("dcgan", (1, 28, 28), latent_dim=64)
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ganops import _checks
from ganops.models.dcgan import dcgan
from ganops.models.layers import NORMS, Norm
from ganops.models.mlp import mlp

__all__ = ["MODELS", "NORMS", "Norm", "build", "dcgan", "mlp"]

#: Every model by name: sample shape and options to (generator, discriminator). G maps (N, latent_dim) to
#: (N, *shape), D maps (N, *shape) to raw logits (N, 1).
MODELS: dict[str, Callable[..., tuple[nn.Module, nn.Module]]] = {"mlp": mlp, "dcgan": dcgan}


def build(
    name: str,
    shape: tuple[int, ...],
    *,
    latent_dim: int,
    width: int | None = None,
    generator_norm: Norm = "batch",
    discriminator_norm: Norm = "none",
) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator for samples of one shape.

    Args:
        name: one of `MODELS`.
        shape: of one sample: (F,) for points, (C, H, W) for images, which G's tanh bounds to [-1, 1].
        latent_dim: length of z.
        width: units per hidden layer (mlp) or channels at the image's largest feature map (dcgan); None: the model's
            own default.
        generator_norm, discriminator_norm: one of `NORMS`. A critic with a per-sample gradient penalty takes no batch
            norm, which ties the samples of a batch together (Gulrajani et al. 2017, section 4).

    Raises:
        ValueError: an unknown name, or a shape that the model cannot serve.
    """
    _checks.choice("models.build", "name", name, MODELS)
    _checks.choice("models.build", "generator_norm", generator_norm, NORMS)
    _checks.choice("models.build", "discriminator_norm", discriminator_norm, NORMS)
    if width is not None and width < 1:
        raise ValueError(f"models.build: width must be at least 1, got {width}")
    options = {} if width is None else {"width": width}
    return MODELS[name](
        shape,
        latent_dim=latent_dim,
        generator_norm=generator_norm,
        discriminator_norm=discriminator_norm,
        **options,
    )
