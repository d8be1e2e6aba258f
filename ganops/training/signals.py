"""Signals that end a run after its current step instead of in the middle of it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["TrainingInterrupted", "deferred_signals", "signal_name"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal is gone, such as a dropped ssh


class TrainingInterrupted(KeyboardInterrupt):
    """A signal arrived; the step in progress was finished and the state was saved.

    Attributes:
        exit_code: of the process by the shells' convention: 128 plus the signal's number.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def signal_name(number: int) -> str:
    """The name that users know: Ctrl-C for SIGINT."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


@contextlib.contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Collect the first signal in the yielded list instead of acting on it; the second one acts at once.

    A signal that the process ignores (SIGHUP under nohup, SIGINT in a script's background) stays ignored. Outside the
    main thread Python allows no handlers, and the list stays empty.
    """
    received: list[int] = []
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)
        previous.clear()

    def note(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):  # None: a handler that Python did not install
                previous[number] = handler
                signal.signal(number, note)
    try:
        yield received
    finally:
        restore()
