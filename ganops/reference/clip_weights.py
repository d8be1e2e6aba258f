"""Weight clipping in plain PyTorch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ganops import _checks

# Clamping the scale of a normalisation layer from 1 to 0.01 does not bound the critic's slope, it destroys the layer.
_NORMALISATION = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def prepare(parameters: nn.Module | Tensor | Iterable[Tensor], limit: float) -> tuple[list[Tensor], float]:
    """Checks the arguments of ``clip_weights_`` and returns the tensors to clip and the limit."""
    limit = _checks.number("clip_weights_", "limit", limit, minimum=0)
    if isinstance(parameters, nn.Module):
        # Each parameter once, even where modules share it.
        found = {
            id(parameter): parameter
            for module in parameters.modules()
            if not isinstance(module, _NORMALISATION)
            for parameter in module.parameters(recurse=False)
        }
        tensors = list(found.values())
    elif isinstance(parameters, Tensor):
        tensors = [parameters]
    elif isinstance(parameters, Iterable):
        tensors = list(parameters)
    else:
        raise TypeError(
            "clip_weights_: parameters must be a Module, a tensor or an iterable of tensors, "
            f"got {type(parameters).__name__}"
        )
    for place, value in enumerate(tensors):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            _checks.tensor("clip_weights_", f"parameters[{place}]", value)
    return tensors, limit


def clip_weights_(parameters: nn.Module | Tensor | Iterable[Tensor], limit: float) -> None:
    """The same function as :func:`ganops.clip_weights_`, in plain PyTorch."""
    tensors, limit = prepare(parameters, limit)
    with torch.no_grad():
        for value in tensors:
            value.clamp_(-limit, limit)
