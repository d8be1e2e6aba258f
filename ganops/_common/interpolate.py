"""The checks of what the interpolation is given, and its weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype


def prepare(real: Tensor, fake: Tensor, weight: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """Checks the arguments of ``interpolate`` and returns the weights, shape (N,), in the accumulation dtype."""
    ordinary = checks.alike(real, fake) and not real.is_nested and not fake.is_nested
    if not (ordinary and real.dim() > 0 and real.shape == fake.shape):
        checks.dense("interpolate", "real", real)
        checks.dense("interpolate", "fake", fake)
        checks.batched("interpolate", "real", real)
        checks.same_shape("interpolate", "real", real, "fake", fake)
        checks.same_kind("interpolate", "real", real, "fake", fake)
    wide = accumulate_dtype(real.dtype)
    checks.generator("interpolate", generator)
    if weight is None:
        device = real.device if generator is None else generator.device
        return torch.rand(real.shape[0], dtype=wide, device=device, generator=generator).to(real.device)
    if generator is not None:
        raise ValueError("interpolate: pass weight or generator, not both: the generator draws the weight")
    check_weight("interpolate", weight, real)
    weight = weight if weight.dim() == 1 else weight.reshape(real.shape[0])
    return weight if weight.dtype == wide else weight.to(wide)


def check_weight(function: str, weight: object, real: Tensor) -> None:
    """Raises unless ``weight`` has one number for each of the samples ``real``."""
    checks.dense(function, "weight", weight)
    shape, given = real.shape, weight.shape
    if given[:1] != shape[:1] or given.numel() != shape[0] or len(given) not in (1, 2, len(shape)):
        raise ValueError(
            f"{function}: weight must have one entry per sample, shape ({shape[0]},) or ({shape[0]}, 1, …), "
            f"got {tuple(given)}"
        )
    if weight.device != real.device:
        raise ValueError(f"{function}: weight ({weight.device}) and real ({real.device}) must be on the same device")
