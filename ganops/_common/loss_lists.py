"""The checks of the adversarial losses that lists of logits add to those of single tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import HALVES, without_autocast
from ganops._common.loss_kinds import Setting
from ganops._common.reduction import SCALE_REDUCTIONS

#: A discriminator's outputs, or those of several.
Logits = Tensor | Sequence[Tensor]

LISTS = (list, tuple)


def check_scale_reduction(function: str, scale_reduction: object) -> None:
    """Raises ValueError unless it is the name of one."""
    if not isinstance(scale_reduction, str) or scale_reduction not in SCALE_REDUCTIONS:
        checks.choice(function, "scale_reduction", scale_reduction, SCALE_REDUCTIONS)


def check_parts(function: str, setting: Setting, reduction: str, return_parts: object) -> None:
    """Raises unless the loss has the parts that are asked for."""
    if not isinstance(return_parts, bool):
        raise TypeError(f"{function}: return_parts must be True or False, got {return_parts!r}")
    if return_parts and setting.kind.paired:
        raise ValueError(
            f"{function}: kind {setting.name!r} compares real with generated logits, its loss has no parts; leave "
            "return_parts out"
        )
    if return_parts and reduction == "none":
        raise ValueError(
            f"{function}: reduction 'none' gives the losses of real and of generated logits already; leave "
            "return_parts out"
        )


def check_lists(
    function: str, lists: dict[str, Any], reduction: str, scale_reduction: str, paired: bool = False
) -> list[list[Tensor]]:
    """Tensors or lists of them, by the names of the arguments, as lists of one length, widened under autocast.

    Raises unless all tensors have one dtype and device, and paired ones the same shapes.
    """
    single = [name for name, value in lists.items() if not isinstance(value, LISTS)]
    if single and len(single) < len(lists):
        other = next(name for name in lists if name not in single)
        raise TypeError(
            f"{function}: {other} is a list and {single[0]} is a {type(lists[single[0]]).__name__}; pass both as "
            "tensors, or both as lists of tensors"
        )
    if not single and reduction == "none" and scale_reduction != "none":
        raise ValueError(
            f"{function}: reduction 'none' keeps every logit of a list; pass scale_reduction='none' with it, got "
            f"{scale_reduction!r}"
        )
    found = [[value] if single else list(value) for value in lists.values()]
    for name, tensors in zip(lists, found, strict=True):
        if not tensors:
            raise ValueError(f"{function}: {name} is an empty list; pass the logits of at least one discriminator")
        if len(tensors) != len(found[0]):
            raise ValueError(
                f"{function}: {next(iter(lists))} has {len(found[0])} entries and {name} has {len(tensors)}; both must "
                "have one for each discriminator"
            )
    ordinary = checks.alike(*chain.from_iterable(found))
    if not ordinary:
        entries = _entries(lists, found, bool(single))
        for entry in entries:
            checks.tensor(function, *entry)
    if not ordinary or found[0][0].dtype in HALVES:
        found = [[without_autocast(x) for x in tensors] for tensors in found]
    if not ordinary:
        entries = _entries(lists, found, bool(single))
        for entry in entries:
            checks.same_kind(function, *entries[0], *entry)
    if paired and any(one.shape != other.shape for one, other in zip(*found, strict=True)):
        entries = _entries(lists, found, bool(single))
        for one, other in zip(entries[: len(found[0])], entries[len(found[0]) :], strict=True):
            checks.same_shape(function, *one, *other)
    return found


def check_sample_weight(function: str, sample_weight: Tensor | None, logits: Sequence[Tensor]) -> Tensor | None:
    """The weights in the logits' dtype; raises unless there is one for each sample of every tensor."""
    if sample_weight is None:
        return None
    if not isinstance(sample_weight, Tensor) or sample_weight.is_complex():
        kind = sample_weight.dtype if isinstance(sample_weight, Tensor) else type(sample_weight).__name__
        raise TypeError(f"{function}: sample_weight must be a tensor of real numbers, got {kind}")
    if sample_weight.dim() != 1 or any(x.dim() == 0 or x.shape[0] != sample_weight.shape[0] for x in logits):
        shapes = ", ".join(str(tuple(x.shape)) for x in logits)
        raise ValueError(
            f"{function}: sample_weight must have the shape (N,), one weight for each sample, got "
            f"{tuple(sample_weight.shape)} for logits of shape {shapes}"
        )
    if sample_weight.device != logits[0].device:
        raise ValueError(
            f"{function}: sample_weight ({sample_weight.device}) and the logits ({logits[0].device}) must be on the "
            f"same device; move it, e.g. sample_weight.to({str(logits[0].device)!r})"
        )
    if sample_weight.requires_grad:
        raise ValueError(f"{function}: sample_weight gets no gradient; pass sample_weight.detach()")
    return sample_weight.to(logits[0].dtype)


def weighted(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """Values of each logit, times the weight of their sample."""
    if sample_weight is None:
        return values
    return values * sample_weight.reshape(-1, *(1,) * (values.dim() - 1))


def _entries(lists: dict[str, Any], found: list[list[Tensor]], single: bool) -> list[tuple[str, Tensor]]:
    """All tensors, each with the name that a message gives it."""
    return [
        (name if single else f"{name}[{place}]", x)
        for name, tensors in zip(lists, found, strict=True)
        for place, x in enumerate(tensors)
    ]
