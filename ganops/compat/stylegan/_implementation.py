"""The argument ``impl`` of StyleGAN's operations."""

from __future__ import annotations

from types import ModuleType

from ganops._common import checks


def implementation(function: str, impl: str, kernels: ModuleType, reference: ModuleType) -> ModuleType:
    """The module that ``impl`` names: the kernels ("cuda", on the CPU too) or plain PyTorch ("ref")."""
    checks.choice(function, "impl", impl, ("cuda", "ref"))
    return kernels if impl == "cuda" else reference
