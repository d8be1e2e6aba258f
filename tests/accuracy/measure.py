"""Worst errors of every op on inputs chosen to hurt, in units in the last place of the op's own dtype.

``python tests/accuracy/measure.py [--device cuda] [--reference] [--terms N]`` measures whatever kernels the process has
(GANOPS_BACKEND, GANOPS_CPU_ISA) and prints {dtype: {what: ulps}} as JSON.

The truth is computed in long double (64 bits of mantissa on x86, 113 on 64-bit Arm) from formulas of its own. The unit
is that of the result where a result is one product or one function of a number; where it is a sum, it is the unit of
the sum of the terms' magnitudes, for no summation of rounded terms can do better, and a sum that cancels to 0 would
have no unit at all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

import ganops

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Long = np.ndarray  # of long double


def wide(x: Tensor) -> Long:
    return x.detach().cpu().double().numpy().astype(np.longdouble)


def unit(magnitude: Long, dtype: torch.dtype) -> Long:
    """The distance of neighbouring numbers of the dtype at that magnitude."""
    info = torch.finfo(dtype)
    _, exponent = np.frexp(np.maximum(np.abs(magnitude), np.longdouble(info.tiny)))
    return np.ldexp(np.longdouble(info.eps), exponent - 1)


def ulps(got: Tensor, truth: Long, dtype: torch.dtype, magnitude: Long | None = None) -> float:
    """The worst error in units of the dtype; where the truth is beyond the dtype's range, infinity is right."""
    found, truth = wide(got), np.asarray(truth)
    # From half a unit above the largest number on, infinity is right.
    limit = np.longdouble(torch.finfo(dtype).max)
    beyond = np.abs(truth) >= limit + unit(limit, dtype) / 2
    right = np.isinf(found) & (np.sign(found) == np.sign(truth))
    size = np.maximum(np.abs(truth), 0 if magnitude is None else magnitude)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(found - truth) / unit(np.minimum(size, limit), dtype)
    error = np.where(beyond, np.where(right, 0, np.inf), error)
    return float(np.nan_to_num(error, nan=np.inf).max(initial=0))


# ------------------------------------------------------------------------------------------------- inputs


def numbers(dtype: torch.dtype) -> Tensor:
    """Numbers of either sign: every one of a 16-bit dtype; else from the least denormal to the largest, dense where
    exponentials live and around 1, where x − 1 cancels."""
    if dtype.itemsize == 2:
        every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype)
        return every[every.isfinite()]
    info = torch.finfo(dtype)
    random = np.random.default_rng(0)
    span = np.log([info.tiny * info.eps, info.max])
    positive = np.concatenate(
        [
            np.exp(np.linspace(*(span * (1 - 1e-9)), 1500)),
            1 + np.exp(np.linspace(np.log(info.eps), 0, 500)),
            np.abs(random.standard_normal(1500)) * 4,
            np.linspace(0, -np.log(info.tiny) * 1.05, 1500),
        ]
    )
    positive = torch.from_numpy(positive.clip(max=info.max)).to(dtype)
    return torch.cat([positive, -positive, 2 - positive[1500:2000]])


def cancelling(count: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Numbers over six orders of magnitude, each with its negative somewhere else, and perhaps a small rest."""
    random = torch.Generator().manual_seed(seed)
    half = torch.randn(count // 2, generator=random) * 10 ** (3 * torch.rand(count // 2, generator=random) - 2)
    x = torch.cat([half, -half, torch.full((count % 2,), 1e-3)])
    if count <= 1 << 20:  # else the first half grows far before the second takes it back
        x = x[torch.randperm(count, generator=random)]
    return x.to(dtype)


def batches(dtype: torch.dtype, seed: int = 0) -> Iterator[Tensor]:
    """Gradients (samples, size): norms around 1, large and small samples, one element that outweighs all others,
    denormals beside ordinary numbers. Squares stay within the range of the accumulator, see docs/proof.md."""
    random = torch.Generator().manual_seed(seed)
    for samples, size in ((64, 2), (7, 33), (3, 4097), (2, 8195)):
        x = torch.randn(samples, size, generator=random, dtype=torch.float64)
        yield (x / size**0.5).to(dtype)
        scale = 10 ** (4 * torch.rand(samples, 1, generator=random, dtype=torch.float64) - 2)
        yield (x * scale).to(dtype)
        outlier = x * 1e-3
        outlier[:, 0] = 50
        yield outlier.to(dtype)
        mixed = x.clone()
        mixed[:, 1::2] *= torch.finfo(dtype).tiny
        yield mixed.to(dtype)


# ------------------------------------------------------------------------------------------------- ops

Worst = dict[str, float]


def note(worst: Worst, what: str, error: float) -> None:
    worst[what] = max(worst.get(what, 0.0), error)


def sigmoid(x: Long) -> Long:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus(x: Long) -> Long:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# name: what computes it, value, slope, curvature.
ELEMENTWISE: dict[str, tuple[Callable, Callable, Callable, Callable]] = {
    "softplus": (
        lambda module, x: module.generator_loss(x, "non_saturating", reduction="none"),
        lambda x: softplus(-x),
        lambda x: -sigmoid(-x),
        lambda x: sigmoid(x) * sigmoid(-x),
    ),
    "exponential": (
        lambda module, x: module.generator_loss(x, "mle", reduction="none"),
        *(3 * [lambda x: -np.exp(x)]),
    ),
    "square": (
        lambda module, x: module.generator_loss(x, "least_squares", reduction="none"),
        lambda x: (x - 1) ** 2,
        lambda x: 2 * (x - 1),
        lambda x: np.full_like(x, 2),
    ),
    "hinge": (
        lambda module, x: module.discriminator_loss(x, x[:1], "hinge", reduction="none")[0],
        lambda x: np.maximum(1 - x, 0),
        lambda x: np.where(x < 1, -1, 0).astype(np.longdouble),
        lambda x: np.zeros_like(x),
    ),
}


def elementwise(module, dtype: torch.dtype, device: str, worst: Worst) -> None:
    x = numbers(dtype).to(device).requires_grad_()
    exact = wide(x)
    ones = torch.ones_like(x)
    for name, (call, value, slope, curvature) in ELEMENTWISE.items():
        y = call(module, x)
        (first,) = torch.autograd.grad(y, x, ones, create_graph=True)
        second = torch.autograd.grad(first, x, ones)[0] if first.requires_grad else torch.zeros_like(x)
        with np.errstate(over="ignore", under="ignore"):
            note(worst, f"loss, {name}: value", ulps(y, value(exact), dtype))
            note(worst, f"loss, {name}: gradient", ulps(first, slope(exact), dtype))
            note(worst, f"loss, {name}: second", ulps(second, curvature(exact), dtype))


def sums(module, dtype: torch.dtype, device: str, worst: Worst, terms: int) -> None:
    pairs = [(cancelling(n, dtype, n), cancelling(n + 3, dtype, n + 1)) for n in (2, 257, 4097, terms)]
    for real, fake in pairs:
        r, f = wide(real), wide(fake)
        for kind, a, b in (
            ("wasserstein", -r, f),
            ("non_saturating", softplus(-r), softplus(f)),
            ("hinge", np.maximum(1 - r, 0), np.maximum(1 + f, 0)),
        ):
            got = module.discriminator_loss(real.to(device), fake.to(device), kind)
            size = np.abs(a).mean() + np.abs(b).mean()
            note(worst, f"D's loss, {kind}: mean", ulps(got, a.mean() + b.mean(), dtype, size))


def interpolation(module, dtype: torch.dtype, device: str, worst: Worst) -> None:
    for place, (real, fake) in enumerate(zip(batches(dtype, 1), batches(dtype, 2), strict=True)):
        random = torch.Generator().manual_seed(place)
        weight = torch.rand(len(real), generator=random, dtype=torch.float64)
        weight = weight.to(torch.float64 if dtype == torch.float64 else torch.float32)
        above = torch.randn(real.shape, generator=random, dtype=torch.float64).to(dtype)
        leaves = [t.to(device).requires_grad_() for t in (real, fake, weight)]
        result = module.interpolate(*leaves)
        got = torch.autograd.grad(result, leaves, above.to(device))
        r, f, g, w = wide(real), wide(fake), wide(above), wide(weight)[:, None]
        note(worst, "interpolate: value", ulps(result, w * r + (1 - w) * f, dtype, np.abs(w * r) + np.abs((1 - w) * f)))
        note(worst, "interpolate: gradient of samples", ulps(got[0], w * g, dtype))
        note(worst, "interpolate: gradient of samples", ulps(got[1], (1 - w) * g, dtype))
        size = (np.abs(g) * (np.abs(r) + np.abs(f))).sum(1)
        # The weight and its gradient have the dtype of the accumulator.
        note(worst, "interpolate: gradient of weights", ulps(got[2], (g * (r - f)).sum(1), got[2].dtype, size))


def penalty(module, dtype: torch.dtype, device: str, worst: Worst) -> None:
    for place, gradient in enumerate(batches(dtype, 3)):
        random = torch.Generator().manual_seed(place)
        tangent = torch.randn(gradient.shape, generator=random, dtype=torch.float64).to(dtype)
        leaf = gradient.to(device).requires_grad_()
        value = module.gradient_norm_penalty(leaf, reduction="none")
        total = module.gradient_norm_penalty(leaf)
        (first,) = torch.autograd.grad(value, leaf, torch.ones_like(value), create_graph=True)
        (second,) = torch.autograd.grad(first, leaf, tangent.to(device))
        g, t = wide(gradient), wide(tangent)
        n = np.sqrt((g * g).sum(1, keepdims=True))
        u = g / n
        exact = ((n - 1) ** 2)[:, 0]
        note(worst, "penalty: per sample", ulps(value, exact, dtype, ((n + 1) ** 2)[:, 0]))
        note(worst, "penalty: mean", ulps(total, exact.mean(), dtype, ((n + 1) ** 2).mean()))
        note(worst, "penalty: gradient", ulps(first, 2 * (1 - 1 / n) * g, dtype, 2 * (1 + 1 / n) * np.abs(g)))
        along, across = (t * u).sum(1, keepdims=True), (np.abs(t * u)).sum(1, keepdims=True)
        exact = 2 * (1 - 1 / n) * t + 2 / n * along * u
        size = 2 * (1 + 1 / n) * np.abs(t) + 2 / n * across * np.abs(u)
        note(worst, "penalty: double backward", ulps(second, exact, dtype, size))


def selected(x: Long, u: Long, back: bool) -> Long:
    """Translation and cutout of images (N, C, H, W) by the numbers u, or, ``back``, the transposed of both."""
    out = np.zeros_like(x)
    for image, row, y in zip(x, u.astype(np.float64), out, strict=True):
        height, width = image.shape[1:]
        index, kept = [], []
        for side, move, middle in ((height, row[3], row[5]), (width, row[4], row[6])):
            most, hole = int(side / 8 + 0.5), int(side / 2 + 0.5)
            source = np.arange(side) + int(np.floor(move * (2 * most + 1))) - most
            first = int(np.floor(middle * (side + 1 - hole % 2))) - hole // 2
            index.append(source)
            place = np.arange(side)
            kept.append(((source >= 0) & (source < side), (place >= first) & (place < first + hole)))
        (inside_y, hole_y), (inside_x, hole_x) = kept
        taken = inside_y[:, None] & inside_x & ~(hole_y[:, None] & hole_x)
        here = np.nonzero(taken)
        there = index[0][here[0]], index[1][here[1]]
        to, source = (there, here) if back else (here, there)
        y[:, to[0], to[1]] = image[:, source[0], source[1]]
    return out


def augmentation(module, dtype: torch.dtype, device: str, worst: Worst) -> None:
    for place, shape in enumerate(((16, 3, 8, 12), (4, 1, 16, 16), (2, 5, 33, 31), (2, 3, 64, 64))):
        random = torch.Generator().manual_seed(place)
        images, above = torch.randn(2, *shape, generator=random, dtype=torch.float64)
        images *= 10 ** (4 * torch.rand(shape[0], 1, 1, 1, generator=random, dtype=torch.float64) - 2)
        u = torch.rand(shape[0], 7, generator=random)
        leaf = images.to(dtype).to(device).requires_grad_()
        result = module.diff_augment(leaf, parameters=u.to(device))
        (got,) = torch.autograd.grad(result, leaf, above.to(dtype).to(device))
        numbers_of = wide(u)
        offset, saturation, contrast = (
            (numbers_of[:, i] * factor + add)[:, None, None, None]
            for i, factor, add in ((0, 1, -0.5), (1, 2, 0), (2, 1, 0.5))
        )

        def coloured(x: Long, s: Long = saturation, k: Long = contrast) -> tuple[Long, Long]:
            """The linear part, and the sum of the magnitudes of its terms."""
            parts = x, x.mean(1, keepdims=True), x.mean((1, 2, 3), keepdims=True)
            sizes = np.abs(x), np.abs(x).mean(1, keepdims=True), np.abs(x).mean((1, 2, 3), keepdims=True)
            factors = k * s, k * (1 - s), 1 - k
            return tuple(
                sum(f * p for f, p in zip(fs, ps, strict=True))
                for fs, ps in ((factors, parts), ([np.abs(f) for f in factors], sizes))
            )

        truth, size = coloured(wide(leaf))
        size = selected(size + np.abs(offset), numbers_of, False)
        note(worst, "diff_augment: value", ulps(result, selected(truth + offset, numbers_of, False), dtype, size))
        truth, size = coloured(selected(wide(above.to(dtype)), numbers_of, True))
        note(worst, "diff_augment: gradient", ulps(got, truth, dtype, size))


def discrimination(module, dtype: torch.dtype, device: str, worst: Worst) -> None:
    """A weight of ones and zeros makes the features themselves the points, without a rounding. The exponent is a sum
    too: what it is off, relative to the result, is in proportion to d."""
    for samples, comparisons, dimensions in ((33, 3, 5), (66, 2, 1), (5, 1, 19)):
        random = torch.Generator().manual_seed(samples)
        shape, size = (samples, comparisons, dimensions), comparisons * dimensions
        x = (torch.randn(samples, size, generator=random, dtype=torch.float64) / dimensions).to(dtype)
        tangent, above = (torch.randn(s, generator=random, dtype=torch.float64).to(dtype) for s in (x.shape, shape[:2]))
        leaf = x.to(device).requires_grad_()
        weight = torch.eye(size, dtype=dtype, device=device).view(size, comparisons, dimensions)
        value = module.minibatch_discrimination(leaf, weight)
        (first,) = torch.autograd.grad(value, leaf, above.to(device), create_graph=True)
        (second,) = torch.autograd.grad(first, leaf, tangent.to(device))
        m, t, g = wide(x).reshape(shape), wide(tangent).reshape(shape), wide(above)
        difference, along = m[:, None] - m, t[:, None] - t
        d = np.abs(difference).sum(3)
        k = np.exp(-d) * ~np.eye(samples, dtype=bool)[..., None]
        both, signs = g[:, None] + g, np.sign(difference)
        q = -(signs * along).sum(3)
        note(worst, "discrimination: value", ulps(value, k.sum(1), dtype, (k * (1 + d)).sum(1)))
        size = (np.abs(both) * k * (1 + d))[..., None]
        exact = -((both * k)[..., None] * signs).sum(1).reshape(x.shape)
        note(
            worst,
            "discrimination: gradient",
            ulps(first, exact, dtype, size.sum(1).repeat(dimensions, 2).reshape(x.shape)),
        )
        exact = -((both * k * q)[..., None] * signs).sum(1).reshape(x.shape)
        size = (size * np.abs(along).sum(3, keepdims=True)).sum(1).repeat(dimensions, 2).reshape(x.shape)
        note(worst, "discrimination: double backward", ulps(second, exact, dtype, size))


def deviation(module, dtype: torch.dtype, device: str, worst: Worst) -> None:
    """Groups of four and of three, their features' sizes over four orders of magnitude. The terms are the distances
    from the group's first sample: however far from 0 the samples are, nothing may be lost to that."""
    for place, (samples, group, shape) in enumerate(((8, 4, (3, 4, 4)), (6, 3, (5,)), (4, 4, (16, 8, 16)))):
        random = torch.Generator().manual_seed(place)
        x, tangent = torch.randn(2, samples, *shape, generator=random, dtype=torch.float64)
        x = ((x + 9) * 10 ** (4 * torch.rand(1, *shape, generator=random, dtype=torch.float64) - 2)).to(dtype)
        tangent = tangent.to(dtype)
        leaf = x.to(device).requires_grad_()
        value = module.minibatch_stddev(leaf, group)
        above = torch.randn(value.shape, generator=random, dtype=torch.float64).to(dtype).to(device)
        (first,) = torch.autograd.grad(value, leaf, above, create_graph=True)
        (second,) = torch.autograd.grad(first, leaf, tangent.to(device))
        count = samples // group
        features, t, g = (wide(v).reshape(group, count, -1) for v in (x, tangent, above[:, :-1]))
        tails = wide(above[:, -1]).reshape(group, count, -1)
        h, size_h = (v.sum((0, 2))[:, None] for v in (tails, np.abs(tails)))
        c, shifted = (v - v.mean(0) for v in (features, t))
        sigma = np.sqrt((c * c).mean(0) + np.longdouble(1e-8))
        factor, size_factor = (v / (group * features.shape[2] * sigma) for v in (h, size_h))
        size_c = np.abs(features - features[0]) + np.abs(features - features[0]).mean(0)
        deviations = np.broadcast_to(sigma.mean(1), (group, count)).flatten()
        got = value[:, -1].flatten(1)[:, 0] if value.dim() > 2 else value[:, -1]
        note(worst, "stddev: value", ulps(got, deviations, dtype))
        exact, size = g + factor * c, np.abs(g) + size_factor * size_c
        note(worst, "stddev: gradient", ulps(first, exact.reshape(x.shape), dtype, size.reshape(x.shape)))
        along = (c * t).mean(0) / sigma
        size_along = (size_c * (np.abs(t) + np.abs(t).mean(0))).mean(0) / sigma
        exact = factor * (shifted - c * along / sigma)
        size = size_factor * (np.abs(t) + np.abs(t).mean(0) + size_c * size_along / sigma)
        note(worst, "stddev: double backward", ulps(second, exact.reshape(x.shape), dtype, size.reshape(x.shape)))


def clipping(module, dtype: torch.dtype, device: str, worst: Worst) -> None:
    x = numbers(dtype)
    for limit in (0.01, 1 / 3, 3.0):
        got = x.to(device, copy=True)
        module.clip_weights_([got], limit)
        nearest = wide(torch.tensor(limit, dtype=torch.float64).to(dtype))
        note(worst, "clip_weights_", ulps(got, wide(x).clip(-nearest, nearest), dtype))


def optimizers(module, dtype: torch.dtype, device: str, worst: Worst) -> None:
    """The seventh step, from averages that earlier ones may have left."""
    lr, step, eps, limit = 0.01, 7, 1e-8, 1.0
    for weights, slopes, state in zip(batches(dtype, 4), batches(dtype, 5), batches(dtype, 6), strict=True):
        first, second = state, state.double().square().to(dtype)
        p, g, m, v = (wide(x) for x in (weights, slopes, first, second))
        for kind, names in (("RMSprop", ("square_avg",)), ("Adam", ("exp_avg_sq", "exp_avg"))):
            weight = torch.nn.Parameter(weights.to(device, copy=True))
            optimiser = getattr(module.optimizers, kind)([weight], lr=lr, eps=eps, clip=limit)
            kept = {name: x.to(device, copy=True) for name, x in zip(names, (second, first), strict=False)}
            optimiser.state[weight] = {"step": torch.tensor(step - 1.0), **kept}
            weight.grad = slopes.to(device)
            optimiser.step()
            if kind == "Adam":
                beta1, beta2 = np.longdouble(0.9), np.longdouble(0.999)
                mean, terms = (beta1 * a + (1 - beta1) * b for a, b in ((m, g), (np.abs(m), np.abs(g))))
                note(worst, "Adam: mean", ulps(kept["exp_avg"], mean, dtype, terms))
                terms = np.maximum(terms, torch.finfo(dtype).tiny)  # below, the mean itself has fewer bits
                move, terms = mean / (1 - beta1**step), terms / (1 - beta1**step)
                decay, bias = beta2, 1 - beta2**step
            else:
                move, terms, decay, bias = g, np.abs(g), np.longdouble(0.99), 1
            square = decay * v + (1 - decay) * g * g
            note(worst, f"{kind}: square", ulps(kept[names[0]], square, dtype))
            rate = lr / (np.sqrt(square / bias) + eps)
            truth = (p - rate * move).clip(-limit, limit)
            note(worst, f"{kind}: weight", ulps(weight, truth, dtype, np.abs(p) + rate * terms))


def measure(module, device: str, terms: int) -> dict[str, Worst]:
    found: dict[str, Worst] = {}
    for dtype in DTYPES:
        worst = found[str(dtype).removeprefix("torch.")] = {}
        elementwise(module, dtype, device, worst)
        sums(module, dtype, device, worst, terms)
        interpolation(module, dtype, device, worst)
        penalty(module, dtype, device, worst)
        augmentation(module, dtype, device, worst)
        clipping(module, dtype, device, worst)
        discrimination(module, dtype, device, worst)
        deviation(module, dtype, device, worst)
        optimizers(module, dtype, device, worst)
    return found


def measure_long(module, terms: int) -> Worst:
    """D's loss over very many cancelling float32 terms; the truth in float64, a part at a time."""
    real, fake = (cancelling(terms, torch.float32, seed) for seed in (5, 6))
    worst: Worst = {}
    for kind, on_real, on_fake in (
        ("wasserstein", lambda x: -x, lambda x: x),
        ("non_saturating", lambda x: torch.nn.functional.softplus(-x, threshold=100), torch.nn.functional.softplus),
    ):
        truth, size = np.longdouble(0), np.longdouble(0)
        for x, term in ((real, on_real), (fake, on_fake)):
            for part in x.split(1 << 20):
                values = term(part.double())
                truth += np.longdouble(values.sum().item()) / terms
                size += np.longdouble(values.abs().sum().item()) / terms
        got = module.discriminator_loss(real, fake, kind)
        note(worst, kind, ulps(got, truth, torch.float32, size))
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--reference", action="store_true", help="measure ganops.reference instead of the kernels")
    parser.add_argument("--terms", type=int, default=20_001, help="of the longest sums")
    parser.add_argument("--long", action="store_true", help="only D's loss over --terms float32 logits a side")
    options = parser.parse_args()
    module = ganops.reference if options.reference else ganops
    if options.long:
        print(json.dumps(measure_long(module, options.terms)))
    else:
        print(json.dumps(measure(module, options.device, options.terms)))
