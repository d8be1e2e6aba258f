"""Checks that a checkpoint's state fits the trainer that continues it. All are made before anything is changed."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from ganops.training import schema
from ganops.training.config import TrainingConfig, with_defaults

__all__ = ["check_fits", "check_scalers", "check_settings", "check_step", "fitting_optimizer_state"]

#: Settings that may change between a checkpoint and its continuation: how long, where, and how often to look.
FREE = frozenset(
    {
        "checkpoint_every",
        "compile",
        "cuda_graph",
        "device",
        "evaluate_every",
        "log_every",
        "minutes",
        "monitor_every",
        "steps",
        "workers",
    }
)
#: Settings that may change too if changes are allowed. The others change what the saved state means.
CHANGEABLE = frozenset(
    {
        "adversarial_weight", "augment_ramp", "augment_target", "batch_size", "beta1", "beta2", "clip", "data",
        "discriminator_lr", "ema", "generator_lr", "l1_weight", "loss", "lr_decay", "n_critic", "penalty",
        "penalty_difference", "penalty_every", "penalty_kind", "penalty_sigma", "penalty_target", "recipe",
    }
)  # fmt: skip
#: Of these, what may not be switched on or off: there is state for it, or there is none.
_SWITCHES = frozenset({"augment_target", "clip", "ema"})


def check_settings(saved: dict[str, Any], config: TrainingConfig, allow_changes: bool) -> None:
    """Compare the settings of a checkpoint with those of its continuation.

    Args:
        saved: the settings in the checkpoint.
        config: the present settings.
        allow_changes: warn about differences in `CHANGEABLE` instead of refusing them.

    Raises:
        ValueError: they differ in more than `FREE`.
    """
    now = asdict(config)
    saved = with_defaults(saved, config)
    differences = {
        name: f"{name} was {saved.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(saved.keys() | now.keys())
        if name not in FREE and saved.get(name) != now.get(name)
    }
    if not differences:
        return
    listed = "; ".join(differences.values())
    if not allow_changes:
        raise ValueError(
            f"resume: the settings differ from the checkpoint's: {listed}; leave them out, or add --allow-changes "
            f"(allow_changes=True) to continue with them (free to change are {', '.join(sorted(FREE))})"
        )
    fixed = [
        text
        for name, text in differences.items()
        if name not in CHANGEABLE or (name in _SWITCHES and bool(saved.get(name)) != bool(now.get(name)))
    ]
    if fixed:
        raise ValueError(f"resume: {'; '.join(fixed)}: this cannot change within a run; start a new one")
    warnings.warn(f"resume: continuing with other settings: {listed}", stacklevel=2)


def check_data(saved: dict[str, Any] | None, now: dict[str, Any], allow_changes: bool) -> None:
    """Compare the fingerprints of the data, see `ganops.training.fingerprint`; None: of an older checkpoint.

    Raises:
        ValueError: they differ, and `allow_changes` is false.
    """
    if saved is None or not any(None not in (saved[key], now[key]) and saved[key] != now[key] for key in now):
        return
    change = f"it had {saved['count']} samples and has {now['count']}"
    if saved["count"] == now["count"]:
        change = "as many samples as before, with another content"
    if not allow_changes:
        raise ValueError(
            f"resume: the data has changed since the checkpoint ({change}), so the run cannot continue as it would "
            "have; restore the data, or add --allow-changes (allow_changes=True) to continue with this one"
        )
    warnings.warn(f"resume: continuing with other data ({change})", stacklevel=2)


def check_step(step: int, config: TrainingConfig) -> None:
    """Raise a `ValueError` if the run already has more steps than it is to have."""
    if step > config.steps:
        raise ValueError(f"steps is {config.steps} and the checkpoint already has {step}; ask for more steps")


def check_fits(name: str, network: nn.Module, state: dict[str, Any] | None) -> None:
    """Raise a `ValueError` if `state` is not that of a network like `network`."""
    mine, theirs = (_described(each) for each in (network.state_dict(), state or {}))
    if mine != theirs:
        key = sorted(set(mine.items()) ^ set(theirs.items()))[0][0]
        raise ValueError(
            f"resume: the checkpoint's {name} is another network: {key} is {theirs.get(key, 'absent')} there and "
            f"{mine.get(key, 'absent')} here"
        )


def _described(state: dict[str, Any]) -> dict[str, str]:
    """Shape and dtype of each tensor; other values are a module's own extra state, in which only it can look."""
    return {
        key: f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}" if isinstance(value, Tensor) else "extra"
        for key, value in state.items()
    }


#: The state of each optimiser for one parameter: True for tensors of the parameter's shape, False for scalar tensors.
_STATE: dict[type[torch.optim.Optimizer], dict[str, bool]] = {
    torch.optim.Adam: {"step": False, "exp_avg": True, "exp_avg_sq": True},
    torch.optim.RMSprop: {"step": False, "square_avg": True},
    torch.optim.SGD: {},
}


def fitting_optimizer_state(name: str, optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """The saved state of the parameters with the present settings, for ``optimizer.load_state_dict``.

    Raises:
        ValueError: it is of other parameters or of another optimiser.
    """
    place = f"resume: the checkpoint's {name}"
    now = optimizer.state_dict()["param_groups"]
    groups = [group.get("params") for group in saved["param_groups"]]
    if groups != [group["params"] for group in now]:
        raise ValueError(f"{place} is of other parameters than this one's")
    wanted = next(state for kind, state in _STATE.items() if isinstance(optimizer, kind))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {}
    for index, entries in saved["state"].items():
        if not 0 <= index < len(parameters):
            raise ValueError(f"{place} is of other parameters than this one's: there is no number {index}")
        entries = {key: value for key, value in entries.items() if value is not None}  # SGD's unused momentum
        if entries.keys() != wanted.keys():
            raise ValueError(
                f"{place} holds {', '.join(map(str, entries)) or 'nothing'} for a parameter, and the optimiser needs "
                f"{', '.join(wanted) or 'nothing'}"
            )
        for key, like in wanted.items():
            shape = tuple(parameters[index].shape) if like else ()
            schema.check(entries[key], schema.tensor(shape), f"{place}: state.{index}.{key}")
        state[index] = entries
    return {"state": state, "param_groups": now}


def check_scalers(saved: dict[str, Any], scalers: dict[str, torch.amp.GradScaler]) -> None:
    """Raise a `ValueError` if an enabled gradient scaler cannot continue from `saved`."""
    wanted = {name: schema.SCALER for name, scaler in scalers.items() if scaler.is_enabled()}
    schema.check(saved, schema.record(wanted), "resume: the checkpoint's scalers")
