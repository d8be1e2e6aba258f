"""Weight clipping: all tensors in one kernel, in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ganops import _library
from ganops._common.checks import FLOATS
from ganops._common.clip_weights import check, collect, limits
from ganops._transforms import PLAIN_TYPES, is_compiling
from ganops.ops import _layout
from ganops.reference.clip_weights import clip_weights_ as reference_clip_

_clip_weights_op = _library.operator("clip_weights_")
_try_clip_weights_op = _library.operator("try_clip_weights_")


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
    if low <= 0 <= high and _clip_at_once(tensors, low, high):  # 0 is a number of every dtype
        return
    check(tensors, low, high)
    for group in _groups(tensors):
        if _library.has_kernel("clip_weights_", group[0]) and _is_whole(group[0]):
            with torch.no_grad():
                _clip_weights_op(group, low, high)
            if not is_compiling():
                torch.autograd.graph.increment_version(group)
        else:
            reference_clip_(group, (low, high))


def _clip_at_once(tensors: list[Tensor], low: float, high: float) -> bool:
    """Clips tensors that are dense and of one kind, which need no further check, and returns whether they are. The
    operator finds that out: lists are long, and a question in Python takes as long as the clipping of a small tensor.
    """
    if (
        not tensors
        or is_compiling()
        or not PLAIN_TYPES.issuperset(map(type, tensors))
        or tensors[0].dtype not in FLOATS
        or any(map(Tensor.is_inference, tensors))
        or not _library.has_kernel("clip_weights_", tensors[0])
    ):
        return False
    with torch.no_grad():
        clipped = _try_clip_weights_op(tensors, low, high)
    if clipped:
        torch.autograd.graph.increment_version(tensors)
    return clipped


def _is_whole(tensor: Tensor) -> bool:
    """Whether kernels may go through the tensor's memory as it is: dense, and without a pending negation."""
    if not is_compiling() and tensor.is_neg():
        return False
    return tensor.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense.default(tensor)


def _groups(tensors: list[Tensor]) -> list[list[Tensor]]:
    """The tensors by type, dtype, device and whether their memory is dense: each group is for one call."""
    found: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault((type(tensor), tensor.dtype, tensor.device, _is_whole(tensor)), []).append(tensor)
    return list(found.values())


if _library.loaded():

    @torch.library.register_fake("ganops::clip_weights_")
    def _(tensors, low, high):
        _layout.check_device(*tensors)

    @torch.library.register_fake("ganops::try_clip_weights_")
    def _(tensors, low, high):
        return len({(x.dtype, x.device) for x in tensors}) <= 1 and all(map(_layout.is_dense, tensors))
