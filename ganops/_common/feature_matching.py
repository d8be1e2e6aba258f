"""Arguments of the feature matching loss: checked, and nested lists made flat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import promoted
from ganops._common.reduction import SCALE_REDUCTIONS

NAME = "feature_matching_loss"

# In the order of the enum in csrc/math/feature_matching.h.
DISTANCES = ("l1", "l2")

Features = Tensor | Sequence[Any]


def check(
    real_features: Features,
    fake_features: Features,
    distance: str,
    normalize: bool,
    detach_real: bool,
    scale_reduction: str,
) -> tuple[list[Tensor], list[Tensor]]:
    """Checks the arguments and returns the real and the fake features as flat lists."""
    checks.choice(NAME, "distance", distance, DISTANCES)
    checks.choice(NAME, "scale_reduction", scale_reduction, SCALE_REDUCTIONS)
    checks.flag(NAME, "normalize", normalize)
    checks.flag(NAME, "detach_real", detach_real)
    real: list[Tensor] = []
    fake: list[Tensor] = []
    _flatten(real_features, fake_features, (), real, fake)
    if len({x.dtype for x in real} | {x.dtype for x in fake}) > 1:
        both = promoted(*real, *fake)
        real, fake = list(both[: len(real)]), list(both[len(real) :])
    dtype, device = fake[0].dtype, fake[0].device
    for place, pair in enumerate(zip(real, fake, strict=True)):
        for side, x in zip(("real", "fake"), pair, strict=True):
            if x.dtype != dtype:
                raise TypeError(
                    f"{NAME}: {side}_features{_path(place, real_features)} is {x.dtype}, "
                    f"fake_features{_path(0, real_features)} is {dtype}; all features must have one dtype"
                )
            if x.device != device:
                raise ValueError(
                    f"{NAME}: {side}_features{_path(place, real_features)} is on {x.device}, "
                    f"fake_features{_path(0, real_features)} on {device}; all features must be on one device"
                )
    return real, fake


def _flatten(one: Any, other: Any, path: tuple[int, ...], real: list[Tensor], fake: list[Tensor]) -> None:
    """Appends the tensors of two equally nested lists to ``real`` and ``fake``, depth first."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if not checks.alike(one, other) or one.is_nested or other.is_nested:
            checks.dense(NAME, f"real_features{_text(path)}", one)
            checks.dense(NAME, f"fake_features{_text(path)}", other)
        if one.shape != other.shape:
            raise ValueError(
                f"{NAME}: real_features{_text(path)} {tuple(one.shape)} and fake_features{_text(path)} "
                f"{tuple(other.shape)} must have the same shape"
            )
        real.append(one)
        fake.append(other)
        return
    for side, value in (("real", one), ("fake", other)):
        if not isinstance(value, (list, tuple, Tensor)):
            raise TypeError(
                f"{NAME}: {side}_features{_text(path)} must be a tensor or a list of features, "
                f"got {type(value).__name__}"
            )
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        raise TypeError(
            f"{NAME}: real_features{_text(path)} is a {type(one).__name__} and fake_features{_text(path)} a "
            f"{type(other).__name__}; both must be nested alike"
        )
    if len(one) != len(other):
        raise ValueError(
            f"{NAME}: real_features{_text(path)} has {len(one)} entries and fake_features{_text(path)} has "
            f"{len(other)}; both must have the same length"
        )
    if len(one) == 0:
        raise ValueError(f"{NAME}: real_features{_text(path)} is empty; pass at least one pair of features")
    for place, pair in enumerate(zip(one, other, strict=True)):
        _flatten(*pair, (*path, place), real, fake)


def _text(path: tuple[int, ...]) -> str:
    return "".join(f"[{place}]" for place in path)


def _path(number: int, features: Any) -> str:
    """Where the tensor of that number is, e.g. ``[2][5]``."""
    paths: list[tuple[int, ...]] = []

    def walk(value: Any, path: tuple[int, ...]) -> None:
        if isinstance(value, Tensor):
            paths.append(path)
        else:
            for place, entry in enumerate(value):
                walk(entry, (*path, place))

    walk(features, ())
    return _text(paths[number])
