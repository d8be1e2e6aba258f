"""The table of activations, and the checks of what ``bias_act`` is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype

Formula = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class Activation:
    """One row of the table.

    ``value(u, alpha)`` is φ(u). Of r, which is the result φ(u), or u itself if ``keeps`` is "input",
    ``first(r, alpha)`` is φ'(u) and ``second(r, alpha)`` its derivative by r, None where that is zero.
    """

    value: Formula
    first: Formula
    second: Formula | None = None
    keeps: str = "result"
    alpha: float = 0.0
    gain: float = 1.0

    def describe(self, name: str) -> str:
        """The row as the compiled library writes it (``ganops_activations`` in csrc/torch/bias_act.cpp)."""
        return f"{name} {self.keeps} {'flat' if self.second is None else 'curved'} {self.alpha:g} {self.gain:g}"


def _exponential_unit(scale: float, slope: float) -> Activation:
    return Activation(
        lambda u, _: torch.where(u <= 0, scale * slope * torch.expm1(u.clamp(max=0)), scale * u),
        lambda r, _: torch.where(r <= 0, r + scale * slope, scale),
        lambda r, _: torch.where(r <= 0, torch.ones_like(r), 0),
    )


def _swish_slope(u: Tensor, _: float) -> Tensor:
    return torch.sigmoid(u) * (1 + u * torch.sigmoid(-u))


def _swish_curvature(u: Tensor, _: float) -> Tensor:
    s, rest = torch.sigmoid(u), torch.sigmoid(-u)
    return s * rest * (2 + u * (rest - s))


# A new activation is one row here and one in csrc/{kernels,math}/bias_act.h; numbers come from there.
ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda u, _: u, lambda r, _: torch.ones_like(r)),
    "relu": Activation(
        lambda u, _: functional.relu(u), lambda r, _: torch.where(r <= 0, 0, torch.ones_like(r)), gain=math.sqrt(2)
    ),
    "lrelu": Activation(
        functional.leaky_relu,
        lambda r, alpha: torch.where(r > 0, torch.ones_like(r), alpha),
        alpha=0.2,
        gain=math.sqrt(2),
    ),
    "tanh": Activation(lambda u, _: torch.tanh(u), lambda r, _: 1 - r * r, lambda r, _: -2 * r),
    "sigmoid": Activation(lambda u, _: torch.sigmoid(u), lambda r, _: r * (1 - r), lambda r, _: 1 - 2 * r),
    "elu": _exponential_unit(1.0, 1.0),
    "selu": _exponential_unit(1.0507009873554804934193349852946, 1.6732632423543772848170429916717),
    "softplus": Activation(
        # Exact for every u, where its own threshold of 20 drops a tail that float64 holds.
        lambda u, _: functional.softplus(u, threshold=40),
        lambda r, _: -torch.expm1(-r),
        lambda r, _: torch.exp(-r),
    ),
    "swish": Activation(
        lambda u, _: u * torch.sigmoid(u), _swish_slope, _swish_curvature, keeps="input", gain=math.sqrt(2)
    ),
}


def names_of(listing: str | None, library: object) -> tuple[str, ...]:
    """The activations in the order of the compiled library's numbers, from its own listing of its table.

    Raises ImportError if the library is older than this table, or differs from it.
    """
    rows = (listing or "").splitlines()
    if sorted(rows) != sorted(row.describe(name) for name, row in ACTIVATIONS.items()):
        raise ImportError(
            f"ganops: {library} and ganops/_common/bias_act.py disagree about the activations: they are of different "
            "versions; rebuild with python -m pip install --no-build-isolation ."
        )
    return tuple(row.split()[0] for row in rows)


class Setting(NamedTuple):
    """Checked arguments, without the tensors."""

    dim: int
    act: str
    alpha: float
    gain: float
    clamp: float | None

    @property
    def activation(self) -> Activation:
        """The row of the table."""
        return ACTIVATIONS[self.act]

    def scaled(self, u: Tensor) -> Tensor:
        """gain·φ(u), without the clamp."""
        return self.gain * self.activation.value(u, self.alpha)

    def per_channel(self, numbers: Tensor, like: Tensor) -> Tensor:
        """Numbers (C,), in the accumulation dtype, in a shape that broadcasts with ``like``."""
        shape = [-1 if d == self.dim else 1 for d in range(like.dim())]
        return numbers.to(accumulate_dtype(like.dtype)).reshape(shape)


def prepare(
    x: Tensor,
    b: Tensor | None,
    dim: int,
    act: str,
    alpha: float | None,
    gain: float | None,
    clamp: float | None,
) -> Setting:
    """Checks the arguments of ``bias_act``."""
    checks.tensor("bias_act", "x", x)
    checks.choice("bias_act", "act", act, ACTIVATIONS)
    row = ACTIVATIONS[act]
    if alpha is None:
        alpha = row.alpha
    elif row.alpha == 0:
        raise ValueError(f"bias_act: alpha is the slope of lrelu below 0; act {act!r} has none, got alpha={alpha!r}")
    else:
        alpha = checks.number("bias_act", "alpha", alpha, minimum=0)
    gain = row.gain if gain is None else checks.number("bias_act", "gain", gain)
    clamp = None if clamp is None else checks.number("bias_act", "clamp", clamp, minimum=0)
    if b is None:
        return Setting(0, act, alpha, gain, clamp)
    checks.tensor("bias_act", "b", b)
    dims = x.dim()
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"bias_act: dim must be a whole number, got {type(dim).__name__} {dim!r}")
    if not -dims <= dim < dims:
        raise ValueError(f"bias_act: dim must be a dimension of x, of shape {tuple(x.shape)}, got {dim}")
    dim %= dims
    if b.dim() != 1 or b.shape[0] != x.shape[dim]:
        raise ValueError(
            f"bias_act: b must have the shape ({x.shape[dim]},), one number for each index of dimension {dim} of x, of "
            f"shape {tuple(x.shape)}, got {tuple(b.shape)}"
        )
    wide = accumulate_dtype(x.dtype)
    if b.dtype not in (x.dtype, wide):
        wanted = " or ".join(map(str, dict.fromkeys((x.dtype, wide))))
        raise TypeError(f"bias_act: b must be {wanted} for x of {x.dtype}, got {b.dtype}; convert it, b.to({wide})")
    if b.device != x.device:
        raise ValueError(
            f"bias_act: b ({b.device}) and x ({x.device}) must be on the same device; move one, e.g. "
            f"b.to({str(x.device)!r})"
        )
    return Setting(dim, act, alpha, gain, clamp)
