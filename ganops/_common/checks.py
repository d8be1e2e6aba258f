"""Argument checks shared by the reference and the fused functions.

Each public function checks its arguments once, at its top. A message names the function, the argument, the value
received and the values accepted.
"""

from __future__ import annotations

import difflib
import numbers
import sys
from collections.abc import Iterable

import torch
from torch import Tensor

#: The dtypes that there are formulas and kernels for.
FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_STRIDED = torch.strided
_LARGEST = sys.float_info.max


def alike(first: object, *others: object) -> bool:
    """Whether all are dense or nested floating-point tensors of one dtype and device. The ordinary case, found out
    cheaply: only where it fails need the checks below find out what to say."""
    if not isinstance(first, Tensor) or first.layout is not _STRIDED:
        return False
    dtype = first.dtype
    if dtype not in FLOATS:
        return False
    for value in others:
        if not isinstance(value, Tensor) or value.dtype is not dtype or value.layout is not _STRIDED:
            return False
        if not (value.is_cpu and first.is_cpu) and value.device != first.device:
            return False
    return True


def tensor(function: str, name: str, value: object) -> None:
    """Raises TypeError unless ``value`` is a dense or jagged tensor of a floating dtype that there are formulas for."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{function}: {name} must be a tensor, got {type(value).__name__}")
    if value.layout not in (torch.strided, torch.jagged):
        raise TypeError(f"{function}: {name} must be a dense tensor, got {value.layout}; use {name}.to_dense()")
    if not value.is_floating_point():
        raise TypeError(
            f"{function}: {name} must be a floating-point tensor, got {value.dtype}; "
            f"convert it first, e.g. {name}.float()"
        )
    if value.dtype not in FLOATS:
        raise TypeError(
            f"{function}: {name} must be float16, bfloat16, float32 or float64, got {value.dtype}; convert it first, "
            f"e.g. {name}.float()"
        )
    if value.is_nested and value.layout != torch.jagged:
        raise TypeError(
            f"{function}: {name} must be a dense tensor, got a nested tensor of strided layout; nested logits of the "
            "losses may have layout=torch.jagged"
        )


def dense(function: str, name: str, value: object) -> None:
    """Raises TypeError unless ``value`` is a dense tensor of a floating dtype that there are formulas for."""
    tensor(function, name, value)
    if isinstance(value, Tensor) and value.is_nested:
        raise TypeError(f"{function}: {name} must be a dense tensor, got a nested tensor; pad it, or pass its parts")


def same_kind(function: str, first_name: str, first: Tensor, second_name: str, second: Tensor) -> None:
    """Raises unless both tensors have one dtype and one device."""
    if first.dtype != second.dtype:
        raise TypeError(
            f"{function}: {first_name} ({first.dtype}) and {second_name} ({second.dtype}) must have the same dtype; "
            f"convert one, e.g. {second_name}.to({first_name}.dtype)"
        )
    if first.device != second.device:
        raise ValueError(
            f"{function}: {first_name} ({first.device}) and {second_name} ({second.device}) must be on the same device"
            f"; move one, e.g. {second_name}.to({first_name}.device)"
        )


def same_shape(function: str, first_name: str, first: Tensor, second_name: str, second: Tensor) -> None:
    for name, value in ((first_name, first), (second_name, second)):
        if value.is_nested:  # those of strided layout have no shape
            tensor(function, name, value)
    if first.shape != second.shape:
        raise ValueError(
            f"{function}: {first_name} {tuple(first.shape)} and {second_name} {tuple(second.shape)} "
            "must have the same shape"
        )


def batched(function: str, name: str, value: Tensor) -> None:
    if value.dim() == 0:
        raise ValueError(f"{function}: {name} must have a batch dimension, (N, …), got a tensor of shape ()")


def choice(function: str, name: str, value: object, choices: Iterable[str]) -> None:
    """Raises ValueError unless ``value`` is one of ``choices``; the message names the nearest one."""
    choices = sorted(choices)
    if not isinstance(value, str) or value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        where = f"{function}: " if function else ""
        raise ValueError(f"{where}{name} {value!r} is unknown{hint}; choose one of {', '.join(choices)}")


def number(
    function: str, name: str, value: object, *, minimum: float | None = None, above: float | None = None
) -> float:
    """Returns ``value`` as a float; raises TypeError or ValueError unless it is finite and in range.

    NumPy scalars are numbers.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, numbers.Real)):
        raise TypeError(f"{function}: {name} must be a number, got {type(value).__name__}")
    if not isinstance(value, (int, float, numbers.Rational)):
        value = float(value)  # NumPy would convert the bounds to its own dtype
    # Comparisons alone, which torch.compile traces for numbers that change between calls; NaN fails them.
    low = (minimum is not None and value < minimum) or (above is not None and value <= above)
    if low or not -_LARGEST <= value <= _LARGEST:
        wanted = "finite" if minimum is None else f"finite and at least {minimum:g}"
        wanted = wanted if above is None else f"finite and above {above:g}"
        raise ValueError(f"{function}: {name} must be {wanted}, got {value!r}")
    return float(value)


def whole(function: str, name: str, value: object, *, minimum: int, maximum: int = 2**63 - 1) -> int:
    """Returns ``value`` as an int; raises TypeError or ValueError unless it is a whole number within the bounds.

    NumPy integers are whole numbers.
    """
    if isinstance(value, bool) or not isinstance(value, (int, numbers.Integral)):
        raise TypeError(f"{function}: {name} must be a whole number, got {type(value).__name__} {value!r}")
    if value < minimum:
        raise ValueError(f"{function}: {name} must be at least {minimum}, got {value}")
    if value > maximum:
        raise ValueError(f"{function}: {name} must be at most {maximum}, got {value}")
    return value if isinstance(value, int) else int(value)


def flag(function: str, name: str, value: object) -> bool:
    """Returns ``value`` as a bool; raises TypeError unless it is True or False, of Python or of NumPy."""
    if isinstance(value, bool):
        return value
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise TypeError(f"{function}: {name} must be True or False, got {type(value).__name__} {value!r:.100}")


def generator(function: str, value: object) -> None:
    """Raises TypeError unless ``value`` is None or a ``torch.Generator``."""
    if value is not None and not isinstance(value, torch.Generator):
        raise TypeError(f"{function}: generator must be a torch.Generator or None, got {type(value).__name__}")


def grad_scaler(function: str, scaler: object) -> None:
    """Raises TypeError unless ``scaler`` is None or a ``torch.amp.GradScaler``."""
    if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
        raise TypeError(f"{function}: scaler must be a torch.amp.GradScaler or None, got {type(scaler).__name__}")
