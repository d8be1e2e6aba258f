"""The checks of the adversarial losses that lists of logits add to those of single tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import without_autocast
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
    found: list[list[tuple[str, Tensor]]] = []  # with what to call each tensor
    for name, value in lists.items():
        entries = [(name, value)] if single else [(f"{name}[{place}]", x) for place, x in enumerate(value)]
        if not entries:
            raise ValueError(f"{function}: {name} is an empty list; pass the logits of at least one discriminator")
        found.append(entries)
        if len(entries) != len(found[0]):
            raise ValueError(
                f"{function}: {next(iter(lists))} has {len(found[0])} entries and {name} has {len(entries)}; both must "
                "have one for each discriminator"
            )
        for entry in entries:
            checks.tensor(function, *entry)
    widened = [[(name, without_autocast(x)) for name, x in entries] for entries in found]
    for entries in widened:
        for entry in entries:
            checks.same_kind(function, *widened[0][0], *entry)
    if paired:
        for one, other in zip(*widened, strict=True):
            checks.same_shape(function, *one, *other)
    return [[x for _, x in entries] for entries in widened]
