"""Adversarial losses: real and fake logits in one kernel forward and one backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common import checks, loss_kinds
from ganops._common.dtypes import accumulate_dtype, without_autocast
from ganops._common.loss_kinds import ROLES
from ganops._common.reduction import REDUCTIONS
from ganops._library import usual
from ganops.ops._function import apply, differentiable, keeps, over
from ganops.reference import adversarial_loss as reference

_KINDS = tuple(loss_kinds.KINDS)
_PAIRED = frozenset(name for name, kind in loss_kinds.KINDS.items() if kind.paired)
_MEAN, _NONE = map(REDUCTIONS.index, ("mean", "none"))
_REAL, _FAKE, _GENERATOR = range(3)  # as in ROLES

# What travels with every call: one number for kind, role and reduction, then the parameters of the roles that take
# part, unless they are the kind's own. (A scalar argument of an operator costs as much as a kernel on 64 logits.)
Choice = tuple[int] | tuple[int, float] | tuple[int, float, float]

_adversarial_loss_double_backward_op = _library.operator("adversarial_loss_double_backward")
_discriminator_loss_double_backward_op = _library.operator("discriminator_loss_double_backward")


def _number(kind: int, role: int, reduction: int) -> int:
    return (kind * len(ROLES) + role) * len(REDUCTIONS) + reduction


def _as_role(number: int, role: int) -> int:
    """The choice of that number, made for another role."""
    rest, reduction = divmod(number, len(REDUCTIONS))
    return _number(rest // len(ROLES), role, reduction)


# The choices by kind and reduction, with the kinds' own parameters.
_DISCRIMINATOR_CHOICES, _GENERATOR_CHOICES = (
    {
        (kind, reduction): (_number(setting.index, role, place),)
        for kind, setting in loss_kinds.DEFAULTS.items()
        for place, reduction in enumerate(REDUCTIONS)
    }
    for role in (_REAL, _GENERATOR)
)


def _parameters(function: str, kind: str, reduction: str, parameters: dict[str, float]) -> tuple[float, float, float]:
    """The parameters of the three roles, checked like everything else that is not a tensor."""
    return loss_kinds.resolve(function, kind, reduction, parameters).parameters


def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    kind: str = "non_saturating",
    *,
    reduction: str = "mean",
    **parameters: float,
) -> Tensor | tuple[Tensor, Tensor]:
    """The loss that the discriminator (critic) minimises.

    With r the real and f the fake logits, σ the sigmoid and sp the softplus:

    ==================================== ======================================= ==========================
    kind                                 loss                                    source
    ==================================== ======================================= ==========================
    minimax, non_saturating, kl, mle     mean sp(−r) + mean sp(f)                Goodfellow et al. 2014
    least_squares                        mean (r − b)² + mean (f − a)²           Mao et al. 2017
    hinge                                mean relu(m − r) + mean relu(m + f)     Lim & Ye 2017
    wasserstein                          mean f − mean r                         Arjovsky et al. 2017
    relativistic                         mean sp(−(r − f)), element by element   Jolicoeur-Martineau 2018
    ==================================== ======================================= ==========================

    Args:
        real_logits: D's raw outputs (no sigmoid) for real samples, any shape; float16, bfloat16, float32 or float64.
        fake_logits: The same for generated samples. Shape may differ, but for ``relativistic``; dtype and device may
            not.
        kind: A row of the table.
        reduction: ``"mean"`` over each tensor's elements, ``"sum"``, or ``"none"``.
        **parameters: For ``least_squares``: ``real_target`` b = 1, ``fake_target`` a = 0 (``generator_target`` is
            accepted, so that one set of parameters serves both losses). For ``hinge``: ``margin`` m = 1.

    Returns:
        A tensor of shape () in the logits' dtype; for ``"none"`` the pair of per-element losses, or the one of the
        pairs for ``relativistic``. Half-precision logits under ``torch.autocast`` give float32. Differentiable to any
        order in both arguments.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    try:
        choice = _DISCRIMINATOR_CHOICES[kind, reduction]
    except (KeyError, TypeError):
        choice = None  # the checks below say why
    if parameters or choice is None:
        of_real, of_fake, _ = _parameters("discriminator_loss", kind, reduction, parameters)
        choice = *_DISCRIMINATOR_CHOICES[kind, reduction], of_real, of_fake
    if kind in _PAIRED:
        return _paired_loss("discriminator_loss", real_logits, fake_logits, kind, reduction, choice)
    if reduction != "none" and usual(real_logits, fake_logits):
        try:
            record = _DiscriminatorLoss.ahead if keeps(real_logits, fake_logits) else _DiscriminatorLoss.record
            return record(real_logits, fake_logits, *choice)
        except RuntimeError:
            pass  # the checks below say why
    checks.tensor("discriminator_loss", "real_logits", real_logits)
    checks.tensor("discriminator_loss", "fake_logits", fake_logits)
    real_logits, fake_logits = without_autocast(real_logits), without_autocast(fake_logits)
    checks.same_kind("discriminator_loss", "real_logits", real_logits, "fake_logits", fake_logits)
    if not _library.serves("discriminator_loss", real_logits):
        return reference.discriminator_loss(real_logits, fake_logits, kind, reduction=reduction, **parameters)
    if reduction == "none":
        number, *own = choice
        real_loss = apply(_Loss, real_logits, number, *own[:1])
        return real_loss, apply(_Loss, fake_logits, _as_role(number, _FAKE), *own[1:])
    return apply(_DiscriminatorLoss, real_logits, fake_logits, *choice)


def _paired_loss(
    function: str, real_logits: Tensor, fake_logits: Tensor, kind: str, reduction: str, choice: Choice
) -> Tensor:
    """D's or G's loss of pairs. G's is D's with the parts of the two exchanged."""
    generates = function == "generator_loss"
    pair = (fake_logits, real_logits) if generates else (real_logits, fake_logits)
    if usual(*pair):
        try:
            record = _PairedLoss.ahead if reduction != "none" and keeps(*pair) else _PairedLoss.record
            return record(*pair, *choice[:1])
        except RuntimeError:
            pass  # the checks below say why
    real_logits, fake_logits = loss_kinds.check_pair(function, real_logits, fake_logits)
    if not _library.serves(function, real_logits):
        if generates:
            return reference.generator_loss(fake_logits, kind, real_logits=real_logits, reduction=reduction)
        return reference.discriminator_loss(real_logits, fake_logits, kind, reduction=reduction)
    pair = (fake_logits, real_logits) if generates else (real_logits, fake_logits)
    if not torch.compiler.is_compiling() and not torch.is_inference_mode_enabled():
        # Real logits of torch.inference_mode, say, beside fake ones with a gradient: autograd keeps copies alone.
        pair = tuple(x.clone() if x.is_inference() else x for x in pair)
    return apply(_PairedLoss, *pair, *choice[:1])


def generator_loss(
    fake_logits: Tensor,
    kind: str = "non_saturating",
    *,
    real_logits: Tensor | None = None,
    reduction: str = "mean",
    **parameters: float,
) -> Tensor:
    """The loss that the generator minimises.

    With f the logits of generated samples, σ the sigmoid and sp the softplus:

    ======================= ============================================== ======================================
    kind                    loss                                           source
    ======================= ============================================== ======================================
    minimax                 mean −sp(f), that is log(1 − σ(f))             Goodfellow et al. 2014
    non_saturating          mean sp(−f), that is −log σ(f)                 Goodfellow et al. 2014
    mle                     mean −exp(f)                                   Goodfellow 2014, tutorial 2017
    least_squares           mean (f − c)²                                  Mao et al. 2017
    kl, hinge, wasserstein  mean −f                                        Lim & Ye 2017, Arjovsky et al. 2017
    relativistic            mean sp(−(f − r)), element by element          Jolicoeur-Martineau 2018
    ======================= ============================================== ======================================

    Args:
        fake_logits: D's raw outputs (no sigmoid) for generated samples, any shape; float16, bfloat16, float32, float64.
        kind: A row of the table.
        real_logits: For ``relativistic``, and only for it: r, D's outputs for real samples, of the same shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        **parameters: For ``least_squares``: ``generator_target`` c = 1. What the discriminator's loss of the same kind
            takes is accepted too.

    Returns:
        A tensor of shape () in the logits' dtype, or for ``"none"`` one of the shape of ``fake_logits``. Half-precision
        logits under ``torch.autocast`` give float32. Differentiable to any order, in ``real_logits`` too.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    try:
        choice = _GENERATOR_CHOICES[kind, reduction]
    except (KeyError, TypeError):
        choice = None
    if parameters or choice is None:
        *_, parameter = _parameters("generator_loss", kind, reduction, parameters)
        choice = *_GENERATOR_CHOICES[kind, reduction], parameter
    if real_logits is not None or kind in _PAIRED:
        loss_kinds.check_real_logits(kind, real_logits)
        return _paired_loss("generator_loss", real_logits, fake_logits, kind, reduction, choice)
    if usual(fake_logits, fake_logits):
        try:
            record = _Loss.ahead if reduction != "none" and keeps(fake_logits, fake_logits) else _Loss.record
            return record(fake_logits, *choice)
        except RuntimeError:
            pass
    checks.tensor("generator_loss", "fake_logits", fake_logits)
    fake_logits = without_autocast(fake_logits)
    if not _library.serves("generator_loss", fake_logits):
        return reference.generator_loss(fake_logits, kind, reduction=reduction, **parameters)
    return apply(_Loss, fake_logits, *choice)


def _second_order(
    tangent: Tensor, grad: Tensor, logits: Tensor, number: int, parameter: float | None = None
) -> tuple[Tensor, Tensor]:
    """What the fused double backward computes, in operations that autograd differentiates again."""
    rest, reduction = divmod(number, len(REDUCTIONS))
    kind, role = divmod(rest, len(ROLES))
    setting = loss_kinds.DEFAULTS[_KINDS[kind]]
    if parameter is not None:
        setting = setting._replace(parameters=(parameter, parameter, parameter))
    wide = accumulate_dtype(logits.dtype)
    x, t, g = logits.to(wide), tangent.to(wide), grad.to(wide)
    # Each summand depends on its own logit alone, so that the gradient of the sum holds the derivatives.
    slope_at = torch.func.grad(lambda x: setting.term(ROLES[role], x).sum())
    slope = slope_at(x)
    curvature = torch.func.grad(lambda x: slope_at(x).sum())(x)
    scale = 1 / max(logits.numel(), 1) if reduction == _MEAN else 1
    grad_out = scale * t * slope
    if reduction != _NONE:
        grad_out = grad_out.sum()
    return grad_out.to(grad.dtype), (scale * t * g * curvature).to(logits.dtype)


# The gradients of a choice.
_NONES = (None, None, None)


@over(_library.operator("adversarial_loss"), _library.operator("adversarial_loss_and_gradient"))
class _Loss(Function):
    """One tensor of logits, one formula of the table. The choice is its number, and its parameter if one is named."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        logits, *ctx.choice = inputs
        ctx.save_for_backward(logits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (logits,) = ctx.saved_tensors
        return apply(_LossBackward, grad, logits, *ctx.choice), *_NONES[: len(ctx.choice)]


@over(_library.operator("adversarial_loss_backward"))
class _LossBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, logits, *ctx.choice = inputs
        ctx.save_for_backward(grad, logits)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple:
        grad, logits = ctx.saved_tensors
        second_order = _second_order if differentiable() else _adversarial_loss_double_backward_op
        return *second_order(tangent, grad, logits, *ctx.choice), *_NONES[: len(ctx.choice)]


@over(_library.operator("discriminator_loss"), _library.operator("discriminator_loss_and_gradients"))
class _DiscriminatorLoss(Function):
    """Both tensors of logits, reduced to one number. The choice is (number) or (number, real's parameter, fake's)."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        needs, ctx.choice = ctx.needs_input_grad, inputs[2:]
        ctx.save_for_backward(inputs[0] if needs[0] else None, inputs[1] if needs[1] else None)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        real, fake = ctx.saved_tensors
        choice = ctx.choice
        if real is not None and fake is not None:
            grads = apply(_DiscriminatorLossBackward, grad, real, fake, *choice)
        elif real is not None:
            grads = apply(_LossBackward, grad, real, *choice[:2]), None
        else:
            grads = None, apply(_LossBackward, grad, fake, _as_role(choice[0], _FAKE), *choice[2:])
        return *grads, *_NONES[: len(choice)]


@over(_library.operator("discriminator_loss_backward"))
class _DiscriminatorLossBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        grad, real, fake, *ctx.choice = inputs
        ctx.save_for_backward(grad, real, fake)

    @staticmethod
    def backward(ctx: Any, tangent_real: Tensor, tangent_fake: Tensor) -> tuple:
        grad, real, fake = ctx.saved_tensors
        if differentiable():
            number, *own = ctx.choice
            grad_r, real_out = _second_order(tangent_real, grad, real, number, *own[:1])
            grad_f, fake_out = _second_order(tangent_fake, grad, fake, _as_role(number, _FAKE), *own[1:])
            found = (grad_r + grad_f, real_out, fake_out)
        else:
            found = _discriminator_loss_double_backward_op(tangent_real, tangent_fake, grad, real, fake, *ctx.choice)
        return *found, *_NONES[: len(ctx.choice)]


@over(_library.operator("discriminator_loss"), _library.operator("discriminator_loss_and_gradients"))
class _PairedLoss(Function):
    """The loss of a kind that pairs logits: sp(−(x − y)), reduced or not. Its choice has no parameters."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        first, second, ctx.number = inputs
        ctx.save_for_backward(first, second)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return *apply(_PairedLossBackward, grad, *ctx.saved_tensors, ctx.number), None


@over(_library.operator("discriminator_loss_backward"))
class _PairedLossBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.number = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, tangent_first: Tensor, tangent_second: Tensor) -> tuple:
        grad, first, second = ctx.saved_tensors
        if differentiable():
            wide = accumulate_dtype(first.dtype)
            tangent, difference = tangent_first.to(wide) - tangent_second.to(wide), first.to(wide) - second.to(wide)
            grad_out, out = _second_order(tangent, grad, difference, ctx.number)
            found = grad_out, out.to(first.dtype), -out.to(first.dtype)
        else:
            found = _discriminator_loss_double_backward_op(
                tangent_first, tangent_second, grad, first, second, ctx.number
            )
        return *found, None


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    def per_element(choice):
        return choice % len(REDUCTIONS) == _NONE

    def check_devices(real, fake):
        torch._check(real.device == fake.device, lambda: "ganops: tensors must be on one device")

    def is_paired(choice):
        return _KINDS[choice // (len(ROLES) * len(REDUCTIONS))] in _PAIRED

    def like_loss(real, choice):
        return torch.empty_like(real) if is_paired(choice) and per_element(choice) else real.new_empty(())

    def like_partner(real, fake, choice):
        """Partners lie in memory as the real logits do."""
        return torch.empty_like(real if is_paired(choice) else fake)

    @fake_of("ganops::adversarial_loss")
    def _(logits, choice, parameter=None):
        return torch.empty_like(logits) if per_element(choice) else logits.new_empty(())

    @fake_of("ganops::adversarial_loss_backward")
    def _(grad, logits, choice, parameter=None):
        return torch.empty_like(logits)

    @fake_of("ganops::adversarial_loss_double_backward")
    def _(tangent, grad, logits, choice, parameter=None):
        return torch.empty_like(logits) if per_element(choice) else logits.new_empty(()), torch.empty_like(logits)

    @fake_of("ganops::discriminator_loss")
    def _(real, fake, choice, real_parameter=None, fake_parameter=None):
        check_devices(real, fake)
        return like_loss(real, choice)

    @fake_of("ganops::adversarial_loss_and_gradient")
    def _(logits, choice, parameter=None):
        return logits.new_empty(()), torch.empty_like(logits)

    @fake_of("ganops::discriminator_loss_and_gradients")
    def _(real, fake, choice, real_parameter=None, fake_parameter=None):
        check_devices(real, fake)
        return real.new_empty(()), torch.empty_like(real), like_partner(real, fake, choice)

    @fake_of("ganops::discriminator_loss_backward")
    def _(grad, real, fake, choice, real_parameter=None, fake_parameter=None):
        check_devices(real, fake)
        return torch.empty_like(real), like_partner(real, fake, choice)

    @fake_of("ganops::discriminator_loss_double_backward")
    def _(tangent_real, tangent_fake, grad, real, fake, choice, real_parameter=None, fake_parameter=None):
        check_devices(real, fake)
        return like_loss(real, choice), torch.empty_like(real), like_partner(real, fake, choice)


if _library.loaded():
    _register_fakes()
