"""The numbers of the loss kinds in the compiled library, and the kinds' derivatives in closed form."""

from __future__ import annotations

from torch import Tensor

from ganops import _library
from ganops._common import loss_kinds
from ganops._common.dtypes import accumulate_dtype
from ganops._common.loss_kinds import ROLES
from ganops._common.reduction import REDUCTIONS

REAL, FAKE, GENERATOR = range(len(ROLES))
MEAN, NONE = map(REDUCTIONS.index, ("mean", "none"))

# Each compiled library lists its kinds; `numbers` raises an error if a library differs from KINDS.
NUMBERS: dict[str, int] = {}
for _path, _listing in _library.texts("ganops_loss_kinds").items():
    NUMBERS = loss_kinds.numbers(_listing, _path)
BY_NUMBER = {number: loss_kinds.KINDS[name] for name, number in NUMBERS.items()}


def slope(grad: Tensor, logits: Tensor, kind: int, role: int, reduction: int, parameter: float) -> Tensor:
    """The operator ``adversarial_loss_backward`` in PyTorch operations."""
    wide = accumulate_dtype(logits.dtype)
    scale = 1 / max(logits.numel(), 1) if reduction == MEAN else 1
    first = BY_NUMBER[kind].term(ROLES[role]).first(logits.to(wide), parameter)
    return (scale * grad.to(wide) * first).to(logits.dtype)


def second_order(
    tangent: Tensor, grad: Tensor, logits: Tensor, kind: int, role: int, reduction: int, parameter: float
) -> tuple[Tensor, Tensor]:
    """The operator ``adversarial_loss_double_backward`` in PyTorch operations, which autograd can differentiate."""
    term = BY_NUMBER[kind].term(ROLES[role])
    wide = accumulate_dtype(logits.dtype)
    x, t, g = logits.to(wide), tangent.to(wide), grad.to(wide)
    scale = 1 / max(logits.numel(), 1) if reduction == MEAN else 1
    grad_out = scale * t * term.first(x, parameter)
    if reduction != NONE:
        grad_out = grad_out.sum()
    return grad_out.to(grad.dtype), (scale * t * g * term.second(x, parameter)).to(logits.dtype)
