"""Random interpolation between real and fake samples, in one pass forward and one backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.dtypes import accumulate_dtype, promoted
from ganops._common.interpolate import prepare
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op
from ganops.reference.interpolate import interpolate as reference_interpolate


def interpolate(
    real: Tensor, fake: Tensor, weight: Tensor | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    """Points on the lines between real and fake samples: ``weight·real + (1 − weight)·fake``.

    These are the x̂ of WGAN-GP (Gulrajani et al. 2017, algorithm 1), where the weight is ε, one per sample.

    Args:
        real: Real samples (N, …); float16, bfloat16, float32 or float64.
        fake: Generated samples, the same shape, dtype and device. Under ``torch.autocast`` the dtypes may differ: the
            result has the wider one.
        weight: One weight per sample, shape (N,), (N, 1) or (N, 1, …), any floating dtype. ``None`` draws U[0, 1).
        generator: Random generator for the weights. Cannot be combined with ``weight``.

    Returns:
        A tensor like ``real``. Differentiable to any order with respect to ``real``, ``fake`` and ``weight``.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.
    """
    real, fake = promoted(real, fake)
    weight = prepare(real, fake, weight, generator)
    if not _library.has_kernel("interpolate", real, fake, weight):
        return reference_interpolate(real, fake, weight)
    return apply(_Interpolate, real, fake, weight.contiguous())


def _by_sample(values: Tensor, like: Tensor) -> Tensor:
    """Reshapes one value per sample so that it broadcasts over samples like ``like``."""
    return values.view(-1, *(1 for _ in like.shape[1:]))


def _parts(grad: Tensor, weight: Tensor, real: bool, fake: bool) -> tuple[Tensor, Tensor]:
    """The operator ``interpolate_backward`` in PyTorch operations."""
    weight = _by_sample(weight, grad)
    nothing = grad.new_zeros(0)
    return (
        (weight * grad).to(grad.dtype) if real else nothing,
        ((1 - weight) * grad).to(grad.dtype) if fake else nothing,
    )


def _along(grad: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """The operator ``interpolate_weight_backward`` in PyTorch operations."""
    product = grad * (real - fake)
    return product.reshape(len(grad), -1).sum(1, dtype=accumulate_dtype(grad.dtype))


@autograd_op(_library.operator("interpolate"), reference_interpolate)
class _Interpolate(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        real, fake, weight = inputs
        # Only the gradient of the weight depends on the samples, so they are saved only for it.
        ctx.save_for_backward(weight, *((real, fake) if ctx.needs_input_grad[2] else ()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        weight, *samples = ctx.saved_tensors
        needs_real, needs_fake, needs_weight = ctx.needs_input_grad
        grad_real = grad_fake = grad_weight = None
        if needs_real or needs_fake:
            grad_real, grad_fake = apply(_InterpolateBackward, grad, weight, needs_real, needs_fake)
        if needs_weight:
            grad_weight = apply(_WeightBackward, grad, *samples)
        return grad_real if needs_real else None, grad_fake if needs_fake else None, grad_weight


@autograd_op(_library.operator("interpolate_backward"), _parts)
class _InterpolateBackward(Function):
    """(weight·grad, (1 − weight)·grad), the adjoint of interpolation. Its backward is therefore interpolation."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        grad, weight, *ctx.wanted = inputs
        ctx.save_for_backward(grad, weight)

    @staticmethod
    def backward(ctx: Any, tangent_real: Tensor, tangent_fake: Tensor) -> tuple:
        grad, weight = ctx.saved_tensors
        real, fake = ctx.wanted
        tangent_real = tangent_real if real else torch.zeros_like(grad)
        tangent_fake = tangent_fake if fake else torch.zeros_like(grad)
        grad_grad = apply(_Interpolate, tangent_real, tangent_fake, weight) if ctx.needs_input_grad[0] else None
        grad_weight = apply(_WeightBackward, grad, tangent_real, tangent_fake) if ctx.needs_input_grad[1] else None
        return grad_grad, grad_weight, None, None


@autograd_op(_library.operator("interpolate_weight_backward"), _along)
class _WeightBackward(Function):
    """Σ grad·(real − fake) per sample."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple:
        grad, real, fake = ctx.saved_tensors
        tangent = _by_sample(tangent, grad)
        scaled = tangent * grad
        return (tangent * (real - fake)).to(grad.dtype), scaled.to(grad.dtype), -scaled.to(grad.dtype)


def _register_fakes() -> None:
    """Registers the fake implementations, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    @fake_of("ganops::interpolate")
    def _(real, fake, weight):
        _layout.check_device(real, fake, weight)
        return _layout.empty_like_samples(real)

    @fake_of("ganops::interpolate_backward")
    def _(grad, weight, real, fake):
        _layout.check_device(grad, weight)
        return tuple(_layout.empty_like_samples(grad) if wanted else grad.new_empty(0) for wanted in (real, fake))

    @fake_of("ganops::interpolate_weight_backward")
    def _(grad, real, fake):
        _layout.check_device(grad, real, fake)
        return grad.new_empty(grad.shape[0], dtype=accumulate_dtype(grad.dtype))


if _library.loaded():
    _register_fakes()
