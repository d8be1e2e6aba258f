"""Random interpolation between real and fake samples in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from ganops import _checks


def accumulate_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that sums and weights are held in: float64 for float64, float32 for all below."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def prepare(real: Tensor, fake: Tensor, weight: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """Checks the arguments of ``interpolate`` and returns the weights, shape (N,), in the accumulation dtype."""
    _checks.tensor("interpolate", "real", real)
    _checks.tensor("interpolate", "fake", fake)
    _checks.batched("interpolate", "real", real)
    _checks.same_shape("interpolate", "real", real, "fake", fake)
    _checks.same_kind("interpolate", "real", real, "fake", fake)
    samples = real.shape[0]
    if weight is None:
        return torch.rand(samples, dtype=accumulate_dtype(real.dtype), device=real.device, generator=generator)
    if generator is not None:
        raise ValueError("interpolate: give weight or generator, not both: the generator draws the weight")
    _checks.tensor("interpolate", "weight", weight)
    if weight.shape not in ((samples,), (samples, *(1 for _ in real.shape[1:]))):
        raise ValueError(
            f"interpolate: weight must have one entry per sample, shape ({samples},) or ({samples}, 1, …), "
            f"got {tuple(weight.shape)}"
        )
    if weight.device != real.device:
        raise ValueError(f"interpolate: weight ({weight.device}) and real ({real.device}) must be on the same device")
    return weight.reshape(samples).to(accumulate_dtype(real.dtype))


def interpolate(
    real: Tensor, fake: Tensor, weight: Tensor | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    """The same function as :func:`ganops.interpolate`, in plain PyTorch."""
    real, fake = _checks.promoted(real, fake)
    weight = prepare(real, fake, weight, generator)
    weight = weight.view(-1, *(1 for _ in real.shape[1:]))
    return (weight * real + (1 - weight) * fake).to(real.dtype)
