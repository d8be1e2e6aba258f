"""Differentiable optimiser steps, for unrolled GANs (Metz et al. 2017, arXiv:1611.02163).

The update rules are those of `torch.optim`, out of place. They begin with the optimiser's state; neither the optimiser
nor the network is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["LookAhead", "update_rule"]


def _root(x: Tensor) -> Tensor:
    """√x with the subgradient 0 at 0, so that a weight without any gradient yet gives 0 instead of NaN."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)


def _adam(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    beta1, beta2 = group["betas"]
    step = state.get("step", p.new_zeros(())).double() + 1  # a tensor: reading it would wait for the device
    mean = beta1 * state.get("exp_avg", torch.zeros_like(p)) + (1 - beta1) * g
    square = beta2 * state.get("exp_avg_sq", torch.zeros_like(p)) + (1 - beta2) * g.square()
    size = group["lr"] / (1 - beta1**step)
    scale = _root(square) / (1 - beta2**step) ** 0.5 + group["eps"]
    return p - size * mean / scale, {"step": step, "exp_avg": mean, "exp_avg_sq": square}


def _rmsprop(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    square = group["alpha"] * state.get("square_avg", torch.zeros_like(p)) + (1 - group["alpha"]) * g.square()
    step = state.get("step", p.new_zeros(())) + 1
    return p - group["lr"] * g / (_root(square) + group["eps"]), {"step": step, "square_avg": square}


def _sgd(p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    return p - group["lr"] * g, {}


_RULES: dict[type[torch.optim.Optimizer], Callable[..., tuple[Tensor, dict[str, Any]]]] = {
    torch.optim.Adam: _adam,
    torch.optim.RMSprop: _rmsprop,
    torch.optim.SGD: _sgd,
}


def update_rule(optimizer: torch.optim.Optimizer) -> Callable[..., tuple[Tensor, dict[str, Any]]]:
    """The optimiser's step: from (parameter, gradient, state, group) to the moved parameter and the new state."""
    return next(rule for kind, rule in _RULES.items() if isinstance(optimizer, kind))


class LookAhead:
    """A discriminator some optimiser steps ahead, differentiable in everything that those steps depended on.

    Call it like the network. `step` updates it; the network and its optimiser are not changed.

    Args:
        network: its trainable parameters are updated; buffers (spectral norm's vectors) are copied.
        optimizer: Adam, RMSprop or SGD over those parameters, without momentum or weight decay.
        clip: after each step, clip `clipped` to [−clip, clip]; 0: off.
        clipped: parameters.
    """

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, clip: float = 0.0, clipped: list[nn.Parameter] = ()
    ) -> None:
        self._network = network
        self._rule = update_rule(optimizer)
        self._clip = clip
        named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self._buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        self._groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        self._names = [(name, self._groups[id(p)]) for name, p in named.items()]
        self._clipped = {name for name, p in named.items() if any(p is q for q in clipped)}
        self._state: dict[str, dict[str, Any]] = {name: dict(optimizer.state.get(p, {})) for name, p in named.items()}
        self._parameters = {name: p.detach().requires_grad_() for name, p in named.items()}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The network's output with the updated weights."""
        return functional_call(self._network, (self._parameters, self._buffers), inputs)

    def step(self, loss: Tensor) -> None:
        """One optimiser step on `loss`, which was computed by calls of this object; later calls use its result."""
        gradients = torch.autograd.grad(loss, list(self._parameters.values()), create_graph=True, allow_unused=True)
        for (name, group), gradient in zip(self._names, gradients, strict=True):
            if gradient is None:  # as in torch.optim
                continue
            moved, self._state[name] = self._rule(self._parameters[name], gradient, self._state[name], group)
            self._parameters[name] = moved.clamp(-self._clip, self._clip) if name in self._clipped else moved
