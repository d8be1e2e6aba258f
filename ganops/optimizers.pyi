# What type checkers see of the optimisers: torch's arguments, and `clip`. The classes are in ops/optimizers.py.

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

__all__ = ["Adam", "RMSprop"]

class RMSprop(torch.optim.RMSprop):
    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        clip: float | None = None,
    ) -> None: ...

class Adam(torch.optim.Adam):
    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        clip: float | None = None,
    ) -> None: ...
