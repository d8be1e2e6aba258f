"""Gradient penalties in plain PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from ganops import _checks
from ganops._transforms import transforms_active
from ganops.reference.adversarial_loss import reduce
from ganops.reference.interpolate import accumulate_dtype, interpolate


def check_settings(function: str, target: float, reduction: str, finite_difference: float = 0.0) -> float:
    """Checks what is not a tensor and returns the target as a float."""
    _checks.choice(function, "reduction", reduction, _checks.REDUCTIONS)
    _checks.number(function, "finite_difference", finite_difference, minimum=0)
    return _checks.number(function, "target", target, minimum=0)


def check_gradient(gradient: Tensor) -> None:
    """Checks the argument of ``gradient_norm_penalty``."""
    _checks.tensor("gradient_norm_penalty", "gradient", gradient)
    _checks.batched("gradient_norm_penalty", "gradient", gradient)


def check_samples(function: str, **samples: Tensor) -> None:
    """Checks the samples of a whole penalty, by name: batches of one shape, dtype and device."""
    (first_name, first), *_ = samples.items()
    for name, value in samples.items():
        _checks.tensor(function, name, value)
        _checks.batched(function, name, value)
        _checks.same_kind(function, first_name, first, name, value)
        _checks.same_shape(function, first_name, first, name, value)


def gradient_norm_penalty(
    gradient: Tensor, *, target: float = 1.0, one_sided: bool = False, reduction: str = "mean"
) -> Tensor:
    """The same function as :func:`ganops.gradient_norm_penalty`, in plain PyTorch."""
    target = check_settings("gradient_norm_penalty", target, reduction)
    check_gradient(gradient)
    gradient = _checks.without_autocast(gradient)
    squared = gradient.to(accumulate_dtype(gradient.dtype)).square()
    if gradient.dim() > 1:
        squared = squared.flatten(1).sum(1)
    if target == 0:
        penalty = squared
    else:
        # A zero gradient has the zero subgradient, and that has the derivative zero: the square root is taken of 1
        # there, and its branch is cut off.
        nonzero = squared != 0
        norm = torch.where(nonzero, torch.where(nonzero, squared, 1).sqrt(), 0)
        excess = norm - target
        penalty = (excess.relu() if one_sided else excess).square()
    return reduce(penalty, reduction).to(gradient.dtype)


def _scores(function: str, critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    scores = critic(points)
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        came = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise TypeError(f"{function}: critic must return one floating-point tensor, got {came}")
    return scores


def input_gradient(
    critic: Callable[[Tensor], Tensor],
    points: Tensor,
    function: str = "gradient_penalty",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """∇ₓ Σ critic(x) at ``points`` (N, …), same shape, differentiable in the critic's parameters.

    ``function`` is who the errors speak for. With a ``scaler`` the gradient passes the critic as large as that of its
    scaled mean does, and is divided by that factor in float32; what has overflowed is then infinite or NaN.
    """
    if scaler is None or not scaler.is_enabled():
        return _input_gradient(critic, points, function, None)
    # Asked for as a tensor: get_scale() would wait for the device. 1/N, for a scaler knows the gradients of means: from
    # a sum its usual first scale, 2¹⁶, would be infinite in float16.
    factor = scaler.scale(torch.full((), 1 / max(len(points), 1), device=points.device))
    gradient = _input_gradient(critic, points, function, factor)
    return gradient.to(accumulate_dtype(gradient.dtype)) / factor


def _input_gradient(critic: Callable[[Tensor], Tensor], points: Tensor, function: str, factor: Tensor | None) -> Tensor:
    """∇ₓ factor·Σ critic(x)."""

    def total(x: Tensor) -> Tensor:
        scores = _scores(function, critic, x)
        scores = scores.sum(dtype=accumulate_dtype(scores.dtype))
        return scores if factor is None else factor * scores

    if transforms_active() or torch.compiler.is_compiling():
        # torch.compile cannot trace autograd.grad with create_graph, and torch.func's transforms allow no
        # requires_grad_(): both can do with the functional form.
        return torch.func.grad(total)(points)
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            f"{function}: torch.inference_mode() records no gradients, and the penalty is made of one; "
            "use torch.no_grad() to evaluate it"
        )
    differentiable = torch.is_grad_enabled()
    if points.is_inference():  # samples made in inference mode are penalised outside of it
        points = points.clone()
    points.requires_grad_()
    gradient = None
    with torch.enable_grad():
        scores = total(points)
        if scores.requires_grad:
            (gradient,) = torch.autograd.grad(scores, points, create_graph=differentiable, allow_unused=True)
    if gradient is None:
        raise ValueError(
            f"{function}: the critic's output does not depend on its input, so it has no gradient to penalise; "
            "check for .detach(), torch.no_grad() or a wrong input inside the critic"
        )
    return gradient


def _difference(
    function: str,
    critic: Callable[[Tensor], Tensor],
    points: Tensor,
    step: float,
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """(D(x + δu) − D(x − δu)) / 2δ per sample, (N,), along u = ∇D/‖∇D‖, held fixed: ‖∇D‖ + O(δ²) with its derivative.

    That u depends on the critic too changes nothing: of all unit directions it has the largest slope, so the slope does
    not move with it (∂‖g‖/∂θ = ⟨u, ∂g/∂θ⟩). A gradient of 0 gives u = 0, and the zero subgradient.
    """
    if _checks.autocasts(points):  # half precision would leave two digits of the difference, or none
        with torch.autocast(points.device.type, enabled=False):
            return _difference(function, critic, points.to(accumulate_dtype(points.dtype)), step, scaler)
    with torch.no_grad():
        gradient = input_gradient(critic, points.detach(), function, scaler)
        wide = gradient.to(accumulate_dtype(gradient.dtype)).reshape(len(gradient), -1)
        squared = wide.square().sum(1, keepdim=True)
        unit = torch.where(squared != 0, wide / torch.where(squared != 0, squared, 1).sqrt(), 0)
        shift = (step * unit).reshape(points.shape).to(points.dtype)
    # Spectral norm moves its estimate at every forward: both ends are to meet the same weights.
    compiling = torch.compiler.is_compiling()
    with contextlib.nullcontext() if compiling else parametrize.cached():
        ahead, behind = (_scores(function, critic, points + side * shift) for side in (1, -1))
    if ahead.shape[:1] != points.shape[:1]:
        raise ValueError(
            f"{function}: with finite_difference the critic must return scores (N, …) for {len(points)} samples, got "
            f"{tuple(ahead.shape)}"
        )
    change = (ahead - behind).reshape(len(points), -1)
    return change.sum(1, dtype=accumulate_dtype(change.dtype)) / (2 * step)


def slopes(
    function: str,
    critic: Callable[[Tensor], Tensor],
    points: Tensor,
    finite_difference: float = 0.0,
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """What ``gradient_norm_penalty`` is to be given at ``points`` (N, …): the gradients (N, …), or the differences (N,)
    that approach their norms.
    """
    if finite_difference:
        return _difference(function, critic, points, finite_difference, scaler)
    return input_gradient(critic, points, function, scaler)


@dataclass(frozen=True)
class WholePenalty:
    """The whole penalties, made of two functions, fused or in plain PyTorch, and of a critic's gradient at some points.

    ``function`` is who the errors speak for; ``settings`` are those of ``gradient_norm_penalty``.
    """

    interpolate: Callable[..., Tensor]
    gradient_norm_penalty: Callable[..., Tensor]

    def at(
        self,
        function: str,
        critic: Callable[[Tensor], Tensor],
        finite_difference: float,
        scaler: torch.amp.GradScaler | None,
        points: Callable[..., Tensor],
        samples: dict[str, Tensor],
        **settings: Any,
    ) -> Tensor:
        """At the points that ``points`` makes of ``samples``, which are named as the errors are to name them."""
        _checks.grad_scaler(function, scaler)
        samples = dict(zip(samples, _checks.promoted(*samples.values()), strict=True))
        check_settings(function, settings["target"], settings["reduction"], finite_difference)
        check_samples(function, **samples)
        where = points(*(value.detach() for value in samples.values()))
        return self.gradient_norm_penalty(slopes(function, critic, where, finite_difference, scaler), **settings)

    def between(
        self,
        function: str,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None,
        finite_difference: float,
        scaler: torch.amp.GradScaler | None,
        **settings: Any,
    ) -> Tensor:
        """On the lines between real and fake."""

        def points(real: Tensor, fake: Tensor) -> Tensor:
            return self.interpolate(real, fake, weight)

        return self.at(function, critic, finite_difference, scaler, points, {"real": real, "fake": fake}, **settings)


PLAIN = WholePenalty(interpolate, gradient_norm_penalty)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    target: float = 1.0,
    one_sided: bool = False,
    weight: Tensor | None = None,
    finite_difference: float = 0.0,
    reduction: str = "mean",
    scaler: torch.amp.GradScaler | None = None,
) -> Tensor:
    """The same function as :func:`ganops.gradient_penalty`, in plain PyTorch."""
    settings = {"target": target, "one_sided": one_sided, "reduction": reduction}
    return PLAIN.between("gradient_penalty", critic, real, fake, weight, finite_difference, scaler, **settings)
