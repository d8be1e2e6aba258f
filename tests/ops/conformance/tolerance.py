"""How far a fused result may be from the truth.

The truth is the reference in float64, on the same inputs. A fused result in a lesser dtype may be off by twice what the
reference itself is off in that dtype, plus a few units in the last place at the scale of the computation:

    |fused − ref₆₄| ≤ 2·|ref − ref₆₄| + ulps·eps·scale

The scale is Σ|terms| where the result is a sum (a sum that cancels to 0 is still only as good as its terms), else the
size of the result. Elementwise a few roundings happen one after another: 4. A float sum adds up to 256 terms in a row
(a chunk of 4096 in four sums of four lanes); their rounding errors walk at random, which makes √256·½ = 8. Where a
whole critic lies in between there are dozens of roundings in a row, and sums that cancel: 64 at the scale of the
largest element.
"""

from __future__ import annotations

import torch
from torch import Tensor

ELEMENTWISE, SUM, COMPOSITE = 4, 8, 64


def assert_conforms(
    fused: Tensor,
    reference: Tensor,
    truth: Tensor,
    *,
    scale: Tensor | None = None,
    ulps: float = ELEMENTWISE,
    what: str = "result",
) -> None:
    """Raises AssertionError unless ``fused`` is as good as its dtype allows.

    ``reference`` is the plain PyTorch result in the dtype of ``fused``, ``truth`` the same in float64. Where the truth
    is NaN the fused result is NaN; where it lies beyond the dtype's range, it is infinite or the reference's.
    """
    assert fused.dtype == reference.dtype, f"{what}: dtype {fused.dtype}, the reference has {reference.dtype}"
    assert fused.shape == reference.shape, f"{what}: shape {fused.shape}, the reference has {reference.shape}"
    assert fused.device == reference.device, f"{what}: device {fused.device}, the reference has {reference.device}"
    dtype = torch.finfo(fused.dtype)
    fused, reference, truth = (value.detach().double() for value in (fused, reference, truth))
    # A scale may be NaN where one element of a sum is; the elements that are finite all the same have their own.
    scale = truth.abs() if scale is None else scale.detach().double().abs().nan_to_num(0.0).maximum(truth.abs())

    wrong_nan = fused.isnan() != truth.isnan()
    finite = truth.isfinite()
    # Truth beyond the range of the dtype (or infinite) must come out infinite with its sign; just below it, may.
    limit = dtype.max * (1 + dtype.eps)
    beyond = ~truth.isnan() & (truth.abs() > limit)
    wrong_infinity = beyond & ~((fused == torch.inf * truth.sign()) | (fused == reference))

    tolerance = 2 * (reference - truth).abs() + ulps * (dtype.eps * scale + dtype.tiny * dtype.eps)
    # Where the reference overflows on the way and the truth does not, any number does, if it is one.
    tolerance = torch.where(reference.isfinite(), tolerance, torch.inf)
    near_limit = truth.abs() + ulps * dtype.eps * scale > dtype.max
    wrong = finite & ~beyond & ~((fused - truth).abs() <= tolerance) & ~(near_limit & fused.isinf())

    bad = wrong | wrong_nan | wrong_infinity
    if bad.any():
        place = tuple(bad.nonzero()[0].tolist())
        values = {"fused": fused, "reference": reference, "truth": truth, "tolerance": tolerance}
        shown = ", ".join(f"{name} {value[place].item()!r}" for name, value in values.items())
        raise AssertionError(f"{what}: {int(bad.sum())} of {bad.numel()} are off, the first at {place}: {shown}")
