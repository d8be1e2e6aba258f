"""The adversarial losses of several discriminators, or with the loss its parts: one launch forward and one backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops import _library
from ganops._common.dtypes import accumulate_dtype
from ganops._common.loss_kinds import CENTRED, Setting, centred, check_no_weight, check_real_logits
from ganops._common.loss_lists import Logits, check_lists, check_parts, check_sample_weight, weighted
from ganops._common.reduction import REDUCTIONS, SCALE_REDUCTIONS
from ganops._transforms import is_compiling
from ganops.ops import _layout
from ganops.ops._function import apply, autograd_op, needs_formula
from ganops.ops._loss_formulas import FAKE, GENERATOR, NONE, NUMBERS, REAL, second_order, slope
from ganops.reference import adversarial_loss as reference

_losses_op = _library.operator("adversarial_losses")
_backward_op = _library.operator("adversarial_losses_backward")
_double_backward_op = _library.operator("adversarial_losses_double_backward")

_MEAN_OF_SCALES, _EACH = map(SCALE_REDUCTIONS.index, ("mean", "none"))


def losses(
    setting: Setting,
    roles: tuple[int, ...],
    logits: Sequence[Tensor],
    partners: Sequence[Tensor],
    reduction: str,
    scale_reduction: str,
    parts: bool = False,
    sample_weight: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The loss, with ``parts`` followed by that of each role; or without a reduction one for each tensor of logits.

    ``logits`` are those of each discriminator in turn, for each of the one or two ``roles`` in turn; ``partners`` are
    as many, for kinds of differences, or none. ``sample_weight``, (N), is for one role.
    """
    tensors = [*logits, *partners]
    if not is_compiling() and not torch.is_inference_mode_enabled():
        # Autograd saves no tensor of torch.inference_mode.
        tensors = [x.clone() if x.is_inference() else x for x in tensors]
    choice = (
        NUMBERS[setting.name],
        roles,
        REDUCTIONS.index(reduction),
        SCALE_REDUCTIONS.index(scale_reduction),
        tuple(setting.parameters[role] for role in roles),
    )
    return apply(_Losses, *choice, parts, len(logits), sample_weight, *tensors)


def _one_or_each(found: tuple[Tensor, ...], reduction: str) -> Tensor | list[Tensor]:
    return list(found) if reduction == "none" else found[0]


def _losses_of_one_role(
    setting: Setting,
    role: int,
    logits: Tensor | Sequence[Tensor],
    flat: Sequence[Tensor],
    partners: Sequence[Tensor],
    reduction: str,
    scale_reduction: str,
    sample_weight: Tensor | None,
) -> Tensor | list[Tensor]:
    """The loss of ``logits``, a tensor or a list, whose tensors are ``flat``."""
    if isinstance(logits, Tensor):  # of one the sum is a number
        return losses(setting, (role,), flat, partners, reduction, "sum", sample_weight=sample_weight)[0]
    found = losses(setting, (role,), flat, partners, reduction, scale_reduction, sample_weight=sample_weight)
    return _one_or_each(found, reduction)


def discriminator_losses(
    real_logits: Logits,
    fake_logits: Logits,
    setting: Setting,
    reduction: str,
    scale_reduction: str,
    return_parts: bool,
    kind: str,
    parameters: dict[str, float],
) -> Any:
    """D's loss of lists, or with its parts."""
    check_parts("discriminator_loss", setting, reduction, return_parts)
    average = setting.kind.average
    paired = setting.kind.paired and not average
    lists = {"real_logits": real_logits, "fake_logits": fake_logits}
    real, fake = check_lists("discriminator_loss", lists, reduction, scale_reduction, paired)
    if not _library.has_kernel("discriminator_loss", *real, *fake):
        return reference.discriminator_loss(
            real_logits,
            fake_logits,
            kind,
            reduction=reduction,
            scale_reduction=scale_reduction,
            return_parts=return_parts,
            **parameters,
        )
    if paired:
        return _one_or_each(losses(setting, (REAL,), real, fake, reduction, scale_reduction), reduction)
    if isinstance(real_logits, Tensor):
        scale_reduction = "sum"  # of one, a number
    if average:
        return _losses_of_averages(real, fake, reduction, scale_reduction)
    return _losses_of_both(setting, real, fake, reduction, scale_reduction, return_parts)


def _losses_of_both(
    setting: Setting,
    real: Sequence[Tensor],
    fake: Sequence[Tensor],
    reduction: str,
    scale_reduction: str,
    parts: bool = False,
) -> Any:
    """D's loss of lists of checked logits, whose formulas are of one side each."""
    in_turn = [x for pair in zip(real, fake, strict=True) for x in pair]
    found = losses(setting, (REAL, FAKE), in_turn, (), reduction, scale_reduction, parts)
    if reduction == "none":
        return list(found[::2]), list(found[1::2])
    return found if parts else found[0]


def _losses_of_averages(first: Sequence[Tensor], second: Sequence[Tensor], reduction: str, scale_reduction: str) -> Any:
    """The average-relativistic loss, which is small if the first logits exceed the mean of the second."""
    pairs = [centred(one, other) for one, other in zip(first, second, strict=True)]
    return _losses_of_both(CENTRED, *map(list, zip(*pairs, strict=True)), reduction, scale_reduction)


def generator_losses(
    fake_logits: Logits,
    real_logits: Logits | None,
    setting: Setting,
    reduction: str,
    scale_reduction: str,
    sample_weight: Tensor | None,
    kind: str,
    parameters: dict[str, float],
) -> Any:
    """G's loss of lists, or with weights."""
    check_real_logits(setting.name, setting.kind, real_logits)
    check_no_weight(setting.name, setting.kind, sample_weight)
    lists = {} if real_logits is None else {"real_logits": real_logits}
    lists["fake_logits"] = fake_logits
    average = setting.kind.average
    paired = setting.kind.paired and not average
    *partners, fake = check_lists("generator_loss", lists, reduction, scale_reduction, paired)
    real = partners[0] if partners else []
    weight = check_sample_weight("generator_loss", sample_weight, fake)
    if not _library.has_kernel("generator_loss", *fake, *real, *(() if weight is None else (weight,))):
        return reference.generator_loss(
            fake_logits,
            kind,
            real_logits=real_logits,
            reduction=reduction,
            scale_reduction=scale_reduction,
            sample_weight=sample_weight,
            **parameters,
        )
    if average:
        return _losses_of_averages(fake, real, reduction, scale_reduction)
    return _losses_of_one_role(setting, GENERATOR, fake_logits, fake, real, reduction, scale_reduction, weight)


def half_losses(
    logits: Tensor | Sequence[Tensor],
    is_real: bool,
    setting: Setting,
    reduction: str,
    scale_reduction: str,
    sample_weight: Tensor | None,
    kind: str,
    parameters: dict[str, float],
) -> Any:
    """Half of D's loss of lists, or with weights."""
    (flat,) = check_lists("gan_loss", {"logits": logits}, reduction, scale_reduction)
    weight = check_sample_weight("gan_loss", sample_weight, flat)
    if not _library.has_kernel("gan_loss", *flat, *(() if weight is None else (weight,))):
        return reference.gan_loss(
            logits,
            is_real,
            kind,
            reduction=reduction,
            scale_reduction=scale_reduction,
            sample_weight=sample_weight,
            **parameters,
        )
    role = REAL if is_real else FAKE
    return _losses_of_one_role(setting, role, logits, flat, (), reduction, scale_reduction, weight)


def _forward(
    kind: int,
    roles: tuple[int, ...],
    reduction: int,
    scale_reduction: int,
    parameters: tuple[float, ...],
    parts: bool,
    count: int,
    sample_weight: Tensor | None,
    *tensors: Tensor,
) -> tuple[Tensor, ...]:
    choice = kind, roles, reduction, scale_reduction, parameters
    return tuple(_losses_op(tensors[:count], tensors[count:], *choice, parts, sample_weight))


@autograd_op(_forward if _library.loaded() else None)
class _Losses(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        *ctx.choice, _, ctx.count, weight = inputs[:8]
        ctx.set_materialize_grads(ctx.choice[2] == NONE)
        ctx.save_for_backward(weight, *inputs[8:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        kind, roles, reduction, scale_reduction, parameters = ctx.choice
        weight, *tensors = ctx.saved_tensors
        count, needed = ctx.count, ctx.needs_input_grad[8:]
        given = tuple(view for view, grad in enumerate(grads) if grad is not None)
        found: list[Tensor | None] = [None] * len(tensors)
        taken = slice(None)
        if len(roles) == 2 and not (any(needed[::2]) and any(needed[1::2])):  # one side is of no interest
            side = int(any(needed[1::2]))
            taken = slice(side, None, 2)
            roles, parameters, tensors, count = (roles[side],), (parameters[side],), tensors[taken], count // 2
            if reduction == NONE:
                grads = grads[taken]
                given = tuple(range(len(grads)))
            else:
                grads = (grads[0], grads[1 + side]) if len(grads) > 1 else grads
                given = tuple(view for view, grad in enumerate(grads) if grad is not None)
        if given:
            above = [grads[view] for view in given]
            choice = (given, kind, roles, reduction, scale_reduction, parameters, len(above), count)
            found[taken] = apply(_LossesBackward, *choice, weight, *above, *tensors)
        return *(None,) * 8, *found


def _split(tensors: Sequence[Tensor], grads: int, count: int) -> tuple[Sequence[Tensor], ...]:
    """The gradients from above, the logits, and their partners."""
    return tensors[:grads], tensors[grads : grads + count], tensors[grads + count :]


def _backward(
    given: tuple[int, ...],
    kind: int,
    roles: tuple[int, ...],
    reduction: int,
    scale_reduction: int,
    parameters: tuple[float, ...],
    grads: int,
    count: int,
    sample_weight: Tensor | None,
    *tensors: Tensor,
) -> tuple[Tensor, ...]:
    above, logits, partners = _split(tensors, grads, count)
    choice = kind, roles, reduction, scale_reduction, parameters
    return tuple(_backward_op(above, given, logits, partners, *choice, sample_weight))


class _Formulas:
    """The loss of a list, tensor by tensor, in PyTorch's own operations; arguments as in ``_backward``."""

    def __init__(
        self,
        given: tuple[int, ...],
        kind: int,
        roles: tuple[int, ...],
        reduction: int,
        scale_reduction: int,
        parameters: tuple[float, ...],
        grads: int,
        count: int,
        sample_weight: Tensor | None,
        *tensors: Tensor,
    ) -> None:
        self.given, self.kind, self.roles, self.parameters = given, kind, roles, parameters
        self.reduction, self.scale_reduction = reduction, scale_reduction
        self.above, self.logits, self.partners = _split(tensors, grads, count)
        self.dtype = tensors[grads].dtype
        self.wide = accumulate_dtype(self.dtype)
        self.weight = None if sample_weight is None else sample_weight.to(self.wide)

    def numbers(self, tensors: Sequence[Tensor], partners: Sequence[Tensor]) -> list[Tensor]:
        """Logits or tangents, less those of the partners."""
        if not partners:
            return list(tensors)
        return [x.to(self.wide) - y.to(self.wide) for x, y in zip(tensors, partners, strict=True)]

    def setting(self, place: int) -> tuple[int, int, int, float]:
        part = place % len(self.roles)
        return self.kind, self.roles[part], self.reduction, self.parameters[part]

    def _shared(self, x: Tensor) -> Tensor:
        """What a mean over the discriminators leaves of it."""
        return x / (len(self.logits) // len(self.roles)) if self.scale_reduction == _MEAN_OF_SCALES else x

    def _of_view(self, view: int, place: int) -> bool:
        return view in (0, 1 + place % len(self.roles))

    def gradient(self, place: int) -> Tensor:
        """What arrives from above at the logits of that place."""
        if self.reduction == NONE:
            return self.above[place]
        terms = [
            (grad.reshape(-1)[place // len(self.roles)] if self.scale_reduction == _EACH else grad).to(self.wide)
            for view, grad in zip(self.given, self.above, strict=True)
            if self._of_view(view, place)
        ]
        total = sum(terms[1:], terms[0]) if terms else self.above[0].new_zeros((), dtype=self.wide)
        return self._shared(total)

    def both_sides(self, found: list[Tensor]) -> tuple[Tensor, ...]:
        found = [x.to(self.dtype) for x in found]
        return *found, *(-x for x in found[: len(self.partners)])

    def first(self) -> tuple[Tensor, ...]:
        x = self.numbers(self.logits, self.partners)
        grads = [self.gradient(k) for k in range(len(x))]
        if self.weight is not None:
            grads = [weighted(grads[k].to(self.wide).expand(x[k].shape), self.weight) for k in range(len(x))]
        return self.both_sides([slope(grads[k], x[k], *self.setting(k)) for k in range(len(x))])

    def second(self, tangents: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The derivatives by the gradients from above, by the logits and by their partners."""
        count = len(self.logits)
        x, t = self.numbers(self.logits, self.partners), self.numbers(tangents[:count], tangents[count:])
        if self.weight is not None:
            t = [weighted(tangent.to(self.wide), self.weight) for tangent in t]
        pairs = [second_order(t[k], self.gradient(k), x[k], *self.setting(k)) for k in range(count)]
        of_above = [of_grad for of_grad, _ in pairs]
        if self.reduction != NONE:
            of_above = [self._of_gradient(view, of_above).to(self.above[i].dtype) for i, view in enumerate(self.given)]
        return *of_above, *self.both_sides([out for _, out in pairs])

    def _of_gradient(self, view: int, terms: list[Tensor]) -> Tensor:
        mine = [term if self._of_view(view, k) else torch.zeros_like(term) for k, term in enumerate(terms)]
        by_place = torch.stack(mine).reshape(-1, len(self.roles)).sum(1)
        return by_place if self.scale_reduction == _EACH else self._shared(by_place.sum())


def _backward_formula(*arguments: Any) -> tuple[Tensor, ...]:
    return _Formulas(*arguments).first()


@autograd_op(_backward if _library.loaded() else None, _backward_formula)
class _LossesBackward(Function):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        ctx.choice = inputs[:8]
        ctx.save_for_backward(*inputs[8:])  # the weights, gradients from above, logits and partners

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> tuple:
        weight, *tensors = ctx.saved_tensors
        if needs_formula():
            found = _Formulas(*ctx.choice, weight, *tensors).second(tangents)
        else:
            given, *choice, grads, count = ctx.choice
            above, logits, partners = _split(tensors, grads, count)
            found = tuple(_double_backward_op(tangents, above, given, logits, partners, *choice, weight))
        return *(None,) * 9, *found


def _register_fakes() -> None:
    """Shapes without data, for torch.compile and meta tensors."""
    fake_of = torch.library.register_fake

    def views(logits, roles, scale_reduction, count):
        shape = (len(logits) // len(roles),) if scale_reduction == _EACH else ()
        return [logits[0].new_empty(shape) for _ in range(count)]

    def gradients(logits, partners, sample_weight):  # partners lie in memory as the first
        make = _layout.empty_like if sample_weight is None else _layout.empty_like_samples
        return [make(x) for x in (*logits, *logits[: len(partners)])]

    @fake_of("ganops::adversarial_losses")
    def _(logits, partners, kind, roles, reduction, scale_reduction, parameters, parts, sample_weight=None):
        _layout.check_device(*logits, *partners, sample_weight)
        if reduction == NONE:
            return gradients(logits, (), sample_weight)
        return views(logits, roles, scale_reduction, 1 + len(roles) * parts)

    @fake_of("ganops::adversarial_losses_backward")
    def _(grads, given, logits, partners, kind, roles, reduction, scale_reduction, parameters, sample_weight=None):
        _layout.check_device(*logits, *partners, *grads, sample_weight)
        return gradients(logits, partners, sample_weight)

    @fake_of("ganops::adversarial_losses_double_backward")
    def _(
        tangents,
        grads,
        given,
        logits,
        partners,
        kind,
        roles,
        reduction,
        scale_reduction,
        parameters,
        sample_weight=None,
    ):
        _layout.check_device(*logits, *partners, *grads, *tangents, sample_weight)
        if reduction == NONE:
            above = gradients(logits, (), sample_weight)
        else:
            above = views(logits, roles, scale_reduction, len(grads))
        return [*above, *gradients(logits, partners, sample_weight)]


if _library.loaded():
    _register_fakes()
