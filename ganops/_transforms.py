"""What torch does not tell publicly: transforms around a call, forward-mode derivatives, the compiler, base classes.

The one module that reads private attributes of torch. Where one is missing, the answer is the one that leaves a call to
torch's public ways.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import Parameter
from torch.optim import optimizer

__all__ = [
    "BATCH_NORM",
    "OPERATOR_TYPES",
    "PLAIN_TYPES",
    "batching_gradients",
    "check_capture",
    "compiler_imported",
    "dual_level",
    "from_compiled",
    "is_compiling",
    "transforms_active",
    "vectorizing",
    "with_own_grad_mode",
]


def _always() -> bool:
    return True


#: Whether a transform of ``torch.func`` is at work.
transforms_active = getattr(torch._C, "_are_functorch_transforms_active", _always)

#: Whether ``torch.compile`` is tracing this code.
is_compiling = getattr(torch.compiler, "is_dynamo_compiling", torch.compiler.is_compiling)


def dual_level() -> bool:
    """Whether forward-mode derivatives are being taken."""
    return getattr(forward_ad, "_current_level", -1) >= 0


def _batching_gradients() -> Callable[[], bool]:
    included = getattr(torch._C, "_dispatch_tls_is_dispatch_key_included", None)
    key = getattr(torch._C, "_dispatch_key_parse", None)
    return (lambda: False) if included is None or key is None else functools.partial(included, key("VmapMode"))


#: Whether gradients are being taken many at a time (``is_grads_batched``), which torch does by an older vmap.
batching_gradients = _batching_gradients()


def vectorizing() -> bool:
    """Whether ``torch.vmap`` is at work. Kernels know nothing of its batch: they would run once for each member.

    False while ``torch.compile`` traces, which cannot trace the question.
    """
    if is_compiling():
        return False
    if batching_gradients():
        return True
    functorch = getattr(torch._C, "_functorch", None)
    levels = functorch.get_interpreter_stack() if functorch is not None else None
    return any(level.key() == functorch.TransformType.Vmap for level in levels or ())


def compiler_imported() -> bool:
    """Whether torch's compiler has been imported, which takes a second. Otherwise nothing has been compiled."""
    return "torch._dynamo" in sys.modules


def from_compiled(value: Tensor) -> bool:
    """Whether a tensor was returned by a function that ``torch.compile`` has compiled, with its graph."""
    return value.grad_fn is not None and value.grad_fn.name() == "CompiledFunctionBackward"


def _tracing_types() -> frozenset[type]:
    """The tensors of torch's own tracers, which stand for plain ones."""
    found: set[Any] = set()
    for module, name in (("fake_tensor", "FakeTensor"), ("functional_tensor", "FunctionalTensor")):
        found.add(getattr(getattr(getattr(torch, "_subclasses", None), module, None), name, None))
    return frozenset(found - {None})


#: The types of tensor that are their elements in memory.
PLAIN_TYPES: frozenset[type] = frozenset({Tensor, Parameter})

#: The types of tensor that operators take: plain ones, and those that stand for them while torch traces. Any other
#: subclass (DTensor, MaskedTensor, a nested tensor) means something else by its elements.
OPERATOR_TYPES = PLAIN_TYPES | _tracing_types()

_PUBLIC_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_PUBLIC_NORMS += (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)

#: The base class of batch and instance normalisation, or the public classes below it.
BATCH_NORM = getattr(nn.modules.batchnorm, "_NormBase", _PUBLIC_NORMS)


def _with_own_grad_mode(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **named)

    return call


#: Decorates an optimiser's step: gradients are recorded in it only if it is ``differentiable``.
with_own_grad_mode = getattr(optimizer, "_use_grad_for_differentiable", _with_own_grad_mode)


def _capture_check() -> Callable[[Any], None]:
    names = ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check")  # now, and in torch 2.10
    found = [getattr(torch.optim.Optimizer, name) for name in names if hasattr(torch.optim.Optimizer, name)]
    return found[0] if found else lambda _: None


#: Complains of an optimiser whose step cannot be captured in a CUDA graph while one is being captured.
check_capture = _capture_check()
