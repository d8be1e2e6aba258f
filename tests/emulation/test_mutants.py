"""Mistakes planted in copies of the library's own kernels: the emulator reports each, and is silent on a plain copy."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import pytest

import build


class Mutant(NamedTuple):
    file: str
    pattern: str  # a regular expression, which must be found
    replacement: str
    case: str  # of mutants/driver.cu
    kinds: set[str]


MUTANTS = {
    "without_barrier": Mutant(
        "cuda/reduce.cuh",
        r"(partial\[warp\] = value;)\s*__syncthreads\(\);",
        r"\1",
        "sum",
        {"uninitialised shared memory", "race on shared memory"},
    ),
    "without_fence": Mutant("cuda/reduce.cuh", r"__threadfence\(\);", "", "sum", {"race on global memory"}),
    "without_second_fence": Mutant(
        "cuda/reduce.cuh", r"(last = atomicInc.*\n)\s*__threadfence\(\);", r"\1", "sum", {"race on global memory"}
    ),
    "return_before_barrier": Mutant(
        "cuda/reduce.cuh",
        r"(if \(lane == 0\) partial\[warp\] = value;)",
        r"if (lane != 0) return 0; \1",
        "sum",
        {"barrier divergence", "warp divergence"},
    ),
    "half_mask": Mutant(
        "cuda/reduce.cuh", r"0xffffffffu", "0x0000ffffu", "sum", {"warp divergence", "shuffle from an inactive lane"}
    ),
    "shared_by_all": Mutant(
        "cuda/reduce.cuh", r"if \(lane == 0\) partial\[warp\]", "partial[warp]", "sum", {"race on shared memory"}
    ),
    "one_too_many": Mutant("cuda/vector.cuh", r"j < end", "j <= end", "value", {"out of bounds"}),
    "without_rest": Mutant("cuda/vector.cuh", r"one\(j\);", "(void)one;", "value", {"unwritten output"}),
    "blocks_overlap": Mutant(
        "cuda/loss_table.cuh",
        r"first_tile\(s\)\) \* tile_size<T, n>",
        "first_tile(s)) * (tile_size<T, n> - 4)",
        "value",
        {"race on global memory"},
    ),
    "always_vectors": Mutant(
        "cuda/vector.cuh",
        r"return \(\(reinterpret_cast<uintptr_t>\(pointers\).*;",
        "return sizeof...(pointers) > 0;",
        "sum",
        {"misaligned access"},
    ),
    "count_not_returned": Mutant(
        "cuda/reduce.cuh", r"atomicInc\(finished, .*?\)", "atomicAdd(finished, 1u)", "sum", {"unwritten output"}
    ),
    "count_not_cleared": Mutant(
        "cuda/ticket.cuh",
        r"tickets = \d+;([\s\S]*?)  check\(cudaMemsetAsync.*\n",
        r"tickets = 0;\1",
        "sum",
        {"uninitialised global memory"},
    ),
    "one_word_for_all_streams": Mutant(
        "cuda/ticket.cuh", r"try_emplace\(id,", "try_emplace(0,", "streams", {"overlapping launches"}
    ),
    "word_in_a_capture": Mutant(
        "cuda/ticket.cuh", r"status == cudaStreamCaptureStatusNone", "true", "captured", {"overlapping launches"}
    ),
}


# A change that must do no harm: launches count in cleared memory.
HEALTHY = {"without_tickets": Mutant("cuda/ticket.cuh", r"tickets = \d+;", "tickets = 0;", "sum", set())}


# What no case runs: left out of every copy, to compile faster.
UNUSED = {
    "cuda/launch.cuh": {r"case DType::(?!float32)\w+:\s*return f\(\w+\{\}\);": ""},
    "math/adversarial_loss.h": {r"case Base::(?:linear|exponential|relu):\s*return f\(\w+\{\}\);": ""},
    "cuda/adversarial_loss.cu": {
        r"table\.paired \? with_capacity\(std::true_type\(\)\) :": "",
        r"table\.paired \? with_each\(std::true_type\(\)\) :": "",
        r"integral_constant<int, many>": "integral_constant<int, few>",
    },
}


def change(mutant: Mutant | None) -> Callable[[str, str], str]:
    def text(file: str, original: str) -> str:
        for pattern, replacement in UNUSED.get(file, {}).items():
            original, count = re.subn(pattern, replacement, original)
            assert count > 0, f"{file} no longer has {pattern!r}"
        if mutant is None or file != mutant.file:
            return original
        changed, count = re.subn(mutant.pattern, mutant.replacement, original)
        assert count > 0, f"{file} no longer has {mutant.pattern!r}: plant the mistake elsewhere"
        return changed

    return text


@pytest.fixture(scope="module")
def emulator() -> ModuleType:
    copies = {name: change(mutant) for name, mutant in (MUTANTS | HEALTHY).items()}
    return build.load(build.build_mutants({"unchanged": change(None), **copies}))


@pytest.fixture(autouse=True)
def fresh(emulator: ModuleType) -> None:
    emulator.reset()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", MUTANTS)
def test_mistake_is_reported(emulator: ModuleType, name: str, seed: int) -> None:
    emulator.set_seed(seed)
    with contextlib.suppress(RuntimeError):  # of the launch check; an unwritten output is found later
        emulator.run(f"{name}/{MUTANTS[name].case}")
    kinds = {fault["kind"] for fault in emulator.faults()}
    assert kinds
    assert kinds <= MUTANTS[name].kinds, emulator.faults()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("case", ["sum", "value", "streams", "captured"])
def test_unchanged_copy_is_silent(emulator: ModuleType, case: str, seed: int) -> None:
    emulator.set_seed(seed)
    result = emulator.run(f"unchanged/{case}")
    assert not emulator.faults()
    assert len(result) == {"sum": 2, "value": 9001, "streams": 2, "captured": 2}[case]
    memsets = [launch["kernel"] for launch in emulator.launches()].count("memset")
    assert memsets == (2 if case == "captured" else 0)  # one a launch
    if case == "captured":
        assert result == emulator.run("unchanged/sum")


def test_without_tickets(emulator: ModuleType) -> None:
    """Where no word is left to count in, one is cleared for each launch, and the sums are the same to the bit."""
    result = emulator.run("without_tickets/sum")
    assert not emulator.faults()
    assert [launch["kernel"] == "memset" for launch in emulator.launches()] == [True, False] * 2
    assert result == emulator.run("unchanged/sum")
