"""The fingerprint of data, by which a resumed run notices that its data has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ganops.data import Dataset

__all__ = ["fingerprint"]


def fingerprint(data: Any) -> dict[str, Any]:
    """The number of samples and a hash, each None if it cannot be told.

    Hashed are the content of tensors (a `ganops.data.Dataset`, a tensor, a `torch.utils.data.TensorDataset`), and the
    paths and sizes of files, for a data set with a list of (path, …) in ``samples`` (torchvision's ``ImageFolder``).
    Data with a method ``fingerprint()`` that returns text is asked instead. Of a loader its ``dataset`` is looked at.
    """
    if isinstance(data, Dataset):
        return {"count": len(data), "hash": _of_tensors((data.samples, data.labels, data.conditions))}
    if isinstance(data, Tensor):
        return {"count": len(data), "hash": _of_tensors((data,))}
    source = getattr(data, "dataset", data)
    return {"count": len(source) if hasattr(source, "__len__") else None, "hash": _of_source(source)}


def _of_source(source: Any) -> str | None:
    if callable(getattr(source, "fingerprint", None)):
        return str(source.fingerprint())
    if isinstance(source, torch.utils.data.TensorDataset):
        return _of_tensors(source.tensors)
    files = getattr(source, "samples", None)
    if isinstance(files, list) and files and all(isinstance(entry, tuple) and entry for entry in files):
        paths = [entry[0] for entry in files]
        if all(isinstance(path, str | os.PathLike) for path in paths):
            return _of_files(paths)
    return None


def _of_tensors(tensors: Iterable[Tensor | None]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        if tensor is None:
            digest.update(b"none")
            continue
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        if tensor.numel():
            values = tensor.detach().cpu().contiguous()
            digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _of_files(paths: list[str | os.PathLike[str]]) -> str:
    """Of paths relative to their common folder, so that a moved folder stays the same, and of sizes."""
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        size = os.stat(path).st_size if os.path.exists(path) else -1
        digest.update(f"{os.path.relpath(path, root)}\0{size}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
