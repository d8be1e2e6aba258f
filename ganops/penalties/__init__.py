"""Gradient penalties that call the critic: its gradient at some points, and the penalty on the norm of the gradient.

:class:`Penalties` is parametrised by two functions, ``interpolate`` and ``gradient_norm_penalty``. :mod:`ganops.ops`
uses the fused ones, and :mod:`ganops.reference` those in plain PyTorch. ``critics`` calls the user's critic, ``slopes``
computes its gradients, and ``whole`` has the penalties.
"""

from ganops.penalties.whole import Penalties

__all__ = ["Penalties"]
