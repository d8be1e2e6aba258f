"""Bias, activation, gain and clamp in one pass, and in one pass back with the bias's gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.bias_act import ACTIVATIONS, Setting, names_of, prepare
from ganops._common.dtypes import accumulate_dtype
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op, needs_formula
from ganops.reference.bias_act import bias_act as reference_bias_act

# The numbers of activations are those of the compiled libraries, which have to agree.
_NAMES: tuple[str, ...] = ()
for _path, _listing in _library.texts("ganops_activations").items():
    _NAMES = names_of(_listing, _path)
NUMBERS = {name: number for number, name in enumerate(_NAMES)}
_double_backward_op = _library.operator("bias_act_double_backward")

# What the backward operator shall do for b, as in csrc/torch/schemas.cpp.
_NONE, _NARROW, _WIDE = range(3)


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """clamp(gain · act(x + b), ±clamp) in one pass, the bias b being one number for each index of a dimension of x.

    ========  ==================================  ============
    act       act(u)                              default gain
    ========  ==================================  ============
    linear    u                                   1
    relu      max(u, 0)                           √2
    lrelu     u for u > 0, else alpha·u           √2
    tanh      tanh u                              1
    sigmoid   σ(u) = 1/(1 + e⁻ᵘ)                  1
    elu       u for u > 0, else eᵘ − 1            1
    selu      1.0507·(u, or 1.6733·(eᵘ − 1))      1
    softplus  log(1 + eᵘ)                         1
    swish     u·σ(u)                              √2
    ========  ==================================  ============

    Backward is one pass too, the sum for the gradient of ``b`` included. It reads the result, from which the derivative
    follows as exactly as the result is rounded, so that ``x`` is not kept: the next layer keeps the result anyway. Of
    swish ``x`` is kept, of a linear function without clamp nothing. The activations, gains and the clamp are those of
    StyleGAN2-ADA (Karras et al. 2020, arXiv:2006.06676).

    Args:
        x: Any shape and layout; float16, bfloat16, float32 or float64.
        b: The bias (C,), C the size of dimension ``dim`` of ``x``, or None. In the dtype of ``x`` or in float32
            (float64 for float64); then the sum with it is not rounded.
        dim: The dimension of ``x`` to which ``b`` belongs; negative from the end. Without ``b`` it is not used.
        act: One of the above.
        alpha: The slope of lrelu below 0, at least 0; default 0.2. The others have none.
        gain: Factor of the activation; by default that of the table.
        clamp: The largest magnitude of the result, at least 0, or None. Where it is reached the gradient is 0.

    Returns:
        A tensor of the shape, dtype (under ``torch.autocast`` too) and strides of ``x``. Differentiable to any order in
        ``x`` and ``b``.

    Raises:
        ValueError: If ``act`` is unknown, ``b`` is not (C,) or on another device, or a number is out of range.
        TypeError: If a tensor is not floating-point or ``b`` has another dtype than those above.

    Example:
        >>> ganops.bias_act(torch.tensor([[-1.0, 2.0]]), torch.tensor([0.0, 1.0]), act="lrelu", gain=1)
        tensor([[-0.2000,  3.0000]])
    """
    setting = prepare(x, b, dim, act, alpha, gain, clamp)
    if not _library.has_kernel("bias_act", x, *(() if b is None else (b,))):
        return reference_bias_act(x, b, dim, act, alpha, gain, clamp)
    return apply(_BiasAct, x, b, setting.dim, NUMBERS[act], *setting[2:])


# With s(r) = dy/du of what is kept, r = y or r = u = x + b, the backward of a gradient g is (g·s, Σ g·s). In direction
# (t, t_b), with T = t + t_b, its derivatives are T·s with respect to g and T·g·s'(r) with respect to r. Where r is y,
# that goes on to x and b by the backward of y itself.


def _setting(dim: int, act: int, alpha: float, gain: float, clamp: float | None) -> Setting:
    return Setting(dim, _NAMES[act], alpha, gain, clamp)


def _slopes(setting: Setting, reference: Tensor, b: Tensor | None, order: int) -> Tensor:
    """s or s' at the reference, in the accumulation dtype."""
    row, r = setting.activation, reference.to(accumulate_dtype(reference.dtype))
    if row.keeps == "input":
        r = r if b is None else r + setting.per_channel(b, reference)
        factor, result = setting.gain, setting.scaled(r).to(reference.dtype)
    else:
        r = r / setting.gain if setting.gain != 0 else torch.zeros_like(r)
        factor, result = setting.gain if order == 1 else 1.0, reference
    found = factor * (row.first if order == 1 else row.second)(r, setting.alpha)
    return found if setting.clamp is None else torch.where(result.abs() >= setting.clamp, 0, found)


def _sum(x: Tensor, dim: int) -> Tensor:
    """Over everything but one dimension."""
    others = [d for d in range(x.dim()) if d != dim]
    return x.sum(others) if others else x


def _first_order(
    grad: Tensor, reference: Tensor | None, b: Tensor | None, dim: int, act: int, alpha: float, gain: float,
    clamp: float | None, sum: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The fused backward in PyTorch's own operations."""
    setting, wide = _setting(dim, act, alpha, gain, clamp), grad.to(accumulate_dtype(grad.dtype))
    found = wide * (gain if reference is None else _slopes(setting, reference, b, 1))
    if sum == _NONE:
        return found.to(grad.dtype), grad.new_empty(0)
    return found.to(grad.dtype), _sum(found, dim).to(wide.dtype if sum == _WIDE else grad.dtype)


def _second_order(
    tangent: Tensor | None, tangent_b: Tensor | None, grad: Tensor, reference: Tensor | None, b: Tensor | None,
    dim: int, act: int, alpha: float, gain: float, clamp: float | None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """The fused double backward in PyTorch's own operations."""
    setting, wide = _setting(dim, act, alpha, gain, clamp), accumulate_dtype(grad.dtype)
    t = torch.zeros_like(grad, dtype=wide) if tangent is None else tangent.to(wide)
    if tangent_b is not None:
        t = t + setting.per_channel(tangent_b, grad)
    if reference is None:
        return (gain * t).to(grad.dtype), None, None
    along = (t * _slopes(setting, reference, b, 1)).to(grad.dtype)
    if setting.activation.second is None:
        return along, None, None
    bent = t * grad.to(wide) * _slopes(setting, reference, b, 2)
    return along, bent.to(grad.dtype), None if b is None else _sum(bent, dim).to(b.dtype)


@autograd_op(_library.operator("bias_act"))
class _BiasAct(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, b, *ctx.setting = inputs
        ctx.set_materialize_grads(False)  # a second derivative that is zero costs no pass
        row, clamp = ACTIVATIONS[_NAMES[ctx.setting[1]]], ctx.setting[4]
        ctx.sum = _NONE
        if b is not None and ctx.needs_input_grad[1]:
            ctx.sum = _WIDE if b.dtype == accumulate_dtype(x.dtype) else _NARROW
        if row.keeps == "input":
            ctx.save_for_backward(x, b)
        elif ctx.setting[1] == NUMBERS["linear"] and clamp is None:
            ctx.save_for_backward(None, None)
        else:
            ctx.save_for_backward(output, None)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple:
        if grad is None:
            return (None,) * 7
        reference, b = ctx.saved_tensors
        grad_x, grad_b = apply(_BiasActBackward, grad, reference, b, *ctx.setting, ctx.sum)
        return grad_x, grad_b if ctx.sum else None, None, None, None, None, None


@autograd_op(_library.operator("bias_act_backward"), _first_order)
class _BiasActBackward(Function):
    """(gradient of x, gradient of b or an empty tensor)."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        grad, reference, b, *ctx.setting, _ = inputs
        ctx.save_for_backward(grad, reference, b)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor | None, tangent_b: Tensor | None) -> tuple:
        grad, reference, b = ctx.saved_tensors
        if tangent_b is not None and tangent_b.numel() == 0:
            tangent_b = None  # of a sum that was not wanted
        if tangent is None and tangent_b is None:
            return (None,) * 9
        second = _second_order if needs_formula() else _double_backward_op
        grad_grad, grad_reference, grad_b = second(tangent, tangent_b, grad, reference, b, *ctx.setting)
        curved = reference is not None and ACTIVATIONS[_NAMES[ctx.setting[1]]].second is not None
        return (
            grad_grad, grad_reference if curved else None, None if b is None else grad_b,
            None, None, None, None, None, None,
        )  # fmt: skip


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    @fake_of("ganops::bias_act")
    def _(x, b, dim, activation, alpha, gain, clamp):
        _layout.check_device(x, b)
        return _layout.empty_like(x)

    @fake_of("ganops::bias_act_backward")
    def _(grad, reference, b, dim, activation, alpha, gain, clamp, sum):
        _layout.check_device(grad, reference, b)
        dtype = accumulate_dtype(grad.dtype) if sum == _WIDE else grad.dtype
        channels = grad.shape[dim] if sum else 0
        return _layout.empty_like(grad if reference is None else reference), grad.new_empty(channels, dtype=dtype)

    @fake_of("ganops::bias_act_double_backward")
    def _(tangent, tangent_b, grad, reference, b, dim, activation, alpha, gain, clamp):
        _layout.check_device(grad, tangent, tangent_b, reference, b)
        like = grad if reference is None else reference
        curved = reference is not None and ACTIVATIONS[_NAMES[activation]].second is not None
        second = _layout.empty_like(like) if curved else grad.new_empty(0)
        return _layout.empty_like(like), second, grad.new_empty(0) if b is None else b.new_empty(b.shape)


if _library.loaded():
    _register_fakes()
