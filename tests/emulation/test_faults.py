"""The emulator finds what is wrong: each planted fault is reported, its healthy twin passes, in any thread order."""

from __future__ import annotations

import time
from types import ModuleType

import pytest

import build

SEEDS = (0, 1, 2, 3)

# The kinds of report that name the fault, and a word that its text must hold. Which of several true reports comes first
# may depend on the order of threads.
FAULTS: dict[str, tuple[set[str], str]] = {
    "out of bounds": ({"out of bounds"}, "behind `"),
    "shared index": ({"undefined behaviour"}, "index 32 is out of bounds for 'float [32]'"),
    "misaligned vector": ({"misaligned access"}, "not a multiple of 16"),
    "misaligned plain vector": ({"undefined behaviour"}, "not a multiple of 16"),
    "write to an input": ({"write to an input"}, "`values`"),
    "32-bit index": ({"undefined behaviour"}, "signed multiplication overflows"),
    "missing barrier": ({"uninitialised shared memory", "race on shared memory"}, "`partial`"),
    "reused shared memory": ({"race on shared memory"}, "`partial`"),
    "return before a barrier": ({"barrier divergence"}, "has returned"),
    "divergent barrier": ({"barrier divergence"}, "waits at __syncthreads"),
    "shuffle without some lanes": ({"warp divergence"}, "has returned"),
    "shuffle from outside the mask": ({"shuffle from an inactive lane"}, "which the mask does not name"),
    "shuffle in a partial warp": ({"shuffle from an inactive lane"}, "which the block does not have"),
    "race on shared memory": ({"race on shared memory"}, "`bins`"),
    "race of equal writes": ({"race on shared memory"}, "`flag`"),
    "race on global memory": ({"race on global memory"}, "no barrier between them"),
    "race between blocks": ({"race on global memory"}, "nothing orders the blocks"),
    "missing fence": ({"race on global memory"}, "`partial`"),
    "missing fence after the ticket": ({"race on global memory"}, "`partial`"),
    "word shared by streams": ({"overlapping launches"}, "on two streams"),
    "word shared by executables": ({"overlapping launches"}, "second executable"),
    "write to read-only memory": ({"write to read-only memory"}, "`values`"),
    "read-only load of what was written": ({"write to read-only memory"}, "`values`"),
    "mask from __activemask": ({"mask from __activemask"}, "CUDA leaves open"),
    "ticket before the barrier": ({"race on global memory"}, "`partial`"),
    "missing __syncwarp": ({"uninitialised shared memory", "race on shared memory"}, "`line`"),
    "unwritten output": ({"unwritten output"}, "`result` at byte 400 of 412, in all 12 bytes"),
    "uninitialised shared memory": ({"uninitialised shared memory"}, "`partial` at byte 8"),
    "uninitialised global memory": ({"uninitialised global memory"}, "`result`"),
}


@pytest.fixture(scope="module", params=["assembly", "ucontext"])
def emulator(request: pytest.FixtureRequest) -> ModuleType:
    """The module with the planted faults, with each way of switching between threads."""
    return build.load(build.build_faults(ucontext=request.param == "ucontext"))


@pytest.fixture(autouse=True)
def fresh(emulator: ModuleType) -> None:
    """No launches, no faults, threads in their natural order."""
    emulator.reset()
    emulator.set_seed(0)


def test_each_module_is_its_own() -> None:
    assembly, ucontext = (build.load(build.build_faults(ucontext=ucontext)) for ucontext in (False, True))
    assembly.set_seed(1)
    ucontext.set_seed(2)
    assert (assembly.seed(), ucontext.seed()) == (1, 2)
    assembly.set_seed(0)
    ucontext.set_seed(0)


def test_each_fault_has_a_test(emulator: ModuleType) -> None:
    planted = {name.removesuffix("/faulty") for name in emulator.cases() if name.endswith("/faulty")}
    assert planted == set(FAULTS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_reported(emulator: ModuleType, name: str, seed: int) -> None:
    kinds, text = FAULTS[name]
    emulator.set_seed(seed)
    if name == "unwritten output":  # found when the op ends
        emulator.run(f"{name}/faulty")
    else:
        with pytest.raises(RuntimeError) as caught:  # what a launch check throws
            emulator.run(f"{name}/faulty")
        assert str(caught.value) == emulator.faults()[0]["text"]
    fault = emulator.faults()[0]
    assert fault["kind"] in kinds, fault["text"]
    assert text in fault["text"]
    with pytest.raises(emulator.EmulationFault, match="emulated CUDA: "):
        emulator.raise_faults()
    emulator.raise_faults()  # reported once


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "unwritten output"])
def test_fault_names_kernel_and_line(emulator: ModuleType, name: str) -> None:
    with pytest.raises(RuntimeError):
        emulator.run(f"{name}/faulty")
    fault = emulator.faults()[0]
    assert fault["kernel"].startswith("faults::")
    # An atomic's line is that of the stand-in for the intrinsic.
    assert (".cu:" in fault["where"]) != name.startswith("word shared by")
    assert "block (" in fault["text"]


@pytest.mark.parametrize("name", FAULTS)
def test_healthy_twin_passes_in_any_order(emulator: ModuleType, name: str) -> None:
    results = []
    for seed in SEEDS:
        emulator.set_seed(seed)
        results.append(emulator.run(f"{name}/healthy"))
        emulator.raise_faults()
    assert results.count(results[0]) == len(SEEDS)


def test_order_of_threads_is_permuted(emulator: ModuleType) -> None:
    """A race is found at another pair of threads when the order changes, and at the same pair when it does not."""

    def text(seed: int) -> str:
        emulator.set_seed(seed)
        with pytest.raises(RuntimeError) as caught:
            emulator.run("race on shared memory/faulty")
        return str(caught.value)

    assert len({text(seed) for seed in range(6)}) > 1
    assert text(3) == text(3)


def test_neighbours_in_one_word_are_no_race(emulator: ModuleType) -> None:
    emulator.run("neighbours in one word")
    emulator.raise_faults()


def test_warp_operations_follow_cuda(emulator: ModuleType) -> None:
    result = emulator.run("warp operations")
    ballot = 0xAAAAAAAA
    for lane in range(32):
        segment = lane - lane % 8
        group = 0b1111 << lane // 4 * 4
        up, down = lane - 3, lane + 3
        expected = [
            5,
            segment + 1,
            up if up >= 0 else lane,
            up if up >= segment else lane,
            down if down < 32 else lane,
            down if down < segment + 8 else lane,
            lane ^ 5,
            ballot,
            3,
            496,
            -31,
            group,
        ]
        assert result[lane * 12 : lane * 12 + 12] == expected


def test_counters(emulator: ModuleType) -> None:
    emulator.run("large reduction")
    rows, threads, n = 64, 256, 1024
    (launch,) = emulator.launches()
    assert launch["op"] == "large_reduction"
    assert launch["kernel"] == "faults::sum_rows<false>"
    assert (launch["grid"], launch["block"]) == ((rows, 1, 1), (threads, 1, 1))
    assert (launch["blocks"], launch["threads"]) == (rows, rows * threads)
    assert (launch["read_bytes"], launch["written_bytes"]) == (rows * n * 8, rows * 8)
    assert (launch["shared_read_bytes"], launch["shared_written_bytes"]) == (rows * 8 * 8, rows * 8 * 8)
    assert launch["shared_bytes"] == 256
    assert launch["barriers"] == rows
    assert launch["warp_ops"] == rows * (threads // 32 + 1) * 5
    emulator.run("large reduction")
    assert emulator.counters()["large_reduction"]["launches"] == 2
    assert emulator.counters()["large_reduction"]["read_bytes"] == 2 * rows * n * 8


def test_vector_accesses_are_counted_once(emulator: ModuleType) -> None:
    emulator.run("misaligned vector/healthy")
    (launch,) = emulator.launches()
    assert launch["read_bytes"] == launch["vector_read_bytes"] == 256
    assert launch["written_bytes"] == launch["vector_written_bytes"] == 256


def test_a_block_reduction_is_affordable() -> None:
    """64 blocks of 256 threads: some 120,000 switches, 20 ms; the bound allows for a busy machine."""
    emulator = build.load(build.build_faults())
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        emulator.run("large reduction")
        best = min(best, time.perf_counter() - start)
    assert best < 0.1
