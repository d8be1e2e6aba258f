"""Which tensors weight clipping takes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ganops._common import checks
from ganops._transforms import BATCH_NORM

# Clamping the scale of a normalisation layer from 1 to 0.01 does not bound the critic's slope, it destroys the layer.
_NORMALISATION = (
    BATCH_NORM,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


def collect(parameters: nn.Module | Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The tensors to clip, not yet checked. Raises TypeError."""
    if isinstance(parameters, nn.Module):
        # Each parameter once, even where modules share it.
        found = {
            id(parameter): parameter
            for module in parameters.modules()
            if not isinstance(module, _NORMALISATION)
            for parameter in module.parameters(recurse=False)
        }
        return list(found.values())
    if isinstance(parameters, Tensor):
        return [parameters]
    if isinstance(parameters, Iterable):
        return list(parameters)
    raise TypeError(
        "clip_weights_: parameters must be a Module, a tensor or an iterable of tensors, "
        f"got {type(parameters).__name__}"
    )


def check(tensors: list[Tensor]) -> None:
    """Raises unless every tensor can be clipped."""
    frozen = not torch.compiler.is_compiling() and not torch.is_inference_mode_enabled()
    for place, value in enumerate(tensors):
        checks.tensor("clip_weights_", f"parameters[{place}]", value)
        if frozen and value.is_inference():
            raise ValueError(
                f"clip_weights_: parameters[{place}] was made in torch.inference_mode(), where alone it may be "
                "changed; clip it there, or pass a clone()"
            )
        if any(size > 1 and stride == 0 for size, stride in zip(value.shape, value.stride(), strict=True)):
            raise ValueError(
                f"clip_weights_: parameters[{place}] of shape {tuple(value.shape)} is an expanded tensor, whose "
                "elements share memory; pass the tensor that was expanded"
            )
