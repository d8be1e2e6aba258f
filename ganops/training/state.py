"""Checks that a checkpoint's state fits the trainer that is to continue it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from ganops.training.config import TrainingConfig, with_defaults

__all__ = ["check_fits", "check_same_settings"]

#: Settings that may change between a checkpoint and its continuation: how long, where, and how often to look.
RESUMABLE_CHANGES = frozenset(
    {"steps", "minutes", "device", "log_every", "checkpoint_every", "evaluate_every", "monitor_every"}
)


def check_same_settings(saved: dict[str, Any], config: TrainingConfig) -> None:
    """Raise a `ValueError` if settings other than `RESUMABLE_CHANGES` differ."""
    now = asdict(config)
    saved = with_defaults(saved, config)
    differences = [
        f"{name} was {saved.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(saved.keys() | now.keys())
        if name not in RESUMABLE_CHANGES and saved.get(name) != now.get(name)
    ]
    if differences:
        raise ValueError(
            f"resume: the settings differ from the checkpoint's: {'; '.join(differences)}; "
            f"only {', '.join(sorted(RESUMABLE_CHANGES))} may change"
        )


def check_fits(name: str, network: nn.Module, state: dict[str, Tensor] | None) -> None:
    """Raise a `ValueError` if `state` is not that of a network like `network`."""
    mine = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    theirs = {key: tuple(value.shape) for key, value in (state or {}).items()}
    if mine != theirs:
        key = sorted(set(mine.items()) ^ set(theirs.items()))[0][0]
        raise ValueError(
            f"resume: the checkpoint's {name} is another network: {key} is {theirs.get(key, 'absent')} there and "
            f"{mine.get(key, 'absent')} here"
        )
