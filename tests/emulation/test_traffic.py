"""Launches and bytes of every op, counted, beside the least possible and beside the usual formula in eager PyTorch.

Ours are counted by the emulator: device operations (kernels, memsets, copies) and the bytes that they load and store.
The formula's are counted where PyTorch dispatches: every operator that computes is one kernel (what a GPU runs for it
is one or more), which reads its tensor arguments and writes its results once, a number that was expanded as one number;
views and allocations are free. Around our kernels the same counter looks for operators that ours might need.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if os.environ.get("GANOPS_BACKEND") != "emulated":
    pytest.skip("for GANOPS_BACKEND=emulated", allow_module_level=True)

import tables
from emulation.plugin import the_emulator
from ganops.bench import cases
from ganops.bench.case import BACKWARD, BOTH, FORWARD, POPULAR, Case, Suite

# The cases of the benchmarks that are counted, and the launches that each pass may take.
COUNTED = {
    "discriminator_loss/*/64x1x128x128/float32": (1, 1, 1),
    "discriminator_loss/hinge/64x1/float32": (1, 1, 1),
    "generator_loss/*/64x1x128x128/float32": (1, 1, 1),
    "interpolate/64x3x32x32/float32": (1, 1, 0),
    "interpolate/64x3x128x128/float32": (1, 1, 0),
    "gradient_norm_penalty/64x3x32x32/float32": (1, 1, 2),
    "gradient_norm_penalty/64x3x128x128/float32": (1, 1, 2),
    "diff_augment/color translation cutout/64x3x64x64/float32": (2, 2, 2),
    "diff_augment/translation cutout/64x3x64x64/float32": (1, 1, 1),
    "minibatch_discrimination/pairs/64x32x8/float32": (1, 1, 1),
    "minibatch_stddev/64x512x4x4/float32": (2, 1, 2),
    "minibatch_stddev/16x64x32x32/float32": (2, 2, 3),
    "feature_matching_loss/small/*": (1, 1, 0),
    "filtered_snake/ratio 2/2x32x8192/float32": (4, 5, 13),  # one is ours; others are of numbers of channels
    "clip_weights_/small tensors/*": (1, 0, 0),
    "clip_weights_/residual critic/*": (1, 0, 0),
    "optimizers.*/small tensors/*": (1, 0, 0),
}
# Kinds that share a kernel with one that is counted.
SAME = ("minimax", "kl", "mle")
PASSES = (FORWARD, BACKWARD, "double backward")


@dataclass
class Count:
    launches: int = 0
    moved: int = 0


def storage_bytes(tensor: Tensor) -> int:
    """What a tensor occupies; a dimension of stride 0 lies in memory once."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride != 0 else min(size, 1)
    return count * tensor.element_size()


class Operators(TorchDispatchMode):
    """Counts the operators that compute."""

    FREE = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "detach")

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        result = function(*arguments, **(named or {}))
        schema = function._schema
        name = schema.name.partition("::")[2]
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
        read = [x for x in tree_leaves((arguments, named)) if isinstance(x, Tensor)]
        # Optimisers count their steps on the host.
        counting = name == "_local_scalar_dense" or (name == "add_" and read[0].dim() == 0)
        if schema.name.startswith(("ganops::", "profiler::")) or view or name in self.FREE or counting:
            return result
        self.count.launches += 1
        written = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        if not written:  # in place on a list
            written = read
        self.count.moved += sum(map(storage_bytes, read)) + sum(map(storage_bytes, written))
        return result


def passes(function: Callable[..., Any], case: Case, twice: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(pass, what runs it) in their order; a pass is run before the next one is asked for."""
    inputs = case.inputs(torch.device("cpu"), True, 0)
    with torch.random.fork_rng():
        kept: dict[str, Any] = {}

        def forward() -> None:
            kept["value"] = function(*inputs.arguments)

        yield FORWARD, forward
        if not inputs.leaves:
            return
        value = kept["value"]
        above = torch.ones_like(value) if inputs.upstream is None else inputs.upstream.detach()
        above = above.clone().requires_grad_()

        def backward() -> None:
            kept["first"] = torch.autograd.grad(value, inputs.leaves, above, create_graph=twice)

        yield BACKWARD, backward
        if not twice:
            return
        tangents = [torch.randn_like(leaf) for leaf in inputs.leaves]
        pairs = [(g, t) for g, t in zip(kept["first"], tangents, strict=True) if g.requires_grad]

        def double_backward() -> None:
            outputs, given = zip(*pairs, strict=True)
            torch.autograd.grad(outputs, (*inputs.leaves, above), given, allow_unused=True)

        yield PASSES[2], double_backward


def ours(emulator: ModuleType, case: Case, twice: bool) -> dict[str, Count]:
    found = {}
    for name, run in passes(case.ours, case, twice):
        emulator.reset()
        with Operators() as operators:
            run()
        launches = emulator.launches()
        emulator.raise_faults()
        moved = sum(launch["read_bytes"] + launch["written_bytes"] for launch in launches)
        found[name] = Count(operators.count.launches + len(launches), operators.count.moved + moved)
    return found


def formula(case: Case, twice: bool) -> dict[str, Count]:
    (rival,) = (rival for rival in case.rivals if rival.group == POPULAR)
    found = {}
    for name, run in passes(rival.call, case, twice):
        with Operators() as operators:
            run()
        found[name] = operators.count
    return found


def least(case: Case, which: str) -> int:
    """Bytes: each input read once, each output written once."""
    if which in case.traffic:
        return case.traffic[which].moved
    if case.op == "diff_augment":  # linear: its double backward is its forward
        return case.traffic[FORWARD].moved
    if case.op == "minibatch_stddev":  # x and its tangent; of the gradient one channel is read and all are written
        return 2 * case.traffic[FORWARD].moved
    if case.op == "filtered_snake":  # x, its tangent and the gradient; the derivatives by the latter and by x
        return case.traffic[BOTH].moved
    # Double backward: reads the inputs and their tangents, writes the inputs' gradients.
    return 3 * sum(leaf.numel() * leaf.element_size() for leaf in case.inputs(torch.device("cpu"), True, 0).leaves)


def bearable(case: Case, which: str) -> int:
    """The least, and what must be read twice where a sum over a sample comes before the first element that is written:
    a penalty's ⟨t, g⟩ in its double backward, an image's mean."""
    lowest = least(case, which)
    if case.op == "gradient_norm_penalty" and which == PASSES[2]:
        return lowest * 5 // 3
    if case.op == "diff_augment" and "color" in case.variant:
        written = case.traffic[BACKWARD].footprint // 2
        return lowest + case.traffic[BACKWARD].moved - written
    return lowest


def has_constant_slope(case: Case) -> bool:
    """No logits are read for the gradient, and its derivative with respect to them is 0: not a pass to count."""
    return case.op.endswith("_loss") and case.traffic[BACKWARD].moved == case.traffic[FORWARD].moved


def counted() -> list[tuple[Case, tuple[int, int, int]]]:
    every = {row.case.name("").rstrip("/"): row.case for row in cases.rows(cases.stems(), Suite.FULL)}
    return [
        (case, targets)
        for pattern, targets in COUNTED.items()
        for name, case in every.items()
        if fnmatchcase(name, pattern) and case.variant not in SAME
    ]


@pytest.fixture(scope="module")
def counts() -> list[tuple[Case, str, int, Count, Count]]:
    """(case, pass, launches allowed, ours, the formula's)."""
    assert the_emulator is not None
    the_emulator.set_multiprocessors(132)
    found = []
    for case, targets in counted():
        twice = targets[2] > 0
        fused, eager = ours(the_emulator, case, twice), formula(case, twice)
        found += [
            (case, name, allowed, fused[name], eager[name])
            for name, allowed in zip(PASSES, targets, strict=True)
            if name in fused and allowed > 0 and not (name == PASSES[2] and has_constant_slope(case))
        ]
    the_emulator.set_multiprocessors(8)
    return found


def test_launches(counts: list[tuple[Case, str, int, Count, Count]]) -> None:
    for case, name, allowed, fused, _ in counts:
        assert fused.launches <= allowed, f"{case.name(name)}: {fused.launches} launches"


def test_bytes(counts: list[tuple[Case, str, int, Count, Count]]) -> None:
    """Within 5 % of the least where bytes are the cost."""
    for case, name, _, fused, _ in counts:
        wanted = bearable(case, name)
        assert fused.moved >= least(case, name), f"{case.name(name)}: less than possible was counted"
        if wanted >= 1 << 20:
            assert fused.moved <= 1.05 * wanted, f"{case.name(name)}: {fused.moved} bytes"


def test_table(counts: list[tuple[Case, str, int, Count, Count]]) -> None:
    rows = []
    for case, name, _, fused, eager in counts:
        lowest = least(case, name)
        what = " ".join(part for part in (case.op, case.variant, case.size) if part)
        counts_of = [(count.launches, f"{count.moved / lowest:.2f}") for count in (fused, eager)]
        rows.append([f"{what}, {name}", f"{lowest / 1e6:.4g}", *counts_of[0], *counts_of[1]])
    torch_version = ".".join(torch.__version__.split(".")[:2])
    head = ["op, pass", "least MB", "kernels", "bytes / least", "formula's kernels", f"… bytes (torch {torch_version})"]
    text = tables.table(head, rows)
    if head[-1] in tables.committed("traffic") or tables.UPDATE:
        tables.check("traffic", text)
    else:  # another torch may dispatch the formula otherwise; ours are ours
        found, wanted = tables.cells(text), tables.cells(tables.committed("traffic"))
        assert {row: list(line.values())[:3] for row, line in found.items()} == {
            row: list(line.values())[:3] for row, line in wanted.items()
        }
