"""Value and gradient of every op against its reference in float64."""

from __future__ import annotations

import pytest
import torch

from ..scale import BATCHES, LARGE_BATCHES, LARGE_SIZES, SIZES, THREADED
from .evaluate import check, check_second, outputs, random_like
from .layouts import LAYOUTS, OVERLAPPING, SHAPE
from .table import CASES, DTYPES, REPRESENTATIVE, Case, inputs_of

every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


@every_dtype
@every_case
def test_sizes(case, dtype, device):
    shapes = BATCHES if case.batched else [(n,) for n in SIZES]
    if case.representative:
        shapes = [*shapes, *(LARGE_BATCHES if case.batched else [(n,) for n in LARGE_SIZES])]
    for shape in shapes:
        check(case, inputs_of(case, shape, dtype, device), what=f"{shape}")


def _arrangements(case: Case) -> list[tuple[str, str]]:
    """The layout of the first tensor and of the others: alike, and each beside a contiguous one."""
    several = sum(kind in ("logits", "sample") for kind in case.inputs) > 1
    names = [n for n in LAYOUTS if not (case.in_place and (n in OVERLAPPING or n == "negative_bit"))]
    pairs = [(n, n) for n in names]
    return pairs + [pair for n in names[1:] for pair in ((n, "contiguous"), ("contiguous", n)) if several]


def _laid_out(case, arrangement, dtype, device):
    tensors = inputs_of(case, SHAPE, dtype, device)
    images = [i for i, kind in enumerate(case.inputs) if kind in ("logits", "sample")]
    for place in images:
        # Those that leave out samples or channels would make the shapes differ.
        layout = arrangement[place > 0]
        if case.batched and arrangement[0] != arrangement[1] and layout in ("first_channel", "last_samples"):
            pytest.skip("a batch's tensors have one shape")
        tensors[place] = LAYOUTS[layout](tensors[place])
    if case.batched and len(case.inputs) > 1:
        tensors[2] = tensors[2][-len(tensors[0]) :]
    return tensors


@every_dtype
@pytest.mark.parametrize(
    ("case", "arrangement"),
    [pytest.param(c, a, id=f"{c}-{'+'.join(dict.fromkeys(a))}") for c in REPRESENTATIVE for a in _arrangements(c)],
)
def test_layouts(case, arrangement, dtype, device):
    check(case, _laid_out(case, arrangement, dtype, device))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable and not c.composite], ids=str)
def test_layouts_of_the_gradient_from_above(case, dtype, layout, device):
    tensors = inputs_of(case, SHAPE, dtype, device)
    upstream = random_like(outputs(case.reference, tensors))
    if upstream[0].dim() == 4:
        if layout in ("first_channel", "last_samples"):
            pytest.skip("the gradient has the shape of the value")
        upstream = [LAYOUTS[layout](u) for u in upstream]
    elif upstream[0].dim() == 1 and layout == "every_second_sample":
        upstream = [u.repeat_interleave(2)[::2] for u in upstream]
    elif layout == "expanded_number":
        upstream = [u.flatten()[0].expand_as(u) for u in upstream]
    elif layout != "contiguous":
        pytest.skip("one number has no layout")
    check(case, tensors, upstream=upstream)


@pytest.mark.parametrize(
    "layout", ["contiguous", "channels_last", "batch_innermost", "every_second_column", "unaligned"]
)
@every_dtype
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable and not c.composite], ids=str)
def test_second_derivatives_in_layouts(case, dtype, layout, device):
    check_second(case, _laid_out(case, (layout, layout), dtype, device))


@every_dtype
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable and not c.composite], ids=str)
def test_second_derivatives_over_several_threads(case, dtype, device):
    check_second(case, inputs_of(case, (3, THREADED // 3) if case.batched else (THREADED,), dtype, device))


SINGULAR = ((0, 3), (3, 0), (0,), (0, 3, 8, 8), (1,))


@every_dtype
@every_case
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
@pytest.mark.parametrize("case", [c for c in CASES if "logits" in c.inputs], ids=str)
def test_extreme_logits(case, dtype, device):
    values = torch.tensor([*EXTREME, *(-x for x in EXTREME)], dtype=torch.float64)
    # In a mean the largest would hide the others.
    for logits in values.unsqueeze(1) if "mean" in case.name else [values]:
        logits = logits.to(dtype)
        logits = logits[logits.isfinite()].to(device)
        check(case, [logits] * len(case.inputs), what=f"{logits.tolist()}")


@every_dtype
@every_case
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
