"""Adversarial losses: one kernel launch forward and one backward, for real and fake logits together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.dtypes import accumulate_dtype
from ganops._common.loss_kinds import (
    CENTRED,
    Setting,
    centred,
    check_half,
    check_logits,
    check_one,
    check_real_logits,
    resolve,
)
from ganops._common.loss_lists import Logits, check_scale_reduction
from ganops._common.reduction import REDUCTIONS, SCALE_REDUCTIONS
from ganops._transforms import is_compiling
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op, needs_formula, with_settings
from ganops.ops._loss_formulas import FAKE, GENERATOR, NONE, NUMBERS, REAL, second_order, slope
from ganops.ops._loss_lists import discriminator_losses, generator_losses, half_losses
from ganops.reference import adversarial_loss as reference


@overload
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    kind: str = ...,
    *,
    reduction: Literal["mean", "sum"] = ...,
    scale_reduction: str = ...,
    return_parts: Literal[False] = ...,
    **parameters: float,
) -> Tensor: ...
@overload
def discriminator_loss(
    real_logits: Tensor,
    fake_logits: Tensor,
    kind: str = ...,
    *,
    reduction: Literal["none"],
    scale_reduction: str = ...,
    return_parts: Literal[False] = ...,
    **parameters: float,
) -> tuple[Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    kind: str = ...,
    *,
    reduction: str = ...,
    scale_reduction: str = ...,
    return_parts: Literal[True],
    **parameters: float,
) -> tuple[Tensor, Tensor, Tensor]: ...
@overload
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    kind: str = ...,
    *,
    reduction: str,
    scale_reduction: str = ...,
    return_parts: bool = ...,
    **parameters: float,
) -> Any: ...
def discriminator_loss(
    real_logits: Logits,
    fake_logits: Logits,
    kind: str = "non_saturating",
    *,
    reduction: str = "mean",
    scale_reduction: str = "sum",
    return_parts: bool = False,
    **parameters: float,
) -> Any:
    """The loss that the discriminator (critic) minimises.

    With r the real and f the fake logits, r̄ and f̄ their means, σ the sigmoid and sp the softplus:

    ==================================== ======================================= ==========================
    kind                                 loss                                    source
    ==================================== ======================================= ==========================
    minimax, non_saturating, kl, mle     mean sp(−r) + mean sp(f)                Goodfellow et al. 2014
    least_squares                        mean (r − b)² + mean (f − a)²           Mao et al. 2017
    hinge                                mean relu(m − r) + mean relu(m + f)     Lim & Ye 2017
    wasserstein                          mean f − mean r                         Arjovsky et al. 2017
    relativistic                         mean sp(−(r − f)), element by element   Jolicoeur-Martineau 2018
    relativistic_average                 mean sp(−(r − f̄)) + mean sp(f − r̄)      Jolicoeur-Martineau 2018
    ==================================== ======================================= ==========================

    Args:
        real_logits: D's raw outputs (no sigmoid) for real samples, any shape; float16, bfloat16, float32 or float64. Or
            a list or tuple of such tensors, one for each of K discriminators or scales, which one kernel launch
            computes together. The tensors of a list may differ in shape.
        fake_logits: The same for generated samples, in the same dtype and on the same device. The shape may differ from
            that of ``real_logits``, except for ``relativistic``.
        kind: A row of the table, or an alias: ``vanilla``, ``bce``, ``ns`` (non_saturating), ``lsgan``,
            ``ls``, ``mse`` (least_squares), ``wgan`` (wasserstein), ``rpgan`` (relativistic), ``ragan``
            (relativistic_average).
        reduction: ``"mean"`` over each tensor's elements, ``"sum"``, or ``"none"``.
        scale_reduction: ``"sum"`` or ``"mean"`` over the discriminators of a list, or ``"none"`` for a tensor (K,). It
            has no effect on single tensors.
        return_parts: Return (loss, real_loss, fake_loss), all differentiable, from the same launch; the loss is the sum
            of the other two. Not for the relativistic kinds, and not with ``reduction="none"``.
        **parameters: For ``least_squares``: ``real_target`` b = 1, ``fake_target`` a = 0 (``generator_target`` is
            accepted and not used, so that both losses can be called with the same parameters). For ``hinge``:
            ``margin`` m = 1. For ``minimax``, ``non_saturating``, ``kl`` and ``mle``: the labels ``real_target`` = 1
            and ``fake_target`` = 0; with a label t, sp(−r) and sp(f) become the cross-entropy
            t·sp(−x) + (1 − t)·sp(x) (label smoothing, Salimans et al. 2016: ``real_target=0.9``).

    Returns:
        A tensor of shape () in the logits' dtype. With ``reduction="none"`` the pair of the per-element losses of real
        and of fake logits; for ``relativistic`` one tensor with the loss of each pair. For lists, ``reduction="none"``
        also needs ``scale_reduction="none"``, and each of these tensors is a list. Half-precision logits under
        ``torch.autocast`` give float32. Differentiable to any order in both arguments.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.

    Example:
        >>> ganops.discriminator_loss(discriminator(real), discriminator(fake.detach()), "hinge").backward()
        >>> real_logits, fake_logits = ([d(x) for d in discriminators] for x in (real, fake.detach()))
        >>> loss, real_loss, fake_loss = ganops.discriminator_loss(
        ...     real_logits, fake_logits, "lsgan", scale_reduction="mean", return_parts=True
        ... )
    """
    setting = resolve("discriminator_loss", kind, reduction, parameters)
    if not isinstance(scale_reduction, str) or scale_reduction not in SCALE_REDUCTIONS:
        check_scale_reduction("discriminator_loss", scale_reduction)
    if return_parts is not False or not isinstance(real_logits, Tensor) or not isinstance(fake_logits, Tensor):
        return discriminator_losses(
            real_logits, fake_logits, setting, reduction, scale_reduction, return_parts, kind, parameters
        )
    average = setting.kind.average
    paired = setting.kind.paired and not average
    real_logits, fake_logits = check_logits("discriminator_loss", real_logits, fake_logits, paired)
    if not _library.has_kernel("discriminator_loss", real_logits, fake_logits):
        return reference.discriminator_loss(real_logits, fake_logits, kind, reduction=reduction, **parameters)
    if average:
        setting, (real_logits, fake_logits) = CENTRED, centred(real_logits, fake_logits)
    return _loss_of_both(real_logits, fake_logits, setting, reduction)


def _loss_of_both(real_logits: Tensor, fake_logits: Tensor, setting: Setting, reduction: str) -> Any:
    """D's loss of checked logits; without a reduction of unpaired ones one for each side."""
    number, how, (of_real, of_fake, _) = NUMBERS[setting.name], REDUCTIONS.index(reduction), setting.parameters
    if setting.kind.paired:
        return _paired_loss(real_logits, fake_logits, setting, REAL, how)
    if reduction == "none":
        return (
            apply(_Loss, real_logits, (number, REAL, how, of_real)),
            apply(_Loss, fake_logits, (number, FAKE, how, of_fake)),
        )
    return apply(_DiscriminatorLoss, real_logits, fake_logits, (number, how, of_real, of_fake))


@overload
def generator_loss(
    fake_logits: Logits,
    kind: str = ...,
    *,
    real_logits: Logits | None = ...,
    reduction: Literal["mean", "sum"] = ...,
    scale_reduction: str = ...,
    sample_weight: Tensor | None = ...,
    **parameters: float,
) -> Tensor: ...
@overload
def generator_loss(
    fake_logits: Tensor,
    kind: str = ...,
    *,
    real_logits: Logits | None = ...,
    reduction: Literal["none"],
    scale_reduction: str = ...,
    sample_weight: Tensor | None = ...,
    **parameters: float,
) -> Tensor: ...
@overload
def generator_loss(
    fake_logits: Sequence[Tensor],
    kind: str = ...,
    *,
    real_logits: Logits | None = ...,
    reduction: Literal["none"],
    scale_reduction: str = ...,
    sample_weight: Tensor | None = ...,
    **parameters: float,
) -> list[Tensor]: ...
@overload
def generator_loss(
    fake_logits: Logits,
    kind: str = ...,
    *,
    real_logits: Logits | None = ...,
    reduction: str,
    scale_reduction: str = ...,
    sample_weight: Tensor | None = ...,
    **parameters: float,
) -> Any: ...
def generator_loss(
    fake_logits: Logits,
    kind: str = "non_saturating",
    *,
    real_logits: Logits | None = None,
    reduction: str = "mean",
    scale_reduction: str = "sum",
    sample_weight: Tensor | None = None,
    **parameters: float,
) -> Any:
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
    relativistic_average    mean sp(−(f − r̄)) + mean sp(r − f̄)             Jolicoeur-Martineau 2018
    ======================= ============================================== ======================================

    Args:
        fake_logits: D's raw outputs (no sigmoid) for generated samples, any shape; float16, bfloat16, float32, float64.
            Or a list or tuple of them, one for each of K discriminators or scales.
        kind: A row of the table, or an alias, see :func:`ganops.discriminator_loss`.
        real_logits: r, D's raw outputs for real samples; required for ``relativistic``, of the same shape, and for
            ``relativistic_average``, and an error for the other kinds.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        scale_reduction: ``"sum"`` or ``"mean"`` over the discriminators of a list, or ``"none"`` for a tensor (K,).
        sample_weight: (N,), a weight for each sample: entry n of dimension 0 of the logits (of every tensor of a list).
            The terms of the sample's logits are multiplied by it; the mean still divides by the number of logits. It
            gets no gradient. Not for ``relativistic_average``.
        **parameters: For ``least_squares``: ``generator_target`` c = 1. For ``non_saturating``: the label
            ``generator_target`` t = 1; the loss is the cross-entropy, mean t·sp(−f) + (1 − t)·sp(f). The parameters of
            the discriminator's loss of the same kind are accepted and not used.

    Returns:
        A tensor of shape () in the logits' dtype. With ``reduction="none"`` a tensor of the shape of ``fake_logits``,
        for ``relativistic_average`` the pair of those of fake and real logits; for a list, which then also needs
        ``scale_reduction="none"``, a list of them. Half-precision logits under ``torch.autocast`` give float32.
        Differentiable to any order, also in ``real_logits``.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.

    Example:
        >>> ganops.generator_loss(discriminator(generator(z)), "hinge").backward()
    """
    setting = resolve("generator_loss", kind, reduction, parameters)
    if not isinstance(scale_reduction, str) or scale_reduction not in SCALE_REDUCTIONS:
        check_scale_reduction("generator_loss", scale_reduction)
    single = isinstance(fake_logits, Tensor) and (real_logits is None or isinstance(real_logits, Tensor))
    if not single or sample_weight is not None:
        return generator_losses(
            fake_logits, real_logits, setting, reduction, scale_reduction, sample_weight, kind, parameters
        )
    if real_logits is not None or setting.kind.paired:
        check_real_logits(setting.name, setting.kind, real_logits)
        average = setting.kind.average
        real_logits, fake_logits = check_logits("generator_loss", real_logits, fake_logits, not average)
        if not _library.has_kernel("generator_loss", real_logits, fake_logits):
            return reference.generator_loss(
                fake_logits, kind, real_logits=real_logits, reduction=reduction, **parameters
            )
        if average:
            return _loss_of_both(*centred(fake_logits, real_logits), CENTRED, reduction)
        return _paired_loss(fake_logits, real_logits, setting, GENERATOR, REDUCTIONS.index(reduction))
    fake_logits = check_one("generator_loss", "fake_logits", fake_logits)
    if not _library.has_kernel("generator_loss", fake_logits):
        return reference.generator_loss(fake_logits, kind, reduction=reduction, **parameters)
    return apply(_Loss, fake_logits, _formula(setting, GENERATOR, REDUCTIONS.index(reduction)))


@overload
def gan_loss(
    logits: Logits,
    is_real: bool,
    kind: str = ...,
    *,
    reduction: Literal["mean", "sum"] = ...,
    scale_reduction: str = ...,
    sample_weight: Tensor | None = ...,
    **parameters: float,
) -> Tensor: ...
@overload
def gan_loss(
    logits: Tensor,
    is_real: bool,
    kind: str = ...,
    *,
    reduction: Literal["none"],
    scale_reduction: str = ...,
    sample_weight: Tensor | None = ...,
    **parameters: float,
) -> Tensor: ...
@overload
def gan_loss(
    logits: Sequence[Tensor],
    is_real: bool,
    kind: str = ...,
    *,
    reduction: Literal["none"],
    scale_reduction: str = ...,
    sample_weight: Tensor | None = ...,
    **parameters: float,
) -> list[Tensor]: ...
@overload
def gan_loss(
    logits: Logits,
    is_real: bool,
    kind: str = ...,
    *,
    reduction: str,
    scale_reduction: str = ...,
    sample_weight: Tensor | None = ...,
    **parameters: float,
) -> Any: ...
def gan_loss(
    logits: Logits,
    is_real: bool,
    kind: str = "non_saturating",
    *,
    reduction: str = "mean",
    scale_reduction: str = "sum",
    sample_weight: Tensor | None = None,
    **parameters: float,
) -> Any:
    """One half of the discriminator's loss: its term for real samples, or its term for generated samples.

    For code that computes one half at a time. ``gan_loss(real, True, kind) + gan_loss(fake, False, kind)`` equals
    :func:`ganops.discriminator_loss` of the same kind.

    Args:
        logits: D's raw outputs (no sigmoid), any shape; float16, bfloat16, float32 or float64. Or a list or tuple of
            them, one for each of K discriminators or scales.
        is_real: Whether the logits belong to real samples: True for the term of r in the table of
            :func:`ganops.discriminator_loss`, False for the term of f.
        kind: A row of that table or an alias, except the relativistic ones, which need both logits at once.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        scale_reduction: ``"sum"`` or ``"mean"`` over the discriminators of a list, or ``"none"`` for a tensor (K,).
        sample_weight: (N,), as for :func:`ganops.generator_loss`.
        **parameters: As for :func:`ganops.discriminator_loss`.

    Returns:
        A tensor of shape () in the logits' dtype. With ``reduction="none"`` a tensor of the shape of ``logits``; for a
        list, which then also needs ``scale_reduction="none"``, a list of them. Half-precision logits under
        ``torch.autocast`` give float32. Differentiable to any order.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.

    Example:
        >>> ganops.gan_loss(discriminator(real), True, "hinge").backward()
        >>> ganops.gan_loss(discriminator(fake.detach()), False, "hinge").backward()
    """
    setting = resolve("gan_loss", kind, reduction, parameters)
    if not isinstance(scale_reduction, str) or scale_reduction not in SCALE_REDUCTIONS:
        check_scale_reduction("gan_loss", scale_reduction)
    check_half(setting.name, setting.kind, is_real)
    role = REAL if is_real else FAKE
    if sample_weight is not None or not isinstance(logits, Tensor):
        return half_losses(logits, is_real, setting, reduction, scale_reduction, sample_weight, kind, parameters)
    logits = check_one("gan_loss", "logits", logits)
    if not _library.has_kernel("gan_loss", logits):
        return reference.gan_loss(logits, is_real, kind, reduction=reduction, **parameters)
    return apply(_Loss, logits, _formula(setting, role, REDUCTIONS.index(reduction)))


def _formula(setting: Setting, role: int, reduction: int) -> tuple[int, int, int, float]:
    """The settings of the operators of one formula: the numbers of kind, role and reduction, and the parameter."""
    return NUMBERS[setting.name], role, reduction, setting.parameters[role]


def _paired_loss(first: Tensor, second: Tensor, setting: Setting, role: int, reduction: int) -> Tensor:
    """The loss of the differences first − second."""
    if not is_compiling() and not torch.is_inference_mode_enabled():
        # Autograd cannot save a tensor that was created under torch.inference_mode; it can save a copy. Real logits may
        # be such a tensor while the fake ones need a gradient.
        first = first.clone() if first.is_inference() else first
        second = second.clone() if second.is_inference() else second
    return apply(_PairedLoss, first, second, _formula(setting, role, reduction))


def _slopes_of_both(
    grad: Tensor, real: Tensor, fake: Tensor, kind: int, reduction: int, of_real: float, of_fake: float
) -> tuple[Tensor, Tensor]:
    """The operator ``discriminator_loss_backward`` in PyTorch operations."""
    return slope(grad, real, kind, REAL, reduction, of_real), slope(grad, fake, kind, FAKE, reduction, of_fake)


def _slopes_of_pairs(
    grad: Tensor, first: Tensor, second: Tensor, kind: int, role: int, reduction: int, parameter: float
) -> tuple[Tensor, Tensor]:
    """The operator ``paired_loss_backward`` in PyTorch operations."""
    wide = accumulate_dtype(first.dtype)
    found = slope(grad, first.to(wide) - second.to(wide), kind, role, reduction, parameter).to(first.dtype)
    return found, -found


def _op(name: str) -> Any:
    """The operator of that name, as a function of its tensors and one tuple of its numbers."""
    return with_settings(_library.operator(name))


_double_backward = _op("adversarial_loss_double_backward")
_double_backward_of_both = _op("discriminator_loss_double_backward")
_double_backward_of_pairs = _op("paired_loss_double_backward")


@autograd_op(_op("adversarial_loss"))
class _Loss(Function):
    """The loss of one role on one tensor. Arguments: (logits, (kind, role, reduction, parameter))."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        logits, ctx.choice = inputs
        ctx.save_for_backward(logits)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        (logits,) = ctx.saved_tensors
        return apply(_LossBackward, grad, logits, ctx.choice), None


@autograd_op(_op("adversarial_loss_backward"), with_settings(slope))
class _LossBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        grad, logits, ctx.choice = inputs
        ctx.save_for_backward(grad, logits)

    @staticmethod
    def backward(ctx: Any, tangent: Tensor) -> tuple:
        grad, logits = ctx.saved_tensors
        if needs_formula():
            found = second_order(tangent, grad, logits, *ctx.choice)
        else:
            found = _double_backward(tangent, grad, logits, ctx.choice)
        return *found, None


@autograd_op(_op("discriminator_loss"))
class _DiscriminatorLoss(Function):
    """D's loss, reduced to a scalar. Arguments: (real, fake, (kind, reduction, real_parameter, fake_parameter))."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        real, fake, ctx.choice = inputs
        needs_real, needs_fake, _ = ctx.needs_input_grad
        ctx.save_for_backward(real if needs_real else None, fake if needs_fake else None)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        real, fake = ctx.saved_tensors
        if real is not None and fake is not None:
            of_real, of_fake = apply(_DiscriminatorLossBackward, grad, real, fake, ctx.choice)
            return of_real, of_fake, None
        kind, reduction, of_real, of_fake = ctx.choice
        if real is not None:
            return apply(_LossBackward, grad, real, (kind, REAL, reduction, of_real)), None, None
        return None, apply(_LossBackward, grad, fake, (kind, FAKE, reduction, of_fake)), None


@autograd_op(_op("discriminator_loss_backward"), with_settings(_slopes_of_both))
class _DiscriminatorLossBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        grad, real, fake, ctx.choice = inputs
        ctx.save_for_backward(grad, real, fake)

    @staticmethod
    def backward(ctx: Any, tangent_real: Tensor, tangent_fake: Tensor) -> tuple:
        grad, real, fake = ctx.saved_tensors
        if needs_formula():
            kind, reduction, of_real, of_fake = ctx.choice
            grad_real, real_out = second_order(tangent_real, grad, real, kind, REAL, reduction, of_real)
            grad_fake, fake_out = second_order(tangent_fake, grad, fake, kind, FAKE, reduction, of_fake)
            found = grad_real + grad_fake, real_out, fake_out
        else:
            found = _double_backward_of_both(tangent_real, tangent_fake, grad, real, fake, ctx.choice)
        return *found, None


@autograd_op(_op("paired_loss"))
class _PairedLoss(Function):
    """The loss of one role of a paired kind. Arguments: (first, second, (kind, role, reduction, parameter))."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        first, second, ctx.choice = inputs
        ctx.save_for_backward(first, second)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        first, second = ctx.saved_tensors
        of_first, of_second = apply(_PairedLossBackward, grad, first, second, ctx.choice)
        return of_first, of_second, None


@autograd_op(_op("paired_loss_backward"), with_settings(_slopes_of_pairs))
class _PairedLossBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        grad, first, second, ctx.choice = inputs
        ctx.save_for_backward(grad, first, second)

    @staticmethod
    def backward(ctx: Any, tangent_first: Tensor, tangent_second: Tensor) -> tuple:
        grad, first, second = ctx.saved_tensors
        if needs_formula():
            wide = accumulate_dtype(first.dtype)
            tangent, difference = tangent_first.to(wide) - tangent_second.to(wide), first.to(wide) - second.to(wide)
            grad_out, out = second_order(tangent, grad, difference, *ctx.choice)
            found = grad_out, out.to(first.dtype), -out.to(first.dtype)
        else:
            found = _double_backward_of_pairs(tangent_first, tangent_second, grad, first, second, ctx.choice)
        return *found, None


def _register_fakes() -> None:
    """Registers the fake implementations (shapes and strides without data), for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    def loss_of(logits, reduction):
        return _layout.empty_like(logits) if reduction == NONE else logits.new_empty(())

    def both(first, second):
        return _layout.empty_like(first), _layout.empty_like(second)

    def pair(first):  # the operator gives both results the strides of `first`
        return _layout.empty_like(first), _layout.empty_like(first)

    @fake_of("ganops::adversarial_loss")
    def _(logits, kind, role, reduction, parameter):
        return loss_of(logits, reduction)

    @fake_of("ganops::adversarial_loss_backward")
    def _(grad, logits, *choice):
        _layout.check_device(logits, grad)
        return _layout.empty_like(logits)

    @fake_of("ganops::adversarial_loss_double_backward")
    def _(tangent, grad, logits, kind, role, reduction, parameter):
        _layout.check_device(logits, tangent, grad)
        return loss_of(logits, reduction), _layout.empty_like(logits)

    @fake_of("ganops::discriminator_loss")
    def _(real, fake, *choice):
        _layout.check_device(real, fake)
        return real.new_empty(())

    @fake_of("ganops::discriminator_loss_backward")
    def _(grad, real, fake, *choice):
        _layout.check_device(real, fake, grad)
        return both(real, fake)

    @fake_of("ganops::discriminator_loss_double_backward")
    def _(tangent_real, tangent_fake, grad, real, fake, *choice):
        _layout.check_device(real, fake, grad, tangent_real, tangent_fake)
        return real.new_empty(()), *both(real, fake)

    @fake_of("ganops::paired_loss")
    def _(first, second, kind, role, reduction, parameter):
        _layout.check_device(first, second)
        return loss_of(first, reduction)

    @fake_of("ganops::paired_loss_backward")
    def _(grad, first, second, *choice):
        _layout.check_device(first, second, grad)
        return pair(first)

    @fake_of("ganops::paired_loss_double_backward")
    def _(tangent_first, tangent_second, grad, first, second, kind, role, reduction, parameter):
        _layout.check_device(first, second, grad, tangent_first, tangent_second)
        return loss_of(first, reduction), *pair(first)


if _library.loaded():
    _register_fakes()
