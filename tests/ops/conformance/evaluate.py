"""Runs a case and its reference on the same inputs and compares what comes out."""

from __future__ import annotations

import torch
from torch import Tensor

from .table import Case, Function
from .tolerance import COMPOSITE, ELEMENTWISE, SUM, assert_conforms


def outputs(function: Function, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    found = function(*tensors)
    return found if isinstance(found, tuple) else (found,)


def random_like(values: tuple[Tensor, ...]) -> list[Tensor]:
    return [torch.randn(value.shape, dtype=torch.float64).to(value) for value in values]


def derivatives(
    function: Function, tensors: list[Tensor], wrt: tuple[int, ...], upstream: list[Tensor] | None = None
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(values, gradients with respect to the inputs at ``wrt``)."""
    tensors = [t.detach().requires_grad_(place in wrt) for place, t in enumerate(tensors)]
    values = outputs(function, tensors)
    if not wrt:
        return values, ()
    upstream = [torch.ones_like(value) for value in values] if upstream is None else upstream
    upstream = [u.to(value.dtype) for u, value in zip(upstream, values, strict=True)]
    return values, torch.autograd.grad(values, [tensors[place] for place in wrt], upstream, materialize_grads=True)


def second_derivatives(
    function: Function, tensors: list[Tensor], wrt: tuple[int, ...], upstream: list[Tensor], tangents: list[Tensor]
) -> tuple[Tensor, ...]:
    """The gradient of ⟨gradient, tangent⟩ with respect to the inputs and to the gradient from above."""
    tensors = [t.detach().requires_grad_(place in wrt) for place, t in enumerate(tensors)]
    values = outputs(function, tensors)
    upstream = [u.to(value.dtype).detach().requires_grad_() for u, value in zip(upstream, values, strict=True)]
    chosen = [tensors[place] for place in wrt]
    first = torch.autograd.grad(values, chosen, upstream, create_graph=True)
    pairs = [(g, t.to(g.dtype)) for g, t in zip(first, tangents, strict=True) if g.requires_grad]
    if not pairs:
        return ()
    return torch.autograd.grad(
        [g for g, _ in pairs], [*chosen, *upstream], [t for _, t in pairs], allow_unused=True, materialize_grads=True
    )


def check(
    case: Case,
    tensors: list[Tensor],
    *,
    upstream: list[Tensor] | None = None,
    gradients: bool = True,
    what: str = "",
) -> None:
    """Value and gradient of ``case`` conform, and nothing that was read has changed."""
    name = f"{case.name} {what}"
    before = [t.clone() for t in tensors]
    wrt = case.differentiable if gradients else ()
    fused, reference = (derivatives(f, tensors, wrt, upstream) for f in (case.fused, case.reference))
    doubles = [t.double() for t in tensors]
    truth, scale = (derivatives(f, doubles, wrt, upstream) for f in (case.reference, case.magnitude))
    for place, (got, plain, exact, size) in enumerate(zip(fused[0], reference[0], truth[0], scale[0], strict=True)):
        ulps = SUM if case.batched or got.dim() == 0 else ELEMENTWISE
        _conforms(case, got, plain, exact, size, ulps, f"{name}: value {place}")
    for place, got, plain, exact, size in zip(wrt, fused[1], reference[1], truth[1], scale[1], strict=True):
        _conforms(case, got, plain, exact, size, SUM if case.sums else ELEMENTWISE, f"{name}: gradient {place}")
    for place, (now, then) in enumerate(zip(tensors, before, strict=True)):
        assert torch.equal(now.nan_to_num(7.25), then.nan_to_num(7.25)), f"{name}: wrote to its input {place}"


def check_second(case: Case, tensors: list[Tensor]) -> None:
    """The second derivatives conform, at the scale of the largest."""
    values = outputs(case.reference, tensors)
    upstream, tangents = random_like(values), random_like(tuple(tensors[place] for place in case.differentiable))
    doubles = [t.double() for t in tensors]
    found = [
        second_derivatives(function, inputs, case.differentiable, upstream, tangents)
        for function, inputs in ((case.fused, tensors), (case.reference, tensors), (case.reference, doubles))
    ]
    # One number is the sum Σ tangent·gradient, and may cancel.
    _, slopes = derivatives(case.reference, doubles, case.differentiable)
    terms = sum((slope * t.double()).abs().sum() for slope, t in zip(slopes, tangents, strict=True))
    for place, (got, plain, exact) in enumerate(zip(*found, strict=True)):
        sums = got.dim() == 0 or case.cancels
        at_scale(got, plain, exact, f"{case.name}: second derivative {place}", terms if sums else None)


def at_scale(
    got: Tensor, plain: Tensor, exact: Tensor, what: str, scale: Tensor | None = None, ulps: float = SUM
) -> None:
    """Conforms, with the largest element as the scale and the reference's largest error as its error."""
    if got.numel():
        error = (plain.double() - exact).abs().max()
        plain = (exact + error).to(plain.dtype)
        scale = exact.abs().max().expand_as(exact) if scale is None else scale
    assert_conforms(got, plain, exact, scale=scale, ulps=ulps, what=what)


def _conforms(case: Case, got: Tensor, plain: Tensor, exact: Tensor, scale: Tensor, ulps: float, what: str) -> None:
    if case.composite or case.coupled:
        # One number of a coupled case is a sum over all its elements, which may cancel.
        at_scale(got, plain, exact, what, ulps=COMPOSITE if case.composite or got.dim() == 0 else SUM)
    else:
        assert_conforms(got, plain, exact, scale=scale, ulps=ulps, what=what)
