"""Optional packages: imported when they are needed, with the command that installs a missing one."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]

#: The extra of pyproject.toml that brings a package; ``train`` if it is not here.
_EXTRAS = {
    "onnx": "export", "onnxscript": "export", "safetensors": "export", "tensorboard": "log", "wandb": "wandb",
}  # fmt: skip


def require(module: str, purpose: str) -> ModuleType:
    """Import `module`, a dependency of an extra.

    Raises:
        ModuleNotFoundError: it is not installed; the message has the command that installs it.

    Args:
        module: dotted name, for example ``"sklearn.neighbors"``.
        purpose: what needs it; opens the message.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name != package:
            raise  # the package is there and something that it needs is not: its own message says more
        raise ModuleNotFoundError(
            f"{purpose} needs the package {package!r}, which is not installed: "
            f'pip install "ganops[{_EXTRAS.get(package, "train")}]"',
            name=package,
        ) from None
