"""The slopes of a critic at some points: exact gradients, differences along them, differences along noise."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.utils import parametrize

from ganops._common.dtypes import accumulate_dtype, autocasts
from ganops._transforms import from_compiled, transforms_active
from ganops.penalties.critics import Critic


def gradient_at(critic: Critic, points: Tensor, scaler: torch.amp.GradScaler | None = None) -> Tensor:
    """∇ₓ Σ critic(x) at ``points`` (N, …), same shape, differentiable in the critic's parameters. One forward pass.

    With a ``scaler`` the gradient passes the critic as large as that of its scaled mean does, and is divided by that
    factor in float32; what has overflowed is then infinite or NaN.
    """
    factor, twice = _factor(scaler, points), torch.is_grad_enabled()
    if transforms_active() or torch.compiler.is_compiling():
        # torch.compile cannot trace autograd.grad with create_graph, and torch.func's transforms allow no
        # requires_grad_(): both can do with the functional form.
        gradient = torch.func.grad(lambda x: _total(critic(x, inside=True, twice=twice), factor))(points)
        return _unscaled(gradient, factor)
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            f"{critic.function}: torch.inference_mode() records no gradients, and the penalty is made of one; "
            "use torch.no_grad() to evaluate it"
        )
    if points.is_inference():  # samples made in inference mode are penalised outside of it
        points = points.clone()
    points.requires_grad_()
    with torch.enable_grad():  # a copy, because the critic may begin with an operation in place
        scores = critic(points.clone(), inside=True, twice=twice)
    gradient = _differentiate(scores, points, factor)
    if gradient is None:
        raise ValueError(
            f"{critic.function}: the critic's output does not depend on its input, so it has no gradient to penalise; "
            "check for .detach(), torch.no_grad() or a wrong input inside the critic"
        )
    return gradient


def gradient_of(
    function: str, logits: Tensor, name: str, inputs: Tensor, scaler: torch.amp.GradScaler | None = None
) -> Tensor:
    """∇ Σ logits at ``inputs`` (N, …), from a forward pass that has been done; the errors call the inputs ``name``."""
    if transforms_active() or torch.compiler.is_compiling():
        raise RuntimeError(
            f"{function}: logits cannot be differentiated after the forward pass under torch.compile and torch.func. "
            "Take both from one pass: gradient, logits = torch.func.grad(total, has_aux=True)(samples) where total(x) "
            "returns (logits.sum(), logits), and pass the gradient to ganops.gradient_norm_penalty"
        )
    if not inputs.requires_grad:
        raise ValueError(
            f"{function}: {name} must require a gradient when logits are computed; call {name}.requires_grad_() before "
            "the forward pass"
        )
    if logits.numel() == 1 < len(inputs):
        raise ValueError(
            f"{function}: logits must have at least one value per sample, got one for {len(inputs)} samples; "
            "the gradient of a mean would be too small by that factor"
        )
    if torch.is_grad_enabled() and from_compiled(logits):
        raise ValueError(
            f"{function}: logits come from a compiled critic, which has no second derivatives; compute them under "
            'torch.compiler.set_stance("force_eager"), or use ganops.approximate_r1_penalty'
        )
    gradient = _differentiate(logits, inputs, _factor(scaler, inputs))
    if gradient is None:
        raise ValueError(
            f"{function}: logits do not depend on {name}; pass the tensor that the critic was called with, not a copy "
            "or slice of it, and compute logits without torch.no_grad()"
        )
    return gradient


def _factor(scaler: torch.amp.GradScaler | None, points: Tensor) -> Tensor | None:
    """What the scores' sum is multiplied with: the scale over N, because a scaler knows the gradients of means. From a
    sum its usual first scale, 2¹⁶, would be infinite in float16. A tensor: get_scale() would wait for the device.
    """
    if scaler is None or not scaler.is_enabled():
        return None
    return scaler.scale(torch.full((), 1 / max(len(points), 1), dtype=torch.float32, device=points.device))


def _total(scores: Tensor, factor: Tensor | None) -> Tensor:
    total = scores.sum(dtype=accumulate_dtype(scores.dtype))
    return total if factor is None else factor * total


def _unscaled(gradient: Tensor, factor: Tensor | None) -> Tensor:
    return gradient if factor is None else gradient.to(accumulate_dtype(gradient.dtype)) / factor


def _differentiate(scores: Tensor, points: Tensor, factor: Tensor | None) -> Tensor | None:
    """∇ Σ scores at ``points``, with a graph where gradients are recorded; None if the scores do not depend on them."""
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        total = _total(scores, factor)
    if not total.requires_grad:
        return None
    # The graph of logits in hand is the caller's, who differentiates it again.
    (gradient,) = torch.autograd.grad(total, points, create_graph=recorded, retain_graph=True, allow_unused=True)
    if gradient is None:
        return None
    if recorded and torch.distributed.is_available() and torch.distributed.is_initialized():
        gradient = _Reaching.apply(gradient, scores)
    return _unscaled(gradient, factor)


class _Reaching(Function):
    """The gradient, with the graph of the scores behind it as well, into which no gradient is sent.

    DistributedDataParallel waits for every parameter that the scores depend on, and the penalty does not depend on the
    last bias. Backward reaches it all the same, with an undefined gradient, at no cost: 0·scores.sum() would send zeros
    through the whole critic.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, scores: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def difference_along_gradient(
    critic: Critic,
    points: Tensor,
    step: float,
    scaler: torch.amp.GradScaler | None = None,
    gradient: Tensor | None = None,
) -> Tensor:
    """(D(x + δu) − D(x − δu)) / 2δ per sample, (N,), along u = ∇D/‖∇D‖, held fixed: ‖∇D‖ + O(δ²) with its derivative.

    That u depends on the critic too changes nothing: of all unit directions it has the largest slope, so the slope does
    not move with it (∂‖g‖/∂θ = ⟨u, ∂g/∂θ⟩). A gradient of 0 gives u = 0, and the zero subgradient. Three forward
    passes, or two if ``gradient``, ∇D at the points, is known.
    """
    if autocasts(points):  # half precision would leave two digits of the difference, or none
        points = points.to(accumulate_dtype(points.dtype))
        with torch.autocast(points.device.type, enabled=False):
            return difference_along_gradient(critic, points, step, scaler, gradient)
    with torch.no_grad():
        if gradient is None:
            gradient = gradient_at(critic, points.detach(), scaler)
        wide = _by_sample(gradient.to(accumulate_dtype(gradient.dtype)))
        squared = wide.square().sum(1, keepdim=True)
        unit = torch.where(squared != 0, wide / torch.where(squared != 0, squared, 1).sqrt(), 0)
        shift = (step * unit).reshape(points.shape).to(points.dtype)
    with _same_weights():
        ahead, behind = (critic(points + side * shift, inside=False) for side in (1, -1))
    return _change(critic, points, ahead, behind) / (2 * step)


def difference_along_noise(
    critic: Critic, samples: Tensor, sigma: float, noise: Tensor, logits: Tensor | None = None
) -> Tensor:
    """(D(x + σn) − D(x)) / σ per sample, (N,). Two forward passes, or one if ``logits`` are D(x)."""
    noisy = torch.add(samples, noise, alpha=sigma)
    with _same_weights():
        ahead = critic(noisy, inside=False)
        behind = critic(samples.clone(), inside=False) if logits is None else logits
    if ahead.shape != behind.shape:
        raise ValueError(
            f"{critic.function}: logits {tuple(behind.shape)} must have the shape of the critic's scores "
            f"{tuple(ahead.shape)}"
        )
    return _change(critic, samples, ahead, behind) / sigma


def _same_weights() -> contextlib.AbstractContextManager[None]:
    """Spectral norm moves its estimate at every forward: both ends of a difference are to meet the same weights."""
    return contextlib.nullcontext() if torch.compiler.is_compiling() else parametrize.cached()


def _by_sample(values: Tensor) -> Tensor:
    """(N, …) as (N, all others)."""
    return values.flatten(1) if values.dim() > 1 else values[:, None]


def _change(critic: Critic, points: Tensor, ahead: Tensor, behind: Tensor) -> Tensor:
    """How much the sum of each sample's scores differs, (N,)."""
    if ahead.shape[:1] != points.shape[:1]:
        raise ValueError(
            f"{critic.function}: for a difference the critic must return scores (N, …) for {len(points)} samples, got "
            f"{tuple(ahead.shape)}"
        )
    wide = accumulate_dtype(ahead.dtype)
    return _by_sample(ahead.to(wide) - behind.to(wide)).sum(1)
