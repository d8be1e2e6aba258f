"""Optimisers that clip what they update, in plain PyTorch: ``torch.optim``'s own step, then a clamp."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import adam as _adam
from torch.optim import rmsprop as _rmsprop

from ganops._common.optimizers import Clipping, Lists, constructor


class RMSprop(Clipping, torch.optim.RMSprop):
    """The same optimiser as :class:`ganops.optimizers.RMSprop`, in plain PyTorch."""

    _function = "RMSprop"
    _lists = 6
    __init__ = constructor(torch.optim.RMSprop)

    def _torch_step(
        self,
        group: dict[str, Any],
        lists: Lists,
        complex_weights: bool,
        grad_scale: Tensor | None,
        found_inf: Tensor | None,
    ) -> None:
        weights, gradients, squares, momenta, averages, steps = lists
        names = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "foreach", "maximize")
        settings = {name: group[name] for name in (*names, "differentiable", "capturable")}
        _rmsprop.rmsprop(weights, gradients, squares, averages, momenta, steps, has_complex=complex_weights, **settings)


class Adam(Clipping, torch.optim.Adam):
    """The same optimiser as :class:`ganops.optimizers.Adam`, in plain PyTorch."""

    _function = "Adam"
    _lists = 6
    __init__ = constructor(torch.optim.Adam)

    def _torch_step(
        self,
        group: dict[str, Any],
        lists: Lists,
        complex_weights: bool,
        grad_scale: Tensor | None,
        found_inf: Tensor | None,
    ) -> None:
        names = ("amsgrad", "lr", "weight_decay", "eps", "maximize", "foreach", "capturable", "differentiable")
        settings = {name: group[name] for name in (*names, "fused", "decoupled_weight_decay")}
        beta1, beta2 = group["betas"]
        _adam.adam(
            *lists,
            has_complex=complex_weights,
            beta1=beta1,
            beta2=beta2,
            grad_scale=grad_scale,
            found_inf=found_inf,
            **settings,
        )
