"""Adversarial losses: real and fake logits in one kernel forward and one backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _checks, _library
from ganops.ops._function import apply
from ganops.reference import adversarial_loss as reference
from ganops.reference.adversarial_loss import ROLES, Setting

_REDUCTION = {name: number for number, name in enumerate(_checks.REDUCTIONS)}
_ROLE = {name: number for number, name in enumerate(ROLES)}
_KINDS = tuple(reference.KINDS)
_WIDE = (torch.float32, torch.float64)


# What travels with every call: (kind, reduction, parameter of the real term, of the fake one, of the generator's).
Choice = tuple[int, int, float, float, float]

_adversarial_loss_op = _library.operator("adversarial_loss")
_adversarial_loss_backward_op = _library.operator("adversarial_loss_backward")
_adversarial_loss_double_backward_op = _library.operator("adversarial_loss_double_backward")
_discriminator_loss_op = _library.operator("discriminator_loss")
_discriminator_loss_backward_op = _library.operator("discriminator_loss_backward")
_discriminator_loss_double_backward_op = _library.operator("discriminator_loss_double_backward")


def _plain(tensor: object) -> bool:
    """Whether the checks have nothing to find: told at a fraction of their cost."""
    return type(tensor) is Tensor and tensor.dtype in _WIDE and tensor.layout is torch.strided


def _choose(function: str, kind: str, reduction: str, parameters: dict[str, float]) -> Choice:
    if not parameters and type(kind) is type(reduction) is str and (kind, reduction) in _CHOICES:
        return _CHOICES[kind, reduction]
    setting = reference.resolve(function, kind, reduction, parameters)
    return (setting.index, _REDUCTION[reduction], *setting.parameters)


_CHOICES: dict[tuple[str, str], Choice] = {
    (kind, reduction): (setting.index, number, *setting.parameters)
    for kind, setting in reference.DEFAULTS.items()
    for reduction, number in _REDUCTION.items()
}


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
    ==================================== ======================================= ==========================

    Args:
        real_logits: D's raw outputs (no sigmoid) for real samples, any shape; float16, bfloat16, float32 or float64.
        fake_logits: The same for generated samples. Shape may differ; dtype and device may not.
        kind: A row of the table.
        reduction: ``"mean"`` over each tensor's elements, ``"sum"``, or ``"none"``.
        **parameters: For ``least_squares``: ``real_target`` b = 1, ``fake_target`` a = 0 (``generator_target`` is
            accepted, so that one set of parameters serves both losses). For ``hinge``: ``margin`` m = 1.

    Returns:
        A tensor of shape () in the logits' dtype; for ``"none"`` the pair of per-element losses. Half-precision logits
        under ``torch.autocast`` give float32. Differentiable to any order in both arguments.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    choice = _choose("discriminator_loss", kind, reduction, parameters)
    if not (_plain(real_logits) and _plain(fake_logits) and real_logits.dtype is fake_logits.dtype):
        _checks.tensor("discriminator_loss", "real_logits", real_logits)
        _checks.tensor("discriminator_loss", "fake_logits", fake_logits)
        real_logits, fake_logits = _checks.without_autocast(real_logits), _checks.without_autocast(fake_logits)
    if real_logits.device != fake_logits.device or real_logits.dtype is not fake_logits.dtype:
        _checks.same_kind("discriminator_loss", "real_logits", real_logits, "fake_logits", fake_logits)
    if not _library.serves("discriminator_loss", real_logits):
        return reference.discriminator_loss(real_logits, fake_logits, kind, reduction=reduction, **parameters)
    if reduction == "none":
        return apply(_Loss, real_logits, _ROLE["real"], choice), apply(_Loss, fake_logits, _ROLE["fake"], choice)
    return apply(_DiscriminatorLoss, real_logits, fake_logits, choice)


def generator_loss(
    fake_logits: Tensor, kind: str = "non_saturating", *, reduction: str = "mean", **parameters: float
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
    ======================= ============================================== ======================================

    Args:
        fake_logits: D's raw outputs (no sigmoid) for generated samples, any shape; float16, bfloat16, float32, float64.
        kind: A row of the table.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        **parameters: For ``least_squares``: ``generator_target`` c = 1. What the discriminator's loss of the same kind
            takes is accepted too.

    Returns:
        A tensor of shape () in the logits' dtype, or for ``"none"`` one of the shape of ``fake_logits``. Half-precision
        logits under ``torch.autocast`` give float32. Differentiable to any order.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    choice = _choose("generator_loss", kind, reduction, parameters)
    if not _plain(fake_logits):
        _checks.tensor("generator_loss", "fake_logits", fake_logits)
        fake_logits = _checks.without_autocast(fake_logits)
    if not _library.serves("generator_loss", fake_logits):
        return reference.generator_loss(fake_logits, kind, reduction=reduction, **parameters)
    return apply(_Loss, fake_logits, _ROLE["generator"], choice)


def _second_order(tangent: Tensor, grad: Tensor, logits: Tensor, role: int, choice: Choice) -> tuple[Tensor, Tensor]:
    """What the fused double backward computes, in operations that autograd differentiates again."""
    kind, reduction, *parameters = choice
    setting = Setting(_KINDS[kind], kind, tuple(parameters))
    # Each summand depends on its own logit alone, so that the gradient of the sum holds the derivatives.
    slope_at = torch.func.grad(lambda x: setting.term(ROLES[role], x).sum())
    slope = slope_at(logits)
    curvature = torch.func.grad(lambda x: slope_at(x).sum())(logits)
    scale = 1 / logits.numel() if reduction == _REDUCTION["mean"] else 1
    grad_out = scale * tangent * slope
    if reduction != _REDUCTION["none"]:
        grad_out = grad_out.sum()
    return grad_out, scale * tangent * grad * curvature


def _of_role(role: int, choice: Choice) -> tuple[int, int, int, float]:
    """The last arguments of the operators on one tensor of logits."""
    return choice[0], role, choice[1], choice[2 + role]


class _Loss(Function):
    """One tensor of logits, one formula of the table."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, role: int, choice: Choice) -> Tensor:
        return _adversarial_loss_op(logits, *_of_role(role, choice))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        logits, ctx.role, ctx.choice = inputs
        ctx.save_for_backward(logits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (logits,) = ctx.saved_tensors
        return apply(_LossBackward, grad, logits, ctx.role, ctx.choice), None, None


class _LossBackward(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, logits: Tensor, role: int, choice: Choice) -> Tensor:
        return _adversarial_loss_backward_op(grad, logits, *_of_role(role, choice))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, logits, ctx.role, ctx.choice = inputs
        ctx.save_for_backward(grad, logits)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple:
        grad, logits = ctx.saved_tensors
        if torch.is_grad_enabled():
            found = _second_order(tangent, grad, logits, ctx.role, ctx.choice)
        else:
            found = _adversarial_loss_double_backward_op(tangent, grad, logits, *_of_role(ctx.role, ctx.choice))
        return *found, None, None


class _DiscriminatorLoss(Function):
    """Real and fake logits together, reduced to one number."""

    generate_vmap_rule = True

    @staticmethod
    def forward(real: Tensor, fake: Tensor, choice: Choice) -> Tensor:
        return _discriminator_loss_op(real, fake, *choice[:4])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        real, fake, ctx.choice = inputs
        needs_real, needs_fake, _ = ctx.needs_input_grad
        ctx.save_for_backward(real if needs_real else None, fake if needs_fake else None)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        real, fake = ctx.saved_tensors
        if real is not None and fake is not None:
            return *apply(_DiscriminatorLossBackward, grad, real, fake, ctx.choice), None
        return (
            None if real is None else apply(_LossBackward, grad, real, _ROLE["real"], ctx.choice),
            None if fake is None else apply(_LossBackward, grad, fake, _ROLE["fake"], ctx.choice),
            None,
        )


class _DiscriminatorLossBackward(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(grad: Tensor, real: Tensor, fake: Tensor, choice: Choice) -> tuple[Tensor, Tensor]:
        return _discriminator_loss_backward_op(grad, real, fake, *choice[:4])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        grad, real, fake, ctx.choice = inputs
        ctx.save_for_backward(grad, real, fake)

    @staticmethod
    def backward(ctx: Any, tangent_real: Tensor, tangent_fake: Tensor) -> tuple:
        grad, real, fake = ctx.saved_tensors
        if torch.is_grad_enabled():
            grad_r, real_out = _second_order(tangent_real, grad, real, _ROLE["real"], ctx.choice)
            grad_f, fake_out = _second_order(tangent_fake, grad, fake, _ROLE["fake"], ctx.choice)
            found = (grad_r + grad_f, real_out, fake_out)
        else:
            found = _discriminator_loss_double_backward_op(
                tangent_real, tangent_fake, grad, real, fake, *ctx.choice[:4]
            )
        return *found, None


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake
    none = _REDUCTION["none"]

    @fake_of("ganops::adversarial_loss")
    def _(logits, kind, role, reduction, parameter):
        return torch.empty_like(logits) if reduction == none else logits.new_empty(())

    @fake_of("ganops::adversarial_loss_backward")
    def _(grad, logits, kind, role, reduction, parameter):
        return torch.empty_like(logits)

    @fake_of("ganops::adversarial_loss_double_backward")
    def _(tangent, grad, logits, kind, role, reduction, parameter):
        return torch.empty_like(logits) if reduction == none else logits.new_empty(()), torch.empty_like(logits)

    @fake_of("ganops::discriminator_loss")
    def _(real, fake, kind, reduction, real_parameter, fake_parameter):
        return real.new_empty(())

    @fake_of("ganops::discriminator_loss_backward")
    def _(grad, real, fake, kind, reduction, real_parameter, fake_parameter):
        return torch.empty_like(real), torch.empty_like(fake)

    @fake_of("ganops::discriminator_loss_double_backward")
    def _(tangent_real, tangent_fake, grad, real, fake, kind, reduction, real_parameter, fake_parameter):
        return real.new_empty(()), torch.empty_like(real), torch.empty_like(fake)


if _library.loaded():
    _register_fakes()
