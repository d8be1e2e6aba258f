"""The checks of what the gradient penalties are given."""

from __future__ import annotations

from torch import Tensor

from ganops._common import checks
from ganops._common.reduction import REDUCTIONS


def check_settings(function: str, target: float, reduction: str, finite_difference: float = 0.0) -> float:
    """Checks what is not a tensor and returns the target as a float."""
    checks.choice(function, "reduction", reduction, REDUCTIONS)
    checks.number(function, "finite_difference", finite_difference, minimum=0)
    return checks.number(function, "target", target, minimum=0)


def check_gradient(gradient: Tensor) -> None:
    """Checks the argument of ``gradient_norm_penalty``."""
    checks.tensor("gradient_norm_penalty", "gradient", gradient)
    checks.batched("gradient_norm_penalty", "gradient", gradient)
