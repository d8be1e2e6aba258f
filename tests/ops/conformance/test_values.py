"""Value and gradient of every op against its reference in float64."""

from __future__ import annotations

import pytest
import torch

from ..scale import BATCHES, LARGE_BATCHES, LARGE_SIZES, SIZES, THREADED
from .evaluate import check, check_second, outputs, random_like
from .layouts import LAYOUTS, OVERLAPPING, SHAPE
from .table import CASES, DTYPES, REPRESENTATIVE, Case, inputs_of

two_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


each_case_and_dtype = pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case}-{str(dtype).removeprefix('torch.')}")
        for case in CASES
        for dtype in (DTYPES if case.representative else (torch.float32,))
    ],
)


@each_case_and_dtype
def test_sizes(case, dtype, device):
    shapes = BATCHES if case.batched else [(n,) for n in SIZES]
    if case.representative:
        shapes = [*shapes, *(LARGE_BATCHES if case.batched else [(n,) for n in LARGE_SIZES])]
    else:
        shapes = shapes[2::4]
    for shape in shapes:
        check(case, inputs_of(case, shape, dtype, device), what=f"{shape}")


def _arrangements(case: Case) -> list[tuple[str, str]]:
    """The layout of the first tensor and of the others: the same, and each beside a contiguous one."""
    several = sum(kind in ("logits", "sample") for kind in case.inputs) > 1
    names = [n for n in LAYOUTS if not (case.in_place and (n in OVERLAPPING or n == "negative_bit"))]
    pairs = [(n, n) for n in names]
    # A batch's tensors have one shape.
    beside = [n for n in names[1:] if not (case.batched and n in ("first_channel", "last_samples"))]
    return pairs + [pair for n in beside for pair in ((n, "contiguous"), ("contiguous", n)) if several]


def _laid_out(case, arrangement, dtype, device):
    tensors = inputs_of(case, SHAPE, dtype, device)
    images = [i for i, kind in enumerate(case.inputs) if kind in ("logits", "sample")]
    for place in images:
        layout = arrangement[place > 0]
        tensors[place] = LAYOUTS[layout](tensors[place])
    if "weight" in case.inputs:
        tensors[2] = tensors[2][-len(tensors[0]) :]
    return tensors


@two_dtypes
@pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)
def test_layouts(case, dtype, device):
    for arrangement in _arrangements(case):
        check(case, _laid_out(case, arrangement, dtype, device), what=" and ".join(dict.fromkeys(arrangement)))


@two_dtypes
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable and not c.composite], ids=str)
def test_layouts_of_the_gradient_from_above(case, dtype, device):
    tensors = inputs_of(case, SHAPE, dtype, device)
    upstream = random_like(outputs(case.reference, tensors))
    found = {"expanded_number": [u.flatten()[0].expand_as(u) for u in upstream]}
    if upstream[0].dim() == 1:
        found["every_second_sample"] = [u.repeat_interleave(2)[::2] for u in upstream]
    elif upstream[0].dim() == 4:  # the gradient has the shape of the value
        names = LAYOUTS.keys() - {"first_channel", "last_samples"}
        found |= {name: [LAYOUTS[name](u) for u in upstream] for name in sorted(names)}
    for name, laid_out in found.items():
        check(case, tensors, upstream=laid_out, what=f"upstream gradient {name}")


@two_dtypes
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable and not c.composite], ids=str)
def test_second_derivatives_in_layouts(case, dtype, device):
    for layout in ("contiguous", "channels_last", "batch_innermost", "every_second_column", "unaligned"):
        check_second(case, _laid_out(case, (layout, layout), dtype, device))


@every_dtype
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable and not c.composite], ids=str)
def test_second_derivatives_over_several_threads(case, dtype, device):
    check_second(case, inputs_of(case, (3, THREADED // 3) if case.batched else (THREADED,), dtype, device))


SINGULAR = ((0, 3), (3, 0), (0,), (0, 3, 8, 8), (1,))


@every_dtype
@pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)
def test_empty(case, dtype, device):
    for shape in SINGULAR:
        # Logits may be empty on one side alone: inputs_of makes the second tensor larger.
        tensors = inputs_of(case, shape, dtype, device)
        check(case, tensors, what=f"{shape}")
        if case.differentiable and not case.composite and not case.composed:
            check_second(case, tensors)
        if not case.batched:
            check(case, [t[:0] for t in tensors], what=f"{shape}, all empty")
            check(case, [t.flatten()[0] if t.numel() else t for t in tensors], what="shape ()")


EXTREME = (1e4, 88.0, 88.8, 89.5, 104.5, 709.0, 745.5, 1e30, 1e-8, 1e-40, 1.0, 2.0, 0.0)


@every_dtype
@pytest.mark.parametrize("case", [c for c in CASES if "logits" in c.inputs and "none" in c.name], ids=str)
def test_extreme_logits(case, dtype, device):
    values = torch.tensor([*EXTREME, *(-x for x in EXTREME)], dtype=torch.float64)
    logits = values.to(dtype)
    logits = logits[logits.isfinite()].to(device)
    check(case, [logits] * len(case.inputs))


@every_dtype
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if "logits" in c.inputs and "mean" in c.name], ids=str)
def test_a_mean_of_one_extreme_logit(case, dtype, device):
    """One at a time: in a mean the largest would hide the others."""
    for value in (*EXTREME, *(-x for x in EXTREME)):
        logits = torch.tensor([value], dtype=torch.float64).to(dtype).to(device)
        if logits.isfinite():
            check(case, [logits] * len(case.inputs), what=f"{value}")


@each_case_and_dtype
def test_not_finite(case, dtype, device):
    for value in (torch.nan, torch.inf, -torch.inf):
        for place, kind in enumerate(case.inputs):
            if kind == "number":
                continue
            tensors = inputs_of(case, (5, 9), dtype, device)
            tensors[place].flatten()[3] = value
            if value is not torch.nan and case.linear:
                continue  # ∞ − ∞, in the order of the terms
            # The gradient of an infinite norm is an indefinite inf/inf to the reference, to the kernels the limit 2·g.
            defined = value is torch.nan or "penalty" not in case.name
            check(case, tensors, gradients=defined, what=f"{value} in input {place}")
