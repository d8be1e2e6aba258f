"""What the autograd Functions share."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import Function

_transforms_active = torch._C._are_functorch_transforms_active


def apply(function: type[Function], *arguments: Any) -> Any:
    """``function.apply(*arguments)`` at the price of what is needed of it.

    ``Function.apply`` binds the arguments with ``inspect.signature`` whenever ``setup_context`` is defined, which costs
    more than a small kernel; only ``torch.func`` and ``torch.compile`` need that. Where no graph is recorded (in a
    plain backward pass, for one) the forward alone is called.
    """
    if _transforms_active() or torch.compiler.is_compiling():
        return function.apply(*arguments)
    if not torch.is_grad_enabled():
        return function.forward(*arguments)
    return super(Function, function).apply(*arguments)
