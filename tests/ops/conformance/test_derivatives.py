"""First, second and third derivatives in float64, for every op and every choice of inputs that require them."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.functional import hessian
from torch.utils.checkpoint import checkpoint

from .evaluate import outputs, random_like
from .table import DIFFERENTIABLE, REPRESENTATIVE, Case, inputs_of

every_case = pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable], ids=str)

SHAPE = (4, 3)


def _inputs(case: Case, device: torch.device) -> list[Tensor]:
    """Away from the kinks of hinge (±margin) and of one-sided penalties (norm = target), with norms on both sides."""
    tensors = inputs_of(case, SHAPE, torch.float64, device)
    for place, kind in enumerate(case.inputs):
        if kind == "logits":
            values = tensors[place]
            for margin in (0.25, 1.0):
                near = (values.abs() - margin).abs() < 0.05
                values[near] += 0.1 * values[near].sign()
        elif kind == "sample" and "gradient_norm_penalty" in case.name:
            norms = torch.tensor([0.3, 0.6, 1.4, 2.5], dtype=torch.float64, device=device)
            tensors[place] = tensors[place] / tensors[place].norm(dim=1, keepdim=True) * norms[:, None]
    return tensors


def _choices(case: Case) -> list[tuple[int, ...]]:
    places = case.differentiable
    if not case.representative:
        return [places]
    return [choice for count in range(1, len(places) + 1) for choice in combinations(places, count)]


each_choice = pytest.mark.parametrize(
    ("case", "wrt"), [pytest.param(c, w, id=f"{c}-{''.join(map(str, w))}") for c in DIFFERENTIABLE for w in _choices(c)]
)


def _function_of(case: Case, wrt: tuple[int, ...], tensors: list[Tensor]):
    def function(*chosen: Tensor) -> tuple[Tensor, ...]:
        given = list(tensors)
        for place, value in zip(wrt, chosen, strict=True):
            given[place] = value
        return outputs(case.fused, given)

    return function, [tensors[place].clone().requires_grad_() for place in wrt]


@each_choice
def test_gradcheck(case, wrt, device):
    function, chosen = _function_of(case, wrt, _inputs(case, device))
    assert gradcheck(function, chosen)


@each_choice
def test_gradgradcheck(case, wrt, device):
    function, chosen = _function_of(case, wrt, _inputs(case, device))
    assert gradgradcheck(function, chosen)


@every_case
def test_gradgradcheck_without_reduction_of_what_arrives(case, device):
    """The gradient from above fixed: the second derivative with respect to the inputs alone."""
    tensors = _inputs(case, device)
    function, chosen = _function_of(case, case.differentiable, tensors)
    upstream = random_like(outputs(case.reference, tensors))
    assert gradgradcheck(function, chosen, upstream)


def _tower(function, case: Case, tensors: list[Tensor], directions: list[list[Tensor]]) -> list[tuple[Tensor, ...]]:
    """The derivatives of order 1, 2, …, each along a direction that the next order differentiates in turn."""
    tensors = [t.clone().requires_grad_(place in case.differentiable) for place, t in enumerate(tensors)]
    wrt = [tensors[place] for place in case.differentiable]
    values = outputs(function, tensors)
    total = sum((value * value.cos()).sum() for value in values)
    orders = []
    for direction in directions:
        found = torch.autograd.grad(total, wrt, create_graph=True, materialize_grads=True)
        orders.append(found)
        total = sum((d * g).sum() for d, g in zip(direction, found, strict=True))
    return orders


@every_case
def test_up_to_the_fourth_order(case, device):
    tensors = _inputs(case, device)
    directions = [random_like(tuple(tensors[place] for place in case.differentiable)) for _ in range(4)]
    fused, plain = (_tower(function, case, tensors, directions) for function in (case.fused, case.reference))
    for order, (got, expected) in enumerate(zip(fused, plain, strict=True), start=1):
        for place, pair in zip(case.differentiable, zip(got, expected, strict=True), strict=True):
            torch.testing.assert_close(
                *pair, rtol=1e-9, atol=1e-9, msg=lambda text, o=order, p=place: f"order {o}, input {p}: {text}"
            )


@every_case
def test_last_order_equals_the_differentiable_one(case, device):
    """Without create_graph the second derivative comes from a kernel, with it from a composition: the same numbers."""
    found = []
    for graph in (False, True):
        tensors = [t.requires_grad_(i in case.differentiable) for i, t in enumerate(_inputs(case, device))]
        torch.manual_seed(1)
        wrt = [tensors[place] for place in case.differentiable]
        values = outputs(case.fused, tensors)
        upstream = [u.requires_grad_() for u in random_like(values)]
        first = torch.autograd.grad(values, wrt, upstream, create_graph=True)
        torch.manual_seed(2)
        total = sum((torch.randn_like(g) * g).sum() for g in first)
        if not total.requires_grad:
            pytest.skip("a constant gradient")
        found.append(torch.autograd.grad(total, [*wrt, *upstream], create_graph=graph, materialize_grads=True))
        torch.manual_seed(0)
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@every_case
def test_second_order_of_nothing(case, device):
    """An empty batch has empty derivatives, of any order."""
    tensors = [tensor.requires_grad_() for tensor in inputs_of(case, (0, 3), torch.float64, device)]
    chosen = [tensors[place] for place in case.differentiable]
    first = torch.autograd.grad(
        [value.sum() for value in outputs(case.fused, tensors)], chosen, create_graph=True, allow_unused=True
    )
    sums = [value.sum() for value in first if value is not None and value.requires_grad]
    if sums:
        second = torch.autograd.grad(sums, chosen, create_graph=True, allow_unused=True)
        assert all(value is None or not value.isnan().any() for value in second)


@every_case
def test_batched_gradients_with_a_graph(case, device):
    """``is_grads_batched`` with ``create_graph``: first and second derivatives are those of a loop."""
    tensors = _inputs(case, device)
    first_place = case.differentiable[0]

    def derivatives(batched: bool):
        given = [t.clone().requires_grad_(place in case.differentiable) for place, t in enumerate(tensors)]
        wrt = [given[place] for place in case.differentiable]
        values = outputs(case.fused, given)
        torch.manual_seed(3)
        above = random_like(tuple(v.detach().expand(3, *v.shape) for v in values))
        if batched:
            first = torch.autograd.grad(values, wrt, above, is_grads_batched=True, create_graph=True)
        else:
            rows = [torch.autograd.grad(values, wrt, [a[i] for a in above], create_graph=True) for i in range(3)]
            first = [torch.stack(several) for several in zip(*rows, strict=True)]
        total = sum((g * g.detach().cos()).sum() for g in first)
        if not total.requires_grad:
            return first, None
        return first, torch.autograd.grad(total, wrt[: first_place + 1], allow_unused=True, materialize_grads=True)

    found, wanted = derivatives(True), derivatives(False)
    torch.testing.assert_close(list(found[0]), list(wanted[0]), rtol=1e-10, atol=1e-12)
    if found[1] is None:  # torch then raises an error, and there is nothing but zeros
        assert wanted[1] is None or not any(g.any() for g in wanted[1])
    else:
        torch.testing.assert_close(found[1], wanted[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if c.representative], ids=str)
def test_vectorized_hessian(case, device):
    tensors, place = _inputs(case, device), case.differentiable[0]

    def value(x):
        given = [x if i == place else t for i, t in enumerate(tensors)]
        return sum((v * v.detach().cos()).sum() for v in outputs(case.fused, given))

    found, wanted = (hessian(value, tensors[place], vectorize=vectorize) for vectorize in (True, False))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def _second_derivatives(function, tensors, places):
    wrt = [tensors[place] for place in places]
    total = sum(v.sin().sum() for v in outputs(function, tensors))
    first = torch.autograd.grad(total, wrt, create_graph=True)
    summed = sum(g.sin().sum() for g in first)
    return torch.autograd.grad(summed, wrt, create_graph=True, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("case", [c for c in DIFFERENTIABLE if c.representative], ids=str)
def test_saved_tensor_hooks_and_checkpoints_at_second_order(case, device):
    tensors = [t.requires_grad_(place in case.differentiable) for place, t in enumerate(_inputs(case, device))]
    wanted = _second_derivatives(case.fused, tensors, case.differentiable)
    with torch.autograd.graph.save_on_cpu():
        torch.testing.assert_close(_second_derivatives(case.fused, tensors, case.differentiable), wanted)

    def recomputed(*given):
        return checkpoint(lambda *t: outputs(case.fused, list(t)), *given, use_reentrant=False)

    torch.testing.assert_close(_second_derivatives(recomputed, tensors, case.differentiable), wanted)
