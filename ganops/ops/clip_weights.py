"""Weight clipping: all tensors in one kernel, in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ganops import _library
from ganops._common.clip_weights import check, collect, limits
from ganops._transforms import is_compiling
from ganops.ops import _layout
from ganops.ops._lists import is_whole, of_one_kind
from ganops.reference.clip_weights import clip_weights_ as reference_clip_

_clip_weights_op = _library.operator("clip_weights_")


def clip_weights_(
    parameters: nn.Module | Tensor | Iterable[Tensor],
    limit: float | tuple[float, float],
    *,
    normalization: bool = False,
) -> None:
    """Clamps every weight to [−limit, limit], in place: the Lipschitz constraint of WGAN.

    Call it **after** the critic's optimiser step, so that the generator meets a clipped critic (Arjovsky et al. 2017,
    algorithm 1, with limit 0.01). No graph is recorded; autograd notices a change of tensors that it has saved.

    Args:
        parameters: A module, a tensor or an iterable of tensors of float16, bfloat16, float32 or float64, on any
            devices. Of a module all parameters are clipped except integers and those of torch's normalization layers,
            whose scale of 1 a limit of 0.01 would ruin. ``optimizers.*(clip=)`` clip all that they update instead.
        limit: At least 0; or the pair (low, high), low ≤ high.
        normalization: Whether a module's normalization layers are clipped too, as by ``module.parameters()``. A module
            in which the types of layers are lost (exported; scripted or traced, where it has classes that are not
            torch's own) needs True, or a list of parameters instead of the module.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted. Nothing is clipped then.
    """
    low, high = limits(limit)
    tensors = collect(parameters, normalization)
    ordinary = low <= 0 <= high and _ordinary(tensors)  # 0 is a number of every dtype
    if not ordinary:
        check(tensors, low, high)
    for group in [tensors] if ordinary else _groups(tensors):
        if group and _library.has_kernel("clip_weights_", group[0]) and (ordinary or is_whole(group[0])):
            with torch.no_grad():
                _clip_weights_op(group, low, high)
            if not is_compiling():
                torch.autograd.graph.increment_version(group)
        else:
            reference_clip_(group, (low, high))


def _ordinary(tensors: list[Tensor]) -> bool:
    """Whether these are contiguous tensors of one kind, which need no further check. Found out cheaply: lists are
    long."""
    return (
        not is_compiling()
        and of_one_kind(tensors)
        and all(map(Tensor.is_contiguous, tensors))
        and not any(map(Tensor.is_inference, tensors))
        and not any(map(Tensor.is_neg, tensors))
    )


def _groups(tensors: list[Tensor]) -> list[list[Tensor]]:
    """The tensors by type, dtype, device and whether their memory is dense: each group is for one call."""
    found: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault((type(tensor), tensor.dtype, tensor.device, is_whole(tensor)), []).append(tensor)
    return list(found.values())


if _library.loaded():

    @torch.library.register_fake("ganops::clip_weights_")
    def _(tensors, low, high):
        _layout.check_device(*tensors)
