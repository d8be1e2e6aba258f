"""Differentiable augmentation in plain PyTorch: a pure function of the images and of one table of random numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ganops import _checks
from ganops.reference.interpolate import accumulate_dtype

DRAWS = 7  # uniform numbers per image: brightness, saturation, contrast, shift in y and x, hole in y and x
_SHIFT = 0.125  # largest translation, in sides of the image
_HOLE = 0.5  # side of the hole, in sides of the image


def check(x: Tensor, policy: str) -> list[str]:
    """Checks the arguments of ``diff_augment`` and returns the names in the policy, in order."""
    _checks.tensor("diff_augment", "x", x)
    if x.dim() != 4:
        raise ValueError(f"diff_augment: x must be images (N, C, H, W), got shape {tuple(x.shape)}")
    if not isinstance(policy, str):
        raise TypeError(f"diff_augment: policy must be text such as 'color,cutout', got {type(policy).__name__}")
    names = [name.strip() for name in policy.split(",") if name.strip()]
    for name in names:
        _checks.choice("diff_augment", "policy", name, POLICIES)
    return names


def draw(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """U[0, 1) for each image, (N, DRAWS) float32 on the device of ``x``, whatever the generator's device is."""
    device = x.device if generator is None else generator.device
    return torch.rand(x.shape[0], DRAWS, generator=generator, device=device).to(x.device)


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
        shift = (number * (2 * most + 1)).floor().long() - most
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
        first = (number * (side + 1 - hole % 2)).floor().long()[:, None] - hole // 2
        place = torch.arange(side, device=x.device)
        inside.append((place >= first) & (place < first + hole))
    return x.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0)


#: What a policy is made of; each takes images (N, C, H, W) and uniform numbers (N, DRAWS).
POLICIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _colour,
    "translation": _translation,
    "cutout": _cutout,
}


def diff_augment(
    x: Tensor, policy: str = "color,translation,cutout", *, generator: torch.Generator | None = None
) -> Tensor:
    """The same function as :func:`ganops.diff_augment`, in plain PyTorch."""
    names = check(x, policy)
    u = draw(x, generator).to(accumulate_dtype(x.dtype))
    wide = x.to(u.dtype)
    if x.numel():
        for name in names:
            wide = POLICIES[name](wide, u)
    return wide.to(x.dtype)
