"""What is read is never written, what is returned is the caller's own, and what is not needed is not kept."""

from __future__ import annotations

import os
import weakref

import pytest
import torch

import ganops

from .evaluate import check, derivatives, outputs
from .table import REPRESENTATIVE, inputs_of

every_case = pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)


@every_case
def test_under_no_grad(case, device):
    tensors = [
        t.requires_grad_(i in case.differentiable) for i, t in enumerate(inputs_of(case, (4, 3), torch.float32, device))
    ]
    expected = outputs(case.reference, tensors)
    with torch.no_grad():
        found = outputs(case.fused, tensors)
    for value, plain in zip(found, expected, strict=True):
        assert not value.requires_grad
        torch.testing.assert_close(value, plain.detach())


@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if not c.composite and not c.in_place], ids=str)
def test_in_inference_mode(case, device):
    tensors = inputs_of(case, (4, 3), torch.float32, device)
    with torch.inference_mode():
        found = outputs(case.fused, tensors)
        expected = outputs(case.reference, tensors)
    assert all(value.is_inference() for value in found)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "case", [c for c in REPRESENTATIVE if c.differentiable and (len(c.inputs) == 2 or c.composite)], ids=str
)
def test_beside_a_tensor_from_inference_mode(case, place, device):
    """Real logits computed under inference_mode, beside fake ones that have a gradient."""
    tensors = inputs_of(case, (4, 3), torch.float32, device)
    with torch.inference_mode():
        tensors[place] = tensors[place].clone()
    # An inference tensor cannot be saved for a backward pass that needs its values, as the weight's does.
    wrt = tuple(i for i in case.differentiable if i != place and case.inputs[i] != "weight")

    def gradients(function):
        given = [t if t.is_inference() else t.detach().requires_grad_(i in wrt) for i, t in enumerate(tensors)]
        values = outputs(function, given)
        chosen = [given[i] for i in wrt]
        return torch.autograd.grad(
            [v for v in values if v.requires_grad], chosen, [v for v in values if v.requires_grad]
        )

    torch.testing.assert_close(gradients(case.fused), gradients(case.reference), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable], ids=str)
def test_gradients_are_the_callers_own(case, device):
    """Writing to a gradient changes neither another gradient nor an input."""
    tensors = inputs_of(case, (4, 3), torch.float32, device)
    _, gradients = derivatives(case.fused, tensors, case.differentiable)
    storages = [t.untyped_storage().data_ptr() for t in (*gradients, *tensors)]
    assert len(set(storages)) == len(storages)


@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable and not c.composite], ids=str)
def test_a_graph_may_be_used_twice(case, device):
    tensors = [
        t.requires_grad_(i in case.differentiable) for i, t in enumerate(inputs_of(case, (4, 3), torch.float32, device))
    ]
    total = sum(value.sum() for value in outputs(case.fused, tensors))
    wrt = [tensors[place] for place in case.differentiable]
    first = torch.autograd.grad(total, wrt, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, torch.autograd.grad(total, wrt), strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(total, wrt)


@pytest.mark.parametrize(
    "case", [c for c in REPRESENTATIVE if c.differentiable and not c.composite and not c.linear], ids=str
)
def test_a_changed_input_is_noticed(case, device):
    """Backward recomputes from the inputs, so that writing to them in between must be an error."""
    tensors = inputs_of(case, (4, 3), torch.float32, device)
    place = case.differentiable[-1]
    tensors[place].requires_grad_()
    total = sum(value.sum() for value in outputs(case.fused, tensors))
    # The gradients of a weight and of parameters need the samples.
    changed = 0 if case.op in ("interpolate", "filtered_lrelu", "filtered_snake") else place
    with torch.no_grad():
        tensors[changed].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.linear], ids=str)
def test_a_linear_op_keeps_no_input(case, device):
    tensors = [x.requires_grad_() for x in inputs_of(case, (4, 3), torch.float32, device)]
    passing = [x * 1 for x in tensors]
    watched = [weakref.ref(x) for x in passing]
    value = case.fused(*passing)
    del passing
    assert not any(reference() is not None for reference in watched)
    value.sum().backward()


def test_nothing_is_kept_alive_without_a_gradient(device):
    for case in REPRESENTATIVE:
        if case.composite:
            continue
        tensors = inputs_of(case, (4, 3), torch.float32, device)
        watched = [weakref.ref(t) for t in tensors]
        values = outputs(case.fused, tensors)
        del tensors
        assert all(reference() is None for reference in watched), case.name
        del values


def test_interpolation_keeps_no_samples_for_the_gradient_of_samples(device):
    real, fake = torch.randn(2, 4, 3, device=device).unbind()
    fake = fake.clone().requires_grad_()
    result = ganops.interpolate(real, fake * 1, torch.rand(4, device=device))
    saved = result.grad_fn.saved_tensors
    assert [tuple(value.shape) for value in saved] == [(4,)], "the weight alone"


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_requires_grad_on_one_side_alone(reduction, device):
    real = torch.randn(5, device=device)
    fake = torch.randn(3, device=device, requires_grad=True)
    values = ganops.discriminator_loss(real, fake, reduction=reduction)
    total = sum(v.sum() for v in values) if reduction == "none" else values
    (gradient,) = torch.autograd.grad(total, fake)
    plain = torch.sigmoid(fake.detach()) / (3 if reduction == "mean" else 1)
    torch.testing.assert_close(gradient, plain)


@pytest.mark.large
def test_more_than_two_to_the_31_elements(device):
    """Indices are 64 bits wide: a float16 batch of 2³¹ + 9 elements, about 13 GB at the peak."""
    count = 2**31 + 9
    x = torch.zeros(count, dtype=torch.float16, device=device)
    x[-3:] = torch.tensor([2.0, -3.0, 4.0])
    assert ganops.gradient_norm_penalty(x[None], target=0.0).item() == 29
    assert ganops.generator_loss(x, "wasserstein", reduction="sum").item() == -3
    ganops.clip_weights_(x, 1.0)
    assert x[-4:].tolist() == [0, 1, -1, 1]
    if os.cpu_count():
        torch.set_num_threads(os.cpu_count())
    mixed = ganops.interpolate(x[None], x[None], torch.full((1,), 0.5, device=device))
    assert mixed[0, -4:].tolist() == [0, 1, -1, 1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable], ids=str)
def test_autocast(case, dtype, device):
    """Like torch's losses: half precision is widened on entry, so that the result is float32."""
    tensors = inputs_of(case, (4, 3), dtype, device)
    with torch.autocast(device.type, dtype=dtype):
        check(case, tensors)
        for value in outputs(case.fused, tensors):
            losses = ("discriminator_loss", "generator_loss", "gradient_norm_penalty", "feature_matching_loss")
            wide = case.op in losses
            assert value.dtype == (torch.float32 if wide or case.op == "gradient_penalty" else dtype)
