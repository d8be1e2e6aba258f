"""What only a card can show: streams, graphs, no hidden synchronisation, launches, and a device that is not the first.

Without a card all of it is skipped. Each test runs forward and backward of every representative case of the conformance
table, on sizes that take reductions over many blocks.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import ganops
from ganops import _library
from ops.conformance.evaluate import derivatives, outputs, random_like, second_derivatives
from ops.conformance.table import REPRESENTATIVE, Case, inputs_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

# Of logits and of samples: many tiles, a rest that fills no vector, a length that no vector divides.
SHAPE = (7, 50_001)
every_case = pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)


@pytest.fixture(autouse=True)
def _synchronised() -> Iterator[None]:
    """An error of a kernel belongs to the test that ran it."""
    yield
    torch.cuda.synchronize()


def prepared(case: Case, device: str = "cuda", dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], list[Tensor]]:
    """(inputs, gradients from above), all on the card."""
    tensors = inputs_of(case, SHAPE, dtype, torch.device(device))
    return tensors, random_like(outputs(case.reference, tensors))


def everything(case: Case, tensors: list[Tensor], upstream: list[Tensor]) -> list[Tensor]:
    """Values and gradients."""
    values, gradients = derivatives(case.fused, tensors, case.differentiable, upstream if case.differentiable else None)
    return [t.detach() for t in (*values, *gradients)]


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_kernels_are_the_compiled_ones() -> None:
    info = ganops.build_info()["cuda"]
    assert info["used"], info["problem"]


@every_case
def test_two_streams(case: Case) -> None:
    """Both at once, again and again: neither sees the other's partial sums or counts."""
    jobs = [prepared(case) for _ in range(2)]
    expected = [everything(case, *job) for job in jobs]
    streams = [torch.cuda.Stream() for _ in jobs]
    torch.cuda.synchronize()
    found: list[list[list[Tensor]]] = [[], []]
    for _ in range(20):
        for place, (job, stream) in enumerate(zip(jobs, streams, strict=True)):
            with torch.cuda.stream(stream):
                found[place].append(everything(case, *job))
    torch.cuda.synchronize()
    for results, wanted in zip(found, expected, strict=True):
        assert all(same(result, wanted) for result in results)


def captured(
    case: Case, tensors: list[Tensor], upstream: list[Tensor], stream: torch.cuda.Stream
) -> tuple[torch.cuda.CUDAGraph, list[Tensor]]:
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is loaded at its first use is loaded before the capture
        everything(case, tensors, upstream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = everything(case, tensors, upstream)
    return graph, results


@every_case
def test_graph(case: Case) -> None:
    """A replay computes what eager calls do, on the numbers that are in the inputs by then."""
    tensors, upstream = prepared(case)
    graph, results = captured(case, tensors, upstream, torch.cuda.Stream())
    for _ in range(3):
        fresh = prepared(case)
        for into, new in zip((*tensors, *upstream), (*fresh[0], *fresh[1]), strict=True):
            into.copy_(new)
        graph.replay()
        assert same(results, everything(case, *fresh))


@every_case
def test_graphs_beside_eager_calls(case: Case) -> None:
    """Two graphs captured on one stream replay on two others while eager calls run on the one they were captured on."""
    stream = torch.cuda.Stream()
    jobs = [prepared(case) for _ in range(3)]
    expected = [everything(case, *job) for job in jobs]
    graphs = [captured(case, *job, stream) for job in jobs[:2]]
    others = [torch.cuda.Stream() for _ in graphs]
    torch.cuda.synchronize()
    eager = []
    for _ in range(20):
        for (graph, _), other in zip(graphs, others, strict=True):
            with torch.cuda.stream(other):
                graph.replay()
        with torch.cuda.stream(stream):
            eager.append(everything(case, *jobs[2]))
    torch.cuda.synchronize()
    assert all(same(result, expected[2]) for result in eager)
    for (_, results), wanted in zip(graphs, expected, strict=False):
        assert same(results, wanted)


@every_case
def test_nothing_synchronises(case: Case) -> None:
    tensors, upstream = prepared(case)
    tangents = random_like(tuple(tensors[place] for place in case.differentiable))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        everything(case, tensors, upstream)
        if case.differentiable and not case.composite:
            second_derivatives(case.fused, tensors, case.differentiable, upstream, tangents)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_each_time(case: Case, dtype: torch.dtype) -> None:
    tensors, upstream = prepared(case, dtype=dtype)
    expected = everything(case, tensors, upstream)
    assert all(same(everything(case, tensors, upstream), expected) for _ in range(20))


def launches(run: Callable[[], object]) -> list[str]:
    """What the card did: kernels, memsets, copies."""
    run()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    return [event.name for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]


def _steps() -> dict[str, tuple[Callable[[], list[Tensor]], Callable[..., Tensor], tuple[int, int]]]:
    logits, batch = (64, 1, 128, 128), (64, 3, 32, 32)

    def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
        return [torch.randn(shape, device="cuda", requires_grad=True) for shape in shapes]

    return {
        "discriminator_loss": (lambda: tensors(logits, logits), lambda r, f: ganops.discriminator_loss(r, f), (1, 1)),
        "hinge": (lambda: tensors(logits, logits), lambda r, f: ganops.discriminator_loss(r, f, "hinge"), (1, 1)),
        "generator_loss": (lambda: tensors(logits), lambda f: ganops.generator_loss(f), (1, 1)),
        "interpolate": (
            lambda: [*tensors(batch, batch), torch.rand(64, device="cuda")],
            lambda r, f, w: ganops.interpolate(r, f, w),
            (1, 1),
        ),
        "gradient_norm_penalty": (lambda: tensors(batch), lambda g: ganops.gradient_norm_penalty(g), (1, 1)),
    }


@pytest.mark.parametrize(
    "name", ["discriminator_loss", "hinge", "generator_loss", "interpolate", "gradient_norm_penalty"]
)
def test_launches(name: str) -> None:
    make, function, (forward, backward) = _steps()[name]
    inputs = make()
    seen = launches(lambda: function(*inputs))
    assert len(seen) == forward, seen
    value = function(*inputs)
    above = torch.ones_like(value)
    leaves = [x for x in inputs if x.requires_grad]
    seen = launches(lambda: torch.autograd.grad(value, leaves, above, retain_graph=True))
    assert len(seen) == backward, seen


def test_clipping_is_one_launch() -> None:
    weights = [torch.randn(1000, device="cuda") for _ in range(300)]
    assert len(launches(lambda: ganops.clip_weights_(weights, 0.1))) == 1
    assert all(w.abs().max() <= 0.1 for w in weights)


@pytest.fixture
def no_memory_left() -> Iterator[Callable[[], None]]:
    """Given to a test: from its call on, torch's allocator gets nothing more from the card."""

    def limit() -> None:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("strided", [False, True])
def test_out_of_memory(no_memory_left: Callable[[], None], strided: bool) -> None:
    """Forward, backward and double backward of what has a result as large as its input raise torch's own error."""
    size = 64 << 20
    x = torch.randn(4, 2 * size, device="cuda")[:, ::2] if strided else torch.randn(4, size, device="cuda")
    weight, one = torch.rand(4, device="cuda"), torch.ones((), device="cuda")
    norm = x.norm(dim=1)
    calls = {
        "interpolate": (x, x, weight),
        "interpolate_backward": (x, weight, True, True),
        "gradient_norm_penalty_backward": (one, x, norm, 1.0, False, 0),
        "gradient_norm_penalty_double_backward": (x, one, x, norm, 1.0, False, 0),
    }
    no_memory_left()
    for name, arguments in calls.items():
        with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
            _library.operator(name)(*arguments)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        ganops.generator_loss(x, reduction="none")


# A process that uses the second device alone.
ON_THE_SECOND = """
import torch, ganops
torch.cuda.set_device(1)
x = torch.randn(64, 1000, device="cuda:1", requires_grad=True)
ganops.interpolate(x, x.detach()).sum().backward()
ganops.gradient_norm_penalty(x).backward()
torch.cuda.synchronize(1)
import ctypes
active, flags = ctypes.c_int(), ctypes.c_uint()
assert ctypes.CDLL("libcuda.so.1").cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active)) == 0
assert not active.value, "a context on the first device"
"""


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_no_context_on_a_device_that_is_not_used() -> None:
    subprocess.run([sys.executable, "-c", ON_THE_SECOND], check=True)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
@every_case
def test_another_device(case: Case) -> None:
    """Tensors on the last device while the first is current: computed there, and the first stays current."""
    last = f"cuda:{torch.cuda.device_count() - 1}"
    tensors, upstream = prepared(case, last)
    found = everything(case, tensors, upstream)
    assert torch.cuda.current_device() == 0
    assert all(str(t.device) == last for t in found)
    with torch.cuda.device(last):
        assert same(found, everything(case, tensors, upstream))
