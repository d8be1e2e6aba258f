"""Parts that several models use: normalisation and up-sampling by name, and a discriminator's last layers."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ganops import ops
from ganops.models.conditional import ProjectionDiscriminator
from ganops.nn import MinibatchDiscrimination, MinibatchStddev

__all__ = [
    "NORMS",
    "UPSAMPLINGS",
    "FilteredUpsample",
    "LeakyConv2d",
    "LowPass",
    "Norm",
    "Scaled",
    "Upsampling",
    "halving",
    "normalised",
    "upsampling",
    "with_head",
]

Norm = Literal["none", "batch", "layer", "instance", "spectral"]
NORMS: tuple[str, ...] = get_args(Norm)

Upsampling = Literal["transposed", "resize", "filtered"]
UPSAMPLINGS: tuple[str, ...] = get_args(Upsampling)


class LeakyConv2d(nn.Conv2d):
    """A convolution and a leaky ReLU of slope 0.2; the convolution's bias is added in the activation's pass."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        x = functional.conv2d(input, self.weight, None, self.stride, self.padding, self.dilation, self.groups)
        return ops.bias_act(x, self.bias, act="lrelu", alpha=0.2, gain=1.0)


class Scaled(nn.Module):
    """A network whose output is multiplied by `factor`.

    For a spectrally normalised network, whose Lipschitz constant is at most 1, the factor is the new bound.

    Args:
        network: any network; it gets the arguments of this module.
        factor: above 0.
    """

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network = network
        self.factor = factor

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the network's output times `factor`."""
        return self.factor * self.network(*inputs)


class _Filter(nn.Module):
    """A module with the filter [1, 3, 3, 1] along both axes, StyleGAN2's. It is no part of the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", ops.setup_filter([1, 3, 3, 1]), persistent=False)


class FilteredUpsample(_Filter):
    """Doubles the sides of images, and low-passes them, so that no copies of their spectrum appear.

    Args:
        extra: pixels by which the result is higher and wider than twice the image, 0 or 1 each.
    """

    def __init__(self, extra: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 2H + extra, 2W + extra)."""
        below, right = self.extra
        return ops.upfirdn2d(x, self.filter, up=2, padding=(2, 1 + right, 2, 1 + below), gain=4)


class LowPass(_Filter):
    """Low-passes images, so that a convolution with a stride after it does not fold high frequencies over low ones."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return ops.filter2d(x, self.filter)


def normalised(layer: nn.Module, features: int, norm: Norm) -> list[nn.Module]:
    """Return `layer` (a convolution or a linear map to `features` outputs) and its normalisation.

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
    """Return layers from maps (N, channels, *small) to (N, features, *large), about twice as large, and normalisation.

    ``transposed``: 4x4 kernels with stride 2 and padding 1, which double a side exactly, plus one pixel if halving had
    rounded down. As 4 is a multiple of 2, every output pixel gathers equally many inputs; remaining checkerboards come
    from the weights (Odena et al. 2016). ``resize``: nearest-neighbour enlargement, then a 3x3 convolution, which
    makes no checkerboards. ``filtered``: a `FilteredUpsample`, then a 3x3 convolution: no checkerboards, and hardly
    any copies of the small map's spectrum (Karras et al. 2019, arXiv:1812.04948, after Zhang 2019).
    """
    extra = (large[0] - 2 * small[0], large[1] - 2 * small[1])
    if kind == "transposed":
        layer = nn.ConvTranspose2d(channels, features, 4, stride=2, padding=1, output_padding=extra)
        return normalised(layer, features, norm)
    enlarged = FilteredUpsample(extra) if kind == "filtered" else nn.Upsample(size=large)
    return [enlarged, *normalised(nn.Conv2d(channels, features, 3, padding=1), features, norm)]


def halving(channels: int, features: int, norm: Norm, kind: Upsampling) -> list[nn.Module]:
    """Return layers from maps (N, channels, H, W) to (N, features, H // 2, W // 2), normalisation and LeakyReLU(0.2).

    4x4 kernels with stride 2 and padding 1 halve a side exactly, rounding down. With ``kind`` "filtered" a `LowPass`
    comes before, as in StyleGAN2's discriminator (Karras et al. 2020, arXiv:1912.04958). Where nothing comes between
    the convolution and the activation they are one layer, with an identity in the activation's place.
    """
    one = norm in ("none", "spectral")
    layer = (LeakyConv2d if one else nn.Conv2d)(channels, features, 4, stride=2, padding=1)
    layers = [*normalised(layer, features, norm), nn.Identity() if one else nn.LeakyReLU(0.2)]
    return [LowPass(), *layers] if kind == "filtered" else layers


def with_head(
    features: list[nn.Module],
    units: int,
    norm: Norm,
    *,
    classes: int | None = None,
    pack: int = 1,
    minibatch_discrimination: bool = False,
    minibatch_stddev: bool = False,
) -> nn.Module:
    """Complete a discriminator: append the minibatch layers and the map to the logit.

    Args:
        features: the layers from samples to features (N, units).
        units: number of features.
        norm: ``spectral`` is applied to the last layer as well; all others are not.
        classes: number of classes, for a `ProjectionDiscriminator`; None: samples have no labels.
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
