"""Calls replayed from a CUDA graph: their time without Python's, as in a captured training step.

Below some 30 MB an eager call on a card takes as long as Python needs to launch it, for us as for the rivals. A graph
of several calls, replayed, shows what the kernels take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ganops.bench.case import Inputs

# A replay costs the host a few microseconds; with so many calls in a graph it is not what is measured.
CALLS = 16
_BYTES = 1 << 28  # large calls need no company

Capture = Callable[[Callable[[], None]], Callable[[], None]]


def capture(run: Callable[[], None]) -> Callable[[], None]:
    """``run`` as a CUDA graph; returns what replays it."""
    # Not torch.cuda.graph, which may collect garbage and empties the allocator's cache for each capture.
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for _ in range(3):  # what is set up at a first call is set up before the capture
            run()
        torch.cuda.synchronize()
        graph.capture_begin()
        try:
            run()
        finally:
            graph.capture_end()
    torch.cuda.synchronize()
    return graph.replay


def calls_of(footprint: int, sets: int) -> int:
    """How many calls a graph holds: each set of buffers equally often."""
    wanted = max(1, min(CALLS, _BYTES // max(footprint, 1)))
    return sets * max(1, wanted // sets)


def replayed(
    step: Callable[[Inputs], Any], sets: list[Inputs], footprint: int, capture: Capture
) -> tuple[Callable[[], None], int]:
    """What replays a graph of several steps over the sets in turn, and how many steps that are."""
    calls = calls_of(footprint, len(sets))

    def run() -> None:
        for place in range(calls):
            step(sets[place % len(sets)])

    return capture(run), calls
