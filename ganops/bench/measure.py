"""How a row is measured.

- **Interleaved rounds.** In each round every candidate runs one block of calls, the first place moving on from round
  to round, so that a machine that slows down slows all of them. Figures are medians over rounds.
- **The cache level of the row's size.** A footprint up to half the last-level cache is used again and again, as logits
  are that a network has just written. Beyond that, calls rotate among so many sets of buffers that twice the cache
  passes before a buffer is met again.
- **The copy** of the same footprint, in the same rounds with the same rotation, gives the machine's rate for the row.
- **The empty node**, for rows that the call bounds: an autograd Function that computes nothing, in the same rounds.
- **Backward alone** runs over graphs built outside the clock, each used once.
- **Graphs.** On a card, forward and forward + backward are also replayed from CUDA graphs, ours, the rivals' and the
  copy's in the same rounds (``graph``).
- **Verdicts.** A row is faster or slower than a rival only where its lead is larger than the spread of the ratio, half
  its interquartile range over the rounds.
- Candidates are first compared in value and gradient: a fast wrong answer is no result.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganops.bench.case import BACKWARD, BOTH, CALL, FORWARD, GROUPS, Case, Inputs, Row
from ganops.bench.graph import Capture, replayed

OURS, COPY, NODE = "ganops", "copy", "node"
IN_GRAPH = " in a graph"
FASTER, SLOWER, UNDECIDED = "faster", "slower", "undecided"

# Graphs that await their backward hold memory; this bounds how many do at a time.
_PENDING_BYTES = 1 << 30


class Disagreement(Exception):
    """A candidate's value or gradient differs from ours."""


@dataclass(frozen=True)
class Settings:
    """``seconds`` per row are shared by its candidates; a block of calls takes about ``block`` seconds. ``capture``
    makes a graph of calls, None where there are none."""

    device: torch.device
    cache: int
    seconds: float = 0.8
    block: float = 2e-3
    minimum_rounds: int = 9
    compile: bool = True
    capture: Capture | None = None


@dataclass
class Candidate:
    """Something to time: ``prepare(count)`` makes that many items outside the clock, ``step`` takes one inside it, and
    counts for ``per_step`` calls."""

    name: str
    group: str
    code: str
    prepare: Callable[[int], list[Any]]
    step: Callable[[Any], Any]
    most: int = 10_000
    calls: int = 1
    per_step: int = 1


# Clocks


def _time_cpu(step: Callable[[Any], Any], items: list[Any]) -> float:
    start = time.perf_counter_ns()
    for item in items:
        step(item)
    return (time.perf_counter_ns() - start) * 1e-9


def _time_cuda(step: Callable[[Any], Any], items: list[Any]) -> float:
    # Between two events on the stream: kernels, and the gaps in which it waits for Python to launch the next one.
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for item in items:
        step(item)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3


def _time_block(candidate: Candidate, device: torch.device) -> float:
    """Seconds per call of one block, after one call that is not counted."""
    first, *items = candidate.prepare(candidate.calls + 1)
    clock = _time_cuda if device.type == "cuda" else _time_cpu
    candidate.step(first)
    return clock(candidate.step, items) / (candidate.calls * candidate.per_step)


# Candidates


class _Rotation:
    """Hands out buffer sets in turn, going on where it stopped."""

    def __init__(self, sets: list[Any]) -> None:
        self.sets, self.next = sets, 0

    def __call__(self, count: int) -> list[Any]:
        start, self.next = self.next, (self.next + count) % len(self.sets)
        return [self.sets[(start + place) % len(self.sets)] for place in range(count)]


def _backward(output: Tensor, inputs: Inputs) -> None:
    """What training loops write. Into empty ``.grad``, so that each candidate has to hand over a gradient in full:
    autograd.grad would take an expanded scalar, and leave its cost to the layer below."""
    for leaf in inputs.leaves:
        leaf.grad = None
    output.backward(inputs.upstream)


def _step(call: Callable[..., Any], phase: str) -> Callable[[Inputs], Any]:
    if phase == FORWARD:
        return lambda inputs: call(*inputs.arguments)
    return lambda inputs: _backward(call(*inputs.arguments), inputs)


def _candidate(
    name: str, group: str, code: str, call: Callable[..., Any], phase: str, rotation: _Rotation, footprint: int
) -> Candidate:
    if phase != BACKWARD:
        return Candidate(name, group, code, rotation, _step(call, phase))

    def graphs(count: int) -> list[tuple[Tensor, Inputs]]:
        return [(call(*inputs.arguments), inputs) for inputs in rotation(count)]

    most = max(1, min(2_000, _PENDING_BYTES // max(footprint, 1)))
    return Candidate(name, group, code, graphs, lambda graph: _backward(*graph), most)


def _compiled(call: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(call, dynamic=False, fullgraph=True)


def set_count(footprint: int, cache: int) -> int:
    """How many sets of buffers a row of this footprint rotates among."""
    return 1 if footprint <= cache // 2 else max(1, -(-2 * cache // footprint))


def _copy_candidate(footprint: int, sets: int, device: torch.device) -> Candidate:
    count = max(1, footprint // 2 // 4)
    pairs = [tuple(torch.zeros(count, device=device) for _ in range(2)) for _ in range(sets)]
    return Candidate(COPY, COPY, "copy_", _Rotation(pairs), lambda pair: pair[0].copy_(pair[1]))


class _Nothing(torch.autograd.Function):
    """What any autograd Function in Python costs at least: result and gradients are allocated, nothing is computed."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor | None, *leaves: Tensor) -> Tensor:
        ctx.leaves = leaves
        return leaves[0].new_empty(()) if upstream is None else torch.empty_like(upstream)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        return None, *map(torch.empty_like, ctx.leaves)


def _node_candidate(rotation: _Rotation) -> Candidate:
    code = "an autograd Function that computes nothing"
    return Candidate(
        NODE, NODE, code, rotation, lambda inputs: _backward(_Nothing.apply(inputs.upstream, *inputs.leaves), inputs)
    )


def _in_graphs(
    case: Case, phase: str, candidates: list[Candidate], sets: list[Inputs], settings: Settings, notes: list[str]
) -> list[Candidate]:
    """The candidates captured; one that cannot be is noted."""
    footprint = case.traffic[phase].footprint if case.traffic else 0
    in_graph = {OURS: case.in_graph, **{rival.name: rival.in_graph for rival in case.rivals}}
    found = []
    for candidate in candidates:
        step, buffers = candidate.step, sets
        if candidate.name == COPY:
            buffers = candidate.prepare.sets
        elif in_graph.get(candidate.name) is not None:
            step = _step(in_graph[candidate.name], phase)
        try:
            replay, count = replayed(step, buffers, footprint, settings.capture)
        except Exception as error:  # whatever a capture raises: the row goes on without it, and says so
            notes.append(f"{candidate.name}{IN_GRAPH}: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
            continue
        found.append(
            Candidate(
                candidate.name + IN_GRAPH,
                candidate.group + IN_GRAPH,
                candidate.code,
                lambda count: [None] * count,
                lambda _, replay=replay: replay(),
                per_step=count,
            )
        )
    return found


# Agreement


def _outcome(call: Callable[..., Any], case: Case, phase: str, device: torch.device) -> list[Tensor]:
    """Value, and gradients where the phase has them, on fresh buffers: an op may work in place."""
    inputs = case.inputs(device, phase != FORWARD, 0)
    output = call(*inputs.arguments)
    if output is None:
        return [tensor.detach() for tensor in inputs.arguments[0]]
    if phase == FORWARD:
        return [output]
    _backward(output, inputs)
    # A leaf that the output does not depend on (the bias of a critic's last layer) gets None from some, 0 from others.
    return [output.detach(), *(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in inputs.leaves)]


def disagreement(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference, each tensor's relative to its own largest entry; infinite where shapes or NaN differ."""
    if [tensor.shape for tensor in ours] != [tensor.shape for tensor in theirs]:
        return float("inf")
    worst = 0.0
    for left, right in zip(ours, theirs, strict=True):
        if left.numel() == 0:
            continue
        difference = (left.to(torch.float32) - right.to(torch.float32)).abs().max().item()
        scale = max(right.abs().max().item(), torch.finfo(torch.float32).tiny)
        relative = difference / scale
        worst = max(worst, relative if relative == relative else float("inf"))
    return worst


def check_agreement(case: Case, phase: str, calls: dict[str, Callable[..., Any]], device: torch.device) -> None:
    """Raises Disagreement unless every call gives what ours gives."""
    allowed = 2e-2 if case.dtype.itemsize == 2 else 2e-4
    ours = _outcome(case.ours, case, phase, device)
    for name, call in calls.items():
        found = disagreement(ours, _outcome(call, case, phase, device))
        if not found <= allowed:
            raise Disagreement(f"{case.name(phase)}: ours and {name!r} differ by {found:.1e}, allowed {allowed:.0e}")


# A row


def _quartiles(seconds: list[float]) -> tuple[float, float, float]:
    if len(seconds) == 1:
        return seconds[0], seconds[0], seconds[0]
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return low, middle, high


def _rounds(candidates: list[Candidate], settings: Settings) -> dict[str, list[float]]:
    for candidate in candidates:
        # The first block may hold one-off costs; the second says how many calls fill a block.
        _time_block(candidate, settings.device)
        for _ in range(2):
            seconds = _time_block(candidate, settings.device)
            candidate.calls = max(1, min(candidate.most, round(settings.block / max(seconds, 1e-9))))
    times: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
    start, done = time.perf_counter(), 0
    while done < settings.minimum_rounds or time.perf_counter() - start < settings.seconds:
        first = done % len(candidates)
        for candidate in candidates[first:] + candidates[:first]:
            times[candidate.name].append(_time_block(candidate, settings.device))
        done += 1
    return times


def measure(row: Row, settings: Settings) -> dict[str, Any]:
    """Times one row; returns its record (see ``benchmarks/README.md`` for the fields)."""
    case, phase = row.case, row.phase
    torch._dynamo.reset()  # compiled code is kept per function, and these functions serve many rows

    calls = {rival.name: rival.call for rival in case.rivals if not rival.compiled}
    notes: list[str] = []
    for rival in case.rivals:
        if rival.compiled and settings.compile:
            compiled = _compiled(rival.call)
            try:
                _outcome(compiled, case, phase, settings.device)
            except Exception as error:  # whatever the compiler raises: the row goes on without it, and says so
                notes.append(f"{rival.name}: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
            else:
                calls[rival.name] = compiled
    check_agreement(case, phase, calls, settings.device)

    traffic = case.traffic[phase] if case.traffic else None
    footprint = traffic.footprint if traffic else 0
    sets = set_count(footprint, settings.cache)
    rotation = _Rotation([case.inputs(settings.device, phase != FORWARD, seed) for seed in range(sets)])
    candidates = [_candidate(OURS, OURS, "", case.ours, phase, rotation, footprint)]
    candidates += [
        _candidate(rival.name, rival.group, rival.code, calls[rival.name], phase, rotation, footprint)
        for rival in case.rivals
        if rival.name in calls
    ]
    if traffic:
        candidates.append(_copy_candidate(footprint, sets, settings.device))
    if settings.capture and case.graph and phase != BACKWARD:
        candidates += _in_graphs(case, phase, candidates, rotation.sets, settings, notes)
    if phase == BOTH and case.bounds.get(phase) == CALL and rotation.sets[0].leaves:
        candidates.append(_node_candidate(rotation))

    gc.collect()
    gc.disable()
    try:
        times = _rounds(candidates, settings)
    finally:
        gc.enable()
    return _record(row, candidates, times, sets, notes)


def _record(
    row: Row, candidates: list[Candidate], times: dict[str, list[float]], sets: int, notes: list[str]
) -> dict[str, Any]:
    case, traffic = row.case, row.case.traffic[row.phase] if row.case.traffic else None

    def timing(name: str) -> dict[str, float]:
        low, middle, high = _quartiles(times[name])
        return {"us": middle * 1e6, "us_q1": low * 1e6, "us_q3": high * 1e6}

    def compared(suffix: str) -> dict[str, Any]:
        """Our time, the rivals', and the bytes: of eager calls, or of those in a graph."""
        ours, rivals = timing(OURS + suffix), {}
        for candidate in candidates:
            if candidate.group not in {group + suffix for group in GROUPS}:
                continue
            figures = timing(candidate.name)
            pairs = zip(times[candidate.name], times[OURS + suffix], strict=True)
            low, _, high = _quartiles([theirs / mine for theirs, mine in pairs])
            rivals[candidate.name.removesuffix(suffix)] = {
                "group": candidate.group.removesuffix(suffix),
                "code": candidate.code,
                **figures,
                "ratio": figures["us"] / ours["us"],
                "ratio_q1": low,
                "ratio_q3": high,
            }
        found = {"ours": ours, "rivals": rivals}
        found["loses_to"] = [name for name, rival in rivals.items() if verdict(rival) == SLOWER]
        if traffic and COPY + suffix in times:
            copied = 2 * max(1, traffic.footprint // 2 // 4) * 4
            rate = traffic.moved / ours["us"] * 1e-3
            copy_rate = copied / (statistics.median(times[COPY + suffix]) * 1e6) * 1e-3
            found |= {"gb_per_s": rate, "copy_gb_per_s": copy_rate, "copy_fraction": rate / copy_rate}
        return found

    record: dict[str, Any] = {
        "name": row.name,
        "op": case.op,
        "variant": case.variant,
        "size": case.size,
        "dtype": case.dtype_name,
        "phase": row.phase,
        "input_sets": sets,
        "rounds": len(times[OURS]),
        "calls_per_block": {candidate.name: candidate.calls * candidate.per_step for candidate in candidates},
        **compared(""),
        "notes": notes,
    }
    if traffic:
        record |= {"bytes_moved": traffic.moved, "bytes_footprint": traffic.footprint}
    if OURS + IN_GRAPH in times:
        record["graph"] = compared(IN_GRAPH)
    if NODE in times:
        record["node_us"] = timing(NODE)["us"]
        record["node_fraction"] = record["node_us"] / record["ours"]["us"]
    if stays_behind(record) and row.phase in case.bounds:
        record["bound"] = case.bounds[row.phase]
    return record


def stays_behind(record: dict[str, Any]) -> bool:
    """Whether a rival is faster, or, where bytes count (16 MiB and more), four fifths of the copy rate are missed."""
    large = record.get("bytes_footprint", 0) >= 16 << 20
    return bool(record["loses_to"]) or (large and record["copy_fraction"] < 0.8)


def fastest(record: dict[str, Any], rival: str) -> dict[str, Any] | None:
    """The figures of a rival named, or of the fastest of a group; None where it was not measured."""
    found = [figures for name, figures in record["rivals"].items() if rival in (name, figures["group"])]
    return min(found, key=lambda figures: figures["ratio"], default=None)


def ratio(record: dict[str, Any], rival: str) -> float | None:
    """Our speed-up over it."""
    figures = fastest(record, rival)
    return None if figures is None else figures["ratio"]


def spread(figures: dict[str, Any]) -> float:
    """Of a rival's ratio over the rounds: half its interquartile range."""
    return (figures["ratio_q3"] - figures["ratio_q1"]) / 2


def verdict(figures: dict[str, Any]) -> str:
    """Whether ours is faster or slower than a rival, as far as the spread lets one say: decided on the figure shown."""
    lead = round(figures["ratio"], 2) - 1
    if abs(lead) <= spread(figures):
        return UNDECIDED
    return FASTER if lead > 0 else SLOWER
