"""hypothesis' ``given`` and ``st``; where it is not installed (no network, say), tests that are skipped instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

try:
    from hypothesis import given
    from hypothesis import strategies as st
except ModuleNotFoundError:

    class _Nothing:
        """Stands for every strategy."""

        def __getattr__(self, name: str) -> _Nothing:
            return self

        def __call__(self, *arguments: Any, **named: Any) -> _Nothing:
            return self

    st = _Nothing()

    def given(*_: Any, **__: Any) -> Callable[[Callable[..., None]], Callable[[], None]]:
        def without(test: Callable[..., None]) -> Callable[[], None]:
            @pytest.mark.skip(reason="a property: needs hypothesis")
            def skipped() -> None: ...

            skipped.__name__ = test.__name__
            return skipped

        return without


__all__ = ["given", "st"]
