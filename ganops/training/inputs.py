"""Checks of the networks and the data that a trainer is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

__all__ = ["check_batch", "check_copyable", "check_loader", "check_network", "dtype_mismatch", "trainable"]


def check_network(name: str, network: object) -> None:
    """Raise a TypeError or a ValueError if `network`, the argument `name`, cannot be trained."""
    if not isinstance(network, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {type(network).__name__}")
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    for key, value in tensors.items():
        if isinstance(value, UninitializedParameter | UninitializedBuffer):
            raise ValueError(
                f"{name} has a lazy layer whose {key} is not initialised; call it once on a batch before you give it "
                "to the trainer"
            )
        if value.is_meta:
            raise ValueError(
                f"{name} has {key} on the meta device, without numbers; build it on a real device, or call to_empty() "
                "and initialise it"
            )
    trainable(network, name)


def trainable(network: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters that need a gradient. Raises a ValueError if there are none."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(f"{name} has no trainable parameters")
    return parameters


def check_copyable(name: str, network: nn.Module) -> None:
    """Raise a ValueError if `network` keeps computed tensors, which cannot be copied for a moving average."""
    for key, module in network.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                where = f"{key}.{attribute}" if key else attribute
                raise ValueError(
                    f"{name} keeps a computed tensor in {where}, which the moving average cannot copy. The old "
                    "torch.nn.utils.weight_norm and spectral_norm do so: use those of "
                    "torch.nn.utils.parametrizations, or ema=0"
                )


def check_loader(loader: Any) -> None:
    """Raise a ValueError if a DataLoader shuffles on another device than torch's default one, which torch cannot."""
    sampler = getattr(loader, "sampler", None)
    if not isinstance(sampler, torch.utils.data.RandomSampler):
        return
    default, generator = torch.get_default_device(), sampler.generator
    own = "cpu" if generator is None else generator.device.type
    if own != default.type:
        raise ValueError(
            f"data: the loader shuffles with a generator on {own}, and torch's default device is {default}; give the "
            f"loader generator=torch.Generator(device={str(default)!r}), or call torch.set_default_device('cpu')"
        )


def check_batch(real: Tensor, fake: Tensor) -> None:
    """Raise a TypeError or a ValueError unless the generator's samples are like the data's."""
    if not real.is_floating_point():
        raise TypeError(
            f"data has samples of {real.dtype}, and the networks compute with floating-point numbers; convert it, e.g. "
            "data.float() / 127.5 - 1 for images in [0, 255]"
        )
    if real.shape != fake.shape:
        raise ValueError(
            f"generator gives samples of shape {tuple(fake.shape[1:])} and the data's have {tuple(real.shape[1:])}; "
            "they must be the same"
        )
    if real.dtype != fake.dtype:
        raise TypeError(
            f"data has samples of {real.dtype} and the generator's are {fake.dtype}; convert one, e.g. "
            f"data.to({fake.dtype}), or both networks with .to({real.dtype})"
        )


def dtype_mismatch(name: str, network: nn.Module, samples: Tensor) -> str | None:
    """What to do if `network` failed on `samples` because none of its parameters have their dtype; None if some do."""
    dtypes = {p.dtype for p in network.parameters() if p.is_floating_point()}
    if samples.dtype in dtypes or not dtypes:
        return None
    have = ", ".join(sorted(map(str, dtypes)))
    return f"{name} has parameters of {have} and gets {samples.dtype}; convert it with {name}.to({samples.dtype})"
