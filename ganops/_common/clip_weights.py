"""Which tensors weight clipping takes, and its limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

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


def limits(limit: object) -> tuple[float, float]:
    """The lowest and the highest value that a weight may have; raises TypeError or ValueError."""
    if not isinstance(limit, (tuple, list)):
        high = checks.number("clip_weights_", "limit", limit, minimum=0)
        return -high, high
    if len(limit) != 2:
        raise ValueError(f"clip_weights_: limit must be a number or a pair (low, high), got {limit!r}")
    low, high = (checks.number("clip_weights_", f"limit[{place}]", value) for place, value in enumerate(limit))
    if low > high:
        raise ValueError(f"clip_weights_: limit must be a pair (low, high) with low ≤ high, got {limit!r}")
    return low, high


def collect(parameters: nn.Module | Tensor | Iterable[Tensor], normalization: bool = False) -> list[Tensor]:
    """The tensors to clip, not yet checked. Raises TypeError, and ValueError for a module without types of layers."""
    normalization = checks.flag("clip_weights_", "normalization", normalization)
    if isinstance(parameters, nn.Module):
        # Each parameter once, even where modules share it.
        return list({id(parameter): parameter for parameter in _weights(parameters, normalization)}.values())
    if isinstance(parameters, Tensor):
        return [parameters]
    if isinstance(parameters, Iterable):
        return list(parameters)
    raise TypeError(
        "clip_weights_: parameters must be a Module, a tensor or an iterable of tensors, "
        f"got {type(parameters).__name__}"
    )


def _weights(module: nn.Module, normalization: bool) -> Iterator[Tensor]:
    """The parameters of a module that are no integers, with or without those of its normalisation layers."""
    left_out: set[nn.Module] = set()
    for layer in module.modules():
        if layer in left_out:
            continue
        if not normalization and _is_normalisation(layer):
            left_out.update(layer.modules())  # the parametrisations of a layer are modules below it
            continue
        own = [p for p in layer.parameters(recurse=False) if p.is_floating_point() or p.is_complex()]
        if own and not normalization and _has_lost_its_type(layer):
            raise ValueError(
                f"clip_weights_: parameters is a {type(module).__name__} in which types of layers are lost, so that "
                "normalization layers cannot be told from others; pass a list of the parameters to clip, or "
                "normalization=True to clip all"
            )
        yield from own


def _is_normalisation(layer: nn.Module) -> bool:
    if isinstance(layer, torch.jit.ScriptModule):
        kind = getattr(nn, layer.original_name, None)
        return isinstance(kind, type) and issubclass(kind, _NORMALISATION)
    return isinstance(layer, _NORMALISATION)


def _has_lost_its_type(layer: nn.Module) -> bool:
    """Whether a layer comes from a tracer that keeps parameters and not what kind of layer they belong to."""
    if isinstance(layer, torch.jit.ScriptModule):
        return not hasattr(nn, layer.original_name)  # a user's class may be derived from any
    return type(layer) is nn.Module or type(layer).__module__.startswith(("torch.fx.", "torch.export."))


def is_expanded(tensor: Tensor) -> bool:
    """Whether elements share memory, because a dimension has the stride 0."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return False
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def bounds_within(dtype: torch.dtype, low: float, high: float) -> tuple[float | None, float | None] | None:
    """The arguments of ``torch.clamp``, or None if nothing is clipped.

    torch refuses bounds that the dtype cannot hold. They clip nothing.
    """
    largest = torch.finfo(dtype).max
    lowest, highest = (bound if -largest <= bound <= largest else None for bound in (low, high))
    return None if lowest is None and highest is None else (lowest, highest)


def check(tensors: list[Tensor], low: float = -math.inf, high: float = math.inf) -> None:
    """Raises unless every tensor can be clipped to [low, high]."""
    frozen = not torch.compiler.is_compiling() and not torch.is_inference_mode_enabled()
    for place, value in enumerate(tensors):
        checks.tensor("clip_weights_", f"parameters[{place}]", value)
        largest = torch.finfo(value.dtype).max
        if low > largest or high < -largest:
            raise ValueError(
                f"clip_weights_: limit ({low:g}, {high:g}) holds no number of parameters[{place}]'s {value.dtype}"
            )
        if frozen and value.is_inference():
            raise ValueError(
                f"clip_weights_: parameters[{place}] was made in torch.inference_mode(), where alone it may be "
                "changed; clip it there, or pass a clone()"
            )
        if is_expanded(value):
            raise ValueError(
                f"clip_weights_: parameters[{place}] of shape {tuple(value.shape)} is an expanded tensor, whose "
                "elements share memory; pass the tensor that was expanded"
            )
