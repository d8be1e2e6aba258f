"""The whole penalties over the fused ops.

They are imported from here by name: a type checker would take ``gradient_penalty``, assigned in the package itself, for
the submodule that is called so.
"""

from ganops.ops.gradient_penalty import gradient_norm_penalty
from ganops.ops.interpolate import interpolate
from ganops.penalties import Penalties

_penalties = Penalties(interpolate, gradient_norm_penalty)
approximate_r1_penalty = _penalties.approximate_r1_penalty
dragan_penalty = _penalties.dragan_penalty
gradient_penalty = _penalties.gradient_penalty
input_gradient_penalty = _penalties.input_gradient_penalty
lp_penalty = _penalties.lp_penalty
r1_penalty = _penalties.r1_penalty
r2_penalty = _penalties.r2_penalty
