"""The same bits from run to run, on any number of threads, and wherever a tensor lies in memory."""

from __future__ import annotations

import pytest
import torch

from ..scale import BATCHES, EMULATED, SIZES, THREADED
from .evaluate import derivatives, outputs, random_like, second_derivatives
from .layouts import LAYOUTS, SHAPE
from .table import REPRESENTATIVE, inputs_of

every_case = pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)


def _bits(x: torch.Tensor) -> torch.Tensor:
    width = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.detach().contiguous().view(width)


def _assert_same_bits(first, second):
    for a, b in zip(first, second, strict=True):
        assert torch.equal(_bits(a), _bits(b))


def _everything(case, tensors):
    """Values and derivatives of the first two orders."""
    torch.manual_seed(3)
    upstream = random_like(outputs(case.fused, tensors))
    tangents = random_like(tuple(tensors[place] for place in case.differentiable))
    values, gradients = derivatives(case.fused, tensors, case.differentiable, upstream)
    if not case.differentiable or case.composite:
        return (*values, *gradients)
    return (*values, *gradients, *second_derivatives(case.fused, tensors, case.differentiable, upstream, tangents))


def _first_order(case, tensors):
    torch.manual_seed(3)
    upstream = random_like(outputs(case.fused, tensors))
    values, gradients = derivatives(case.fused, tensors, case.differentiable, upstream)
    return (*values, *gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@every_case
def test_run_to_run(case, dtype, device):
    tensors = inputs_of(case, (3, 1031), dtype, device)
    _assert_same_bits(_everything(case, tensors), _everything(case, tensors))


@pytest.mark.skipif(EMULATED, reason="the emulator has one thread, however many torch has")
@pytest.mark.parametrize("shape", [(THREADED,), (3, THREADED // 3), (THREADED // 2, 2)], ids=["flat", "long", "short"])
@pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)
def test_any_number_of_threads(case, shape, device):
    if case.composite:
        pytest.skip("torch's own sums depend on the threads")
    everything = _first_order if case.composed else _everything
    tensors = inputs_of(case, shape, torch.float32, device)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(everything(case, tensors))
    _assert_same_bits(found[0], found[1])
    _assert_same_bits(found[0], found[2])


@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if not c.composite], ids=str)
def test_alignment(case, device):
    """Where a tensor begins must not decide in which order it is added up."""
    for dtype in (torch.float16, torch.float32):
        for shape in (BATCHES if case.batched else [(n,) for n in SIZES])[:: 3 if EMULATED else 1]:
            tensors = inputs_of(case, shape, dtype, device)
            moved = [torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape) if t.dim() > 0 else t for t in tensors]
            _assert_same_bits(_everything(case, tensors), _everything(case, moved))


@pytest.mark.parametrize("layout", ["every_second_column", "every_second_sample", "unaligned"])
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if not c.composite], ids=str)
def test_layout(case, layout, device):
    """A copy made for the kernel holds the same numbers in the same order as the contiguous tensor."""
    tensors = inputs_of(case, SHAPE, torch.float32, device)
    other = [
        LAYOUTS[layout](t) if kind in ("logits", "sample") else t for t, kind in zip(tensors, case.inputs, strict=True)
    ]
    _assert_same_bits(_everything(case, tensors), _everything(case, other))
