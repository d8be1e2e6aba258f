"""What the autograd Functions share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_grad_enabled = torch.is_grad_enabled
_transforms_active = torch._C._are_functorch_transforms_active
_is_compiling = torch.compiler.is_dynamo_compiling


def over(operator: Any) -> Callable[[type[Function]], type[Function]]:
    """Makes ``operator`` the forward of an autograd Function, which defines ``setup_context`` and ``backward``.

    Besides ``forward``, for ``torch.func`` and ``torch.compile``, the class gets two shortcuts for all other calls:
    ``direct``, the operator without a graph, and ``record``, the operator and a node of the graph. Beside a kernel for
    64 numbers each Python frame is felt, and these have none: they call what an ``OpOverload`` calls, and they leave
    out ``Function.apply``, which binds the arguments with ``inspect.signature`` for the transforms' sake.
    """

    def decorate(function: type[Function]) -> type[Function]:
        if operator is None:  # the library is not loaded
            return function

        def forward(*arguments: Any) -> Any:
            return operator(*arguments)

        function.forward = staticmethod(forward)
        function.generate_vmap_rule = True
        plain = type(function.__name__, (function,), {"forward": staticmethod(operator._op)})
        function.direct = staticmethod(operator._op)
        function.record = staticmethod(super(Function, plain).apply)
        return function

    return decorate


def _apart(arguments: tuple[Any, ...]) -> list[Any]:
    """No tensor twice: the compiler takes no Function of x and x. Of the second place it gets a view."""
    seen: list[Any] = []
    for x in arguments:
        again = isinstance(x, Tensor) and any(x is y for y in seen)
        seen.append(x.view_as(x) if again else x)
    return seen


def apply(function: Any, *arguments: Any) -> Any:
    """``function.apply(*arguments)`` of a Function under :func:`over`, at the price of what is needed of it."""
    if _is_compiling():
        # Where no graph is recorded, the compiler would take a forward of `*arguments` for one that wants a context.
        recorded = _grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in arguments)
        return function.apply(*_apart(arguments)) if recorded else function.forward(*arguments)
    if _transforms_active():
        return function.apply(*arguments)
    if _grad_enabled():
        return function.record(*arguments)
    return function.direct(*arguments)  # as in a plain backward pass
