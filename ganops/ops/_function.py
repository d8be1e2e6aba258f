"""What the autograd Functions share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops._library import BACKEND
from ganops._transforms import dispatch_modes, dual_level, is_compiling, transforms_active

_grad_enabled = torch.is_grad_enabled


# So many numbers at most are kept from a loss to its backward. The CUDA kernels, emulated ones too, keep none.
AHEAD = 1 << 22 if BACKEND == "compiled" else -1


def over(operator: Any, with_gradients: Any = None) -> Callable[[type[Function]], type[Function]]:
    """Makes ``operator`` the forward of an autograd Function, which defines ``setup_context`` and ``backward``.

    Besides ``forward``, for ``torch.func`` and ``torch.compile``, the class gets shortcuts for all other calls:
    ``direct``, the operator without a graph, and ``record``, the operator and a node of the graph. Beside a kernel for
    64 numbers each Python frame is felt, and these have none: they call what an ``OpOverload`` calls, and they leave
    out ``Function.apply``, which binds the arguments with ``inspect.signature`` for the transforms' sake.

    ``with_gradients`` returns what ``operator`` does and the gradients of the leading arguments for an upstream
    gradient of one; ``ahead`` is then ``record`` by it.
    """

    def decorate(function: type[Function]) -> type[Function]:
        if operator is None:  # the library is not loaded
            return function

        def forward(*arguments: Any) -> Any:
            return operator(*arguments)

        function.forward = staticmethod(forward)
        function.generate_vmap_rule = True
        function.direct = staticmethod(_inside(operator))
        function.record = staticmethod(_record(function, function.direct))
        if with_gradients is not None:
            function.ahead = staticmethod(_ahead(function, _inside(with_gradients)))
        return function

    return decorate


def _inside(operator: Any) -> Callable[..., Any]:
    """What an ``OpOverload`` calls."""
    return getattr(operator, "_op", operator)


def _recorder(name: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """What calls ``forward(ctx, …)`` and leaves a node of the graph that calls ``backward``; nothing in between."""
    function = type(name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})
    # The engine calls `apply` of the node; torch's own looks for the backward each time. Of neither does torch promise
    # that it is there.
    if hasattr(function, "_backward_cls"):
        function._backward_cls.apply = backward
    return getattr(super(Function, function), "apply", function.apply)


def _record(function: type[Function], compute: Callable[..., Any]) -> Callable[..., Any]:
    setup_context = function.setup_context

    def forward(ctx: Any, *arguments: Any) -> Any:
        output = compute(*arguments)
        setup_context(ctx, arguments, output)
        return output

    return _recorder(function.__name__, forward, function.backward)


def _ahead(function: type[Function], compute: Callable[..., Any]) -> Callable[..., Any]:
    """A gradient of one is what ``loss.backward()`` sends, to each term of a sum too: the backward then hands over what
    the forward found while it had the logits at hand. Any other gradient, a second backward and one that is to be
    differentiated go the way of ``function``. A graph that is gone and logits that were written to since are errors
    either way, as they would be on a device where nothing is computed ahead.
    """
    setup_context = function.setup_context

    def forward(ctx: Any, *arguments: Any) -> Tensor:
        loss, *ctx.gradients = compute(*arguments)
        setup_context(ctx, arguments, loss)
        return loss

    def backward(ctx: Any, grad: Tensor) -> tuple:
        # Whoever gets them may write to them, so that of several backwards, in several threads even, one takes them.
        gradients = vars(ctx).pop("gradients", None)
        if gradients is None or not _is_one(grad):
            return function.backward(ctx, grad)
        _ = ctx.saved_tensors  # complains
        return *gradients, None, None, None  # None too many does no harm

    return _recorder(function.__name__, forward, backward)


def keeps(first: Tensor, second: Tensor) -> bool:
    """Whether ``ahead`` serves a loss of these: both want a gradient, few bytes are kept, and whether a number is one
    can be seen without waiting for a device."""
    return (
        first.requires_grad
        and second.requires_grad
        and first.is_cpu
        and first.numel() + second.numel() <= AHEAD
        and _grad_enabled()
    )


def _is_one(grad: Tensor) -> bool:
    """Whether a gradient is one, and a mere number: not recorded, transformed, compiled or traced."""
    if differentiable() or type(grad) is not Tensor or transforms_active() or is_compiling() or dispatch_modes():
        return False
    try:
        return grad.item() == 1
    except RuntimeError:  # one of many at a time, by is_grads_batched
        return False


def differentiable() -> bool:
    """Whether a backward is differentiated itself: a graph of it is recorded, or tangents pass through it."""
    return _grad_enabled() or dual_level()


def _apart(arguments: tuple[Any, ...]) -> list[Any]:
    """No tensor twice: the compiler takes no Function of x and x. Of the second place it gets a view."""
    seen: list[Any] = []
    for x in arguments:
        again = isinstance(x, Tensor) and any(x is y for y in seen)
        seen.append(x.view_as(x) if again else x)
    return seen


def apply(function: Any, *arguments: Any) -> Any:
    """``function.apply(*arguments)`` of a Function under :func:`over`, at the price of what is needed of it."""
    if is_compiling():
        # Where no graph is recorded, the compiler would take a forward of `*arguments` for one that wants a context.
        recorded = _grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in arguments)
        return function.apply(*_apart(arguments)) if recorded else function.forward(*arguments)
    if transforms_active() or dual_level():  # a tangent that reaches a kernel is an error there, and not lost
        return function.apply(*arguments)
    if _grad_enabled():
        return function.record(*arguments)
    return function.direct(*arguments)  # as in a plain backward pass
