"""Feature matching over the features of whole sets of discriminators."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

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
    generator,
)

Shapes = list[tuple[int, ...]]


def _convolved(length: int, kernel: int, stride: int) -> int:
    return (length + 2 * (kernel // 2) - kernel) // stride + 1


def vocoder_features(batch: int, samples: int = 8192) -> Shapes:
    """The 54 features of HiFi-GAN's five period and three scale discriminators (Kong et al. 2020, table 5)."""
    shapes: Shapes = []
    for period in (2, 3, 5, 7, 11):
        height = -(-samples // period)
        for channels, stride in ((32, 3), (128, 3), (512, 3), (1024, 3), (1024, 1)):
            height = _convolved(height, 5, stride)
            shapes.append((batch, channels, height, period))
        shapes.append((batch, 1, height, period))
    for scale in range(3):
        length = samples
        for _ in range(scale):  # average pooling
            length = length // 2 + 1
        layers = ((128, 15, 1), (128, 41, 2), (256, 41, 2), (512, 41, 4), (1024, 41, 4), (1024, 41, 1), (1024, 5, 1))
        for channels, kernel, stride in (*layers, (1, 3, 1)):
            length = _convolved(length, kernel, stride)
            shapes.append((batch, channels, length))
    return shapes


def image_features(batch: int, size: int = 256) -> Shapes:
    """The features of two patch discriminators at two scales, as in pix2pixHD."""
    shapes: Shapes = []
    for scale in (size, size // 2):
        side = scale
        for channels, stride in ((64, 2), (128, 2), (256, 2), (512, 1), (1, 1)):
            side = (side + 4 - 4) // stride + 1
            shapes.append((batch, channels, side, side))
    return shapes


def _loop(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    loss = torch.zeros((), device=fake[0].device)
    for r, f in zip(real, fake, strict=True):
        loss = loss + (r - f).abs().mean()
    return loss


def _l1_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    return torch.stack([l1_loss(f, r) for r, f in zip(real, fake, strict=True)]).sum()


def _foreach(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    return torch.stack([x.mean() for x in torch._foreach_abs(torch._foreach_sub(real, fake))]).sum()


_RIVALS = (
    Rival("loop", POPULAR, "for r, f in pairs: loss += (r - f).abs().mean()", _loop),
    Rival("l1_loss", EAGER, "stack([l1_loss(f, r) for r, f in pairs]).sum()", _l1_loss),
    Rival("foreach", EAGER, "_foreach_sub, _foreach_abs; means; sum", _foreach),
    Rival("compile", COMPILE, "torch.compile of the loop", _loop, compiled=True),
)


def _case(variant: str, shapes: Shapes, phases: dict[str, Suite]) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        real, fake = ([torch.randn(shape, device=device, generator=random) for shape in shapes] for _ in range(2))
        fake = [f.requires_grad_(differentiable) for f in fake]
        return Inputs((real, fake), tuple(fake))

    tiles = sum(-(-torch.Size(shape).numel() // 4096) for shape in shapes)
    size, signs = 4 * sum(torch.Size(shape).numel() for shape in shapes), 1024 * tiles
    return Case(
        op="feature_matching_loss",
        variant=variant,
        size=f"{size / 4e6:.1f}M in {len(shapes)}",
        ours=lambda real, fake: ganops.feature_matching_loss(real, fake),
        rivals=_RIVALS,
        inputs=inputs,
        phases=phases,
        traffic={
            FORWARD: Traffic(2 * size + signs, 2 * size + signs),
            BACKWARD: Traffic(size + signs, size + signs),
            BOTH: Traffic(3 * size + 2 * signs, 3 * size + signs),
        },
    )


FLOORS = (Floor("feature_matching_loss/vocoder/15.4M*/float32/both", {"loop": 2.6, COMPILE: 1.4}),)


def cases() -> Iterator[Case]:
    """Many large features, several of an image discriminator, and lists so small that calls are what they cost."""
    yield _case("vocoder", vocoder_features(2), {FORWARD: Suite.FULL, BOTH: Suite.DEFAULT})
    yield _case("image", image_features(4), {BOTH: Suite.DEFAULT})
    yield _case("small", [(64, 256)] * 18, {FORWARD: Suite.FULL, BACKWARD: Suite.FULL, BOTH: Suite.QUICK})
