"""The checks of what the interpolation is given, and its weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype


def prepare(real: Tensor, fake: Tensor, weight: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """Checks the arguments of ``interpolate`` and returns the weights, shape (N,), in the accumulation dtype."""
    checks.tensor("interpolate", "real", real)
    checks.tensor("interpolate", "fake", fake)
    checks.batched("interpolate", "real", real)
    checks.same_shape("interpolate", "real", real, "fake", fake)
    checks.same_kind("interpolate", "real", real, "fake", fake)
    samples = real.shape[0]
    if weight is None:
        return torch.rand(samples, dtype=accumulate_dtype(real.dtype), device=real.device, generator=generator)
    if generator is not None:
        raise ValueError("interpolate: give weight or generator, not both: the generator draws the weight")
    checks.tensor("interpolate", "weight", weight)
    if weight.shape not in ((samples,), (samples, *(1 for _ in real.shape[1:]))):
        raise ValueError(
            f"interpolate: weight must have one entry per sample, shape ({samples},) or ({samples}, 1, …), "
            f"got {tuple(weight.shape)}"
        )
    if weight.device != real.device:
        raise ValueError(f"interpolate: weight ({weight.device}) and real ({real.device}) must be on the same device")
    return weight.reshape(samples).to(accumulate_dtype(real.dtype))
