"""``torch_utils/ops/bias_act.py`` of StyleGAN2-ADA and StyleGAN3."""

from __future__ import annotations

from types import SimpleNamespace

from torch import Tensor

from ganops import ops
from ganops._common import checks
from ganops._common.bias_act import ACTIVATIONS
from ganops._common.dtypes import accumulate_dtype

__all__ = ["activation_funcs", "bias_act"]


def _entry(name: str) -> SimpleNamespace:
    row = ACTIVATIONS[name]
    return SimpleNamespace(
        func=lambda x, alpha=row.alpha, **_: row.value(x, alpha), def_alpha=row.alpha, def_gain=row.gain
    )


#: ``func``, ``def_alpha`` and ``def_gain`` by name, as networks read them.
activation_funcs = {name: _entry(name) for name in ACTIVATIONS}


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    impl: str = "cuda",
) -> Tensor:
    """:func:`ganops.bias_act`, on any device. ``impl``, "cuda" or "ref", changes nothing. ``alpha`` is ignored by
    activations that have none, and ``b`` may have any floating-point dtype."""
    checks.choice("bias_act", "impl", impl, ("cuda", "ref"))
    if b is not None and b.is_floating_point() and b.dtype not in (x.dtype, accumulate_dtype(x.dtype)):
        b = b.to(x.dtype)
    if act in ACTIVATIONS and ACTIVATIONS[act].alpha == 0:
        alpha = None
    return ops.bias_act(x, b, dim, act, alpha, gain, clamp)
