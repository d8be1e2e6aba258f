"""Optimisers that clip what they update, in one pass over the weights."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ganops import _library
from ganops._common.optimizers import Clipping, Lists
from ganops._library import BACKEND
from ganops._transforms import OPERATOR_TYPES
from ganops.reference import optimizers as reference

__all__ = ["Adam", "RMSprop"]

_adam_op = _library.operator("adam_")
_rmsprop_op = _library.operator("rmsprop_")


class _Fused(Clipping):
    """The step through an operator, which checks all tensors before it writes to any."""

    # A GradScaler then hands over its scale and what it found, and never waits for the device.
    _step_supports_amp_scaling = True

    def _update(self, group: dict[str, Any], lists: Lists, complex_weights: bool) -> None:
        if complex_weights or not self._for_kernels(group):
            super()._update(group, lists, complex_weights)
        elif not self._run(group, lists):
            for part in _by_kind(lists):
                if not self._run(group, part):
                    super()._update(group, part, False)

    def _for_kernels(self, group: dict[str, Any]) -> bool:
        """Whether the kernels know these settings. The compiler fuses the reference."""
        if BACKEND == "reference" or group["differentiable"] or torch.compiler.is_compiling():
            return False
        if group["capturable"] and any(p.device.type == "cpu" for p in group["params"]):
            return False  # torch says what it has against that
        numbers = (group["weight_decay"], *group.get("betas", ()))
        return not any(isinstance(number, Tensor) for number in numbers)

    def _run(self, group: dict[str, Any], lists: Lists) -> bool:
        """The step of weights, gradients, states and numbers of steps, if they are of one kind, which the kernels take;
        otherwise returns False. The operator finds that out: lists are long."""
        weights, gradients, steps = lists[0], lists[1], lists[-1]
        if not _library.has_kernel(self._function, weights[0]):
            return False
        if not OPERATOR_TYPES.issuperset(map(type, chain.from_iterable(lists))):
            return False
        device = weights[0].device
        on_device = not steps[0].is_cpu or bool(group.get("fused") and weights[0].is_cpu)
        lr: float | Tensor = group["lr"]
        scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        if not on_device:  # the host counts the steps, so it has to know
            if found_inf is not None and found_inf.item():
                return True
            found_inf = None
        lr_tensor = None
        if isinstance(lr, Tensor):
            lr_tensor = lr.to(device, torch.float32) if on_device else None
            lr = 0.0 if on_device else float(lr)
        if scale is not None:
            scale = scale.to(device, torch.float32)
        if found_inf is not None:
            found_inf = found_inf.to(device, torch.float32)
        operator, tensors, settings = self._kernel(group, lists)
        of_all = group["maximize"], group["clip"], on_device, lr_tensor, scale, found_inf
        if not operator(*tensors, float(lr), *settings, *of_all):
            return False
        torch.autograd.graph.increment_version(weights if scale is None else [*weights, *gradients])
        return True

    def _kernel(self, group: dict[str, Any], lists: Lists) -> tuple[Any, Lists, tuple[float, ...]]:
        """The operator, the lists in its order, and the settings that it alone has."""
        raise NotImplementedError


def _by_kind(lists: Lists) -> list[Lists]:
    """The lists in parts: weights whose gradients, states and steps have the same types, dtypes and devices."""
    found: dict[Any, list[int]] = {}
    for place in range(len(lists[0])):
        of_weight = (tensors[place] for tensors in lists if tensors)
        found.setdefault(tuple((type(x), x.dtype, x.device) for x in of_weight), []).append(place)
    return [tuple([x[i] for i in places] if x else [] for x in lists) for places in found.values()]


class RMSprop(_Fused, reference.RMSprop):
    """``torch.optim.RMSprop`` in one pass over the weights, which clips them too.

    Equivalent to ``torch.optim.RMSprop(…).step()`` and then ``p.clamp_(-clip, clip)`` for each of the weights that were
    updated: the critic's step of WGAN (Arjovsky et al. 2017, algorithm 1). One kernel updates all tensors of a group
    that have one dtype, whatever their number (up to 384 tensors a launch on a GPU), and gives the same bits each time.

    The arguments, the groups' settings and the state dict are those of ``torch.optim.RMSprop``, and checkpoints of
    either go into the other; schedulers, hooks and ``GradScaler`` work as they do there. The groups have ``clip`` as a
    setting more. A checkpoint that has none leaves it as it is.

    Args:
        params: Weights of float16, bfloat16, float32 or float64 (half precision is computed in float32), or groups of
            them, ``[{"params": …, "clip": None}, …]``: normalisation layers, whose scale of 1 a limit of 0.01 would
            ruin, go into a group without.
        lr: The step's size, at least 0.
        alpha: Decay of the average of squared gradients.
        eps: Added to that average's root.
        weight_decay: Times the weight is added to its gradient.
        momentum: Decay of the buffer of moves; 0: there is none.
        centered: Divide by the root of the variance, not of the average square. Where rounding leaves a variance below
            0, which gives NaN in torch, it counts as 0.
        capturable: Count steps on the GPU, so that the step can be captured in a CUDA graph: one launch more.
        foreach: Which of torch's implementations runs where no kernel does: complex weights, ``differentiable``.
        maximize: Step along the gradient.
        differentiable: Record a graph of the step: torch's own, in plain PyTorch.
        clip: After the step every weight is clamped to [−clip, clip], clip > 0; None: it is not. Weights without a
            gradient are left alone, and so are all in a step with a learning rate of 0. Unlike
            :func:`ganops.clip_weights_` of a module, it clips normalization layers too: an optimiser knows no modules.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.
    """

    def _kernel(self, group: dict[str, Any], lists: Lists) -> tuple[Any, Lists, tuple[float, ...]]:
        weights, gradients, squares, momenta, averages, steps = lists
        settings = group["alpha"], group["eps"], group["weight_decay"], group["momentum"]
        return _rmsprop_op, (weights, gradients, squares, averages, momenta, steps), settings


class Adam(_Fused, reference.Adam):
    """``torch.optim.Adam`` in one pass over the weights, which clips them too.

    Equivalent to ``torch.optim.Adam(…).step()`` and then ``p.clamp_(-clip, clip)`` for each of the weights that were
    updated (Kingma & Ba 2015, arXiv:1412.6980). Kernels, state dict, groups and ``clip`` are as in :class:`RMSprop`.

    Args:
        params: As for :class:`RMSprop`.
        lr: The step's size, at least 0.
        betas: Decay of the averages of the gradient and of its square, each at least 0 and below 1.
        eps: Added to the root of the second.
        weight_decay: Times the weight is added to its gradient; ``decoupled_weight_decay``: the weight shrinks by lr
            times that instead (AdamW).
        amsgrad: Divide by the root of the largest average so far.
        foreach, fused: Which of torch's implementations runs where no kernel does; with ``fused`` steps are counted on
            the weights' device, as torch does then.
        maximize, capturable, differentiable, clip: As for :class:`RMSprop`.

    Raises:
        ValueError, TypeError: Naming the argument, the value received and the values accepted.
    """

    def _kernel(self, group: dict[str, Any], lists: Lists) -> tuple[Any, Lists, tuple[float, ...]]:
        return _adam_op, lists, (*group["betas"], group["eps"], group["weight_decay"], group["decoupled_weight_decay"])


if _library.loaded():

    @torch.library.register_fake("ganops::adam_")
    @torch.library.register_fake("ganops::rmsprop_")
    def _(weights, gradients, state_1, state_2, state_3, steps, *rest):
        kinds = {(x.dtype, x.device) for x in chain(weights, gradients, state_1, state_2, state_3)}
        return len(kinds) <= 1 and all(step.is_cpu or step.device == weights[0].device for step in steps)
