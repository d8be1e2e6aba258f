"""Builds autograd Functions from compiled operators and the definitions of their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops._transforms import batching_gradients, dual_level, is_compiling, transforms_active, vectorizing


def autograd_op(operator: Any, formula: Callable[..., Any] | None = None) -> Callable[[type[Function]], type[Function]]:
    """Makes ``operator`` the forward of the decorated Function, which defines ``setup_context`` and ``backward``.

    The Function exists in two forms. The class itself has a forward without context, as ``torch.func`` and
    ``torch.compile`` require. Its attribute ``recording`` is the same Function with ``forward(ctx, …)``, for ordinary
    calls; torch applies it in half the time. :func:`apply` chooses between them.

    ``formula`` computes the same values with PyTorch operations. It is used for a backward under ``torch.vmap``
    (``is_grads_batched``, ``jacrev``), where the operator would run once per batch element and lose the graph.
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
        function.generate_vmap_rule = True  # for versions of torch in which `vectorizing` cannot detect vmap
        function.operator = staticmethod(operator)
        function.formula = staticmethod(formula) if formula is not None else None
        body = {"forward": staticmethod(recording_forward), "backward": staticmethod(function.backward)}
        function.recording = type(function.__name__, (Function,), body)
        return function

    return decorate


def with_settings(call: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """``call(*tensors, *settings)`` as a function of ``(*tensors, settings)``, where ``settings`` is a tuple.

    A Function takes a quarter of a microsecond longer, forward and backward, for each of its arguments.
    """
    if call is None:
        return None

    def spread(*arguments: Any) -> Any:
        return call(*arguments[:-1], *arguments[-1])

    return spread


def apply(function: Any, *arguments: Any) -> Any:
    """Calls the operator of a Function made by :func:`autograd_op`, and records the call if a gradient is needed."""
    if is_compiling():
        return function.apply(*_dealias(arguments)) if _recorded(arguments) else function.operator(*arguments)
    # With forward-mode derivatives torch raises an error if a tangent reaches a kernel.
    if transforms_active() or batching_gradients() or dual_level():
        batched = function.formula is not None and vectorizing()
        return function.formula(*arguments) if batched else function.apply(*arguments)
    return function.recording.apply(*arguments) if _recorded(arguments) else function.operator(*arguments)


def _recorded(arguments: tuple[Any, ...]) -> bool:
    """Whether autograd records a call with these arguments."""
    if torch.is_grad_enabled():
        for x in arguments:
            if isinstance(x, Tensor) and x.requires_grad:
                return True
    return False


def _dealias(arguments: tuple[Any, ...]) -> list[Any]:
    """Replaces a tensor that occurs twice by a view: torch.compile does not support a Function called with (x, x)."""
    seen: list[Any] = []
    for x in arguments:
        again = isinstance(x, Tensor) and any(x is y for y in seen)
        seen.append(x.view_as(x) if again else x)
    return seen


def needs_formula() -> bool:
    """Whether a second-order backward must use PyTorch operations.

    It must if its graph is recorded, if tangents pass through it, or if it runs under ``torch.vmap``.
    """
    return torch.is_grad_enabled() or dual_level() or (not is_compiling() and vectorizing())
