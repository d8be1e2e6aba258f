"""Weight clipping: all tensors in one kernel, in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ganops import _library
from ganops._common import checks
from ganops._common.clip_weights import check, collect
from ganops._transforms import is_compiling
from ganops.ops import _layout
from ganops.ops._lists import is_whole, of_one_kind
from ganops.reference.clip_weights import clip_weights_ as reference_clip_

_clip_weights_op = _library.operator("clip_weights_")


def clip_weights_(parameters: nn.Module | Tensor | Iterable[Tensor], limit: float) -> None:
    """Clamps every weight to [−limit, limit], in place: the Lipschitz constraint of WGAN.

    Call it **after** the critic's optimiser step, so that the generator meets a clipped critic (Arjovsky et al. 2017,
    algorithm 1, with limit 0.01). No graph is recorded; autograd notices a change of tensors that it has saved.

    Args:
        parameters: A module, a tensor or an iterable of tensors, of any floating dtypes and devices. Of a module all
            parameters are clipped except those of normalisation layers, whose scale of 1 a limit of 0.01 would ruin;
            to clip these too pass ``module.parameters()``.
        limit: At least 0.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted. Nothing is clipped then.
    """
    limit = checks.number("clip_weights_", "limit", limit, minimum=0)
    tensors = collect(parameters)
    ordinary = _ordinary(tensors)
    if not ordinary:
        check(tensors)
    for group in [tensors] if ordinary else _groups(tensors):
        if group and _library.has_kernel("clip_weights_", group[0]) and (ordinary or is_whole(group[0])):
            with torch.no_grad():
                _clip_weights_op(group, limit)
            if not is_compiling():
                torch.autograd.graph.increment_version(group)
        else:
            reference_clip_(group, limit)


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
    def _(tensors, limit):
        _layout.check_device(*tensors)
