"""Random numbers that do not depend on torch's default device or dtype; from the CPU they are the same everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cpu_generator", "normal", "seeded", "uniform"]


def seeded(seed: int, device: torch.device | str) -> torch.Generator:
    """A generator on `device` with this seed."""
    return torch.Generator(device=device).manual_seed(seed)


def cpu_generator(seed: int) -> torch.Generator:
    """A generator on the CPU with this seed."""
    return seeded(seed, "cpu")


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Numbers from N(0, 1), float32, on the generator's device."""
    return torch.randn(*shape, generator=generator, device=generator.device, dtype=torch.float32)


def uniform(*shape: int, generator: torch.Generator) -> Tensor:
    """Numbers from U[0, 1), float32, on the generator's device."""
    return torch.rand(*shape, generator=generator, device=generator.device, dtype=torch.float32)
