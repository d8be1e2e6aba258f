"""Functions of tensors as CUDA graphs. They have been tested without a GPU only, with stand-ins for torch's graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Captured"]


class Captured:
    """A function of tensors that is captured in a CUDA graph and replayed.

    The first call runs the function, as libraries allocate what they need then; the second call captures it. A call
    with tensors of other shapes than the captured ones, such as a smaller last batch, runs the function.

    Args:
        function: from tensors, None and tuples of these to any structure of tensors. It must not read numbers on the
            host, and must do its work in the order of the current stream.

    The results of a replayed call are overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._warm = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Any, ...] = ()
        self._outputs: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """The function's result."""
        if not self._warm:
            self._warm = True
            return self._on_a_side_stream(*arguments)
        if self._graph is None:
            self._inputs = _cloned(arguments)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._outputs = self._function(*self._inputs)
            self._graph = graph
        inputs, given = _flat(self._inputs), _flat(arguments)
        if [x.shape for x in inputs] != [x.shape for x in given]:
            return self._function(*arguments)
        for mine, theirs in zip(inputs, given, strict=True):
            mine.copy_(theirs)
        self._graph.replay()
        return self._outputs

    def _on_a_side_stream(self, *arguments: Any) -> Any:
        """The result of the function, which a later capture must not meet on the default stream for the first time."""
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            result = self._function(*arguments)
        current.wait_stream(stream)
        return result


def _flat(values: Any) -> list[Tensor]:
    """The tensors among nested tuples."""
    if isinstance(values, Tensor):
        return [values]
    return [] if values is None else [tensor for value in values for tensor in _flat(value)]


def _cloned(values: Any) -> Any:
    """Nested tuples with copies of the tensors; named tuples stay such."""
    if values is None or isinstance(values, Tensor):
        return values if values is None else values.clone()
    copies = [_cloned(value) for value in values]
    return type(values)(*copies) if hasattr(values, "_fields") else tuple(copies)
