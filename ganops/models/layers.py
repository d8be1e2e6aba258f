"""Normalisation by name, for dense and convolutional layers alike."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["NORMS", "Norm", "normalised"]

Norm = Literal["none", "batch", "layer", "instance", "spectral"]
NORMS: tuple[str, ...] = get_args(Norm)


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
