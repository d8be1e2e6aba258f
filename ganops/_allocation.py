"""Running out of memory in a kernel's wrapper raises what torch itself raises.

The wrappers allocate through PyTorch's stable ABI, which turns an exception into an error code: its type, such as
``torch.OutOfMemoryError``, and its text are lost. The wrappers therefore keep the number of bytes that were refused,
and the allocation is repeated here, where torch's own exception reaches the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor


def raising_memory_errors(operator: Callable[..., Any], refused_bytes: Callable[[str], int]) -> Callable[..., Any]:
    """``operator``, except that a refused allocation raises torch's own exception for it.

    Args:
        operator: An operator of the compiled library.
        refused_bytes: Given a device type, the bytes that its library was refused last in this thread; 0 if none.
    """

    def call(*arguments: Any) -> Any:
        try:
            return operator(*arguments)
        except RuntimeError:
            device = _device(arguments)
            count = refused_bytes(device.type)
            if count == 0:
                raise
        _allocation_fails(count, device)

    return call


def _device(arguments: tuple[Any, ...]) -> torch.device:
    """That of the first tensor, which may be in a list."""
    flat = (x for argument in arguments for x in (argument if isinstance(argument, (list, tuple)) else (argument,)))
    return next(x.device for x in flat if isinstance(x, Tensor))


def _allocation_fails(count: int, device: torch.device) -> NoReturn:
    """Raises what torch raises for an allocation of ``count`` bytes that fails."""
    torch.empty(count, dtype=torch.uint8, device=device)
    # The operator has given back what it held by then, so that there may be room for one of its tensors alone.
    if device.type == "cuda":
        raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {count} bytes on {device}.")
    raise RuntimeError(f"DefaultCPUAllocator: can't allocate memory: you tried to allocate {count} bytes.")
