"""What the models share: normalisation by name, up-sampling by name, and a discriminator's last layers."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganops.models.conditional import ProjectionDiscriminator
from ganops.nn import MinibatchDiscrimination, MinibatchStddev

__all__ = ["NORMS", "UPSAMPLINGS", "Norm", "Scaled", "Upsampling", "judge", "normalised", "upsampling"]

Norm = Literal["none", "batch", "layer", "instance", "spectral"]
NORMS: tuple[str, ...] = get_args(Norm)

Upsampling = Literal["transposed", "resize"]
UPSAMPLINGS: tuple[str, ...] = get_args(Upsampling)


class Scaled(nn.Module):
    """`factor` times what a network gives: of a spectrally normalised one, whose slope is at most 1, the bound.

    Args:
        network: takes what this module is called with.
        factor: above 0.
    """

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network = network
        self.factor = factor

    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's output times `factor`."""
        return self.factor * self.network(*inputs)


def normalised(layer: nn.Module, features: int, norm: Norm) -> list[nn.Module]:
    """`layer` (a convolution or a linear map to `features` outputs) followed by its normalisation.

    ``layer`` normalises each sample over all its features (for images: channels and pixels, GroupNorm with one
    group), ``instance`` each channel of each sample over its pixels; neither mixes samples. ``spectral`` is
    `torch.nn.utils.parametrizations.spectral_norm` on the layer's own weight.
    """
    dense = isinstance(layer, nn.Linear)
    if norm == "none":
        return [layer]
    if norm == "spectral":
        return [spectral_norm(layer)]
    if norm == "batch":
        return [layer, nn.BatchNorm1d(features) if dense else nn.BatchNorm2d(features)]
    if norm == "layer":
        return [layer, nn.GroupNorm(1, features)]
    if dense:
        raise ValueError("norm 'instance' averages over pixels; dense layers take none, batch, layer or spectral")
    return [layer, nn.InstanceNorm2d(features, affine=True)]


def upsampling(
    channels: int,
    features: int,
    small: tuple[int, int],
    large: tuple[int, int],
    norm: Norm,
    kind: Upsampling,
) -> list[nn.Module]:
    """From maps (N, channels, *small) to (N, features, *large), about twice as large, and their normalisation.

    ``transposed``: 4x4 kernels with stride 2 and padding 1, which double a side exactly, plus one where halving it had
    rounded down. 4 being a multiple of 2, every output pixel gathers equally many inputs; what checkerboards remain
    come from the weights (Odena et al. 2016). ``resize`` cannot make any: nearest-neighbour enlargement, then a 3x3
    convolution.
    """
    if kind == "transposed":
        extra = (large[0] - 2 * small[0], large[1] - 2 * small[1])
        layer = nn.ConvTranspose2d(channels, features, 4, stride=2, padding=1, output_padding=extra)
        return normalised(layer, features, norm)
    return [nn.Upsample(size=large), *normalised(nn.Conv2d(channels, features, 3, padding=1), features, norm)]


def judge(
    features: list[nn.Module],
    units: int,
    norm: Norm,
    *,
    classes: int | None = None,
    pack: int = 1,
    minibatch_discrimination: bool = False,
    minibatch_stddev: bool = False,
) -> nn.Module:
    """A discriminator from the layers that make its features (N, units): what looks at the batch, then the logit.

    Args:
        features: from samples to (N, units).
        units: how many.
        norm: ``spectral`` holds for the last layer too; all others leave it alone.
        classes: number of classes where labels come with the samples: a `ProjectionDiscriminator`.
        pack: labels per sample.
        minibatch_discrimination, minibatch_stddev: append `ganops.nn.MinibatchDiscrimination` and
            `ganops.nn.MinibatchStddev`.
    """
    layers = [*features]
    if minibatch_stddev:
        layers.append(MinibatchStddev())
        units += 1
    if minibatch_discrimination:
        layers.append(MinibatchDiscrimination(units))
        units = units + layers[-1].weight.shape[1]
    head = nn.Linear(units, 1)
    if classes is None:
        return nn.Sequential(*layers, spectral_norm(head) if norm == "spectral" else head)
    return ProjectionDiscriminator(nn.Sequential(*layers), head, classes, pack, spectral=norm == "spectral")
