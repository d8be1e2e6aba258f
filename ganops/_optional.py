"""Optional packages: imported when they are needed, with the command that installs a missing one."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, purpose: str, extra: str = "train") -> ModuleType:
    """Import `module`, a dependency of an extra.

    Args:
        module: dotted name, for example ``"sklearn.neighbors"``.
        purpose: what needs it; opens the message.
        extra: the extra in ``pyproject.toml`` that has the package.

    Raises:
        ModuleNotFoundError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name != package:
            raise  # the package is there and something that it needs is not: its own message says more
        raise ModuleNotFoundError(
            f'{purpose} needs the package {package!r}, which is not installed: pip install "ganops[{extra}]"',
            name=package,
        ) from None
