"""Minibatch standard deviation: one more feature, by which D sees how varied a batch is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.dtypes import accumulate_dtype
from ganops._common.minibatch_stddev import EPS, check
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op, needs_formula
from ganops.reference.minibatch_stddev import minibatch_stddev as reference_minibatch_stddev

_double_backward_op = _library.operator("minibatch_stddev_double_backward")


def minibatch_stddev(x: Tensor, group_size: int = 4) -> Tensor:
    """Appends the standard deviation within groups of the batch as one more feature or channel.

    The batch is cut into groups; sample i belongs to group i mod (N / group_size). Of each feature (and pixel) the
    standard deviation over the group is taken, √(variance + 1e-8), and the mean of these is appended to every sample of
    the group, the same at every pixel (Karras et al. 2018, arXiv:1710.10196, section 3). The 1e-8, which is that of
    their code and of StyleGAN's, makes all derivatives finite where the samples of a group are alike.

    Args:
        x: Features (N, F) or (N, C, …); float16, bfloat16, float32 or float64.
        group_size: Samples per group; it must divide N. A batch that is smaller is one group.

    Returns:
        (N, F + 1) or (N, C + 1, …), in the dtype of ``x``, under ``torch.autocast`` too, and with its channels last if
        those of ``x`` are. Sums are in float32 for half precision. Differentiable to any order.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.
    """
    group = check(x, group_size)
    if not _library.has_kernel("minibatch_stddev", x):
        return reference_minibatch_stddev(x, group_size)
    return apply(_Stddev, x, group)


# With c = x − mean x, σ = √(mean c² + ε) over a group and d the mean of σ over S features, the backward of a gradient
# with the part G at x and the sum h at d is G + h·c/(group·S·σ). In direction t, with τ = t − mean t, its derivatives
# are (t, mean σ') with respect to the gradient, σ' = mean(c·t)/σ, and h·(τ − c·σ'/σ)/(group·S·σ) with respect to x.


def _groups(x: Tensor, group: int) -> Tensor:
    """(group, N / group, S) in the accumulation dtype."""
    return x.to(accumulate_dtype(x.dtype)).reshape(group, len(x) // group, x.numel() // len(x))


def _centred(features: Tensor) -> tuple[Tensor, Tensor]:
    """c and σ."""
    features = features - features[:1].detach()
    c = features - features.mean(0)
    return c, (c.square().mean(0) + EPS).sqrt()


def _first_order(grad: Tensor, x: Tensor, group: int) -> Tensor:
    """The fused backward in PyTorch's own operations."""
    if x.numel() == 0:
        return torch.zeros_like(x)
    c, deviation = _centred(_groups(x, group))
    h = grad[:, -1:].to(c.dtype).reshape(group, c.shape[1], -1).sum((0, 2))[:, None]
    slope = h * c / (group * c.shape[2] * deviation)
    return (grad[:, :-1].to(c.dtype) + slope.reshape(x.shape)).to(x.dtype)


def _second_order(tangent: Tensor, grad: Tensor, x: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """The fused double backward in PyTorch's own operations."""
    if x.numel() == 0:
        return torch.cat([tangent, tangent.new_zeros(len(x), 1, *x.shape[2:])], dim=1), torch.zeros_like(x)
    (c, deviation), t = _centred(_groups(x, group)), _groups(tangent, group)
    h = grad[:, -1:].to(c.dtype).reshape(group, c.shape[1], -1).sum((0, 2))[:, None]
    along = (c * t).mean(0) / deviation
    curvature = h * (t - t.mean(0) - c * (along / deviation)) / (group * c.shape[2] * deviation)
    column = along.mean(1).repeat(group).reshape(len(x), 1, *(1 for _ in x.shape[2:])).expand(len(x), 1, *x.shape[2:])
    grad_out = torch.cat([tangent, column.to(tangent.dtype)], dim=1)
    return grad_out, curvature.reshape(x.shape).to(x.dtype)


@autograd_op(_library.operator("minibatch_stddev"))
class _Stddev(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, ctx.group = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (x,) = ctx.saved_tensors
        return apply(_StddevBackward, grad, x, ctx.group), None


@autograd_op(_library.operator("minibatch_stddev_backward"), _first_order)
class _StddevBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, x, ctx.group = inputs
        ctx.save_for_backward(grad, x)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple:
        grad, x = ctx.saved_tensors
        second = _second_order if needs_formula() else _double_backward_op
        return *second(tangent, grad, x, ctx.group), None


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    @fake_of("ganops::minibatch_stddev")
    def _(x, group):
        return _layout.empty_with_channels(x, x.shape[1] + 1)

    @fake_of("ganops::minibatch_stddev_backward")
    def _(grad, x, group):
        _layout.check_device(x, grad)
        return _layout.empty_with_channels(x, x.shape[1])

    @fake_of("ganops::minibatch_stddev_double_backward")
    def _(tangent, grad, x, group):
        _layout.check_device(x, tangent, grad)
        return _layout.empty_with_channels(x, x.shape[1] + 1), _layout.empty_with_channels(x, x.shape[1])


if _library.loaded():
    _register_fakes()
