"""Differentiable augmentation of images: one pass forward and one backward, two where contrast needs the mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.diff_augment import POLICIES, prepare
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op
from ganops.reference.diff_augment import diff_augment as reference_diff_augment

# `enum class Form` in csrc/kernels/diff_augment.h.
_VALUE, _LINEAR, _ADJOINT = range(3)
_BITS = {name: 1 << place for place, name in enumerate(POLICIES)}


def diff_augment(
    x: Tensor,
    policy: str = "color,translation,cutout",
    *,
    generator: torch.Generator | None = None,
    parameters: Tensor | None = None,
    p: float | Tensor = 1.0,
) -> Tensor:
    """Random changes of each image through which gradients flow (Zhao et al. 2020, arXiv:2006.10738).

    Apply it to real **and** generated images, in D's step and in G's: D then does not memorise a small data set, and G
    does not learn the augmentation. Per image, with a new u ~ U[0, 1) for each number:

    - ``color``: brightness x + (u − ½); saturation: the distance from the mean over channels times 2u; then
      contrast: the distance from the image's mean times u + ½;
    - ``translation``: by up to ⅛ of each side, zeros come in;
    - ``cutout``: a box of half the sides, its middle anywhere, becomes zero.

    Args:
        x: Images (N, C, H, W), zero being mid-grey, as in [−1, 1]; float16, bfloat16, float32 or float64.
        policy: Names of the above, separated by commas, applied in that order; empty: none.
        generator: The random generator to draw with, on any device.
        parameters: The u instead, (N, 7), on the device of ``x``: for brightness, saturation, contrast, translation in
            y and x, hole in y and x. :meth:`ganops.nn.DiffAugment.draw` draws them. Excludes ``generator`` and ``p``;
            no gradient flows to them.
        p: The probability with which each change is made to each image, independently: the strength that adaptive
            augmentation moves (ADA, Karras et al. 2020, arXiv:2006.06676). A number, or a tensor () of any device,
            which is never waited for.

    Returns:
        Images of the same shape and dtype. The function is affine in ``x``: its backward is the adjoint of its linear
        part, so it is differentiable to any order and saves nothing of ``x``. In an image with NaN or an infinity,
        ``color`` leaves no finite pixel, because the image's mean is not finite; which pixels are NaN and which are
        infinite is not specified. The other changes move such a pixel like any other.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.
    """
    names, parameters = prepare(x, policy, generator, parameters, p)
    if not _library.has_kernel("diff_augment", x, parameters):
        return reference_diff_augment(x, policy, parameters=parameters)
    parameters = parameters.contiguous()
    for bits in _passes(names):
        x = apply(_Augment, x, parameters, bits, _VALUE)
    return x


def _passes(names: list[str]) -> list[int]:
    """The policy cut where its order is not that of the kernel: a pass each, its changes as bits."""
    passes = [0]
    for name in names:
        if _BITS[name] <= passes[-1]:
            passes.append(0)
        passes[-1] |= _BITS[name]
    return passes


def _pass(images: Tensor, parameters: Tensor, bits: int, form: int) -> Tensor:
    """The operator in PyTorch's own operations."""
    policy = ",".join(name for name, bit in _BITS.items() if bits & bit)

    def augmented(images: Tensor) -> Tensor:
        return reference_diff_augment(images, policy, parameters=parameters)

    if form == _VALUE:
        return augmented(images)
    zeros = torch.zeros_like(images)
    if form == _LINEAR:
        return augmented(images) - augmented(zeros)
    return torch.func.vjp(augmented, zeros)[1](images)[0]


@autograd_op(_library.operator("diff_augment"), _pass)
class _Augment(Function):
    """One pass. Value and linear part have the adjoint as their backward, and the adjoint has the linear part."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, parameters, ctx.policy, form = inputs
        ctx.back = _LINEAR if form == _ADJOINT else _ADJOINT
        ctx.save_for_backward(parameters)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (parameters,) = ctx.saved_tensors
        return apply(_Augment, grad, parameters, ctx.policy, ctx.back), None, None, None


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""

    @torch.library.register_fake("ganops::diff_augment")
    def _(images, parameters, policy, form):
        _layout.check_device(images, parameters)
        return _layout.empty_like_images(images)


if _library.loaded():
    _register_fakes()
