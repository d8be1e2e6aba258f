"""Dense generators and discriminators, for points and for small images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn

from ganops.models.conditional import LabelledGenerator, label_width
from ganops.models.layers import Norm, normalised, with_head

__all__ = ["Maxout", "maxout", "mlp", "shallow"]


class Maxout(nn.Module):
    """The maximum of `pieces` linear maps, for each unit (Goodfellow et al. 2013, arXiv:1302.4389)."""

    def __init__(self, in_features: int, out_features: int, pieces: int = 5) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features * pieces)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_features) to (N, out_features)."""
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(dim=2)


class _Times(nn.Module):
    """Multiplies its input by `factor`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    def extra_repr(self) -> str:
        return f"{self.factor:g}"


def _features(shape: tuple[int, ...], name: str) -> int:
    features = math.prod(shape)
    if features < 1:
        raise ValueError(f"{name}: shape {shape} holds no elements")
    return features


def _generator(
    shape: tuple[int, ...], latent_dim: int, width: int, depth: int, norm: Norm, classes: int | None
) -> nn.Module:
    """Build hidden layers with ReLU; the end is a tanh for images, and linear for points."""
    sizes = [latent_dim + label_width(classes)] + [width] * depth
    layers = [part for a, b in pairwise(sizes) for part in (*normalised(nn.Linear(a, b), b, norm), nn.ReLU())]
    generator = nn.Sequential(*layers, nn.Linear(width, math.prod(shape)))
    if len(shape) > 1:
        generator.extend([nn.Tanh(), nn.Unflatten(1, shape)])
    return generator if classes is None else LabelledGenerator(generator, classes)


def mlp(
    shape: tuple[int, ...],
    *,
    latent_dim: int,
    width: int = 256,
    discriminator_width: int | None = None,
    depth: int = 3,
    generator_norm: Norm = "batch",
    discriminator_norm: Norm = "none",
    pack: int = 1,
    classes: int | None = None,
    minibatch_discrimination: bool = False,
    minibatch_stddev: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """Build networks with `depth` hidden layers of `width` units, with ReLU in G and LeakyReLU(0.2) in D.

    G ends in a tanh for images (C, H, W) and is linear for points (F,). The WGAN-GP toys have depth 3, width 512 and no
    normalisation (Gulrajani et al. 2017, appendix). Weights have PyTorch's default initialisation. For the arguments
    see `ganops.models.build`.
    """
    units = discriminator_width or width
    sizes = [pack * _features(shape, "mlp")] + [units] * depth
    generator = _generator(shape, latent_dim, width, depth, generator_norm, classes)
    hidden: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise(sizes):
        hidden += [*normalised(nn.Linear(a, b), b, discriminator_norm), nn.LeakyReLU(0.2)]
    return generator, with_head(
        hidden,
        units,
        discriminator_norm,
        classes=classes,
        pack=pack,
        minibatch_discrimination=minibatch_discrimination,
        minibatch_stddev=minibatch_stddev,
    )


def maxout(
    shape: tuple[int, ...],
    *,
    latent_dim: int,
    width: int = 200,
    discriminator_width: int | None = None,
    generator_norm: Norm = "batch",
    discriminator_norm: Norm = "none",
    pack: int = 1,
    classes: int | None = None,
    minibatch_discrimination: bool = False,
    minibatch_stddev: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """Build the networks of PacGAN's toys (Lin et al. 2018, section 4.1): G 4 x 400 ReLU, D 3 x 200 maxout of 5.

    G's hidden layers have 2 `width` units, D's have `discriminator_width` or `width`. Weights are N(0, 0.02), biases 0.
    For the arguments see `ganops.models.build`.
    """
    if discriminator_norm != "none":
        raise ValueError(f"maxout: discriminator_norm must be none, got {discriminator_norm!r}")
    units = discriminator_width or width
    sizes = [pack * _features(shape, "maxout")] + [units] * 3
    generator = _generator(shape, latent_dim, 2 * width, 4, generator_norm, classes)
    hidden: list[nn.Module] = [nn.Flatten(), *(Maxout(a, b) for a, b in pairwise(sizes))]
    discriminator = with_head(
        hidden,
        units,
        discriminator_norm,
        classes=classes,
        pack=pack,
        minibatch_discrimination=minibatch_discrimination,
        minibatch_stddev=minibatch_stddev,
    )
    for module in _dense(generator, discriminator):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)
    return generator, discriminator


def shallow(
    shape: tuple[int, ...],
    *,
    latent_dim: int,
    width: int = 128,
    discriminator_width: int | None = None,
    generator_norm: Norm = "none",
    discriminator_norm: Norm = "none",
    pack: int = 1,
    classes: int | None = None,
    minibatch_discrimination: bool = False,
    minibatch_stddev: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """Build the networks of Unrolled GAN's ring (Metz et al. 2017, appendix A): two hidden layers in G, one in D, ReLU.

    D divides its input by 4, which brings a ring of radius 2 into [-1, 1]. Weights are orthogonal times 0.8, biases 0.
    For the arguments see `ganops.models.build`.
    """
    units = discriminator_width or width
    generator = _generator(shape, latent_dim, width, 2, generator_norm, classes)
    layer = nn.Linear(pack * _features(shape, "shallow"), units)
    hidden = [nn.Flatten(), _Times(0.25), *normalised(layer, units, discriminator_norm), nn.ReLU()]
    discriminator = with_head(
        hidden,
        units,
        discriminator_norm,
        classes=classes,
        pack=pack,
        minibatch_discrimination=minibatch_discrimination,
        minibatch_stddev=minibatch_stddev,
    )
    for module in _dense(generator, discriminator):
        nn.init.orthogonal_(module.weight, 0.8)
        nn.init.zeros_(module.bias)
    return generator, discriminator


def _dense(*networks: nn.Module) -> Iterator[nn.Linear]:
    """Yield the dense layers, except those whose weight is computed from another tensor (spectral norm)."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.Linear) and not hasattr(module, "parametrizations"):
                yield module
