"""What a benchmark case is: the inputs, our op, its rivals, and the bytes it cannot avoid moving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

FORWARD, BACKWARD, BOTH = "forward", "backward", "both"

# The columns of the table, in order; a group may hold several rivals, and its column shows the fastest.
POPULAR, EAGER, COMPILE = "popular", "best eager", "compile"
GROUPS = (POPULAR, EAGER, COMPILE)


class Suite(IntEnum):
    """How much to run; each suite holds those before it."""

    QUICK = 0
    DEFAULT = 1
    FULL = 2


@dataclass(frozen=True)
class Inputs:
    """One set of buffers. Every candidate is called with ``arguments``; the gradient is taken at ``leaves``.

    ``upstream`` is the gradient that arrives from above, None for a scalar output.
    """

    arguments: tuple[Any, ...]
    leaves: tuple[Tensor, ...] = ()
    upstream: Tensor | None = None


@dataclass(frozen=True)
class Rival:
    """Another way to compute the same.

    With ``compiled``, ``call`` is what ``torch.compile`` is given. ``in_graph`` is what a CUDA graph captures, where
    that is another call.
    """

    name: str
    group: str
    code: str
    call: Callable[..., Any]
    compiled: bool = False
    in_graph: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Traffic:
    """Bytes: ``moved`` is the least that one call reads and writes, ``footprint`` the distinct memory it touches."""

    moved: int
    footprint: int


@dataclass(frozen=True)
class Case:
    """One op at one size. ``phases`` says which phases are measured, and from which suite on.

    ``inputs(device, differentiable, seed)`` makes a fresh set of buffers, equal for equal seeds. ``traffic`` is None
    for what is bound by something else than memory. ``bounds`` says, phase by phase, what else than memory holds our
    time up; it is printed where a row stays behind a rival or behind the copy rate. ``in_graph`` is as a rival's, for
    ours; a case with ``graph=False`` cannot be captured, because it changes from call to call.
    """

    op: str
    variant: str
    size: str
    ours: Callable[..., Any]
    rivals: tuple[Rival, ...]
    inputs: Callable[[torch.device, bool, int], Inputs]
    phases: dict[str, Suite]
    traffic: dict[str, Traffic] | None = None
    dtype: torch.dtype = torch.float32
    bounds: dict[str, str] = field(default_factory=dict)
    in_graph: Callable[..., Any] | None = None
    graph: bool = True

    @property
    def dtype_name(self) -> str:
        """``float32`` and the like."""
        return str(self.dtype).removeprefix("torch.")

    def name(self, phase: str) -> str:
        """The row's identity, e.g. ``discriminator_loss/hinge/64x1x30x30/float32/both``."""
        return "/".join(part for part in (self.op, self.variant, self.size, self.dtype_name, phase) if part)


@dataclass(frozen=True)
class Row:
    """A case in one phase: one line of the table."""

    case: Case
    phase: str

    @property
    def name(self) -> str:
        """The case's name in this phase, unique among all rows."""
        return self.case.name(self.phase)


@dataclass(frozen=True)
class Floor:
    """A speed that must hold: on every row whose name matches ``rows``, our time times ``ratio`` stays at or below
    that of **each** rival in ``beats`` (a rival's name, or that of a group for its fastest)."""

    rows: str
    beats: dict[str, float] = field(default_factory=dict)


# What bounds a case of a few hundred numbers, ours as its rivals'.
CALL = "the call itself: operators' dispatch and, for a gradient, an autograd node in Python"


def call_bound(numbers: int) -> dict[str, str]:
    """The bounds of a case that is its call and little else; none where there are many numbers."""
    return dict.fromkeys((FORWARD, BACKWARD, BOTH), CALL) if numbers < 1 << 16 else {}


def size_of(shape: tuple[int, ...]) -> str:
    """``64x3x32x32``."""
    return "x".join(map(str, shape))


def generator(device: torch.device, seed: int) -> torch.Generator:
    """A seeded generator on ``device``."""
    return torch.Generator(device).manual_seed(seed)
