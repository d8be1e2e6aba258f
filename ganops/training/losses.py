"""The record of a run's losses, and the check that they are finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["LossLog", "TrainingDiverged"]

_NAMES = ("discriminator's loss", "gradient penalty", "generator's loss")


class TrainingDiverged(FloatingPointError):
    """A loss became NaN or infinite."""


class LossLog:
    """The losses of all steps. Those since the last record stay on the device, since reading them waits for it.

    Attributes:
        pending: the losses since the last record, (3,) each: discriminator, penalty, generator.
        history: one row for each record, with the means over its steps.
    """

    def __init__(self) -> None:
        self.pending: list[Tensor] = []
        self.history: list[dict[str, float]] = []

    def drop_skipped(self) -> None:
        """Drop pending steps with a loss that is not finite: in float16 the gradient scaler has skipped these."""
        if self.pending:
            finite = torch.isfinite(torch.stack(self.pending)).all(dim=1).tolist()
            self.pending = [row for row, kept in zip(self.pending, finite, strict=True) if kept]

    def find_divergence(self, step: int) -> str | None:
        """What first became NaN or infinite, and in which step; None if all is finite.

        The pending losses from that step on are dropped.

        Args:
            step: number of the last step.
        """
        if not self.pending:
            return None
        losses = torch.stack(self.pending)
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad) == 0:
            return None
        row, column = bad[0].tolist()
        number = step - len(self.pending) + row + 1
        self.pending = self.pending[:row]
        return f"the {_NAMES[column]} became {losses[row, column].item()} at step {number}"

    def record(self, step: int, *, penalty: bool, **more: float) -> bool:
        """Append the mean of the pending losses, and `more`, to the history. Returns False if none is pending."""
        if not self.pending:
            return False
        means = torch.stack(self.pending).double().mean(dim=0).tolist()
        row: dict[str, float] = {"step": step, "discriminator_loss": means[0], "generator_loss": means[2]}
        if penalty:
            row["penalty"] = means[1]
        self.history.append(row | more)
        self.pending = []
        return True

    def state_dict(self) -> dict[str, Any]:
        """The history and the pending losses."""
        return {"history": self.history, "pending": [loss.cpu() for loss in self.pending]}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue where `state_dict` was taken."""
        self.history = list(state["history"])
        self.pending = [loss.to(device) for loss in state["pending"]]
