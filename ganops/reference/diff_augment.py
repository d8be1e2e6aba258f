"""Differentiable augmentation in plain PyTorch: a pure function of the images and of one table of random numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ganops._common.diff_augment import prepare

_SHIFT = 0.125  # largest translation, in sides of the image
_HOLE = 0.5  # side of the hole, in sides of the image


def _colour(x: Tensor, u: Tensor) -> Tensor:
    brightness, saturation, contrast = (u[:, i].reshape(-1, 1, 1, 1) for i in range(3))
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    middle = x.mean((1, 2, 3), keepdim=True)
    return middle + (x - middle) * (contrast + 0.5)


def _translation(x: Tensor, u: Tensor) -> Tensor:
    height, width = x.shape[2:]
    places = []
    for side, number in ((height, u[:, 3]), (width, u[:, 4])):
        most = int(side * _SHIFT + 0.5)
        # In float64 the product is exact, and below 2·most + 1 for every number below 1.
        shift = (number.double() * (2 * most + 1)).floor().long() - most
        # In the padded image 0 and side + 1 are the border: whatever comes from outside is 0.
        places.append((torch.arange(side, device=x.device) + shift[:, None] + 1).clamp(0, side + 1))
    rows, columns = places
    image = torch.arange(x.shape[0], device=x.device)[:, None, None]
    moved = functional.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _cutout(x: Tensor, u: Tensor) -> Tensor:
    inside = []
    for side, number in ((x.shape[2], u[:, 5]), (x.shape[3], u[:, 6])):
        hole = int(side * _HOLE + 0.5)
        # The hole's middle is anywhere in the image, so that part of the hole may lie outside.
        first = (number.double() * (side + 1 - hole % 2)).floor().long()[:, None] - hole // 2
        place = torch.arange(side, device=x.device)
        inside.append((place >= first) & (place < first + hole))
    return x.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0)


# Each takes images (N, C, H, W) and uniform numbers (N, DRAWS).
_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _colour,
    "translation": _translation,
    "cutout": _cutout,
}


def diff_augment(
    x: Tensor,
    policy: str = "color,translation,cutout",
    *,
    generator: torch.Generator | None = None,
    parameters: Tensor | None = None,
    p: float | Tensor = 1.0,
) -> Tensor:
    """The same function as :func:`ganops.diff_augment`, in plain PyTorch."""
    names, u = prepare(x, policy, generator, parameters, p)
    wide = x.to(u.dtype)
    if x.numel():
        for name in names:
            wide = _CHANGES[name](wide, u)
    return wide.to(x.dtype)
