"""The optimisers of both networks, as a config describes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

import ganops
from ganops._common.clip_weights import collect
from ganops.training.config import TrainingConfig

__all__ = ["clipped_parameters", "clips", "discriminator_optimizer", "generator_optimizer", "set_learning_rates"]

_EPS = 1e-8  # Adam's denominator, PyTorch's default
_ALPHA = 0.99  # RMSprop's decay, PyTorch's default


def clipped_parameters(config: TrainingConfig, discriminator: nn.Module) -> list[nn.Parameter]:
    """The discriminator's parameters that the config clips: all trainable ones, except normalisation layers'."""
    return [p for p in collect(discriminator) if p.requires_grad] if config.clip else []


def generator_optimizer(config: TrainingConfig, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of the generator's `parameters`."""
    return _make(config, parameters, config.generator_lr)


def discriminator_optimizer(
    config: TrainingConfig, parameters: Sequence[nn.Parameter], clipped: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimiser of the discriminator's `parameters`. Adam and RMSprop clip those in `clipped` as they update them.

    A lazy penalty every k steps makes k + 1 updates out of k. Learning rate and decays are rescaled so that they have
    the effect of k (StyleGAN2: Karras et al. 2020, arXiv:1912.04958, appendix B).
    """
    k = config.penalty_every if config.penalty else 1
    return _make(config, parameters, config.discriminator_lr, 1.0 if k == 1 else k / (k + 1), clipped)


def _make(
    config: TrainingConfig,
    parameters: Sequence[nn.Parameter],
    lr: float,
    share: float = 1.0,
    clipped: Sequence[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """`share` c < 1 rescales the learning rate and the decays so that 1/c updates have the effect of one."""
    lr *= share
    if config.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(parameters, lr=lr)
    else:
        kinds = ganops.optimizers if clipped else torch.optim
        members = {id(p) for p in clipped}
        groups = [{"params": [p for p in parameters if id(p) not in members]}]
        if clipped:
            groups.insert(0, {"params": list(clipped), "clip": config.clip})
        groups = [group for group in groups if group["params"]]
        if config.optimizer == "rmsprop":
            optimizer = kinds.RMSprop(groups, lr=lr, alpha=_ALPHA**share)
        else:
            betas = (config.beta1**share, config.beta2**share)
            optimizer = kinds.Adam(groups, lr=lr, betas=betas, eps=_EPS, fused=True)
    for group in optimizer.param_groups:
        group["initial_lr"] = lr  # the key of torch's schedulers
    return optimizer


def clips(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimiser clips in its own step."""
    return any(group.get("clip") is not None for group in optimizer.param_groups)


def set_learning_rates(config: TrainingConfig, step: int, *optimizers: torch.optim.Optimizer) -> None:
    """Set the rates of the update after `step` generator steps: constant, then linear to zero (``lr_decay``)."""
    decaying = config.lr_decay * config.steps
    left = min(1.0, (config.steps - step) / decaying) if decaying else 1.0
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * left
