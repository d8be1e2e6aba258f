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
    the form of pix2pixHD, arXiv:1711.11585), in one kernel launch for the value and one for the gradient, whatever the
    number of tensors up to several hundred. For ``"l1"`` two bits per element are saved for the backward pass instead
    of the features or their difference.

    Args:
        real_features: A tensor, or a list or tuple of tensors or of further lists: features (any shape) that a
            discriminator computes of real samples; float16, bfloat16, float32 or float64, one dtype and one device.
        fake_features: The features of generated samples, nested and shaped like ``real_features``.
        distance: ``"l1"``: mean \\|real − fake\\| of each pair; ``"l2"``: mean (real − fake)².
        normalize: Divide each pair's distance by mean \\|real\\| (Défossez et al. 2022, arXiv:2210.13438).
        detach_real: No gradient reaches the real features.
        scale_reduction: ``"sum"`` or ``"mean"`` over the K pairs, or ``"none"``: a tensor (K,), in the order of the
            lists, depth first. It has no effect for a single pair of tensors, whose result is a number.

    Returns:
        A tensor () or (K,) in the features' dtype; float32 for half precision under ``torch.autocast``, where features
        of different dtypes are converted to the widest. Sums are in float32 for half precision. Differentiable to any
        order; the gradient of \\|x\\| at 0 is 0. An empty feature has the mean NaN.

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
    keep_signs = recorded or transforms_active()
    if recorded and distance == "l2" and not is_compiling():
        # Autograd saves no tensor that was made under torch.inference_mode.
        real, fake = ([x.clone() if x.is_inference() else x for x in features] for features in (real, fake))
    if normalize and not detach_real and keep_signs:  # mean |real| has a gradient too
        distances = apply(_Loss, DISTANCES.index(distance), False, _NONE, _widens(fake[0]), keep_signs, *real, *fake)[0]
        values = distances / torch.stack([x.to(distances.dtype).abs().mean() for x in real])
        return values if reduction == _NONE else values.sum() if reduction == _SUM else values.mean()
    return apply(_Loss, DISTANCES.index(distance), normalize, reduction, _widens(fake[0]), keep_signs, *real, *fake)[0]


def _widens(x: Tensor) -> bool:
    """Whether autocast makes the loss float32."""
    return accumulate_dtype(x.dtype) != x.dtype and autocasts(x)


def _loss(distance: int, normalize: bool, reduction: int, wide: bool, keep_signs: bool, *features: Tensor) -> tuple:
    """(loss, signs, scales) of the real features followed by the fake ones."""
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
        ctx.want = any(needs[:count]), any(needs[count:])
        if ctx.distance == _L1:
            fake = features[count:]
            ctx.shapes = [x.shape for x in fake]
            ctx.strides = [_layout.strides_like(x) for x in fake]
            ctx.save_for_backward(fake[0].new_empty(0), signs, scales)
        else:
            ctx.save_for_backward(scales, *features)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple:
        count = len(ctx.needs_input_grad[5:]) // 2
        nothing: list[Tensor | None] = [None] * count
        if grad is None:
            return *(None,) * 5, *nothing, *nothing
        compose = needs_formula()
        if ctx.distance == _L1:
            found = _l1_gradients(ctx, grad, compose)
        else:
            found = _l2_composed(ctx, grad) if compose else _l2_gradients(ctx, grad)
        want_real, want_fake = ctx.want
        return *(None,) * 5, *(found[:count] if want_real else nothing), *(found[-count:] if want_fake else nothing)


def _per_pair(grad: Tensor, reduction: int, count: int) -> list[Tensor]:
    """The upstream gradient of each pair's value."""
    if reduction == _NONE:
        return list(grad.unbind())
    return [grad / count if reduction == _MEAN else grad] * count


def _l1_gradients(ctx: Any, grad: Tensor, compose: bool) -> list[Tensor]:
    """slope·sign(real − fake) for the real features, the negative for the fake ones."""
    like, signs, scales = ctx.saved_tensors
    count = len(ctx.shapes)

    def gradients(upstream: Tensor, reduction: int) -> list[Tensor]:
        sizes = [n for shape in ctx.shapes for n in shape]
        strides = [n for stride in ctx.strides for n in stride]
        dims = [len(shape) for shape in ctx.shapes]
        return _l1_backward_op(upstream, signs, scales, like, sizes, strides, dims, ctx.normalize, reduction, *ctx.want)

    if not compose:
        return gradients(grad.contiguous(), ctx.reduction)
    # Linear in the upstream gradient and constant in everything else.
    units = gradients(torch.ones((), dtype=grad.dtype, device=like.device), _SUM)
    upstream = _per_pair(grad, ctx.reduction, count)
    return [unit * upstream[place % count].to(unit.dtype) for place, unit in enumerate(units)]


def _l2_gradients(ctx: Any, grad: Tensor) -> list[Tensor]:
    scales, *features = ctx.saved_tensors
    count = len(features) // 2
    return _l2_backward_op(
        grad.contiguous(), features[:count], features[count:], scales, ctx.normalize, ctx.reduction, *ctx.want
    )


def _l2_composed(ctx: Any, grad: Tensor) -> list[Tensor]:
    """The same in operations that autograd differentiates again."""
    scales, *features = ctx.saved_tensors
    count = len(features) // 2
    real, fake = [], []
    for place, upstream in enumerate(_per_pair(grad, ctx.reduction, count)):
        x, y = (v.to(scales.dtype) for v in (features[place], features[count + place]))
        slope = upstream.to(scales.dtype) / (scales[place] if ctx.normalize else 1) / max(x.numel(), 1)
        gradient = (slope * (2 * (x - y))).to(features[place].dtype)
        real.append(gradient)
        fake.append(-gradient)
    return (real if ctx.want[0] else []) + (fake if ctx.want[1] else [])


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    @fake_of("ganops::feature_matching_loss")
    def _(real, fake, distance, normalize, scale_reduction, wide, keep_signs):
        like = fake[0]
        sums = accumulate_dtype(like.dtype)
        loss = like.new_empty((len(fake),) if scale_reduction == _NONE else (), dtype=sums if wide else like.dtype)
        tile = 16384 // like.itemsize  # as sign_bytes of csrc/kernels/feature_matching.h
        kept = fake if keep_signs and distance == _L1 else ()
        bytes_ = sum((x.numel() + tile - 1) // tile * (tile // 4) for x in kept)
        signs = like.new_empty((bytes_,), dtype=torch.uint8)
        return loss, signs, like.new_empty((len(fake) if normalize else 0,), dtype=sums)

    @fake_of("ganops::feature_matching_loss_l1_backward")
    def _(grad, signs, scales, like, sizes, strides, dims, normalize, scale_reduction, real, fake):
        found, place = [], 0
        for dim in dims:
            end = place + dim
            found.append((sizes[place:end], strides[place:end]))
            place = end
        return [like.new_empty_strided(size, stride) for size, stride in found * (real + fake)]

    @fake_of("ganops::feature_matching_loss_l2_backward")
    def _(grad, real, fake, scales, normalize, scale_reduction, want_real, want_fake):
        return [_layout.empty_like(x) for x in list(fake) * (want_real + want_fake)]


if _library.loaded():
    _register_fakes()
