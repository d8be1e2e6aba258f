"""How an operator and the definition of its derivative become an autograd Function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops._transforms import batching_gradients, dual_level, is_compiling, transforms_active, vectorizing


def autograd_op(operator: Any, formula: Callable[..., Any] | None = None) -> Callable[[type[Function]], type[Function]]:
    """Makes ``operator`` the forward of the decorated Function, which defines ``setup_context`` and ``backward``.

    Torch wants two forms of it. The class itself has a forward without context, for ``torch.func`` and
    ``torch.compile``. Its attribute ``recording`` is the same Function with ``forward(ctx, …)``, for ordinary calls,
    which torch applies in half the time. :func:`apply` chooses.

    ``formula`` is the same function in PyTorch's own operations, for a backward under ``torch.vmap``
    (``is_grads_batched``, ``jacrev``): the operator would run once for each member, and lose the graph there.
    """

    def decorate(function: type[Function]) -> type[Function]:
        if operator is None:  # the library is not loaded
            return function
        setup_context = function.setup_context

        def forward(*arguments: Any) -> Any:
            return operator(*arguments)

        def recording_forward(ctx: Any, *arguments: Any) -> Any:
            output = operator(*arguments)
            setup_context(ctx, arguments, output)
            return output

        function.forward = staticmethod(forward)
        function.generate_vmap_rule = True  # for torch without the question that `vectorizing` asks
        function.operator = staticmethod(operator)
        function.formula = staticmethod(formula) if formula is not None else None
        body = {"forward": staticmethod(recording_forward), "backward": staticmethod(function.backward)}
        function.recording = type(function.__name__, (Function,), body)
        return function

    return decorate


def apply(function: Any, *arguments: Any) -> Any:
    """Calls the operator of a Function made by :func:`autograd_op`, and records it if a gradient is needed."""
    recorded = False
    if torch.is_grad_enabled():
        for x in arguments:
            recorded = recorded or (isinstance(x, Tensor) and x.requires_grad)
    if is_compiling():
        return function.apply(*_dealias(arguments)) if recorded else function.operator(*arguments)
    if (
        transforms_active() or batching_gradients() or dual_level()
    ):  # where a tangent reaches a kernel, torch then raises an error
        batched = function.formula is not None and vectorizing()
        return function.formula(*arguments) if batched else function.apply(*arguments)
    return function.recording.apply(*arguments) if recorded else function.operator(*arguments)


def _dealias(arguments: tuple[Any, ...]) -> list[Any]:
    """The arguments, with a view in place of a tensor's second occurrence: the compiler takes no Function of (x, x)."""
    seen: list[Any] = []
    for x in arguments:
        again = isinstance(x, Tensor) and any(x is y for y in seen)
        seen.append(x.view_as(x) if again else x)
    return seen


def needs_formula() -> bool:
    """Whether a second-order backward must consist of PyTorch's own operations: a graph of it is recorded, tangents
    pass through it, or it runs under ``torch.vmap``."""
    return torch.is_grad_enabled() or dual_level() or (not is_compiling() and vectorizing())
