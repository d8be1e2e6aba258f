"""Random number generators from a seed."""

from __future__ import annotations

import torch

from ganops._common import checks

__all__ = ["cpu_generator"]

_LARGEST = 2**64 - 1  # the largest that torch's generators take


def cpu_generator(function: str, seed: object) -> torch.Generator:
    """Return a generator on the CPU with the given seed.

    Args:
        function: the caller's name, for error messages.
        seed: a whole number from 0 to 2^64 - 1.

    Raises:
        TypeError: `seed` is not a whole number.
        ValueError: `seed` is outside that range.
    """
    return torch.Generator(device="cpu").manual_seed(checks.whole(function, "seed", seed, minimum=0, maximum=_LARGEST))
