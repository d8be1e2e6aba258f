"""Feature matching in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common.dtypes import without_autocast
from ganops._common.feature_matching import Features, check
from ganops._common.reduction import reduce_scales


def feature_matching_loss(
    real_features: Features,
    fake_features: Features,
    *,
    distance: str = "l1",
    normalize: bool = False,
    detach_real: bool = True,
    scale_reduction: str = "sum",
) -> Tensor:
    """The same function as :func:`ganops.feature_matching_loss`, in plain PyTorch."""
    real, fake = check(real_features, fake_features, distance, normalize, detach_real, scale_reduction)
    if detach_real:
        real = [x.detach() for x in real]
    values = [_value(*pair, distance, normalize) for pair in zip(real, fake, strict=True)]
    if isinstance(fake_features, Tensor):
        return values[0]
    return reduce_scales(values, scale_reduction)


def _value(real: Tensor, fake: Tensor, distance: str, normalize: bool) -> Tensor:
    dtype = without_autocast(fake).dtype
    # Half precision is widened for the sums, as the kernels do.
    wide = torch.promote_types(dtype, torch.float32)
    real, fake = real.to(wide), fake.to(wide)
    difference = real - fake
    value = (difference.abs() if distance == "l1" else difference.square()).mean()
    return (value / real.abs().mean() if normalize else value).to(dtype)
