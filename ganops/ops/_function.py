"""What the autograd Functions share."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import Function

_transforms_active = torch._C._are_functorch_transforms_active


def apply(function: type[Function], *arguments: Any) -> Any:
    """``function.apply(*arguments)`` without the inspection of its signature.

    ``Function.apply`` binds the arguments with ``inspect.signature`` whenever ``setup_context`` is defined, which costs
    more than a small kernel. Only ``torch.func`` and ``torch.compile`` need that way.
    """
    if torch.compiler.is_compiling() or _transforms_active():
        return function.apply(*arguments)
    return super(Function, function).apply(*arguments)
