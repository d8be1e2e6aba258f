"""Trained generators for other programs: safetensors, torch.export, ONNX."""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ganops
from ganops._files import write_atomically
from ganops._optional import require
from ganops.training.run import RunConfig, generator_from

__all__ = ["EXPORTS", "export", "load_generator"]

#: The endings of the files that `export` writes.
EXPORTS = (".safetensors", ".pt2", ".onnx")

_FORMAT = "ganops-generator-1"


def _inputs(config: RunConfig, extra: dict[str, Any], count: int) -> dict[str, Tensor]:
    """Example inputs by name: z (count, latent_dim), and for a conditional generator labels or images."""
    inputs = {"z": torch.zeros(count, config.latent_dim)}
    if extra["classes"] is not None:
        inputs["label"] = torch.arange(count) % extra["classes"]
    elif extra["condition_shape"] is not None:
        inputs["image"] = torch.zeros(count, *extra["condition_shape"])
    return inputs


def export(path: str | Path, generator: nn.Module, config: RunConfig, extra: dict[str, Any]) -> None:
    """Write a generator. The file takes any number of samples, on the CPU, in float32.

    Args:
        path: ends in .safetensors (weights, with the settings in its metadata), .pt2 (`torch.export.save`) or .onnx.
            Inputs are ``z`` (N, latent_dim) and, in a conditional run, ``label`` (N,) int64 or ``image`` (N, C, H, W).
        generator: from `ganops.training.generator_of`, as is `config`. It is put into evaluation mode.
        config: the run's settings.
        extra: the checkpoint's ``extra``.

    Raises:
        ValueError: another ending.
        ModuleNotFoundError: a package is missing; the message has the command that installs it.
    """
    path = Path(path)
    generator = generator.eval()
    if path.suffix == ".safetensors":
        _write_safetensors(path, generator, config, extra)
        return
    if path.suffix not in EXPORTS:
        raise ValueError(f"export: path must end in {', '.join(EXPORTS)}, got {str(path)!r}")
    if path.suffix == ".onnx":
        require("onnxscript", "export to ONNX", "export")
    inputs = _inputs(config, extra, 2)
    count = torch.export.Dim("N", min=1)
    program = torch.export.export(
        generator, tuple(inputs.values()), dynamic_shapes=tuple({0: count} for _ in inputs), strict=False
    )
    if path.suffix == ".pt2":
        write_atomically(path, lambda file: torch.export.save(program, file))
        return
    program = program.run_decompositions(torch.export.default_decompositions() | _decompositions())
    with tempfile.TemporaryDirectory() as folder, _without_notes():
        file = Path(folder) / "generator.onnx"
        torch.onnx.export(
            program, (), file, input_names=list(inputs), output_names=["samples"], dynamo=True, external_data=False,
            verbose=False,
        )  # fmt: skip
        content = file.read_bytes()
    write_atomically(path, lambda file: file.write(content))


def _decompositions() -> dict[Any, Callable[..., Tensor]]:
    """Our operators in generators, in plain PyTorch: ONNX knows no others."""
    if not hasattr(torch.ops.ganops, "upfirdn"):
        return {}  # no compiled library, so that there are none
    return {torch.ops.ganops.upfirdn.default: ganops.reference.upfirdn2d}


@contextlib.contextmanager
def _without_notes() -> Iterator[None]:
    """Without the exporter's warnings about its own operators."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _write_safetensors(path: Path, generator: nn.Module, config: RunConfig, extra: dict[str, Any]) -> None:
    safetensors = require("safetensors.torch", "export to safetensors", "export")
    weights = {name: value.detach().cpu().contiguous() for name, value in generator.state_dict().items()}
    settings = json.dumps({"config": asdict(config), "extra": extra})
    content = safetensors.save(weights, metadata={"format": _FORMAT, "ganops": settings})
    write_atomically(path, lambda file: file.write(content))


def load_generator(path: str | Path) -> tuple[nn.Module, RunConfig]:
    """The generator in a .safetensors file of `export`, in evaluation mode, and the settings of its run.

    >>> generator, config = load_generator("generator.safetensors")                             # doctest: +SKIP
    >>> images = generator(torch.randn(16, config.latent_dim))                                  # doctest: +SKIP

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or `export` did not write it.
    """
    safetensors = require("safetensors", "load_generator", "export")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"load_generator: {path} does not exist; give a .safetensors file of ganops export")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"load_generator: {path} is not a valid safetensors file: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"load_generator: {path} was not written by ganops export (its format is {metadata.get('format')!r}, "
            f"wanted {_FORMAT!r})"
        )
    content = json.loads(metadata["ganops"])
    generator, config = generator_from(content["config"], content["extra"], weights)
    return generator.eval(), config
