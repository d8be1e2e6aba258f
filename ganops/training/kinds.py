"""Properties of the loss kinds that the trainer needs."""

from __future__ import annotations

from ganops._common.loss_kinds import KINDS

__all__ = ["LOSSES", "descends_game_value", "is_paired", "undecided_logit"]

#: The names of all kinds.
LOSSES = tuple(sorted(KINDS))


def is_paired(loss: str) -> bool:
    """Whether the loss compares each fake logit with a real one."""
    return KINDS[loss].paired


def descends_game_value(loss: str) -> bool:
    """Whether G minimises the value V(D, G) that D maximises, including its term for real samples."""
    return KINDS[loss].saturating


def undecided_logit(loss: str) -> float | None:
    """The logit of a discriminator that cannot tell real from fake; None if the loss defines no such logit."""
    return KINDS[loss].undecided_logit
