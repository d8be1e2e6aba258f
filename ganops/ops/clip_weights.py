"""Weight clipping: all tensors in one kernel, in place."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ganops import _library
from ganops._common import checks
from ganops._common.clip_weights import check, collect
from ganops._library import BACKEND
from ganops.reference.clip_weights import clip_weights_ as reference_clip_

_clip_weights_op = _library.operator("clip_weights_")


def clip_weights_(parameters: nn.Module | Tensor | Iterable[Tensor], limit: float) -> None:
    """Clamps every weight to [−limit, limit], in place: the Lipschitz constraint of WGAN.

    Call it **after** the critic's optimiser step, so that the generator meets a clipped critic (Arjovsky et al. 2017,
    algorithm 1, with limit 0.01). Autograd is told of the change; no graph is recorded.

    Args:
        parameters: A module, a tensor or an iterable of tensors, of any floating dtypes and devices. Of a module all
            parameters are clipped but those of normalisation layers, whose scale of 1 a limit of 0.01 would ruin; to
            clip these too pass ``module.parameters()``.
        limit: At least 0.

    Raises:
        ValueError, TypeError: Naming the argument, what came and what is wanted. Nothing is clipped then.
    """
    limit = checks.number("clip_weights_", "limit", limit, minimum=0)
    tensors = collect(parameters)
    if not _clip_at_once(tensors, limit):
        check(tensors)
        _clip_by_groups(tensors, limit)


def _clip_at_once(tensors: list[Tensor], limit: float) -> bool:
    """Hands the list to the operator, which checks it all before it writes. False if it will not have it.

    The usual list is of one dtype, one device and dense. To find that out here would cost more than the clipping.
    """
    if not tensors or BACKEND == "reference" or not _library.loaded() or torch.compiler.is_compiling():
        return False
    try:
        if any(map(Tensor.is_inference, tensors)):
            return False  # which the operator does not see, and which are not to be changed everywhere
        with torch.no_grad():
            _clip_weights_op(tensors, limit)
    except (RuntimeError, TypeError):
        return False
    torch.autograd.graph.increment_version(tensors)
    return True


def _clip_by_groups(tensors: list[Tensor], limit: float) -> None:
    """One call of the operator for each dtype and device, and the reference for what the kernels do not take."""
    fused: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    rest: list[Tensor] = []
    for tensor in tensors:
        # Views with gaps, or with a pending negation, are left to torch.
        if _library.serves("clip_weights_", tensor) and _is_dense(tensor):
            fused.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        else:
            rest.append(tensor)
    with torch.no_grad():
        for group in fused.values():
            _clip_weights_op(group, limit)
            if not torch.compiler.is_compiling():
                torch.autograd.graph.increment_version(group)
    reference_clip_(rest, limit)


def _is_dense(tensor: Tensor) -> bool:
    if not torch.compiler.is_compiling() and tensor.is_neg():
        return False
    return tensor.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense.default(tensor)


if _library.loaded():

    @torch.library.register_fake("ganops::clip_weights_")
    def _(tensors, limit):
        return None
