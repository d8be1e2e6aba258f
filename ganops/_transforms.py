"""What of torch is at work around a call: transforms, dispatch modes, forward-mode derivatives, the compiler.

Torch promises some of these questions to nobody. Where one is missing, its answer is the one that leaves a call to
torch's public ways.
"""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

__all__ = ["dispatch_modes", "dual_level", "is_compiling", "transforms_active"]


def _always() -> bool:
    return True


transforms_active = getattr(torch._C, "_are_functorch_transforms_active", _always)
dispatch_modes = getattr(torch._C, "_len_torch_dispatch_stack", _always)
is_compiling = torch.compiler.is_dynamo_compiling


def dual_level() -> bool:
    """Whether forward-mode derivatives are being taken."""
    return getattr(forward_ad, "_current_level", -1) >= 0
