"""Checks of plain nested data, and the structure of a checkpoint.

A check is a function of a value and its place (``generator_optimizer.state``). It raises a `ValueError` that names the
place, the value and what it must be.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

__all__ = ["CHECKPOINT", "Check", "check"]

Check = Callable[[Any, str], None]


def check(value: Any, rule: Check, place: str) -> None:
    """Raise a `ValueError` unless `value` follows `rule`."""
    rule(value, place)


def _refuse(value: Any, place: str, wanted: str) -> NoReturn:
    if isinstance(value, Tensor):
        shown = f"a tensor {tuple(value.shape)} of {value.dtype}"
    elif isinstance(value, str | int | float | bool | None):
        shown = repr(value)[:40]
    else:
        shown = f"a {type(value).__name__}"
    raise ValueError(f"{place} must be {wanted}, got {shown}")


# -- single values ---------------------------------------------------------------------------------------------------


def number(value: Any, place: str) -> None:
    """Any int or float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(value, place, "a number")


def finite(minimum: float = -math.inf) -> Check:
    """A finite number, at least `minimum`."""

    def rule(value: Any, place: str) -> None:
        number(value, place)
        if not minimum <= value < math.inf:
            _refuse(value, place, "finite" if minimum == -math.inf else f"finite and at least {minimum:g}")

    return rule


def whole(minimum: int = 0) -> Check:
    """An int of at least `minimum` that fits 64 bits."""

    def rule(value: Any, place: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < 2**63:
            _refuse(value, place, f"a whole number of at least {minimum}")

    return rule


def text(value: Any, place: str) -> None:
    """A string."""
    if not isinstance(value, str):
        _refuse(value, place, "text")


def plain(value: Any, place: str) -> None:
    """What JSON can hold at its leaves."""
    if not isinstance(value, str | int | float | bool | None):
        _refuse(value, place, "text, a number, true, false or null")


def json_value(value: Any, place: str) -> None:
    """What JSON can hold."""
    if isinstance(value, list | tuple):
        rows(json_value)(value, place)
    elif isinstance(value, dict):
        mapping(str, json_value)(value, place)
    else:
        plain(value, place)


def anything(value: Any, place: str) -> None:
    """No condition."""


def tensor(shape: tuple[int, ...] | None = None) -> Check:
    """A floating-point tensor of this shape, or any tensor."""

    def rule(value: Any, place: str) -> None:
        if shape is None and not isinstance(value, Tensor):
            _refuse(value, place, "a tensor")
        fits = isinstance(value, Tensor) and tuple(value.shape) == shape and value.is_floating_point()
        if shape is not None and not fits:
            _refuse(value, place, f"a floating-point tensor of shape {shape}")

    return rule


def _probability(value: Any, place: str) -> None:
    tensor(())(value, place)
    if not 0 <= value.item() <= 1:
        _refuse(value.item(), place, "in [0, 1]")


# -- structures ------------------------------------------------------------------------------------------------------


def optional(rule: Check) -> Check:
    """None, or what `rule` asks for."""

    def check_optional(value: Any, place: str) -> None:
        if value is not None:
            rule(value, place)

    return check_optional


def either(wanted: str, *rules: Check) -> Check:
    """What at least one of the rules asks for, which is called `wanted`."""

    def check_either(value: Any, place: str) -> None:
        for rule in rules:
            try:
                rule(value, place)
            except ValueError:
                continue
            return
        _refuse(value, place, wanted)

    return check_either


def rows(rule: Check) -> Check:
    """A list whose entries follow `rule`."""

    def check_rows(value: Any, place: str) -> None:
        if not isinstance(value, list | tuple):
            _refuse(value, place, "a list")
        for i, item in enumerate(value):
            rule(item, f"{place}[{i}]")

    return check_rows


def mapping(keys: type, rule: Check) -> Check:
    """A dictionary with keys of a type and values that follow `rule`."""

    def check_mapping(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, place, "a dictionary")
        for key, item in value.items():
            if not isinstance(key, keys) or isinstance(key, bool):
                _refuse(key, f"a key of {place}", f"of type {keys.__name__}")
            rule(item, f"{place}.{key}")

    return check_mapping


def record(required: dict[str, Check], optional: dict[str, Check] | None = None, rest: Check | None = None) -> Check:
    """A dictionary with these keys. `rest`: what its other values follow; None: other keys are ignored."""
    optional = {} if optional is None else optional

    def check_record(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            _refuse(value, place, "a dictionary")
        for key, rule in required.items():
            if key not in value:
                raise ValueError(f"{place}.{key} is missing" if place else f"{key} is missing")
            rule(value[key], f"{place}.{key}" if place else key)
        for key, rule in optional.items():
            if key in value:
                rule(value[key], f"{place}.{key}" if place else key)
        if rest is not None:
            for key, item in value.items():
                if key not in required and key not in optional:
                    text(key, f"a key of {place}")
                    rest(item, f"{place}.{key}")

    return check_record


# -- random states: whether one is valid only its generator knows ----------------------------------------------------


def _accepted(accept: Callable[[Any], Any], wanted: str) -> Check:
    def rule(value: Any, place: str) -> None:
        try:
            accept(value)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            _refuse(value, place, wanted)

    return rule


def _set_numpy(value: Any) -> None:
    kind, keys, position, has_gauss, gauss = value
    np.random.RandomState().set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))


def generator_state(device: torch.device | str) -> Check:
    """The state of a `torch.Generator` on this device."""
    return _accepted(
        lambda value: torch.Generator(device=device).set_state(value), f"the state of a torch generator on {device}"
    )


def _cuda_state(value: Any, place: str) -> None:
    (generator_state("cuda") if torch.cuda.is_available() else tensor())(value, place)


torch_state = generator_state("cpu")
numpy_state = _accepted(_set_numpy, "the state of NumPy's generator")
python_state = _accepted(lambda value: random.Random().setstate(value), "the state of Python's generator")
cuda_states = rows(_cuda_state)

RNG = record({"torch": torch_state, "cuda": cuda_states, "numpy": numpy_state, "python": python_state})


# -- a checkpoint ----------------------------------------------------------------------------------------------------

_NETWORK = mapping(str, anything)  # tensors, and what a module's get_extra_state returns; compared with the network
_OPTIMIZER = record(
    {"state": mapping(int, mapping(str, anything)), "param_groups": rows(record({"params": rows(whole())}))}
)
_LOSSES = record({"step": whole(), "discriminator_loss": number, "generator_loss": number}, rest=number)
_METRICS = record({"step": whole()}, rest=json_value)

TENSOR_BATCHES = record({"epoch_state": torch_state, "used": whole()})
LOADER_BATCHES = record({"epoch_state": optional(record({"global": RNG, "own": optional(tensor())})), "used": whole()})
STATEFUL_LOADER = record({"loader": anything})
STREAM_BATCHES = record({"epoch": whole(), "used": whole()})

#: The state that `Trainer.state_dict` returns. What depends on the trainer is checked by `ganops.training.state`.
CHECKPOINT = record(
    {
        "config": mapping(str, json_value),
        "step": whole(),
        "seconds": finite(0),
        "generator": _NETWORK,
        "discriminator": _NETWORK,
        "ema": optional(_NETWORK),
        "generator_optimizer": _OPTIMIZER,
        "discriminator_optimizer": _OPTIMIZER,
        "scalers": mapping(str, mapping(str, number)),
        "batches": either("a position in the data", TENSOR_BATCHES, LOADER_BATCHES, STATEFUL_LOADER, STREAM_BATCHES),
        "noise": tensor(),  # the state of a generator on the run's device
        "rng": RNG,
        "augmentation": optional(_probability),
        "history": rows(_LOSSES),
        "evaluations": rows(_METRICS),
        "warnings": rows(text),
        "monitor": optional(
            record(
                {
                    "history": rows(record({"step": whole()}, rest=number)),
                    "streaks": mapping(str, whole()),
                }
            )
        ),
        "pending": rows(tensor((3,))),
        "extra": mapping(str, anything),
    },
    optional={
        "best": _METRICS,
        "discriminator_steps": whole(),
        "data": optional(record({"count": optional(whole()), "hash": optional(text)})),
    },
)

#: The state of a `torch.amp.GradScaler`.
SCALER = record(
    {
        "scale": finite(2.0**-149),
        "growth_factor": finite(1),
        "backoff_factor": finite(0),
        "growth_interval": whole(1),
        "_growth_tracker": whole(),
    }
)

#: The extra state of a run whose networks are built from its settings.
NAMED_RUN = record(
    {
        "shape": rows(whole(1)),
        "classes": optional(whole(1)),
        "condition_shape": optional(rows(whole(1))),
    }
)
