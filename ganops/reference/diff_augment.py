"""Differentiable augmentation in plain PyTorch: a pure function of the images and of one table of random numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ganops import _checks
from ganops.reference.interpolate import accumulate_dtype

# Uniform numbers per image: brightness, saturation, contrast, shift in y and x, hole in y and x. The kernels' table of
# them is `enum Draw` in csrc/math/diff_augment.h.
DRAWS = 7
_UNCHANGED = (0.5, 0.5, 0.5, 0.5, 0.5, -1.0, -1.0)  # a hole at −1 lies outside of the image
_OF_POLICY = (0, 0, 0, 1, 1, 2, 2)  # the change that a number belongs to, in the order of POLICIES
_SHIFT = 0.125  # largest translation, in sides of the image
_HOLE = 0.5  # side of the hole, in sides of the image


def check_policy(function: str, policy: object) -> list[str]:
    """The names in a policy, in order; raises ValueError or TypeError."""
    if not isinstance(policy, str):
        raise TypeError(f"{function}: policy must be text such as 'color,cutout', got {type(policy).__name__}")
    names = [name.strip() for name in policy.split(",") if name.strip()]
    for name in names:
        _checks.choice(function, "policy", name, POLICIES)
    return names


def check_probability(function: str, p: object) -> None:
    """Raises unless ``p`` is a number in [0, 1] or a tensor of one number, whose value is not looked at."""
    if isinstance(p, Tensor):
        if p.numel() != 1:
            raise ValueError(f"{function}: p must be one number, got shape {tuple(p.shape)}")
    elif _checks.number(function, "p", p, minimum=0) > 1:
        raise ValueError(f"{function}: p must be a probability, at most 1, got {p!r}")


def prepare(
    x: Tensor, policy: str, generator: torch.Generator | None, parameters: Tensor | None, p: float | Tensor
) -> tuple[list[str], Tensor]:
    """Checks the arguments of ``diff_augment``; the names in the policy, and the numbers in the accumulation dtype."""
    _checks.tensor("diff_augment", "x", x)
    if x.dim() != 4:
        raise ValueError(f"diff_augment: x must be images (N, C, H, W), got shape {tuple(x.shape)}")
    names = check_policy("diff_augment", policy)
    check_probability("diff_augment", p)
    if parameters is None:
        return names, draw(x, generator, p).to(accumulate_dtype(x.dtype))
    if generator is not None or isinstance(p, Tensor) or p != 1:
        raise ValueError("diff_augment: give parameters, or generator and p, not both: these draw the parameters")
    _checks.tensor("diff_augment", "parameters", parameters)
    if parameters.shape != (x.shape[0], DRAWS):
        raise ValueError(
            f"diff_augment: parameters must have {DRAWS} numbers per image, shape ({x.shape[0]}, {DRAWS}), "
            f"got {tuple(parameters.shape)}"
        )
    if parameters.requires_grad:
        raise ValueError("diff_augment: no gradient flows to parameters; pass parameters.detach()")
    if parameters.device != x.device:
        raise ValueError(f"diff_augment: parameters ({parameters.device}) and x ({x.device}) must be on one device")
    return names, parameters.to(accumulate_dtype(x.dtype))


def draw(x: Tensor, generator: torch.Generator | None, p: float | Tensor) -> Tensor:
    """The numbers of ``diff_augment``, (N, DRAWS) float32 on the device of ``x``, whatever the generator's device is.

    U[0, 1), and where a change is not to be made, with probability 1 − p, the numbers that change nothing.
    """
    device = x.device if generator is None else generator.device
    u = torch.rand(x.shape[0], DRAWS, generator=generator, device=device).to(x.device)
    if not isinstance(p, Tensor) and p == 1:
        return u
    chance = torch.rand(x.shape[0], len(POLICIES), generator=generator, device=device).to(x.device)
    if isinstance(p, Tensor):
        p = p.detach().to(x.device)
    made = torch.stack([chance[:, i] < p for i in _OF_POLICY], 1)
    return torch.where(made, u, u.new_tensor(_UNCHANGED))


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


#: What a policy is made of; each takes images (N, C, H, W) and uniform numbers (N, DRAWS).
POLICIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
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
            wide = POLICIES[name](wide, u)
    return wide.to(x.dtype)
