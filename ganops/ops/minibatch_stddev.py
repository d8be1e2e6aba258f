"""Minibatch standard deviation: one more feature, by which D sees how varied a batch is."""

from __future__ import annotations

from torch import Tensor

from ganops.reference.minibatch_stddev import minibatch_stddev as reference_minibatch_stddev


def minibatch_stddev(x: Tensor, group_size: int = 4) -> Tensor:
    """Appends the standard deviation within groups of the batch as one more feature or channel.

    The batch is cut into groups; sample i belongs to group i mod (N / group_size). Of each feature (and pixel) the
    standard deviation over the group is taken, √(variance + 1e-8), and the mean of these is appended to every sample of
    the group, the same at every pixel (Karras et al. 2018, arXiv:1710.10196, section 3).

    Args:
        x: Features (N, F) or (N, C, …); float16, bfloat16, float32 or float64.
        group_size: Samples per group; it must divide N. A batch that is smaller is one group.

    Returns:
        (N, F + 1) or (N, C + 1, …), in the dtype of ``x``. Differentiable to any order. Computed in plain PyTorch.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted.
    """
    return reference_minibatch_stddev(x, group_size)
