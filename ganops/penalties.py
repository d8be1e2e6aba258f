"""Whole gradient penalties: the gradient of a critic at some points, and the penalty on its norm.

:class:`Penalties` holds them once, over two functions: :mod:`ganops.ops` makes it of the fused ones, and
:mod:`ganops.reference` of those in plain PyTorch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype, autocasts, promoted
from ganops._common.gradient_penalty import check_settings
from ganops._transforms import transforms_active


def check_samples(function: str, **samples: Tensor) -> None:
    """Checks the samples of a whole penalty, by name: batches of one shape, dtype and device."""
    (first_name, first), *_ = samples.items()
    for name, value in samples.items():
        checks.tensor(function, name, value)
        checks.batched(function, name, value)
        checks.same_kind(function, first_name, first, name, value)
        checks.same_shape(function, first_name, first, name, value)


def _scores(function: str, critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    scores = critic(points)
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        came = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise TypeError(f"{function}: critic must return one floating-point tensor, got {came}")
    return scores


def _scaled_gradient(
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
        return _exact_gradient(critic, points, function, None)
    # Asked for as a tensor: get_scale() would wait for the device. 1/N, for a scaler knows the gradients of means: from
    # a sum its usual first scale, 2¹⁶, would be infinite in float16.
    factor = scaler.scale(torch.full((), 1 / max(len(points), 1), device=points.device))
    gradient = _exact_gradient(critic, points, function, factor)
    return gradient.to(accumulate_dtype(gradient.dtype)) / factor


def _exact_gradient(critic: Callable[[Tensor], Tensor], points: Tensor, function: str, factor: Tensor | None) -> Tensor:
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
    if autocasts(points):  # half precision would leave two digits of the difference, or none
        with torch.autocast(points.device.type, enabled=False):
            return _difference(function, critic, points.to(accumulate_dtype(points.dtype)), step, scaler)
    with torch.no_grad():
        gradient = _scaled_gradient(critic, points.detach(), function, scaler)
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


def input_gradients(
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
    return _scaled_gradient(critic, points, function, scaler)


def dragan_points(real: Tensor, noise: Tensor | None, scale: float) -> Tensor:
    """DRAGAN's points: ``real`` + scale · (standard deviation of all its elements) · noise; None: N(0, 1)."""
    real = real.detach()
    noise = torch.randn_like(real) if noise is None else noise.detach()
    return real + scale * real.std(correction=0) * noise


@dataclass(frozen=True)
class Penalties:
    """The whole penalties over ``interpolate`` and ``gradient_norm_penalty``, which are fused or in plain PyTorch."""

    interpolate: Callable[..., Tensor]
    gradient_norm_penalty: Callable[..., Tensor]

    def _at(
        self,
        function: str,
        critic: Callable[[Tensor], Tensor],
        finite_difference: float,
        scaler: torch.amp.GradScaler | None,
        points: Callable[..., Tensor],
        samples: dict[str, Tensor],
        **settings: Any,
    ) -> Tensor:
        """The penalty at the points that ``points`` makes of ``samples``.

        Error messages name the function ``function`` and the samples by their keys; ``settings`` are those of
        ``gradient_norm_penalty``.
        """
        checks.grad_scaler(function, scaler)
        samples = dict(zip(samples, promoted(*samples.values()), strict=True))
        check_settings(function, settings["target"], settings["reduction"], finite_difference)
        check_samples(function, **samples)
        where = points(*(value.detach() for value in samples.values()))
        gradients = input_gradients(function, critic, where, finite_difference, scaler)
        return self.gradient_norm_penalty(gradients, **settings)

    def _between(
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
        """The penalty on the lines between real and fake samples."""

        def points(real: Tensor, fake: Tensor) -> Tensor:
            return self.interpolate(real, fake, weight)

        return self._at(function, critic, finite_difference, scaler, points, {"real": real, "fake": fake}, **settings)

    def _zero_centred(
        self,
        function: str,
        critic: Callable[[Tensor], Tensor],
        finite_difference: float,
        reduction: str,
        scaler: torch.amp.GradScaler | None,
        **samples: Tensor,
    ) -> Tensor:
        """R1 and R2: the squared norm at one batch, given by its name."""
        settings = {"target": 0.0, "reduction": reduction}
        return self._at(function, critic, finite_difference, scaler, lambda x: x, samples, **settings)

    def gradient_penalty(
        self,
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
        """The whole penalty of WGAN-GP, without its factor λ: E (‖∇ critic(x̂)‖₂ − target)² at x̂ between real and fake.

        Gradients flow into the critic's parameters, and not into ``real`` or ``fake``: a generator that made ``fake``
        receives none. Source: Gulrajani et al. 2017, equation 3.

        Args:
            critic: Maps samples (N, …) to scores, each of which depends on its own sample (no batch norm). For a
                conditional critic pass ``lambda x: critic(x, labels)``.
            real: Real samples (N, …); float16, bfloat16, float32 or float64.
            fake: Generated samples, the same shape, dtype and device; under ``torch.autocast`` dtypes may differ.
            target: The wanted norm of the gradient, see :func:`ganops.gradient_norm_penalty`.
            one_sided: Penalise only norms above the target.
            weight: The weights of the interpolation, one per sample. ``None`` draws U[0, 1); ones gives the penalty at
                real samples (R1, with ``target=0``), zeros at fake ones (R2).
            finite_difference: 0: the exact norm, by double backward. δ > 0 (say 0.01): the norm is replaced by
                (D(x̂ + δu) − D(x̂ − δu)) / 2δ along u = ∇D(x̂)/‖∇D(x̂)‖, with δ in the units of the samples. This needs
                only first derivatives of the critic. The error is δ²/6 times D's third derivative along u, plus about
                (rounding error of D)/δ; the same holds for the gradient to the critic's weights. The result is meant
                to be differentiated once, since u counts as a constant. The critic must be the same function in all
                three calls (no dropout) and return scores (N, …). These calls run in float32 under
                ``torch.autocast``: in half precision the difference would vanish in rounding.
            reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
            scaler: The ``GradScaler`` of training in float16. The gradient passes through the critic multiplied by its
                scale, so that it does not underflow, and is unscaled in float32 before its norm is taken. If it
                overflows, the penalty is infinite or NaN, and ``scaler.step`` skips the update. The returned penalty
                is not scaled: add it to the loss, and pass that to ``scaler.scale``.

        Returns:
            A tensor of shape (), or (N,) for ``"none"``. Half-precision samples give float32 under ``torch.autocast``
            and with a ``scaler``.

        Raises:
            ValueError, TypeError: Naming the argument, the value received and the values accepted; ValueError also if
                the critic's output does not depend on its input.

        Example:
            >>> loss = ganops.discriminator_loss(critic(real), critic(fake), "wasserstein")
            >>> loss = loss + 10 * ganops.gradient_penalty(critic, real, fake)
        """
        settings = {"target": target, "one_sided": one_sided, "reduction": reduction}
        return self._between("gradient_penalty", critic, real, fake, weight, finite_difference, scaler, **settings)

    def r1_penalty(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        *,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor:
        """R1: E ‖∇ critic(x)‖² at real samples (Mescheder et al. 2018, arXiv:1801.04406, equation 9).

        The paper's γ/2 is the factor to multiply this with.

        Args:
            critic: Maps samples (N, …) to scores, each of which depends on its own sample, see
                :func:`ganops.gradient_penalty`.
            real: Real samples (N, …); float16, bfloat16, float32 or float64. No gradient flows into them.
            finite_difference: 0: exact; δ > 0: without double backward, see :func:`ganops.gradient_penalty`.
            reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
            scaler: A ``GradScaler``, see :func:`ganops.gradient_penalty`.

        Returns:
            A tensor of shape (), or (N,) for ``"none"``, with gradients to the critic's weights.

        Raises:
            ValueError, TypeError: Naming the argument, the value received and the values accepted.
        """
        return self._zero_centred("r1_penalty", critic, finite_difference, reduction, scaler, real=real)

    def r2_penalty(
        self,
        critic: Callable[[Tensor], Tensor],
        fake: Tensor,
        *,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor:
        """R2: E ‖∇ critic(x)‖² at generated samples (Mescheder et al. 2018, equation 10).

        Arguments and result are those of :func:`ganops.r1_penalty`. No gradient flows to the maker of ``fake``.
        """
        return self._zero_centred("r2_penalty", critic, finite_difference, reduction, scaler, fake=fake)

    def lp_penalty(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        *,
        target: float = 1.0,
        weight: Tensor | None = None,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor:
        """WGAN-LP's one-sided penalty: E max(‖∇ critic(x̂)‖ − target, 0)² between real and fake (Petzka et al. 2018,
        arXiv:1709.08894, equation 8). It is :func:`ganops.gradient_penalty` with ``one_sided=True``, which see.
        """
        settings = {"target": target, "one_sided": True, "reduction": reduction}
        return self._between("lp_penalty", critic, real, fake, weight, finite_difference, scaler, **settings)

    def dragan_penalty(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        noise: Tensor | None = None,
        *,
        scale: float = 0.5,
        target: float = 1.0,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor:
        """DRAGAN: E (‖∇ critic(x + δ)‖ − target)² at noise around real samples (Kodali et al. 2017, arXiv:1705.07215).

        Args:
            critic: As for :func:`ganops.gradient_penalty`.
            real: Real samples (N, …); float16, bfloat16, float32 or float64. No gradient flows into them.
            noise: Like ``real``; δ is ``scale`` times the standard deviation of all of ``real``'s elements times this.
                ``None`` draws N(0, 1).
            scale: At least 0.
            target: The wanted norm of the gradient.
            finite_difference: 0: exact; δ > 0: without double backward, see :func:`ganops.gradient_penalty`.
            reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
            scaler: A ``GradScaler``, see :func:`ganops.gradient_penalty`.

        Returns:
            A tensor of shape (), or (N,) for ``"none"``, with gradients to the critic's weights.

        Raises:
            ValueError, TypeError: Naming the argument, the value received and the values accepted.
        """
        checks.number("dragan_penalty", "scale", scale, minimum=0)
        samples = {"real": real} if noise is None else {"real": real, "noise": noise}

        def points(real: Tensor, noise: Tensor | None = None) -> Tensor:
            return dragan_points(real, noise, scale)

        settings = {"target": target, "reduction": reduction}
        return self._at("dragan_penalty", critic, finite_difference, scaler, points, samples, **settings)
