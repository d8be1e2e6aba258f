"""The one table of the conformance suite: every op with every setting, beside its reference.

A case is a function of tensors alone. Whatever the suite checks, it checks for each row; a new op is a few new rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

import ganops
from ganops import reference
from ganops._common.dtypes import accumulate_dtype
from ganops.ops.minibatch_discrimination import closeness
from ganops.reference.minibatch_discrimination import closeness as reference_closeness

Function = Callable[..., "Tensor | tuple[Tensor, ...]"]

KINDS = ("minimax", "non_saturating", "kl", "mle", "least_squares", "hinge", "wasserstein")
REDUCTIONS = ("mean", "sum", "none")
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Case:
    """One op at one setting.

    ``inputs`` says what each argument is: ``logits`` (any shape, its own), ``sample`` (N, …), ``weight`` (N,) in
    [0, 1], ``number`` (). ``magnitude`` is the function with every term made positive, whose value and gradient are the
    scale of the rounding errors. ``differentiable`` are the places of the inputs that have a gradient.
    """

    name: str
    fused: Function
    reference: Function
    inputs: tuple[str, ...]
    magnitude: Function
    differentiable: tuple[int, ...]
    sums: bool = False  # each element of the gradient goes through a sum
    cancels: bool = False  # several results depend on each input, and sums over them have terms of both signs
    linear: bool = False  # the gradient does not depend on the input, so that nothing of it is kept
    composite: bool = False  # many steps in the input's dtype, most of them not ours
    coupled: bool = False  # samples act on each other: errors are those of the largest
    composed: bool = False  # derivatives past the first are PyTorch's own operations
    slow: bool = False  # work grows as the square of the batch, or the reference takes minutes over many small images
    in_place: bool = False
    representative: bool = True  # of the cases that differ only in a formula; layouts know nothing of formulas

    @property
    def op(self) -> str:
        return self.name.partition("-")[0]

    @property
    def batched(self) -> bool:
        return "sample" in self.inputs

    def __str__(self) -> str:
        return self.name


def _positive(role: str, kind: str, x: Tensor, parameters: dict[str, float]) -> Tensor:
    if kind == "least_squares":
        return (x.abs() + abs(parameters.get(f"{role}_target", 1.0))).square()
    if kind == "hinge" and role != "generator":
        return x.abs() + abs(parameters.get("margin", 1.0))
    if role == "generator":
        return reference.generator_loss(x, kind, reduction="none").abs()
    nothing = x.new_empty(0)
    pair = (x, nothing) if role == "real" else (nothing, x)
    return reference.discriminator_loss(*pair, kind, reduction="none")[role == "fake"].abs()


def _reduce(x: Tensor, reduction: str) -> Tensor:
    return x if reduction == "none" else x.mean() if reduction == "mean" else x.sum()


def _losses() -> Iterator[Case]:
    settings = [(kind, reduction, {}) for kind in KINDS for reduction in REDUCTIONS]
    settings += [
        ("least_squares", r, {"real_target": 0.9, "fake_target": -0.3, "generator_target": 0.7}) for r in REDUCTIONS
    ]
    settings += [("hinge", r, {"margin": 0.25}) for r in ("mean", "none")]
    for kind, reduction, parameters in settings:
        name = "-".join((kind, reduction, *(f"{key}={value}" for key, value in parameters.items())))
        given = {"kind": kind, "reduction": reduction, **parameters}
        representative = kind in ("non_saturating", "least_squares") and reduction != "sum" and not parameters

        def both(real, fake, kind=kind, reduction=reduction, parameters=parameters):
            terms = _positive("real", kind, real, parameters), _positive("fake", kind, fake, parameters)
            real, fake = (_reduce(term, reduction) for term in terms)
            return (real, fake) if reduction == "none" else real + fake

        def one(fake, kind=kind, reduction=reduction, parameters=parameters):
            return _reduce(_positive("generator", kind, fake, parameters), reduction)

        yield Case(
            f"discriminator_loss-{name}",
            partial(ganops.discriminator_loss, **given),
            partial(reference.discriminator_loss, **given),
            ("logits", "logits"),
            both,
            (0, 1),
            representative=representative,
        )
        if kind in ("non_saturating", "hinge"):
            side = "real" if reduction == "mean" else "fake"

            def half(x, side=side, kind=kind, reduction=reduction, parameters=parameters):
                return _reduce(_positive(side, kind, x, parameters), reduction)

            yield Case(
                f"gan_loss-{side}-{name}",
                partial(ganops.gan_loss, is_real=side == "real", **given),
                partial(reference.gan_loss, is_real=side == "real", **given),
                ("logits",),
                half,
                (0,),
                representative=False,
            )
        yield Case(
            f"generator_loss-{name}",
            partial(ganops.generator_loss, **given),
            partial(reference.generator_loss, **given),
            ("logits",),
            one,
            (0,),
            representative=representative,
        )


def leaves(nest: list) -> list[Tensor]:
    """The tensors of a nested list, depth first."""
    return [x for entry in nest for x in (leaves(entry) if isinstance(entry, list) else [entry])]


def paired(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """What the two have in common, for the suite's logits differ in shape."""
    if real.dim() != fake.dim():
        real, fake = real.flatten(), fake.flatten()
    common = tuple(slice(min(pair)) for pair in zip(real.shape, fake.shape, strict=True))
    return real[common], fake[common]


def _relativistic() -> Iterator[Case]:
    for reduction in REDUCTIONS:
        given = {"kind": "relativistic", "reduction": reduction}

        def of(module, generates, given=given):
            def loss(real, fake):
                real, fake = paired(real, fake)
                if generates:
                    return module.generator_loss(fake, real_logits=real, **given)
                return module.discriminator_loss(real, fake, **given)

            return loss

        for generates, function in enumerate(("discriminator_loss", "generator_loss")):

            def positive(real, fake, sign=1 - 2 * generates, reduction=reduction):
                real, fake = paired(real, fake)
                # The difference itself may cancel.
                values = torch.nn.functional.softplus(sign * (fake - real)) + real.abs() + fake.abs()
                return _reduce(values, reduction)

            yield Case(
                f"{function}-relativistic-{reduction}",
                of(ganops, generates),
                of(reference, generates),
                ("logits", "logits"),
                positive,
                (0, 1),
                representative=reduction != "sum" and not generates,
            )


def _in_lists() -> Iterator[Case]:
    """Losses of three discriminators whose outputs differ in size and layout."""

    def of(module, function, given):
        def halves(x):
            return tuple(module.gan_loss(lists(x, given), is_real, **given) for is_real in (True, False))

        def generator(x):
            return module.generator_loss(lists(x, given), **given)

        def discriminator(real, fake):
            if given["kind"] == "relativistic":
                real, fake = paired(real, fake)
            found = module.discriminator_loss(lists(real, given), lists(fake, given), **given)
            return tuple(leaves(list(found))) if isinstance(found, tuple | list) else found

        return {"discriminator_loss": discriminator, "generator_loss": generator}.get(function, halves)

    def lists(x: Tensor, given: dict) -> list[Tensor]:
        if given["reduction"] == "none":  # gradients that the suite gives to each would cancel in their sum
            return [x]
        return [x, x.flatten()[: x.numel() // 2 + 1], 2 * x]

    def terms(role, given, x):
        return [_reduce(_positive(role, given["kind"], y, {}), given["reduction"]) for y in lists(x, given)]

    def over(values, given):
        return (
            torch.stack(values)
            if given["scale_reduction"] == "none"
            else _reduce(torch.stack(values), given["scale_reduction"])
        )

    def magnitude(function, given):
        def halves(x):
            return tuple(over(terms(role, given, x), given) for role in ("real", "fake"))

        def generator(x):
            return over(terms("generator", given, x), given)

        def discriminator(real, fake):
            if given["kind"] == "relativistic":
                real, fake = paired(real, fake)
                pairs = zip(lists(real, given), lists(fake, given), strict=True)
                values = [torch.nn.functional.softplus(f - r) + r.abs() + f.abs() for r, f in pairs]
                return over([_reduce(x, given["reduction"]) for x in values], given)
            sides = terms("real", given, real), terms("fake", given, fake)
            if given["reduction"] == "none":
                return tuple(leaves([*sides]))
            on_real, on_fake = (over(side, given) for side in sides)
            return (on_real + on_fake, on_real, on_fake) if given.get("return_parts") else on_real + on_fake

        return {"discriminator_loss": discriminator, "generator_loss": generator}.get(function, halves)

    for function, kind, reduction, scale_reduction, parts in (
        ("discriminator_loss", "non_saturating", "mean", "sum", True),
        ("discriminator_loss", "least_squares", "mean", "none", True),
        ("discriminator_loss", "hinge", "sum", "mean", False),
        ("discriminator_loss", "least_squares", "none", "none", False),
        ("discriminator_loss", "relativistic", "mean", "none", False),
        ("generator_loss", "non_saturating", "mean", "mean", False),
        ("gan_loss", "least_squares", "mean", "sum", False),
    ):
        given = {"kind": kind, "reduction": reduction, "scale_reduction": scale_reduction}
        given |= {"return_parts": True} if parts else {}
        yield Case(
            "-".join([function, "list", kind, reduction, scale_reduction] + ["parts"] * parts),
            of(ganops, function, given),
            of(reference, function, given),
            ("logits", "logits") if function == "discriminator_loss" else ("logits",),
            magnitude(function, given),
            (0, 1) if function == "discriminator_loss" else (0,),
            sums=True,
            cancels=parts or scale_reduction == "none",
            representative=function == "discriminator_loss" and kind != "hinge",
        )


PENALTIES = {
    "two_sided": {"target": 1.0},
    "one_sided": {"target": 1.0, "one_sided": True},
    "zero_centred": {"target": 0.0},
    "other_target": {"target": 0.7},
}


def _penalties() -> Iterator[Case]:
    for variant, settings in PENALTIES.items():
        for reduction in REDUCTIONS:
            given = {**settings, "reduction": reduction}

            def positive(gradient, target=settings["target"], reduction=reduction):
                # (n + t)², whose gradient 2(1 + t/n)·g is that of (n − t)² without the cancellation.
                squared = gradient.reshape(len(gradient), -1).square().sum(1) if gradient.numel() else gradient.sum()
                norm = torch.where(squared == 0, squared, squared.where(squared != 0, 1).sqrt())
                return _reduce((norm + target).square(), reduction)

            yield Case(
                f"gradient_norm_penalty-{variant}-{reduction}",
                partial(ganops.gradient_norm_penalty, **given),
                partial(reference.gradient_norm_penalty, **given),
                ("sample",),
                positive,
                (0,),
                sums=True,
                representative=variant in ("two_sided", "one_sided") and reduction != "sum",
            )


def _interpolation() -> Iterator[Case]:
    def positive(real, fake, weight):
        weight = weight.reshape(-1, *(1 for _ in real.shape[1:])).abs()
        return weight * real.abs() + (1 + weight) * fake.abs()

    yield Case(
        "interpolate",
        ganops.interpolate,
        reference.interpolate,
        ("sample", "sample", "weight"),
        positive,
        (0, 1, 2),
        sums=True,
    )


def smooth_critic(a: Tensor, b: Tensor) -> Callable[[Tensor], Tensor]:
    """A critic for samples of any shape whose gradient depends on the sample and on both weights."""

    def critic(x: Tensor) -> Tensor:
        score = torch.tanh(a * x) + b * x.square()
        return score if x.dim() == 1 else score.flatten(1).sum(1)

    return critic


def _whole_penalties() -> Iterator[Case]:
    for variant, reduction in (("two_sided", "mean"), ("one_sided", "none"), ("zero_centred", "sum")):
        given = {**PENALTIES[variant], "reduction": reduction}

        def of(module, given=given):
            def whole(real, fake, weight, a, b):
                return module.gradient_penalty(smooth_critic(a, b), real, fake, weight=weight, **given)

            return whole

        yield Case(
            f"gradient_penalty-{variant}-{reduction}",
            of(ganops),
            of(reference),
            ("sample", "sample", "weight", "number", "number"),
            of(reference),
            (2, 3, 4),
            sums=True,
            composite=True,
            representative=reduction == "mean",
        )


def copy_of(x: Tensor) -> Tensor:
    """The same strides and offset over memory of its own, so that writing can be tried in any layout."""
    if torch.compiler.is_compiling():
        return x.clone()
    storage = x.detach().untyped_storage().clone()
    return torch.empty(0, dtype=x.dtype, device=x.device).set_(storage, x.storage_offset(), x.shape, x.stride())


def _clipping() -> Iterator[Case]:
    for limit in (0.5, 0.0):

        def of(module, limit=limit):
            def clipped(first, second):
                copies = copy_of(first), copy_of(second)
                assert module.clip_weights_(copies, limit) is None
                return copies

            return clipped

        yield Case(
            f"clip_weights_-{limit}",
            of(ganops),
            of(reference),
            ("logits", "logits"),
            of(reference),
            (),
            in_place=True,
            representative=limit > 0,
        )


def images_of(x: Tensor) -> Tensor:
    """Samples of any shape as images (N, C, H, W), of three channels and two rows where their size allows it."""
    if x.dim() == 4:
        return x
    size = math.prod(x.shape[1:])
    channels = 3 if size % 3 == 0 else 1
    height = 2 if size % (2 * channels) == 0 else 1
    return x.reshape(x.shape[0], channels, height, size // (channels * height))


def augmentation_of(x: Tensor) -> Tensor:
    """Parameters (N, 7) spread over [0, 1), the same for the same batch size."""
    count = torch.arange(1, 7 * x.shape[0] + 1, dtype=torch.float64, device=x.device)
    return (count * 0.7548776662466927).frac().float().reshape(-1, 7)


def _augmentations() -> Iterator[Case]:
    for policy in ("color,translation,cutout", "color", "translation,cutout", "cutout,color"):

        def of(module, policy=policy):
            def augmented(x):
                images = images_of(x)
                result = module.diff_augment(images, policy, parameters=augmentation_of(x).to(x.device))
                return result.reshape(x.shape)

            return augmented

        def positive(x, policy=policy):
            # |y| ≤ 3|x| + 1.5·mean_c|x| + ½·mean|x| + ½ for each time that the colours change.
            images = images_of(x).abs()
            for _ in range(policy.count("color")):
                grey = images.mean(1, keepdim=True) if images.numel() else images
                mean = images.mean((1, 2, 3), keepdim=True) if images.numel() else images
                images = 3 * images + 1.5 * grey + 0.5 * mean + 0.5
            return images.reshape(x.shape)

        yield Case(
            f"diff_augment-{policy}",
            of(ganops),
            of(reference),
            ("sample",),
            positive,
            (0,),
            sums=True,
            linear=True,
            representative=policy in ("color,translation,cutout", "translation,cutout"),
        )


def points_of(x: Tensor) -> Tensor:
    """The features of samples of any shape as (comparisons, dimensions, samples). Not in many dimensions: samples there
    are so far apart that nothing is close."""
    features = x.flatten(1).t() if x.dim() > 1 else x[None]
    dimensions = max(n for n in range(1, 6) if len(features) % n == 0)
    return features.reshape(len(features) // dimensions, dimensions, len(x))


def _closeness() -> Iterator[Case]:
    yield Case(
        "minibatch_discrimination",
        lambda x: closeness(points_of(x)),
        lambda x: reference_closeness(points_of(x).permute(2, 0, 1)),
        ("sample",),
        lambda x: reference_closeness(points_of(x).permute(2, 0, 1)),
        (0,),
        coupled=True,
        slow=True,
    )


def group_of(count: int) -> int:
    """A size of groups that divides the batch: four if it can be, else any."""
    return next((size for size in (4, 3, 2) if count % size == 0), max(count, 1))


def _deviations() -> Iterator[Case]:
    def of(module):
        def appended(x):
            return module.minibatch_stddev(x if x.dim() > 1 else x[:, None], group_of(len(x)))

        return appended

    yield Case("minibatch_stddev", of(ganops), of(reference), ("sample",), of(reference), (0,), coupled=True)


def nested(x: Tensor) -> list:
    """Features of several sizes and layouts in nested lists."""
    return [x, [x.flatten()[: x.numel() // 2 + 1], 2 * x]]


def _matching() -> Iterator[Case]:
    for distance, reduction, normalize, detach in (
        ("l1", "sum", False, False),
        ("l1", "none", True, True),
        ("l2", "mean", False, False),
        ("l2", "sum", True, True),
        ("l1", "mean", True, False),
    ):
        given = {"distance": distance, "scale_reduction": reduction, "normalize": normalize, "detach_real": detach}

        def of(module, given=given):
            def both(real, fake):
                real, fake = paired(real, fake)
                if given["normalize"]:
                    real = real + 0.5  # the norm of denormal numbers has no finite reciprocal
                return module.feature_matching_loss(nested(real), nested(fake), **given)

            def one(fake):  # beside real features that have no gradient: the same numbers in every dtype
                real = (torch.arange(fake.numel(), device=fake.device) % 7 - 3.0) / 2
                return both(real.to(fake.dtype).reshape(fake.shape), fake)

            return one if given["detach_real"] else both

        def positive(real, fake, distance=distance, reduction=reduction):
            real, fake = paired(real, fake)
            sums = [a.abs() + b.abs() for a, b in zip(leaves(nested(real)), leaves(nested(fake)), strict=True)]
            values = torch.stack([(x if distance == "l1" else x.square()).mean() for x in sums])
            return _reduce(values, reduction)

        yield Case(
            "-".join(["feature_matching_loss", distance, reduction] + ["normalize"] * normalize),
            of(ganops),
            of(reference),
            ("logits",) if detach else ("logits", "logits"),
            of(reference) if normalize else positive,
            (0,) if detach else (0, 1),
            sums=True,
            linear=distance == "l1" and not (normalize and not detach),
            coupled=normalize,
            composed=True,
            representative=(distance, normalize, detach) not in (("l2", True, True), ("l1", True, False)),
        )


RESAMPLING = {
    "up": {"f": [1.0, 3.0, 3.0, 1.0], "up": 2, "padding": (2, 3)},
    "down": {"f": [1.0, 3.0, 3.0, 1.0], "down": 2, "padding": 3},
    "matrix": {"f": [[1.0, 2.0, 0.0], [0.5, -1.0, 0.3]], "padding": (2, 3, 1, 2), "gain": 0.7},
}


def _resampling() -> Iterator[Case]:
    for name, given in RESAMPLING.items():

        def of(module, given=given):
            def resampled(x):
                f = torch.tensor(given["f"], dtype=accumulate_dtype(x.dtype), device=x.device)
                images = images_of(x if x.dim() > 1 else x[:, None])
                return module.upfirdn2d(images, f, **{key: value for key, value in given.items() if key != "f"})

            return resampled

        yield Case(
            f"upfirdn2d-{name}",
            of(ganops),
            of(reference),
            ("sample",),
            of(reference),
            (0,),
            sums=True,
            linear=True,
            coupled=True,  # neighbours cancel in the gradient
            representative=name != "down",
        )


def signals_of(x: Tensor) -> Tensor:
    """Samples of any shape as signals (N, C, T), of three channels where their size allows it."""
    size = math.prod(x.shape[1:])
    channels = 3 if size % 3 == 0 else 1
    return x.reshape(x.shape[0], channels, size // channels)


def _filtered_snakes() -> Iterator[Case]:
    for name, ratio, up, down in (
        ("usual", 2, None, None),
        ("other", 3, [0.1, 0.3, 0.2, 0.05, -0.1], [0.3, 0.5, -0.2, 0.4]),
    ):

        def of(module, ratio=ratio, up=up, down=down):
            def activated(x, alpha, beta):
                signals = signals_of(x)
                wide = {"dtype": accumulate_dtype(x.dtype), "device": x.device}
                filters = [None if taps is None else torch.tensor(taps, **wide) for taps in (up, down)]
                spread = torch.arange(1.0, signals.shape[1] + 1, **wide)
                result = module.filtered_snake(
                    signals, 0.5 * alpha.to(spread.dtype) * spread, beta.to(spread.dtype) * spread, *filters, ratio
                )
                return result.reshape(x.shape)

            return activated

        yield Case(
            f"filtered_snake-{name}",
            of(ganops),
            of(reference),
            ("sample", "number", "number"),
            of(reference),
            (0, 1, 2),
            sums=True,
            coupled=True,
        )


def _filtered_lrelus() -> Iterator[Case]:
    for name, taps, settings in (
        ("up and down", (12, 12), {"up": 2, "down": 2, "padding": (12, 11), "clamp": 1.5}),
        ("other", (3, 5), {"down": 3, "padding": (7, 8, 9, 8), "gain": 0.7, "slope": -0.3, "flip_filter": True}),
    ):

        def of(module, taps=taps, settings=settings):
            def activated(x, b):
                images = images_of(x if x.dim() > 1 else x[:, None])
                wide = {"dtype": accumulate_dtype(x.dtype), "device": x.device}
                filters = [torch.linspace(0.1, 2.0, count, **wide) / count for count in taps]
                spread = torch.arange(1.0, images.shape[1] + 1, **wide)
                return module.filtered_lrelu(images, *filters, b.to(spread.dtype) * spread, **settings)

            return activated

        yield Case(
            f"filtered_lrelu-{name}",
            of(ganops),
            of(reference),
            ("sample", "number"),
            of(reference),
            (0, 1),
            sums=True,
            coupled=True,
            slow=True,
        )


CASES = (
    *_losses(),
    *_relativistic(),
    *_in_lists(),
    *_interpolation(),
    *_penalties(),
    *_whole_penalties(),
    *_clipping(),
    *_augmentations(),
    *_closeness(),
    *_deviations(),
    *_matching(),
    *_resampling(),
    *_filtered_snakes(),
    *_filtered_lrelus(),
)
DIFFERENTIABLE = tuple(case for case in CASES if case.differentiable)
# One or two of the cases that share kernels and autograd Functions and differ in a formula. What a formula cannot break
# (layouts, dtypes, transforms, memory, the compiler) is tested with these.
REPRESENTATIVE = tuple(case for case in CASES if case.representative)


def inputs_of(case: Case, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Random contiguous inputs. Logits differ in shape from one another where the op allows it. A slow case takes
    a batch of at most 66, of a block and a bit."""
    if case.slow:
        shape = tuple(min(n, 66) for n in shape)
    found = []
    for place, kind in enumerate(case.inputs):
        if kind == "weight":
            value = torch.rand(shape[0], dtype=torch.float64).to(accumulate_dtype(dtype))
        elif kind == "number":
            value = torch.tensor(0.5 + 0.25 * place, dtype=dtype)
        else:
            extra = place if kind == "logits" and shape else 0
            value = (1.5 * torch.randn(*shape[:-1], *(n + extra for n in shape[-1:]), dtype=torch.float64)).to(dtype)
        found.append(value.to(device))
    return found
