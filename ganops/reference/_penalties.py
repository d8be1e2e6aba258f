"""The whole penalties over the ops in plain PyTorch; see ganops/ops/_penalties.py."""

from ganops.penalties import Penalties
from ganops.reference.gradient_penalty import gradient_norm_penalty
from ganops.reference.interpolate import interpolate

_penalties = Penalties(interpolate, gradient_norm_penalty)
approximate_r1_penalty = _penalties.approximate_r1_penalty
dragan_penalty = _penalties.dragan_penalty
gradient_penalty = _penalties.gradient_penalty
input_gradient_penalty = _penalties.input_gradient_penalty
lp_penalty = _penalties.lp_penalty
r1_penalty = _penalties.r1_penalty
r2_penalty = _penalties.r2_penalty
