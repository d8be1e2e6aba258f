"""Calls a critic for a penalty, with settings under which its derivatives exist, and checks its output."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel

from ganops._common.gradient_penalty import check_select
from ganops._transforms import compiler_imported

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_RANDOM = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.RReLU,
)
#: The uses (inside, twice) for which the modules of a critic have been inspected. Keys are `Critic._identity`.
_inspected: weakref.WeakKeyDictionary[Any, set[tuple[bool, bool]]] = weakref.WeakKeyDictionary()
_warned: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_PACKAGE = os.path.dirname(os.path.dirname(__file__))


class Critic:
    """A user's critic as a function from points (N, …) to scores.

    Args:
        function: The name of the public function, for error messages.
        critic: The user's callable.
        select: Chooses the scores from what ``critic`` returns; None if it returns them.
    """

    def __init__(
        self, function: str, critic: Callable[[Tensor], Any], select: Callable[[Any], Tensor] | None = None
    ) -> None:
        if not callable(critic):
            raise TypeError(
                f"{function}: critic must be callable, from samples to scores, got {type(critic).__name__}; "
                f"it is the first argument: {function}(critic, …)"
            )
        check_select(function, select)
        self.function, self.critic, self.select = function, critic, select

    def __call__(self, points: Tensor, *, inside: bool, twice: bool = False) -> Tensor:
        """The scores at ``points``.

        Args:
            points: (N, …).
            inside: Whether the penalty differentiates the scores itself. Otherwise it compares them with those of
                another call.
            twice: Whether the derivative will be differentiated again. Attention then uses operations that have second
                derivatives, and compiled functions run eagerly.
        """
        math = sdpa_kernel(SDPBackend.MATH) if twice else contextlib.nullcontext()
        if torch.compiler.is_compiling():  # compiled critics are traced through, and hooks do not work
            with math:
                return self._scores(points)
        inspected = _inspected.setdefault(self._identity(), set())
        with math:
            if (inside, twice) in inspected:
                return _eagerly(self._scores, points) if twice else self._scores(points)
            with _called_modules() as modules:
                scores = _eagerly(self._scores, points)
        self._inspect(modules, inside, twice)
        inspected.add((inside, twice))
        return scores

    def _scores(self, points: Tensor) -> Tensor:
        output = self.critic(points)
        scores = output if self.select is None else self.select(output)
        if not isinstance(scores, Tensor) or not scores.is_floating_point():
            of = "critic" if self.select is None else "select"
            raise TypeError(f"{self.function}: {of} must return one floating-point tensor, got {_described(scores)}")
        if scores.numel() == 1 < len(points):
            raise ValueError(
                f"{self.function}: critic must return at least one score per sample, got one number for {len(points)} "
                "samples; the gradient of a mean would be too small by that factor"
            )
        return scores

    def _identity(self) -> Any:
        """A key that is the same in every step: the module, or the code of a function, which may be recreated."""
        if isinstance(self.critic, nn.Module):
            return self.critic
        return getattr(self.critic, "__code__", type(self.critic))

    def _inspect(self, modules: list[nn.Module], inside: bool, twice: bool) -> None:
        """Raises ValueError for modules that make the penalty wrong, and warns of modules that make it unreliable."""
        for module in modules:
            if inside and isinstance(module, DistributedDataParallel) and module.static_graph:
                raise ValueError(
                    f"{self.function}: the critic is a DistributedDataParallel with static_graph=True, whose gradients "
                    "are wrong after a derivative inside a step; use static_graph=False"
                )
            if twice and _is_sharded(module):
                raise ValueError(
                    f"{self.function}: the critic is sharded by fully_shard, which frees the weights that the second "
                    "derivative needs; use finite_difference=0.01 or ganops.approximate_r1_penalty"
                )
        batch_norms = [module for module in modules if module.training and isinstance(module, _BATCH_NORMS)]
        if _news(batch_norms):
            _warn(
                f"{self.function}: the critic has batch normalization in training mode, so that a score depends on the "
                "whole batch and its gradient is not one per sample; use GroupNorm, InstanceNorm or LayerNorm"
            )
        moving = [] if inside else [module for module in modules if module.training and _differs_by_call(module)]
        if _news(moving):
            _warn(
                f"{self.function}: the critic has dropout or torch.nn.utils.spectral_norm in training mode, so that it "
                "changes between two calls and their difference is not that of the points; use the exact penalty, "
                "critic.eval(), or torch.nn.utils.parametrizations.spectral_norm"
            )


def _differs_by_call(module: nn.Module) -> bool:
    """Dropout, or torch.nn.utils.spectral_norm, which keeps ``weight_orig`` and ``weight_u`` in a module."""
    names = [name.removesuffix("_orig") for name, _ in module.named_parameters(recurse=False) if name.endswith("_orig")]
    return isinstance(module, _RANDOM) or any(hasattr(module, f"{name}_u") for name in names)


def _news(modules: Sequence[nn.Module]) -> bool:
    """Whether there are modules without an earlier warning; marks all of them as warned."""
    new = any(module not in _warned for module in modules)
    for module in modules:
        _warned.add(module)
    return new


def _described(output: Any) -> str:
    """Describes a critic's output for an error message, and how to select the scores from it."""
    if isinstance(output, Tensor):
        return str(output.dtype)
    name = type(output).__name__
    if isinstance(output, dict):
        keys = list(output)
        key = repr(keys[0]) if keys else "'scores'"
        return f"{name} with the keys {keys}; choose with select=, e.g. select=lambda output: output[{key}]"
    if isinstance(output, (tuple, list)):
        return f"{name} of length {len(output)}; choose with select=, e.g. select=lambda output: output[-1]"
    return f"{name}; choose the scores with select=, a function of the output"


@contextlib.contextmanager
def _called_modules() -> Iterator[list[nn.Module]]:
    """Collects the modules that are called in the block, also through a lambda, a method or another object."""
    called: list[nn.Module] = []
    handle = register_module_forward_pre_hook(lambda module, _: called.append(module))
    try:
        with warnings.catch_warnings():  # a compiled module may call the hook twice, which is harmless
            warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks")
            yield called
    finally:
        handle.remove()


def _is_sharded(module: nn.Module) -> bool:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(module, FSDPModule)


def _eagerly(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """``function(points)`` with compiled functions run eagerly, because they have no second derivatives."""
    if not compiler_imported():
        return function(points)
    return _eager_call()(function, points)


@functools.cache
def _eager_call() -> Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]:
    @torch.compiler.disable  # the stance cannot be set in a compiled function, here after a graph break
    def call(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        with torch.compiler.set_stance("force_eager"):
            return function(points)

    return call


def _warn(message: str) -> None:
    """Warns with the location of the calling line outside this package."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
