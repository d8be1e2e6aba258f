"""The penalties that call the critic. Their two basic functions are either fused or in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import promoted
from ganops._common.gradient_penalty import check_settings
from ganops._common.interpolate import check_weight
from ganops.penalties.critics import Critic
from ganops.penalties.slopes import (
    difference_along_gradient,
    difference_along_noise,
    gradient_at,
    gradient_of,
)


def check_samples(function: str, **samples: Tensor) -> None:
    """Checks that all samples, given by name, are batches of the same shape, dtype and device."""
    (first_name, first), *_ = samples.items()
    for name, value in samples.items():
        checks.dense(function, name, value)
        checks.batched(function, name, value)
        checks.same_kind(function, first_name, first, name, value)
        checks.same_shape(function, first_name, first, name, value)


def dragan_points(real: Tensor, noise: Tensor | None, scale: float) -> Tensor:
    """DRAGAN's points: ``real`` + scale · (standard deviation of its elements) · noise. ``None`` draws N(0, 1)."""
    real = real.detach()
    noise = torch.randn_like(real) if noise is None else noise.detach()
    return real + scale * real.std(correction=0) * noise


def _normal_like(samples: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draws N(0, 1) on the generator's device, independent of torch's default device and dtype."""
    device = samples.device if generator is None else generator.device
    draw = torch.randn(samples.shape, dtype=samples.dtype, device=device, generator=generator)
    return draw.to(samples.device)


@dataclass(frozen=True)
class Penalties:
    """The penalties, given fused or plain implementations of ``interpolate`` and ``gradient_norm_penalty``."""

    interpolate: Callable[..., Tensor]
    gradient_norm_penalty: Callable[..., Tensor]

    def _at(
        self,
        critic: Critic,
        points: Callable[..., Tensor],
        samples: dict[str, Tensor],
        finite_difference: float,
        scaler: torch.amp.GradScaler | None,
        **settings: Any,
    ) -> Tensor:
        """The penalty at ``points(*samples.values())``. Errors name the samples by their keys.

        ``settings`` are those of ``gradient_norm_penalty``.
        """
        function = critic.function
        checks.grad_scaler(function, scaler)
        samples = dict(zip(samples, promoted(*samples.values()), strict=True))
        check_settings(function, **settings)
        finite_difference = checks.number(function, "finite_difference", finite_difference, minimum=0)
        check_samples(function, **samples)
        where = points(*(value.detach() for value in samples.values()))
        if finite_difference:
            slopes = difference_along_gradient(critic, where, finite_difference, scaler)
        else:
            slopes = gradient_at(critic, where, scaler)
        return self.gradient_norm_penalty(slopes, **settings)

    def _from_logits(
        self,
        function: str,
        logits: Tensor,
        name: str,
        inputs: Tensor,
        scaler: torch.amp.GradScaler | None,
        finite_difference: float = 0.0,
        critic: Critic | None = None,
        **settings: Any,
    ) -> Tensor:
        """The penalty at ``inputs``, called ``name`` in errors, from their ``logits``.

        Finite differences also need ``critic``.
        """
        checks.grad_scaler(function, scaler)
        check_settings(function, **settings)
        finite_difference = checks.number(function, "finite_difference", finite_difference, minimum=0)
        checks.dense(function, "logits", logits)
        check_samples(function, **{name: inputs})
        with torch.set_grad_enabled(torch.is_grad_enabled() and not finite_difference):
            slopes = gradient_of(function, logits, name, inputs, scaler)
        if critic is not None and finite_difference:
            slopes = difference_along_gradient(critic, inputs.detach(), finite_difference, gradient=slopes)
        return self.gradient_norm_penalty(slopes, **settings)

    def _between(
        self,
        critic: Critic,
        real: Tensor,
        fake: Tensor,
        weight: Tensor | None,
        finite_difference: float,
        scaler: torch.amp.GradScaler | None,
        **settings: Any,
    ) -> Tensor:
        """The penalty at points on the lines between real and fake samples."""

        def points(real: Tensor, fake: Tensor) -> Tensor:
            if weight is not None:
                check_weight(critic.function, weight, real)
            return self.interpolate(real, fake, weight)

        return self._at(critic, points, {"real": real, "fake": fake}, finite_difference, scaler, **settings)

    def _zero_centred(
        self,
        critic: Critic,
        name: str,
        samples: Tensor,
        logits: Tensor | None,
        finite_difference: float,
        reduction: str,
        scaler: torch.amp.GradScaler | None,
    ) -> Tensor:
        """R1 and R2: the squared norm at one batch, called ``name`` in errors."""
        settings = {"target": 0.0, "reduction": reduction}
        if logits is None:
            return self._at(critic, lambda x: x, {name: samples}, finite_difference, scaler, **settings)
        if isinstance(samples, Tensor) and not samples.is_leaf:
            raise ValueError(
                f"{critic.function}: {name} must be a leaf if logits are given, so that no gradient flows to whatever "
                f"made it; compute logits of {name}.detach().requires_grad_(), or let it flow with "
                "ganops.input_gradient_penalty"
            )
        return self._from_logits(critic.function, logits, name, samples, scaler, finite_difference, critic, **settings)

    def gradient_penalty(
        self,
        critic: Callable[[Tensor], Any],
        real: Tensor,
        fake: Tensor,
        *,
        target: float = 1.0,
        one_sided: bool = False,
        weight: Tensor | None = None,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
        select: Callable[[Any], Tensor] | None = None,
    ) -> Tensor:
        """The gradient penalty of WGAN-GP without λ: E (‖∇ critic(x̂)‖₂ − target)² at x̂ between real and fake.

        Gradients flow into the critic's parameters, but not into ``real`` or ``fake``, so the generator receives none.
        Source: Gulrajani et al. 2017, equation 3.

        Costs one forward pass through the critic, one backward pass to the samples, and the backward through both.

        Args:
            critic: Maps samples (N, …) to scores, at least one per sample, each of which depends on its own sample. A
                critic with batch normalization in training mode violates this, and causes one warning. For a
                conditional critic pass ``lambda x: critic(x, labels)``. In the critic ``scaled_dot_product_attention``
                uses the ``MATH`` backend and compiled functions run eagerly, because their fused and compiled forms
                have no second derivatives.
            real: Real samples (N, …); float16, bfloat16, float32 or float64.
            fake: Generated samples, the same shape, dtype and device; under ``torch.autocast`` dtypes may differ.
            target: The target norm of the gradient, see :func:`ganops.gradient_norm_penalty`.
            one_sided: Penalise only norms above the target.
            weight: The coefficients of the interpolation, one per sample, (N,) or (N, 1, …). ``None`` draws U[0, 1);
                ones gives the penalty at real samples (R1, with ``target=0``), zeros at fake ones (R2).
            finite_difference: 0: the exact norm, by double backward. δ > 0 (e.g. 0.01): the norm is replaced by
                (D(x̂ + δu) − D(x̂ − δu)) / 2δ along u = ∇D(x̂)/‖∇D(x̂)‖, with δ in the units of the samples. This costs
                three forward passes and needs only first derivatives of the critic, so that fused attention and
                compiled critics work unchanged. The error is δ²/6 times D's third derivative along u, plus about
                (rounding error of D)/δ; the same holds for the gradient to the critic's weights. The result can be
                differentiated only once, since u is treated as a constant. The critic must be the same function in all
                three calls (no dropout) and return scores (N, …). Under ``torch.autocast`` these calls run in float32:
                in half precision rounding would dominate the difference.
            reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
            scaler: The ``GradScaler`` of float16 training. The gradient is multiplied by its scale while it passes
                through the critic, so that it does not underflow, and is unscaled in float32 before its norm is taken.
                If it overflows, the penalty is infinite or NaN, and ``scaler.step`` skips the update. The returned
                penalty is not scaled: add it to the loss, and pass the sum to ``scaler.scale``.
            select: Selects the scores from the critic's output, e.g. ``lambda output: output[-1]`` for a list of
                features followed by the scores.

        Returns:
            A tensor of shape (), or (N,) for ``"none"``. Half-precision samples give float32 under ``torch.autocast``
            and with a ``scaler``.

        Raises:
            ValueError, TypeError: Naming the argument, the value received and the values accepted; ValueError also if
                the critic's output does not depend on its input, and if the critic is sharded by ``fully_shard`` or
                is a ``DistributedDataParallel`` with ``static_graph=True``.

        Example:
            >>> loss = ganops.discriminator_loss(critic(real), critic(fake), "wasserstein")
            >>> loss = loss + 10 * ganops.gradient_penalty(critic, real, fake)
        """
        called = Critic("gradient_penalty", critic, select)
        settings = {"target": target, "one_sided": one_sided, "reduction": reduction}
        return self._between(called, real, fake, weight, finite_difference, scaler, **settings)

    def input_gradient_penalty(
        self,
        logits: Tensor,
        inputs: Tensor,
        *,
        target: float,
        one_sided: bool = False,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor:
        """The penalty E (‖∇D(x)‖₂ − target)² on the gradient of ``logits`` at ``inputs``, from a finished forward pass.

        Needs no forward pass of its own. Gradients flow into everything that ``logits`` and ``inputs`` depend on. To
        prevent gradients into the inputs' graph, detach the inputs before the forward pass.

        The critic must have second derivatives: compute the logits with an uncompiled critic, and with attention under
        ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``. Under ``torch.compile`` take logits and gradient from one
        call of ``torch.func.grad(…, has_aux=True)``, and pass the gradient to :func:`ganops.gradient_norm_penalty`.

        Args:
            logits: The critic's scores of ``inputs``, of any shape with at least one element per sample, each of which
                depends on its own sample. Call this function before ``backward()`` frees their graph.
            inputs: (N, …), which must have required a gradient in the forward pass; float16, bfloat16, float32 or
                float64.
            target: The target norm: 0 for R1 and R2, 1 for WGAN-GP.
            one_sided: Penalise only norms above the target.
            reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
            scaler: A ``GradScaler``, see :func:`ganops.gradient_penalty`.

        Returns:
            A tensor of shape (), or (N,) for ``"none"``.

        Raises:
            ValueError, TypeError: Naming the argument, the value received and the values accepted; ValueError also if
                ``logits`` do not depend on ``inputs``.
            RuntimeError: Under ``torch.compile`` and ``torch.func``.

        Example:
            >>> real = real.requires_grad_()
            >>> logits = critic(real)
            >>> loss = ganops.gan_loss(logits, True) + 5 * ganops.input_gradient_penalty(logits, real, target=0)
        """
        settings: dict[str, Any] = {"target": target, "one_sided": one_sided, "reduction": reduction}
        return self._from_logits("input_gradient_penalty", logits, "inputs", inputs, scaler, **settings)

    def r1_penalty(
        self,
        critic: Callable[[Tensor], Any],
        real: Tensor,
        *,
        logits: Tensor | None = None,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
        select: Callable[[Any], Tensor] | None = None,
    ) -> Tensor:
        """R1: E ‖∇ critic(x)‖² at real samples (Mescheder et al. 2018, arXiv:1801.04406, equation 9).

        Multiply the result by the paper's factor γ/2.

        Costs one forward pass through the critic, or none with ``logits``; with ``finite_difference``, three or two.

        Args:
            critic: Maps samples (N, …) to scores, see :func:`ganops.gradient_penalty`.
            real: Real samples (N, …); float16, bfloat16, float32 or float64. No gradient flows into their maker.
            logits: The critic's scores of ``real`` if they are known, with their graph. ``real`` must be the tensor
                that the critic was called with, a leaf that already required a gradient. See
                :func:`ganops.input_gradient_penalty` for attention, compiled critics and ``torch.compile``.
            finite_difference: 0: exact; δ > 0: without double backward, see :func:`ganops.gradient_penalty`.
            reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
            scaler: A ``GradScaler``, see :func:`ganops.gradient_penalty`.
            select: Chooses the scores from what the critic returns.

        Returns:
            A tensor of shape (), or (N,) for ``"none"``, with gradients to the critic's weights.

        Raises:
            ValueError, TypeError: Naming the argument, the value received and the values accepted.

        Example:
            >>> real = real.requires_grad_()
            >>> logits = critic(real)
            >>> loss = ganops.discriminator_loss(logits, critic(fake))
            >>> loss = loss + 5 * ganops.r1_penalty(critic, real, logits=logits)
        """
        called = Critic("r1_penalty", critic, select)
        return self._zero_centred(called, "real", real, logits, finite_difference, reduction, scaler)

    def r2_penalty(
        self,
        critic: Callable[[Tensor], Any],
        fake: Tensor,
        *,
        logits: Tensor | None = None,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
        select: Callable[[Any], Tensor] | None = None,
    ) -> Tensor:
        """R2: E ‖∇ critic(x)‖² at generated samples (Mescheder et al. 2018, equation 10).

        Arguments, cost and result are those of :func:`ganops.r1_penalty`. No gradient flows into the
        generator; logits must be those of ``fake.detach().requires_grad_()``.
        """
        called = Critic("r2_penalty", critic, select)
        return self._zero_centred(called, "fake", fake, logits, finite_difference, reduction, scaler)

    def approximate_r1_penalty(
        self,
        critic: Callable[[Tensor], Any],
        samples: Tensor,
        sigma: float,
        *,
        logits: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        reduction: str = "mean",
        select: Callable[[Any], Tensor] | None = None,
    ) -> Tensor:
        """Estimates R1 (or R2) without double backward: E (D(x + σn) − D(x))² / σ² with n ~ N(0, 1).

        Its expectation is E ‖∇D(x)‖² + σ²·E(½‖H‖² + ¼(ΔD)² + ⟨∇D, ∇ΔD⟩) + O(σ⁴), where H is D's Hessian, ‖H‖ its
        Frobenius norm and ΔD its trace. The variance of one sample's term is 2‖∇D(x)‖⁴ + O(σ²), so that the mean over N
        samples with equal gradients has a relative standard error of √(2/N). Rounding adds up to about 2(ε·D/σ)², which
        matters in half precision; under ``torch.autocast`` the critic runs in half precision. Source: Lin et al. 2025,
        arXiv:2501.08316, without the division by σ².

        It needs only first derivatives: fused attention, compiled critics, critics sharded by ``fully_shard``, and
        recurrent layers of cuDNN work unchanged. Costs two forward passes through the critic, or one with ``logits``.

        Args:
            critic: Maps samples (N, …) to scores (N, …), which are summed for each sample before the square. It must be
                the same function in both calls (no dropout).
            samples: (N, …); float16, bfloat16, float32 or float64. No gradient flows into their maker.
            sigma: The standard deviation σ > 0 of the noise, in the units of the samples. A small σ reduces the
                bias, a large σ the rounding error; docs/penalties.md has measurements.
            logits: The critic's scores of ``samples`` if they are known. Their graph is used if they have one. Leave
                them out for a critic with spectral norm in training mode, whose weights change from call to call.
            noise: A tensor like ``samples``. ``None`` draws N(0, 1).
            generator: Random generator for the noise, on its own device. Cannot be combined with ``noise``.
            reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
            select: Chooses the scores from what the critic returns.

        Returns:
            A tensor of shape (), or (N,) for ``"none"``, with gradients to the critic's weights; float64 for float64
            scores, float32 for all others.

        Raises:
            ValueError, TypeError: Naming the argument, the value received and the values accepted.

        Example:
            >>> logits = critic(real)
            >>> loss = ganops.gan_loss(logits, True)
            >>> loss = loss + 5 * ganops.approximate_r1_penalty(critic, real, 0.05, logits=logits)
        """
        function = "approximate_r1_penalty"
        called = Critic(function, critic, select)
        check_settings(function, 0.0, reduction)
        sigma = checks.number(function, "sigma", sigma, above=0)
        checks.generator(function, generator)
        if generator is not None and noise is not None:
            raise ValueError(f"{function}: pass noise or generator, not both: the generator draws the noise")
        if noise is None:
            check_samples(function, samples=samples)
            noise = _normal_like(samples, generator)
        else:
            samples, noise = promoted(samples, noise)
            check_samples(function, samples=samples, noise=noise)
        largest = torch.finfo(samples.dtype).max
        if sigma > largest:
            raise ValueError(f"{function}: sigma must be at most {largest:g} for {samples.dtype}, got {sigma!r}")
        if logits is not None:
            checks.dense(function, "logits", logits)
        slopes = difference_along_noise(called, samples.detach(), sigma, noise.detach(), logits)
        return self.gradient_norm_penalty(slopes, target=0.0, reduction=reduction)

    def lp_penalty(
        self,
        critic: Callable[[Tensor], Any],
        real: Tensor,
        fake: Tensor,
        *,
        target: float = 1.0,
        weight: Tensor | None = None,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
        select: Callable[[Any], Tensor] | None = None,
    ) -> Tensor:
        """WGAN-LP's one-sided penalty: E max(‖∇ critic(x̂)‖ − target, 0)² between real and fake (Petzka et al. 2018,
        arXiv:1709.08894, equation 8).

        Equivalent to :func:`ganops.gradient_penalty` with ``one_sided=True``; see there for arguments, cost and result.
        """
        called = Critic("lp_penalty", critic, select)
        settings = {"target": target, "one_sided": True, "reduction": reduction}
        return self._between(called, real, fake, weight, finite_difference, scaler, **settings)

    def dragan_penalty(
        self,
        critic: Callable[[Tensor], Any],
        real: Tensor,
        noise: Tensor | None = None,
        *,
        scale: float = 0.5,
        target: float = 1.0,
        finite_difference: float = 0.0,
        reduction: str = "mean",
        scaler: torch.amp.GradScaler | None = None,
        select: Callable[[Any], Tensor] | None = None,
    ) -> Tensor:
        """DRAGAN: E (‖∇ critic(x + δ)‖ − target)² at noise around real samples (Kodali et al. 2017, arXiv:1705.07215).

        Costs one forward pass through the critic, or three with ``finite_difference``.

        Args:
            critic: As for :func:`ganops.gradient_penalty`.
            real: Real samples (N, …); float16, bfloat16, float32 or float64. No gradient flows into them.
            noise: A tensor like ``real``. δ = ``scale`` · (standard deviation of all elements of ``real``) · ``noise``.
                ``None`` draws N(0, 1).
            scale: Factor of the noise, at least 0.
            target: The target norm of the gradient.
            finite_difference: 0: exact; δ > 0: without double backward, see :func:`ganops.gradient_penalty`.
            reduction: ``"mean"`` over samples, ``"sum"``, or ``"none"``.
            scaler: A ``GradScaler``, see :func:`ganops.gradient_penalty`.
            select: Chooses the scores from what the critic returns.

        Returns:
            A tensor of shape (), or (N,) for ``"none"``, with gradients to the critic's weights.

        Raises:
            ValueError, TypeError: Naming the argument, the value received and the values accepted.
        """
        called = Critic("dragan_penalty", critic, select)
        scale = checks.number("dragan_penalty", "scale", scale, minimum=0)
        samples = {"real": real} if noise is None else {"real": real, "noise": noise}

        def points(real: Tensor, noise: Tensor | None = None) -> Tensor:
            return dragan_points(real, noise, scale)

        settings = {"target": target, "reduction": reduction}
        return self._at(called, points, samples, finite_difference, scaler, **settings)
