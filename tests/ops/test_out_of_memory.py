"""Where memory runs out, every operator raises what torch itself raises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ganops import _allocation

from .scale import EMULATED

ROOT = Path(__file__).parents[2]

# Every operator on tensors of 8 MiB with 1 MiB left, dense ones and ones that have to be copied first.
EVERY_OPERATOR = """
import ctypes, json, resource, torch
from ganops import _library
from ops.conformance.test_operators import ARGUMENTS
ctypes.CDLL(None).mallopt(-3, 1 << 16)  # from the system, not from what the process has kept
def attempt(call, *arguments):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), -1))
    try:
        return call(*arguments)
    except Exception as error:
        return error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
dense = torch.randn(4, 1 << 19)
strided = torch.randn(4, 1 << 20)[:, ::2]
torch.lerp(dense, dense, dense)  # starts the threads
errors = {}
for name, several in ARGUMENTS.items():
    for x in (dense, strided):
        x = x[:, :300] if name.startswith("minibatch_discrimination") else x
        for make in several:
            result = attempt(_library.operator(name), *make(x))
            if isinstance(result, Exception):
                errors.setdefault(name, []).append([type(result).__name__, str(result), bool(result.__context__)])
torch_error = attempt(torch.empty_like, dense)
print(json.dumps({"torch": [type(torch_error).__name__, str(torch_error), False], "ours": errors}))
"""


@pytest.mark.skipif(EMULATED or not sys.platform.startswith("linux"), reason="limits the memory of the process")
def test_as_torch_raises_it() -> None:
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", EVERY_OPERATOR],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    allocating = {name for name in found["ours"] if not name.startswith("minibatch_discrimination")}
    assert {"interpolate", "diff_augment", "minibatch_stddev_backward", "gradient_norm_penalty_backward"} <= allocating
    kind, text, _ = found["torch"]
    start = text.partition("you tried to allocate")[0]
    for name, errors in found["ours"].items():
        for error_kind, error_text, chained in errors:
            assert error_kind == kind, f"{name}: {error_text}"
            assert error_text.startswith(start), f"{name}: {error_text}"
            assert not chained, name


def refused(count: int):
    def operator(*arguments):
        raise RuntimeError("ganops: torch refused to allocate")

    return _allocation.raising_memory_errors(operator, lambda device_type: count)


def test_another_failure_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="ganops: torch refused"):
        refused(0)(torch.ones(1))


@pytest.mark.parametrize(
    ("device", "kind", "text"),
    [
        ("cuda", torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 8 bytes"),
        ("cpu", RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_room_for_one_tensor_but_not_for_all(monkeypatch, device, kind, text) -> None:
    """The repeated allocation succeeds, because the operator has given back its other tensors."""
    asked = []
    monkeypatch.setattr(_allocation, "_device", lambda arguments: torch.device(device))
    monkeypatch.setattr(torch, "empty", lambda count, **options: asked.append((count, options["device"].type)))
    with pytest.raises(kind, match=text):
        refused(8)([torch.ones(1)])
    assert asked == [(8, device)]


def test_the_device_is_that_of_the_first_tensor() -> None:
    meta = torch.ones(1, device="meta")
    assert _allocation._device((1.0, [meta], torch.ones(1))).type == "meta"
