"""Feature matching: the distance between a discriminator's features of real and of generated samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.dtypes import accumulate_dtype, autocasts
from ganops._common.feature_matching import DISTANCES, NAME, Features, check
from ganops._common.reduction import SCALE_REDUCTIONS
from ganops._transforms import is_compiling, transforms_active
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op, needs_formula
from ganops.reference.feature_matching import feature_matching_loss as reference_feature_matching_loss

_loss_op = _library.operator("feature_matching_loss")
_l1_backward_op = _library.operator("feature_matching_loss_l1_backward")
_l2_backward_op = _library.operator("feature_matching_loss_l2_backward")

_L1 = DISTANCES.index("l1")
_SUM, _MEAN, _NONE = (SCALE_REDUCTIONS.index(name) for name in ("sum", "mean", "none"))


def feature_matching_loss(
    real_features: Features,
    fake_features: Features,
    *,
    distance: str = "l1",
    normalize: bool = False,
    detach_real: bool = True,
    scale_reduction: str = "sum",
) -> Tensor:
    """Mean distance between real and fake features, over all layers of all discriminators at once.

    Equivalent to ``sum((r.detach() - f).abs().mean() for r, f in pairs)`` (Salimans et al. 2016, arXiv:1606.03498; in
    the form of pix2pixHD, arXiv:1711.11585). The value takes one kernel launch and the gradient another, for up to
    several hundred tensors. ``"l1"`` saves two bits per element for backward instead of the features.

    Args:
        real_features: A discriminator's features of real samples: a tensor of any shape, or a nested list or tuple of
            them. All are float16, bfloat16, float32 or float64, of one dtype and on one device.
        fake_features: Its features of generated samples, with the same nesting and shapes.
        distance: ``"l1"``: mean \\|real − fake\\| of each pair; ``"l2"``: mean (real − fake)².
        normalize: Divide each pair's distance by mean \\|real\\| (Défossez et al. 2022, arXiv:2210.13438).
        detach_real: Detach the real features, so that they get no gradient.
        scale_reduction: ``"sum"`` or ``"mean"`` over the K pairs, or ``"none"`` for a tensor (K,) in depth-first order.
            It has no effect if the features are single tensors; the result is then ().

    Returns:
        A tensor () or (K,) in the features' dtype; float32 for half precision under ``torch.autocast``, where features
        of different dtypes are converted to the widest. Half-precision features are summed in float32. Differentiable
        to any order; the gradient of \\|x\\| at 0 is 0. The mean over an empty feature is NaN.

    Raises:
        ValueError: If the lists differ in length or are empty, or features differ in shape or device.
        TypeError: If the lists are nested differently, or features are not floating-point tensors of one dtype.

    Example:
        >>> real_features, fake_features = discriminator(real), discriminator(generator(z))
        >>> loss = 2 * ganops.feature_matching_loss(real_features, fake_features)
    """
    real, fake = check(real_features, fake_features, distance, normalize, detach_real, scale_reduction)
    if detach_real:
        real = [x.detach() for x in real]
    if not _library.has_kernel(NAME, *real, *fake):
        return reference_feature_matching_loss(
            real_features,
            fake_features,
            distance=distance,
            normalize=normalize,
            detach_real=detach_real,
            scale_reduction=scale_reduction,
        )
    reduction = _SUM if isinstance(fake_features, Tensor) else SCALE_REDUCTIONS.index(scale_reduction)
    recorded = torch.is_grad_enabled() and any(x.requires_grad for x in (*real, *fake))
    keep_signs = recorded or transforms_active()  # the backward of "l1" needs them; a transform may call it later
    if recorded and distance == "l2" and not is_compiling():
        # Autograd cannot save a tensor that was created under torch.inference_mode; it can save a copy.
        real, fake = ([x.clone() if x.is_inference() else x for x in features] for features in (real, fake))
    if normalize and not detach_real and keep_signs:
        # The kernel's gradient treats mean |real| as a constant. Here it has a gradient too, so PyTorch divides by it.
        distances = apply(_Loss, DISTANCES.index(distance), False, _NONE, _widens(fake[0]), keep_signs, *real, *fake)[0]
        values = distances / torch.stack([x.to(distances.dtype).abs().mean() for x in real])
        return values if reduction == _NONE else values.sum() if reduction == _SUM else values.mean()
    return apply(_Loss, DISTANCES.index(distance), normalize, reduction, _widens(fake[0]), keep_signs, *real, *fake)[0]


def _widens(x: Tensor) -> bool:
    """Whether the loss is float32 although the features are half precision, because autocast is enabled."""
    return accumulate_dtype(x.dtype) != x.dtype and autocasts(x)


def _loss(distance: int, normalize: bool, reduction: int, wide: bool, keep_signs: bool, *features: Tensor) -> tuple:
    """The operator with all features in one argument list, real before fake. Returns (loss, signs, scales)."""
    count = len(features) // 2
    return _loss_op(features[:count], features[count:], distance, normalize, reduction, wide, keep_signs)


@autograd_op(_loss if _library.loaded() else None)
class _Loss(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.distance, ctx.normalize, ctx.reduction, _, _, *features = inputs
        _, signs, scales = output
        ctx.mark_non_differentiable(signs, scales)
        ctx.set_materialize_grads(False)
        count = len(features) // 2
        needs = ctx.needs_input_grad[-2 * count :]
        ctx.wanted = any(needs[:count]), any(needs[count:])  # gradients of the real, of the fake features
        if ctx.distance == _L1:
            fake = features[count:]
            ctx.shapes = [x.shape for x in fake]
            ctx.strides = [_layout.strides_like(x) for x in fake]
            ctx.save_for_backward(fake[0].new_empty(0), signs, scales)  # the empty tensor keeps dtype and device
        else:
            ctx.save_for_backward(scales, *features)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple:
        count = len(ctx.needs_input_grad[5:]) // 2
        none: list[Tensor | None] = [None] * count
        if grad is None:
            return *(None,) * 5, *none, *none
        if ctx.distance == _L1:
            grads = _l1_gradients(ctx, grad)
        else:
            grads = _l2_formula(ctx, grad) if needs_formula() else _l2_gradients(ctx, grad)
        wants_real, wants_fake = ctx.wanted
        return *(None,) * 5, *(grads[:count] if wants_real else none), *(grads[-count:] if wants_fake else none)


def _per_pair(grad: Tensor, reduction: int, count: int) -> list[Tensor]:
    """The upstream gradient of each pair's value."""
    if reduction == _NONE:
        return list(grad.unbind())
    return [grad / count if reduction == _MEAN else grad] * count


def _l1_gradients(ctx: Any, grad: Tensor) -> list[Tensor]:
    """The wanted gradients of l1 distances, real before fake; those of the fake features are the negatives."""
    like, signs, scales = ctx.saved_tensors
    count = len(ctx.shapes)

    def gradients(upstream: Tensor, reduction: int) -> list[Tensor]:
        sizes = [n for shape in ctx.shapes for n in shape]
        strides = [n for stride in ctx.strides for n in stride]
        dims = [len(shape) for shape in ctx.shapes]
        return _l1_backward_op(
            upstream, signs, scales, like, sizes, strides, dims, ctx.normalize, reduction, *ctx.wanted
        )

    if not needs_formula():
        return gradients(grad.contiguous(), ctx.reduction)
    # The gradients are those of upstream gradient 1, which are constant, times the upstream gradient of their pair.
    units = gradients(torch.ones((), dtype=grad.dtype, device=like.device), _SUM)
    upstream = _per_pair(grad, ctx.reduction, count)
    return [unit * upstream[i % count].to(unit.dtype) for i, unit in enumerate(units)]


def _l2_gradients(ctx: Any, grad: Tensor) -> list[Tensor]:
    """The wanted gradients of l2 distances, real before fake."""
    scales, *features = ctx.saved_tensors
    count = len(features) // 2
    return _l2_backward_op(
        grad.contiguous(), features[:count], features[count:], scales, ctx.normalize, ctx.reduction, *ctx.wanted
    )


def _l2_formula(ctx: Any, grad: Tensor) -> list[Tensor]:
    """The same gradients in PyTorch operations, which autograd can differentiate."""
    scales, *features = ctx.saved_tensors
    count = len(features) // 2
    real, fake = [], []
    for i, upstream in enumerate(_per_pair(grad, ctx.reduction, count)):
        x, y = (v.to(scales.dtype) for v in (features[i], features[count + i]))
        factor = upstream.to(scales.dtype) / (scales[i] if ctx.normalize else 1) / max(x.numel(), 1)
        gradient = (factor * (2 * (x - y))).to(features[i].dtype)
        real.append(gradient)
        fake.append(-gradient)
    wants_real, wants_fake = ctx.wanted
    return (real if wants_real else []) + (fake if wants_fake else [])


def _register_fakes() -> None:
    """Registers the fake implementations (shapes and strides without data), for torch.compile and meta tensors."""
    register = torch.library.register_fake

    @register("ganops::feature_matching_loss")
    def _(real, fake, distance, normalize, scale_reduction, wide, keep_signs):
        like = fake[0]
        sums = accumulate_dtype(like.dtype)
        loss = like.new_empty((len(fake),) if scale_reduction == _NONE else (), dtype=sums if wide else like.dtype)
        tile = 16384 // like.itemsize  # the same arithmetic as sign_bytes in csrc/kernels/feature_matching.h
        kept = fake if keep_signs and distance == _L1 else ()
        bytes_ = sum((x.numel() + tile - 1) // tile * (tile // 4) for x in kept)
        signs = like.new_empty((bytes_,), dtype=torch.uint8)
        return loss, signs, like.new_empty((len(fake) if normalize else 0,), dtype=sums)

    @register("ganops::feature_matching_loss_l1_backward")
    def _(grad, signs, scales, like, sizes, strides, dims, normalize, scale_reduction, wants_real, wants_fake):
        layouts, begin = [], 0
        for dim in dims:
            end = begin + dim
            layouts.append((sizes[begin:end], strides[begin:end]))
            begin = end
        return [like.new_empty_strided(size, stride) for size, stride in layouts * (wants_real + wants_fake)]

    @register("ganops::feature_matching_loss_l2_backward")
    def _(grad, real, fake, scales, normalize, scale_reduction, wants_real, wants_fake):
        return [_layout.empty_like(x) for x in list(fake) * (wants_real + wants_fake)]


if _library.loaded():
    _register_fakes()
