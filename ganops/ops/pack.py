"""Packing of samples: no kernel, for nothing is computed and mostly nothing is moved."""

from __future__ import annotations

from torch import Tensor

from ganops.reference.pack import pack as reference_pack


def pack(x: Tensor, degree: int) -> Tensor:
    """Joins each ``degree`` consecutive samples into one: what the discriminator of a PacGAN sees.

    A D that judges several samples of one kind at once sees that they resemble each other when G collapses
    (Lin et al. 2018, arXiv:1712.04086). Equivalent to ``x.reshape(N // degree, degree * C, *rest)``.

    Args:
        x: Samples (N, F) or (N, C, …), of any dtype; N must be a multiple of ``degree``.
        degree: Samples per pack, at least 1.

    Returns:
        (N/degree, degree·F) or (N/degree, degree·C, …), a view of ``x`` where its layout allows one. Differentiable to
        any order.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.
    """
    return reference_pack(x, degree)
