"""Whole gradient penalties: the gradient of a critic at some points, and the penalty on its norm.

:class:`Penalties` holds them over two functions, ``interpolate`` and ``gradient_norm_penalty``: :mod:`ganops.ops` makes
it of the fused ones, :mod:`ganops.reference` of those in plain PyTorch. ``critics`` calls a user's critic, ``slopes``
differentiates it, ``whole`` has the penalties.
"""

from ganops.penalties.whole import Penalties

__all__ = ["Penalties"]
