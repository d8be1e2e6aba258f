"""D's and G's losses on raw logits: all kinds, from a vector of 64 to maps beyond the last-level cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

import ganops
from ganops._common import loss_kinds
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
from ganops.bench.cases.feature_matching import vocoder_features

Formula = Callable[..., Tensor]

# minimax, non_saturating, kl and mle share one discriminator loss.
_LOGISTIC = ("minimax", "non_saturating", "kl", "mle")
KINDS = (*_LOGISTIC, "least_squares", "hinge", "wasserstein")


# As popular repositories write them.


def _logistic_d(r: Tensor, f: Tensor) -> Tensor:
    return F.softplus(-r).mean() + F.softplus(f).mean()


def _least_squares_d(r: Tensor, f: Tensor) -> Tensor:
    return ((r - 1) ** 2).mean() + (f**2).mean()


def _hinge_d(r: Tensor, f: Tensor) -> Tensor:
    return F.relu(1 - r).mean() + F.relu(1 + f).mean()


def _wasserstein_d(r: Tensor, f: Tensor) -> Tensor:
    return f.mean() - r.mean()


def _relativistic_d(r: Tensor, f: Tensor) -> Tensor:
    return F.softplus(-(r - f)).mean()


# The strongest eager forms found. A mean's backward writes a full tensor of 1/n before the next factor reads it, a
# sum's backward is a view: sums divided at the end save that. Where the two sides have one shape, adding them
# first saves a reduction, which wins while calls and not bytes are the cost.


def _logistic_sums(r: Tensor, f: Tensor) -> Tensor:
    # softplus(r, beta=-1) = -softplus(-r): saves the negation and its backward.
    return F.softplus(f).sum() / f.numel() - F.softplus(r, beta=-1).sum() / r.numel()


def _logistic_joint(r: Tensor, f: Tensor) -> Tensor:
    return (F.softplus(f) - F.softplus(r, beta=-1)).mean()


def _logistic_bce(r: Tensor, f: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(r, ones) + F.binary_cross_entropy_with_logits(f, zeros)


def _least_squares_mse(r: Tensor, f: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return F.mse_loss(r, ones) + F.mse_loss(f, zeros)


def _hinge_sums(r: Tensor, f: Tensor) -> Tensor:
    return F.relu_(1 - r).sum() / r.numel() + F.relu_(1 + f).sum() / f.numel()


def _hinge_joint(r: Tensor, f: Tensor) -> Tensor:
    return (F.relu_(1 - r) + F.relu_(1 + f)).mean()


def _wasserstein_sums(r: Tensor, f: Tensor) -> Tensor:
    return f.sum() / f.numel() - r.sum() / r.numel()


def _wasserstein_joint(r: Tensor, f: Tensor) -> Tensor:
    return (f - r).mean()


def _relativistic_sums(r: Tensor, f: Tensor) -> Tensor:
    return F.softplus(f - r).sum() / r.numel()


def _relativistic_bce(r: Tensor, f: Tensor, ones: Tensor, zeros: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(r - f, ones)


def _without_targets(call: Formula) -> Formula:
    return lambda r, f, ones, zeros: call(r, f)


def _eager(name: str, code: str, call: Formula, targets: bool = False) -> Rival:
    return Rival(name, EAGER, code, call if targets else _without_targets(call))


_D_POPULAR: dict[str, tuple[str, Formula]] = {
    **dict.fromkeys(_LOGISTIC, ("softplus(-r).mean() + softplus(f).mean()", _logistic_d)),
    "least_squares": ("((r - 1) ** 2).mean() + (f ** 2).mean()", _least_squares_d),
    "hinge": ("relu(1 - r).mean() + relu(1 + f).mean()", _hinge_d),
    "wasserstein": ("f.mean() - r.mean()", _wasserstein_d),
    "relativistic": ("softplus(-(r - f)).mean()", _relativistic_d),
}
_D_EAGER: dict[str, tuple[Rival, ...]] = {
    **dict.fromkeys(
        _LOGISTIC,
        (
            _eager("sums", "softplus(f).sum() / n - softplus(r, beta=-1).sum() / n", _logistic_sums),
            _eager("joint", "(softplus(f) - softplus(r, beta=-1)).mean()", _logistic_joint),
            _eager("bce", "bce_with_logits(r, ones) + bce_with_logits(f, zeros)", _logistic_bce, targets=True),
        ),
    ),
    "least_squares": (_eager("mse", "mse_loss(r, ones) + mse_loss(f, zeros)", _least_squares_mse, targets=True),),
    "hinge": (
        _eager("sums", "relu_(1 - r).sum() / n + relu_(1 + f).sum() / n", _hinge_sums),
        _eager("joint", "(relu_(1 - r) + relu_(1 + f)).mean()", _hinge_joint),
    ),
    "wasserstein": (
        _eager("sums", "f.sum() / n - r.sum() / n", _wasserstein_sums),
        _eager("joint", "(f - r).mean()", _wasserstein_joint),
    ),
    "relativistic": (
        _eager("sums", "softplus(f - r).sum() / n", _relativistic_sums),
        _eager("bce", "bce_with_logits(r - f, ones)", _relativistic_bce, targets=True),
    ),
}

# Generator: name, popular formula, best eager formula.
_G: dict[str, tuple[tuple[str, Formula], tuple[str, Formula]]] = {
    "minimax": (
        ("-softplus(f).mean()", lambda f, ones: -F.softplus(f).mean()),
        ("softplus(f).sum() / -n", lambda f, ones: F.softplus(f).sum() / -f.numel()),
    ),
    "non_saturating": (
        ("softplus(-f).mean()", lambda f, ones: F.softplus(-f).mean()),
        ("softplus(f, beta=-1).sum() / -n", lambda f, ones: F.softplus(f, beta=-1).sum() / -f.numel()),
    ),
    "mle": (
        ("-exp(f).mean()", lambda f, ones: -f.exp().mean()),
        ("exp(f).sum() / -n", lambda f, ones: f.exp().sum() / -f.numel()),
    ),
    "least_squares": (
        ("((f - 1) ** 2).mean()", lambda f, ones: ((f - 1) ** 2).mean()),
        ("mse_loss(f, ones)", lambda f, ones: F.mse_loss(f, ones)),
    ),
    "hinge": (
        ("-f.mean()", lambda f, ones: -f.mean()),
        ("f.sum() / -n", lambda f, ones: f.sum() / -f.numel()),
    ),
}


def _traffic(logits: int, backward: int) -> dict[str, Traffic]:
    """Of so many bytes of logits, which forward and backward each read."""
    return {
        FORWARD: Traffic(logits, logits),
        BACKWARD: Traffic(backward, backward),
        BOTH: Traffic(logits + backward, 2 * logits),
    }


_EXPONENTIAL = "arithmetic: an exponential for each logit, and a logarithm for every few"


def _bounds(kind: str, shape: tuple[int, ...]) -> dict[str, str]:
    exponential = loss_kinds.KINDS[kind].real.base is loss_kinds.SOFTPLUS
    arithmetic = dict.fromkeys((FORWARD, BACKWARD, BOTH), _EXPONENTIAL) if exponential else {}
    return call_bound(torch.Size(shape).numel()) or arithmetic


def _discriminator(kind: str, shape: tuple[int, ...], phases: dict[str, Suite], dtype=torch.float32) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        real, fake = (
            torch.randn(shape, dtype=dtype, device=device, generator=random).requires_grad_(differentiable)
            for _ in range(2)
        )
        # The targets are made once, outside the clock, though much code makes them anew at each step.
        return Inputs((real, fake, torch.ones_like(real), torch.zeros_like(fake)), (real, fake))

    code, popular = _D_POPULAR[kind]
    popular = _without_targets(popular)
    logits = 2 * torch.Size(shape).numel() * dtype.itemsize
    # Backward reads the logits and writes their gradient; where that is constant, nothing need be read.
    backward = logits if loss_kinds.KINDS[kind].linear else 2 * logits
    return Case(
        op="discriminator_loss",
        variant=kind,
        size=size_of(shape),
        dtype=dtype,
        ours=lambda r, f, ones, zeros: ganops.discriminator_loss(r, f, kind),
        rivals=(
            Rival("formula", POPULAR, code, popular),
            *_D_EAGER[kind],
            Rival("compile", COMPILE, f"torch.compile: {code}", popular, compiled=True),
        ),
        inputs=inputs,
        phases=phases,
        traffic=_traffic(logits, backward),
        bounds=_bounds(kind, shape),
    )


def _generator(kind: str, shape: tuple[int, ...], phases: dict[str, Suite]) -> Case:
    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        fake = torch.randn(shape, device=device, generator=generator(device, seed)).requires_grad_(differentiable)
        return Inputs((fake, torch.ones_like(fake)), (fake,))

    (code, popular), (best_code, best) = _G[kind]
    logits = torch.Size(shape).numel() * 4
    backward = logits if loss_kinds.KINDS[kind].generator.base is loss_kinds.LINEAR else 2 * logits
    return Case(
        op="generator_loss",
        variant=kind,
        size=size_of(shape),
        ours=lambda f, ones: ganops.generator_loss(f, kind),
        rivals=(
            Rival("formula", POPULAR, code, popular),
            Rival("best", EAGER, best_code, best),
            Rival("compile", COMPILE, f"torch.compile: {code}", popular, compiled=True),
        ),
        inputs=inputs,
        phases=phases,
        traffic=_traffic(logits, backward),
        bounds=_bounds(kind, shape),
    )


def _in_a_loop(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    return torch.stack([_least_squares_d(r, f) for r, f in zip(real, fake, strict=True)]).sum()


def _added_up(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    loss = torch.zeros((), device=real[0].device)
    for r, f in zip(real, fake, strict=True):
        loss = loss + _least_squares_d(r, f)
    return loss


def _several(batch: int, phases: dict[str, Suite]) -> Case:
    """The logits of HiFi-GAN's eight discriminators of 8192 samples of sound."""
    shapes = [shape for shape in vocoder_features(batch) if shape[1] == 1]

    def inputs(device: torch.device, differentiable: bool, seed: int) -> Inputs:
        random = generator(device, seed)
        real, fake = (
            [torch.randn(x, device=device, generator=random).requires_grad_(differentiable) for x in shapes]
            for _ in range(2)
        )
        return Inputs((real, fake), (*real, *fake))

    count = sum(torch.Size(shape).numel() for shape in shapes)
    return Case(
        op="discriminator_loss",
        variant="least_squares of several",
        size=f"{count} in {len(shapes)}",
        ours=lambda real, fake: ganops.discriminator_loss(real, fake, "least_squares"),
        rivals=(
            Rival("loop", POPULAR, "for r, f in pairs: loss += ((r - 1) ** 2).mean() + (f ** 2).mean()", _added_up),
            Rival("stack", EAGER, "stack([((r - 1) ** 2).mean() + (f ** 2).mean() for …]).sum()", _in_a_loop),
            Rival("compile", COMPILE, "torch.compile of the loop", _added_up, compiled=True),
        ),
        inputs=inputs,
        phases=phases,
        traffic=_traffic(2 * count * 4, 4 * count * 4),
        bounds=call_bound(2 * count),
    )


VECTOR, PATCHES, MAPS, LARGE, HUGE = (64, 1), (64, 1, 30, 30), (64, 1, 128, 128), (64, 1, 512, 512), (1024, 1, 256, 256)

FLOORS = (
    Floor("discriminator_loss/*/64x1/float32/both", {POPULAR: 1.4, COMPILE: 2.2}),
    Floor("discriminator_loss/*/64x1x30x30/float32/both", {POPULAR: 2.5, COMPILE: 1.0}),
    Floor("discriminator_loss/hinge/64x1x128x128/float32/both", {POPULAR: 5.0, COMPILE: 5.0}),
)


def cases() -> Iterator[Case]:
    """Every kind of D at three sizes, the distinct kernels beyond the cache, and G."""
    quick, default, full = Suite.QUICK, Suite.DEFAULT, Suite.FULL
    for kind in KINDS:
        well_known = kind in ("hinge", "non_saturating")
        parts = default if well_known else full
        some = quick if well_known else default
        yield _discriminator(kind, VECTOR, {FORWARD: full, BACKWARD: full, BOTH: some})
        yield _discriminator(kind, PATCHES, {FORWARD: parts, BACKWARD: parts, BOTH: some})
        yield _discriminator(kind, MAPS, {FORWARD: parts, BACKWARD: parts, BOTH: quick if kind == "hinge" else parts})
        # The four logistic kinds are one kernel: once is enough where only bytes count.
        if kind in ("non_saturating", "least_squares", "hinge", "wasserstein"):
            yield _discriminator(kind, LARGE, {FORWARD: full, BACKWARD: full, BOTH: parts})
    yield _discriminator("relativistic", (256, 1), {BOTH: default})
    yield _discriminator("relativistic", MAPS, {FORWARD: default, BACKWARD: default, BOTH: default})
    yield _discriminator("hinge", HUGE, {FORWARD: full, BACKWARD: full, BOTH: full})
    yield _discriminator("non_saturating", HUGE, {BOTH: full})
    yield _discriminator("hinge", MAPS, {BOTH: full}, torch.bfloat16)
    yield _discriminator("non_saturating", MAPS, {BOTH: full}, torch.bfloat16)
    yield _several(16, {FORWARD: full, BACKWARD: full, BOTH: quick})
    for kind in _G:
        some = default if kind in ("hinge", "non_saturating", "least_squares") else full
        yield _generator(kind, VECTOR, {BOTH: some})
        yield _generator(kind, PATCHES, {BOTH: some})
        yield _generator(kind, MAPS, {BOTH: full})
