"""The progress of a run: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from tqdm import tqdm

__all__ = ["Progress"]

_LINES = 10  # written to a log over a whole run


class Progress:
    """Shows how far a run is and its losses; a context manager.

    A stream that breaks (a closed terminal or pipe) ends the display, and not the run.

    Args:
        step: steps already done.
        steps: steps in all.
        stream: where to write; a bar if it is a terminal, otherwise about ten lines (a bar would fill a log with
            carriage returns). None: standard error.
    """

    def __init__(self, step: int, steps: int, stream: TextIO | None = None) -> None:
        self._stream: TextIO | None = sys.stderr if stream is None else stream
        self._first, self._steps, self._step = step, steps, step
        self._began = time.perf_counter()
        self._next_line = step
        self._bar: tqdm | None = None
        if self._stream is not None and self._stream.isatty():
            self._bar = tqdm(total=steps, initial=step, unit="step", file=self._stream, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._bar is not None:
                self._bar.close()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        if self._bar is not None:
            self._bar.disable = True  # or closing it would write again
        self._stream = self._bar = None

    def advance(self, step: int) -> None:
        """`step` steps are done."""
        try:
            if self._bar is not None:
                self._bar.update(step - self._step)
        except OSError:
            self._give_up()
        self._step = step

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        try:
            if self._bar is not None:
                self._bar.write(line, file=self._stream)
            elif self._stream is not None:
                print(line, file=self._stream, flush=True)
        except OSError:
            self._give_up()

    def show(self, step: int, losses: dict[str, float]) -> None:
        """`step` steps are done, and these are the last losses."""
        self.advance(step)
        short = {"discriminator_loss": "D", "generator_loss": "G", "penalty": "penalty"}
        text = "  ".join(f"{label} {losses[name]:.3f}" for name, label in short.items() if name in losses)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
        elif step >= self._next_line or step == self._steps:
            rate = (step - self._first) / max(time.perf_counter() - self._began, 1e-9)
            self.say(f"step {step}/{self._steps}  {text}  {rate:.1f} steps/s")
            self._next_line = step + max(1, self._steps // _LINES)
