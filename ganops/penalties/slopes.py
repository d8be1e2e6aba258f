"""Gradients of a critic, and finite differences of it along the gradient or along noise."""

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
    """∇ₓ Σ critic(x) at ``points``, see :func:`gradient_and_scores`."""
    return gradient_and_scores(critic, points, scaler)[0]


def gradient_and_scores(
    critic: Critic, points: Tensor, scaler: torch.amp.GradScaler | None = None
) -> tuple[Tensor, Tensor]:
    """∇ₓ Σ critic(x) at ``points`` (N, …), same shape, and the critic's scores there, from one forward pass.

    Both are differentiable in the critic's parameters, and in everything that ``points`` depend on.

    With a ``scaler`` the gradient is that of the critic's scaled mean while it passes through the critic, and is
    unscaled in float32 afterwards. Elements that overflowed are infinite or NaN.
    """
    factor, twice = _factor(scaler, points), torch.is_grad_enabled()
    if transforms_active() or torch.compiler.is_compiling():
        # torch.compile cannot trace autograd.grad with create_graph, and the transforms of torch.func do not allow
        # requires_grad_(). Both support the functional form.
        def total(x: Tensor) -> tuple[Tensor, Tensor]:
            scores = critic(x, inside=True, twice=twice)
            return _total(scores, factor), scores

        gradient, scores = torch.func.grad(total, has_aux=True)(points)
        return _unscaled(gradient, factor), scores
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            f"{critic.function}: the penalty needs a gradient, which torch.inference_mode() does not compute; "
            "use torch.no_grad() to evaluate it"
        )
    if points.is_inference():  # samples that were created in inference mode
        points = points.clone()
    points.requires_grad_()
    with torch.enable_grad():  # clone: the critic's first operation may be in place
        scores = critic(points.clone(), inside=True, twice=twice)
    gradient = _differentiate(scores, points, factor)
    if gradient is None:
        raise ValueError(
            f"{critic.function}: the critic's output does not depend on its input, so it has no gradient to penalise; "
            "check for .detach(), torch.no_grad() or a wrong input inside the critic"
        )
    return gradient, scores


def gradient_of(
    function: str, logits: Tensor, name: str, inputs: Tensor, scaler: torch.amp.GradScaler | None = None
) -> Tensor:
    """∇ Σ logits with respect to ``inputs`` (N, …), from an earlier forward pass. Errors call the inputs ``name``."""
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
    """The factor for the sum of the scores: the scale divided by N, because the scale is chosen for gradients of means.

    With the usual initial scale, 2¹⁶, the gradient of the sum would overflow in float16. The factor is a tensor,
    because get_scale() would synchronise with the device.
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
    """∇ Σ scores with respect to ``points``, with a graph in grad mode; None if the scores do not depend on them."""
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        total = _total(scores, factor)
    if not total.requires_grad:
        return None
    # The graph is retained, because the caller differentiates the same logits again for the adversarial loss.
    (gradient,) = torch.autograd.grad(total, points, create_graph=recorded, retain_graph=True, allow_unused=True)
    if gradient is None:
        return None
    if recorded and torch.distributed.is_available() and torch.distributed.is_initialized():
        gradient = _Reaching.apply(gradient, scores)
    return _unscaled(gradient, factor)


class _Reaching(Function):
    """Returns the gradient, and connects it to the graph of the scores without sending a gradient into that graph.

    DistributedDataParallel waits for every parameter that the scores depend on, but the penalty does not depend on the
    last bias. With this connection backward reaches all parameters, with undefined gradients and at no cost. Adding
    0·scores.sum() would instead propagate zeros through the whole critic.
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
    """(D(x + δu) − D(x − δu)) / 2δ per sample, (N,), along the fixed direction u = ∇D/‖∇D‖.

    The value is ‖∇D‖ + O(δ²), and its derivative is that of ‖∇D‖, also up to O(δ²). The dependence of u on the critic
    has no first-order effect, because u is the direction of largest slope (∂‖g‖/∂θ = ⟨u, ∂g/∂θ⟩). A gradient of 0 gives
    u = 0, and the zero subgradient. Needs three forward passes, or two if ``gradient``, ∇D at the points, is given.
    """
    if autocasts(points):  # in half precision the difference would have at most two correct digits
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
    """(D(x + σn) − D(x)) / σ per sample, (N,). Needs two forward passes, or one if ``logits``, D(x), are given."""
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
    """Keeps parametrised weights fixed: spectral norm would otherwise update its estimate between the two calls."""
    return contextlib.nullcontext() if torch.compiler.is_compiling() else parametrize.cached()


def _by_sample(values: Tensor) -> Tensor:
    """Flattens (N, …) to two dimensions."""
    return values.flatten(1) if values.dim() > 1 else values[:, None]


def _change(critic: Critic, points: Tensor, ahead: Tensor, behind: Tensor) -> Tensor:
    """The difference between ``ahead`` and ``behind`` of the sum of each sample's scores, (N,)."""
    if ahead.shape[:1] != points.shape[:1]:
        raise ValueError(
            f"{critic.function}: for a difference the critic must return scores (N, …) for {len(points)} samples, got "
            f"{tuple(ahead.shape)}"
        )
    wide = accumulate_dtype(ahead.dtype)
    return _by_sample(ahead.to(wide) - behind.to(wide)).sum(1)
