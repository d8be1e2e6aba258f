"""The checks of what the interpolation is given, and its weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype


def prepare(real: Tensor, fake: Tensor, weight: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """Checks the arguments of ``interpolate`` and returns the weights, shape (N,), in the accumulation dtype."""
    if not (checks.alike(real, fake) and real.dim() > 0 and real.shape == fake.shape):
        checks.tensor("interpolate", "real", real)
        checks.tensor("interpolate", "fake", fake)
        checks.batched("interpolate", "real", real)
        checks.same_shape("interpolate", "real", real, "fake", fake)
        checks.same_kind("interpolate", "real", real, "fake", fake)
    shape, wide = real.shape, accumulate_dtype(real.dtype)
    if weight is None:
        return torch.rand(shape[0], dtype=wide, device=real.device, generator=generator)
    if generator is not None:
        raise ValueError("interpolate: pass weight or generator, not both: the generator draws the weight")
    checks.tensor("interpolate", "weight", weight)
    given = weight.shape
    if given[:1] != shape[:1] or given.numel() != shape[0] or len(given) not in (1, 2, len(shape)):
        raise ValueError(
            f"interpolate: weight must have one entry per sample, shape ({shape[0]},) or ({shape[0]}, 1, …), "
            f"got {tuple(given)}"
        )
    if weight.device != real.device:
        raise ValueError(f"interpolate: weight ({weight.device}) and real ({real.device}) must be on the same device")
    weight = weight if len(given) == 1 else weight.reshape(shape[0])
    return weight if weight.dtype == wide else weight.to(wide)
