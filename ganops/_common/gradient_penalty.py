"""The checks of what the gradient penalties are given."""

from __future__ import annotations

from torch import Tensor

from ganops._common import checks
from ganops._common.reduction import REDUCTIONS


def check_settings(function: str, target: float, reduction: str, one_sided: bool = False) -> float:
    """Checks what is not a tensor and returns the target as a float."""
    checks.choice(function, "reduction", reduction, REDUCTIONS)
    checks.flag(function, "one_sided", one_sided)
    return checks.number(function, "target", target, minimum=0)


def check_select(function: str, select: object) -> None:
    """Raises TypeError unless ``select``, which chooses the scores from a critic's output, is a function or None."""
    if select is not None and not callable(select):
        raise TypeError(
            f"{function}: select must be a function from the critic's output to its scores, or None, got "
            f"{type(select).__name__}"
        )


def check_gradient(gradient: Tensor) -> None:
    """Checks the argument of ``gradient_norm_penalty``."""
    checks.dense("gradient_norm_penalty", "gradient", gradient)
    checks.batched("gradient_norm_penalty", "gradient", gradient)
