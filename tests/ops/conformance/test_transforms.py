"""torch.func over every op: grad, nested grad, vmap over samples and over ensembles."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, jacrev, jvp, vmap

from .evaluate import outputs
from .table import REPRESENTATIVE, Case, inputs_of

# What jacrev makes of a backward pass, a row at a time through the kernels: correct, and not meant to be fast.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

every_case = pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable], ids=str)


def _total(function):
    """A number whose gradient differs from element to element."""

    def total(*tensors):
        return sum((value * value.detach().cos()).sum() for value in outputs(function, list(tensors)))

    return total


def _inputs(case: Case, device: torch.device, members: int = 0):
    if not members:
        return inputs_of(case, (4, 3), torch.float64, device)
    return [
        torch.stack(several)
        for several in zip(*(inputs_of(case, (4, 3), torch.float64, device) for _ in range(members)), strict=True)
    ]


def _assert_same(fused, plain):
    torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-12)


@every_case
def test_grad(case, device):
    tensors = _inputs(case, device)
    fused, plain = (grad(_total(f), argnums=case.differentiable)(*tensors) for f in (case.fused, case.reference))
    _assert_same(fused, plain)


@every_case
def test_nested_grad(case, device):
    tensors, place = _inputs(case, device), case.differentiable[0]

    def steepness(function):
        def value(*tensors):
            return grad(_total(function), argnums=place)(*tensors).square().sum()

        return grad(value, argnums=case.differentiable)

    _assert_same(*(steepness(f)(*tensors) for f in (case.fused, case.reference)))


@every_case
def test_jacobian_of_the_gradient(case, device):
    """jacrev runs the double backward under vmap."""
    tensors, place = _inputs(case, device), case.differentiable[0]
    fused, plain = (
        jacrev(grad(_total(f), argnums=place), argnums=place)(*tensors) for f in (case.fused, case.reference)
    )
    _assert_same(fused, plain)


@every_case
def test_vmap_over_an_ensemble(case, device):
    """As many sets of inputs as members, e.g. logits of an ensemble of critics."""
    tensors = _inputs(case, device, members=3)
    one_by_one = [outputs(case.fused, [t[i] for t in tensors]) for i in range(3)]
    together = tuple(torch.stack(values) for values in zip(*one_by_one, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where an operator runs once for each member
        _assert_same(vmap(lambda *t: outputs(case.fused, list(t)))(*tensors), together)


@every_case
def test_gradient_under_vmap(case, device):
    tensors = _inputs(case, device, members=3)
    gradient = grad(_total(case.fused), argnums=case.differentiable)
    one_by_one = [gradient(*(t[i] for t in tensors)) for i in range(3)]
    together = tuple(torch.stack(values) for values in zip(*one_by_one, strict=True))
    _assert_same(vmap(gradient)(*tensors), together)


@every_case
def test_vmap_along_another_dimension_and_shared_inputs(case, device):
    tensors = _inputs(case, device)
    tensors[0] = torch.stack([tensors[0], -tensors[0]], dim=1)
    dims = (1, *(None for _ in tensors[1:]))
    fused = vmap(lambda *t: outputs(case.fused, list(t)), in_dims=dims)(*tensors)
    one_by_one = [outputs(case.fused, [x, *tensors[1:]]) for x in tensors[0].unbind(1)]
    _assert_same(fused, tuple(torch.stack(values) for values in zip(*one_by_one, strict=True)))


@pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)
def test_meta_tensors(case):
    """Shapes, dtypes and strides without data."""
    tensors = inputs_of(case, (4, 3), torch.float16, torch.device("cpu"))
    for value, shape in zip(
        outputs(case.fused, [t.to("meta") for t in tensors]), outputs(case.fused, tensors), strict=True
    ):
        assert value.is_meta
        assert (value.shape, value.dtype, value.stride()) == (shape.shape, shape.dtype, shape.stride())


@every_case
def test_forward_mode(case, device):
    """Kernels have no tangents; they must not be lost in silence."""
    tensors = _inputs(case, device)
    directions = [torch.ones_like(tensor) for tensor in tensors]
    fused, plain = (jvp(_total(f), tuple(tensors), tuple(directions)) for f in (case.fused, case.reference))
    _assert_same(fused, plain)


@every_case
def test_dual_tensors(case, device):
    tensors = _inputs(case, device)

    def tangents(function):
        with torch.no_grad(), forward_ad.dual_level():
            dual = [forward_ad.make_dual(tensor, torch.ones_like(tensor)) for tensor in tensors]
            return [forward_ad.unpack_dual(value).tangent for value in outputs(function, dual)]

    _assert_same(tangents(case.fused), tangents(case.reference))


@every_case
def test_a_tangent_that_comes_with_the_gradient_is_not_lost(case, device):
    """Of a graph recorded before, outside of the level: the kernels of its backward have no tangents, and say so."""

    given = _inputs(case, device)

    def tangents(function):
        tensors = [x.clone().requires_grad_(place in case.differentiable) for place, x in enumerate(given)]
        wrt = [tensors[place] for place in case.differentiable]
        total = sum(value.sum() for value in outputs(function, tensors))
        above = torch.ones_like(total).requires_grad_()
        first = torch.autograd.grad(total, wrt, above, create_graph=True)
        summed = sum(g.square().sum() for g in first)
        with forward_ad.dual_level():
            one = forward_ad.make_dual(torch.ones_like(total), torch.ones_like(total))
            return [
                [
                    value if value is None else forward_ad.unpack_dual(value).tangent
                    for value in torch.autograd.grad(of, wrt, one, retain_graph=True, allow_unused=True)
                ]
                for of in (total, summed)
            ]

    try:
        fused = tangents(case.fused)
    except NotImplementedError:
        return
    _assert_same(fused, tangents(case.reference))
