"""Settings in a file: YAML or JSON, such as the ``config.json`` of a run."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from ganops._common import checks
from ganops._optional import require
from ganops.training.config import typed
from ganops.training.run import RunConfig

__all__ = ["read_settings"]

# The number and boolean syntax of YAML 1.2, as in JSON. By the rules of YAML 1.1, which PyYAML follows, 1e-4 is a text,
# and off is False (`amp: off`).
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_INT = re.compile(r"[-+]?[0-9]+$")
_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"(~|null|Null|NULL|)$")


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML or JSON file, as fields of `RunConfig`. Only the types of the values are checked.

    Keys are the names of the command line's options, with or without hyphens: ``batch_size: 64`` or ``batch-size: 64``.

    Args:
        path: the file, or a run's folder, whose ``config.json`` is read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not YAML, holds no settings, or holds an unknown or a repeated one.
        TypeError: a value has the wrong type.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"config: {path} does not exist; give a YAML or JSON file, or a run's folder")
    yaml = require("yaml", "--config")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader(yaml))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"config: {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"config: {path} must hold settings such as 'batch_size: 64', got {type(content).__name__} {content!r:.80}"
        )
    types = {field.name: str(field.type) for field in fields(RunConfig)}
    settings: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        checks.choice(f"config: {path}", "setting", name, types)
        if name in settings:
            raise ValueError(f"config: {path} holds {name} twice")
        settings[name] = typed(f"config: {path}: {name}", types[name], value)
    return settings


def _loader(yaml: Any) -> type:
    """PyYAML's safe loader with the scalars of YAML 1.2, which refuses repeated keys."""

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute)

    for name, pattern, first in (
        ("bool", _BOOL, list("tTfF")),
        ("int", _INT, list("-+0123456789")),
        ("float", _FLOAT, list("-+.0123456789")),
        ("null", _NULL, ["~", "n", "N", ""]),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", pattern, first)

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        repeated = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if repeated is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{repeated!r} is there twice", node.start_mark)
        return loader.construct_mapping(node, deep=True)

    def integer(loader: Any, node: Any) -> int:
        return int(loader.construct_scalar(node))  # PyYAML reads 010 as octal

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    Loader.add_constructor("tag:yaml.org,2002:int", integer)
    return Loader
