"""Policies of differentiable augmentation, the checks of its arguments, and its random numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype

#: The changes that a policy may name, in the order in which one pass of the kernels makes them.
POLICIES = ("color", "translation", "cutout")

# Uniform numbers per image: brightness, saturation, contrast, shift in y and x, hole in y and x. The kernels' table of
# them is `enum Draw` in csrc/math/diff_augment.h.
DRAWS = 7
_UNCHANGED = (0.5, 0.5, 0.5, 0.5, 0.5, -1.0, -1.0)  # a hole at −1 lies outside of the image
_OF_POLICY = (0, 0, 0, 1, 1, 2, 2)  # the change that a number belongs to, in the order of POLICIES


def check_policy(function: str, policy: object) -> list[str]:
    """The names in a policy, in order; raises ValueError or TypeError."""
    if not isinstance(policy, str):
        raise TypeError(f"{function}: policy must be text such as 'color,cutout', got {type(policy).__name__}")
    names = [name.strip() for name in policy.split(",") if name.strip()]
    for name in names:
        checks.choice(function, "policy", name, POLICIES)
    return names


def check_probability(function: str, p: object) -> None:
    """Raises unless ``p`` is a number in [0, 1] or a tensor of one number, whose value is not looked at."""
    if isinstance(p, Tensor):
        if p.numel() != 1:
            raise ValueError(f"{function}: p must be one number, got shape {tuple(p.shape)}")
    elif checks.number(function, "p", p, minimum=0) > 1:
        raise ValueError(f"{function}: p must be a probability, at most 1, got {p!r}")


def prepare(
    x: Tensor, policy: str, generator: torch.Generator | None, parameters: Tensor | None, p: float | Tensor
) -> tuple[list[str], Tensor]:
    """Checks the arguments of ``diff_augment``; the names in the policy, and the numbers in the accumulation dtype."""
    checks.dense("diff_augment", "x", x)
    if x.dim() != 4:
        raise ValueError(f"diff_augment: x must be images (N, C, H, W), got shape {tuple(x.shape)}")
    names = check_policy("diff_augment", policy)
    check_probability("diff_augment", p)
    checks.generator("diff_augment", generator)
    if parameters is None:
        return names, draw(x, generator, p).to(accumulate_dtype(x.dtype))
    if generator is not None or isinstance(p, Tensor) or p != 1:
        raise ValueError("diff_augment: give parameters, or generator and p, not both: these draw the parameters")
    checks.dense("diff_augment", "parameters", parameters)
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
    options = {"dtype": torch.float32, "device": x.device if generator is None else generator.device}
    u = torch.rand(x.shape[0], DRAWS, generator=generator, **options).to(x.device)
    if not isinstance(p, Tensor) and p == 1:
        return u
    chance = torch.rand(x.shape[0], len(POLICIES), generator=generator, **options).to(x.device)
    if isinstance(p, Tensor):
        p = p.detach().to(x.device)
    numbers = zip(_OF_POLICY, _UNCHANGED, strict=True)
    return torch.stack([torch.where(chance[:, i] < p, u[:, j], other) for j, (i, other) in enumerate(numbers)], 1)
