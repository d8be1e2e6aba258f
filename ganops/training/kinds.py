"""What the trainer asks about a loss kind."""

from __future__ import annotations

from ganops._common.loss_kinds import KINDS

__all__ = ["LOSSES", "descends_game_value", "is_paired", "undecided_logit"]

#: The names of all kinds.
LOSSES = tuple(sorted(KINDS))


def is_paired(loss: str) -> bool:
    """Whether the loss compares each fake logit with a real one."""
    return KINDS[loss].paired


def descends_game_value(loss: str) -> bool:
    """Whether the generator descends the value that the discriminator ascends, real half included."""
    return KINDS[loss].saturating


def undecided_logit(loss: str) -> float | None:
    """The logit of a discriminator that cannot tell real from fake; None if the loss fixes no such number."""
    return KINDS[loss].zero
