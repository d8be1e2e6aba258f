"""Differentiable augmentation, its random numbers given."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

import ganops
from ganops.bench.case import (
    BACKWARD,
    BOTH,
    COMPILE,
    EAGER,
    FORWARD,
    POPULAR,
    Case,
    Floor,
    Inputs,
    Rival,
    Suite,
    Traffic,
    call_bound,
    generator,
    size_of,
)

ALL = "color,translation,cutout"
MEAN = "the mean of each image, a pass over it before its pixels can be written"


def _column(u: Tensor, place: int) -> Tensor:
    return u[:, place].reshape(-1, 1, 1, 1)


def _shift(side: int, u: Tensor) -> Tensor:
    most = int(side * 0.125 + 0.5)
    return (u * (2 * most + 1)).floor().long() - most


def _middle(side: int, u: Tensor) -> Tensor:
    return (u * (side + 1 - int(side * 0.5 + 0.5) % 2)).floor().long()


def _change_by_change(x: Tensor, u: Tensor, policy: str) -> Tensor:
    """As the published code goes about it: a tensor for each change, places as index tensors of every pixel."""
    n, _, height, width = x.shape
    if "color" in policy:
        x = x + (_column(u, 0) - 0.5)
        mean = x.mean(dim=1, keepdim=True)
        x = (x - mean) * (_column(u, 1) * 2) + mean
        mean = x.mean(dim=[1, 2, 3], keepdim=True)
        x = (x - mean) * (_column(u, 2) + 0.5) + mean
    image, rows, columns = torch.meshgrid(
        *(torch.arange(size, device=x.device) for size in (n, height, width)), indexing="ij"
    )
    rows = torch.clamp(rows + _shift(height, u[:, 3]).reshape(-1, 1, 1) + 1, 0, height + 1)
    columns = torch.clamp(columns + _shift(width, u[:, 4]).reshape(-1, 1, 1) + 1, 0, width + 1)
    padded = functional.pad(x, [1, 1, 1, 1, 0, 0, 0, 0])
    x = padded.permute(0, 2, 3, 1).contiguous()[image, rows, columns].permute(0, 3, 1, 2)
    hole = int(height * 0.5 + 0.5), int(width * 0.5 + 0.5)
    image, rows, columns = torch.meshgrid(*(torch.arange(size, device=x.device) for size in (n, *hole)), indexing="ij")
    rows = torch.clamp(rows + _middle(height, u[:, 5]).reshape(-1, 1, 1) - hole[0] // 2, 0, height - 1)
    columns = torch.clamp(columns + _middle(width, u[:, 6]).reshape(-1, 1, 1) - hole[1] // 2, 0, width - 1)
    mask = torch.ones(n, height, width, dtype=x.dtype, device=x.device)
    mask[image, rows, columns] = 0
    return x * mask.unsqueeze(1)


def _gathered(x: Tensor, u: Tensor, policy: str) -> Tensor:
    """The colours as one linear map, both selections as one gather from an image with a zero behind it."""
    n, channels, height, width = x.shape
    if "color" in policy:
        s, k = 2 * _column(u, 1), _column(u, 2) + 0.5
        grey = x.mean(1, keepdim=True)
        rest = k * (1 - s) * grey + (1 - k) * grey.mean((2, 3), keepdim=True) + (_column(u, 0) - 0.5)
        x = torch.addcmul(rest, k * s, x)
    kept, places = [], []
    for side, move, middle in ((height, u[:, 3], u[:, 5]), (width, u[:, 4], u[:, 6])):
        place = torch.arange(side, device=x.device)
        hole = int(side * 0.5 + 0.5)
        source = place + _shift(side, move)[:, None]
        first = _middle(side, middle)[:, None] - hole // 2
        kept.append(((source >= 0) & (source < side), (place >= first) & (place < first + hole)))
        places.append(source)
    (inside_y, hole_y), (inside_x, hole_x) = kept
    taken = inside_y[:, :, None] & inside_x[:, None] & ~(hole_y[:, :, None] & hole_x[:, None])
    index = torch.where(taken, places[0][:, :, None] * width + places[1][:, None], height * width).reshape(n, 1, -1)
    padded = functional.pad(x.reshape(n, channels, -1), [0, 1])
    return padded.gather(2, index.expand(n, channels, -1)).reshape(x.shape)


def _rivals(policy: str) -> tuple[Rival, ...]:
    def popular(x: Tensor, u: Tensor) -> Tensor:
        return _change_by_change(x, u, policy)

    def best(x: Tensor, u: Tensor) -> Tensor:
        return _gathered(x, u, policy)

    code = "pad, permute, x[image, rows, columns]; ones, mask[image, rows, columns] = 0, x * mask"
    if "color" in policy:
        code = f"(x - mean) * factor + mean; {code}"
    return (
        Rival("change by change", POPULAR, code, popular),
        Rival("gather", EAGER, "the colours as one map; pad(x.flatten(2)).gather(2, index)", best),
        Rival("compile", COMPILE, f"torch.compile: {code}", popular, compiled=True),
        Rival("compiled gather", COMPILE, "torch.compile of the gather", best, compiled=True),
    )


def _parameters(samples: int) -> Tensor:
    """The same for every seed, so that the bytes can be said."""
    return torch.rand(samples, 7, generator=torch.Generator().manual_seed(samples))


def _case(shape: tuple[int, ...], phases: dict[str, Suite], policy: str = ALL) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        x, upstream = (torch.randn(shape, device=device, generator=random) for _ in range(2))
        return Inputs((x.requires_grad_(differentiable), _parameters(shape[0]).to(device)), (x,), upstream)

    tensor = torch.Size(shape).numel() * 4
    ones = torch.ones(shape[0], 1, *shape[2:])
    taken = ganops.reference.diff_augment(ones, "translation,cutout", parameters=_parameters(shape[0])).sum().item()
    selected = round(taken) * shape[1] * 4
    # The mean needs all of an image; without it, and in the backward, what is selected is read. All is written.
    read = tensor if "color" in policy else selected
    return Case(
        op="diff_augment",
        variant=policy.replace(",", " "),
        size=size_of(shape),
        ours=lambda x, u: ganops.diff_augment(x, policy, parameters=u),
        rivals=_rivals(policy),
        inputs=inputs,
        phases=phases,
        traffic={
            FORWARD: Traffic(read + tensor, 2 * tensor),
            BACKWARD: Traffic(selected + tensor, 2 * tensor),
            BOTH: Traffic(read + selected + 2 * tensor, 4 * tensor),
        },
        bounds=call_bound(torch.Size(shape).numel()) or (dict.fromkeys(phases, MEAN) if "color" in policy else {}),
    )


FLOORS = (Floor("diff_augment/color translation cutout/64x3x64x64/float32/both", {POPULAR: 5, COMPILE: 2}),)


def cases() -> Iterator[Case]:
    """From small digits to images beyond the cache."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    yield _case((64, 1, 28, 28), {BOTH: default})
    yield _case((64, 3, 64, 64), {FORWARD: default, BACKWARD: full, BOTH: quick})
    yield _case((64, 3, 64, 64), {BOTH: default}, policy="translation,cutout")
    yield _case((64, 3, 128, 128), {BOTH: full})
