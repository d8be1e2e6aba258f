"""Minibatch discrimination in plain PyTorch, in memory that does not grow with the inner dimension.

The L1 distance of all pairs, d_ij = Σ_c |m_ic − m_jc|, is the linear map

    P_m(t)_ij = Σ_c sign(m_ic − m_jc)·(t_ic − t_jc)

at t = m. Its transpose is Q_m(g)_ic = Σ_j (g_ij + g_ji)·sign(m_ic − m_jc). The signs being constant almost everywhere,
each is the other's backward, to any order; both go through the (N, N, B, C) differences in slices.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ganops._common.dtypes import accumulate_dtype
from ganops._common.minibatch_discrimination import check
from ganops._transforms import dual_level, is_compiling

_SLICE = 1 << 22  # elements of a slice of the differences: within a last-level cache


def _rows(m: Tensor) -> list[slice]:
    """Slices of the first of the two samples of a pair."""
    step = max(1, _SLICE // max(1, m.numel()))
    return [slice(i, i + step) for i in range(0, m.shape[0], step)]


class _Pairs(Function):
    """P_m(t): (N, B, C) to (N, N, B)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(m: Tensor, t: Tensor) -> Tensor:
        parts = [((m[i, None] - m[None]).sign() * (t[i, None] - t[None])).sum(-1) for i in _rows(m)]
        return torch.cat(parts) if parts else m.new_zeros(0, 0, m.shape[1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple:
        return None, _PairsTransposed.apply(ctx.saved_tensors[0], g)


class _PairsTransposed(Function):
    """Q_m(g): (N, N, B) to (N, B, C)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(m: Tensor, g: Tensor) -> Tensor:
        both = g + g.transpose(0, 1)
        parts = [((m[i, None] - m[None]).sign() * both[i, ..., None]).sum(1) for i in _rows(m)]
        return torch.cat(parts) if parts else torch.zeros_like(m)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> tuple:
        return None, _Pairs.apply(ctx.saved_tensors[0], t)


def _distances(m: Tensor) -> Tensor:
    """(N, B, C) to (N, N, B)."""
    if is_compiling() or dual_level():
        # All differences at once: the compiler makes slices of its own, and tangents pass through PyTorch's operators.
        return (m[:, None] - m[None]).abs().sum(-1)
    return _Pairs.apply(m.detach(), m)


def minibatch_discrimination(x: Tensor, weight: Tensor) -> Tensor:
    """The same function as :func:`ganops.minibatch_discrimination`, in plain PyTorch."""
    x, weight = check(x, weight)
    return closeness((x @ weight.flatten(1)).reshape(x.shape[0], *weight.shape[1:]).to(x.dtype))


def closeness(m: Tensor) -> Tensor:
    """Σ_{j≠i} exp(−‖m_ib − m_jb‖₁): (N, B, C) to (N, B)."""
    wide = m.to(accumulate_dtype(m.dtype))
    # The pair (i, i) is left out, rather than its 1 subtracted: next to a 1 the sum of far neighbours would vanish. By
    # its distance: that of an infinite sample from itself is NaN, and the gradient would be too.
    itself = torch.eye(m.shape[0], dtype=torch.bool, device=m.device)[..., None]
    return torch.exp(-_distances(wide).masked_fill(itself, torch.inf)).sum(1).to(m.dtype)
