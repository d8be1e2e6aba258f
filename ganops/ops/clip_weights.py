"""Weight clipping: all tensors in one kernel, in place."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ganops import _library
from ganops.reference import clip_weights as reference


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
    tensors, limit = reference.prepare(parameters, limit)
    fused: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    rest: list[Tensor] = []
    for tensor in tensors:
        # Strided views and overlapping memory are torch's own business: it knows what may be written.
        if _library.serves("clip_weights_", tensor) and _is_dense(tensor):
            fused.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        else:
            rest.append(tensor)
    with torch.no_grad():
        for group in fused.values():
            torch.ops.ganops.clip_weights_.default(group, limit)
            if not torch.compiler.is_compiling():
                torch.autograd.graph.increment_version(group)
    reference.clip_weights_(rest, limit)


def _is_dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or torch.ops.aten.is_non_overlapping_and_dense.default(tensor)


if _library.loaded():

    @torch.library.register_fake("ganops::clip_weights_")
    def _(tensors, limit):
        return None
