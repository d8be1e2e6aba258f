"""The CUDA kernels on the emulator: right in any thread order, at any address, at tile edges and at huge sizes.

These run where ``GANOPS_BACKEND=emulated``; test_library.py starts them so from an ordinary run. The op suite itself
runs on the emulated kernels too, see plugin.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

if os.environ.get("GANOPS_BACKEND") != "emulated":
    pytest.skip("for GANOPS_BACKEND=emulated", allow_module_level=True)

import ganops
from emulation.plugin import the_emulator
from ganops.ops.minibatch_discrimination import closeness

Op = Callable[[Tensor], list[Tensor]]

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Tiles are 2048 or 4096 elements of float, half as many of double, twice as many of half; pieces of samples are
# multiples of 128, 64 and 256.
EDGES = (1, 31, 2047, 2049, 4097, 8192, 20_003)


@pytest.fixture(scope="module")
def emulator() -> ModuleType:
    assert the_emulator is not None
    return the_emulator


@pytest.fixture(autouse=True)
def _no_fault(emulator: ModuleType) -> Iterator[None]:
    emulator.reset()
    yield
    emulator.set_seed(0)
    emulator.set_ends(0)
    emulator.set_multiprocessors(8)
    emulator.set_stream(0)
    emulator.raise_faults()


def discriminator(x: Tensor) -> list[Tensor]:
    real, fake = x[: x.numel() // 3], x[x.numel() // 3 :]
    return _with_gradients(lambda r, f: ganops.discriminator_loss(r, f), real, fake)


def generator(x: Tensor) -> list[Tensor]:
    return _with_gradients(lambda f: ganops.generator_loss(f, "least_squares", reduction="none"), x)


def interpolate(x: Tensor) -> list[Tensor]:
    batch = x.view(1, -1)
    weight = torch.full((1,), 0.3, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    return _with_gradients(ganops.interpolate, batch, 1 - batch, weight)


def penalty(x: Tensor) -> list[Tensor]:
    return _with_gradients(ganops.gradient_norm_penalty, x.view(1, -1))


def clip(x: Tensor) -> list[Tensor]:
    copy = x.clone()
    # The second tensor starts in the middle of a 16-byte word.
    other = torch.cat([x, x[:1]])[1:]
    ganops.clip_weights_([copy, other], 0.5)
    return [copy, other]


def augment(x: Tensor) -> list[Tensor]:
    """Three channels where the size allows it; moved by whole vectors and by less, for a hole of half a row."""
    channels = 3 if x.numel() % 3 == 0 else 1
    images = x.view(1, channels, 1, -1)
    u = torch.tensor([[0.3, 0.9, 0.1, 0.2, 0.71, 0.4, 0.6]])
    return _with_gradients(lambda images: ganops.diff_augment(images, parameters=u), images)


def discrimination(x: Tensor) -> list[Tensor]:
    # One sample too many for a block, one dimension for the slope's part of them; or a single dimension.
    points = x[: 2 * 17 * 65].view(2, 17, 65) if x.numel() >= 2 * 17 * 65 else x[:65].view(1, 1, -1)
    return _with_gradients(closeness, points)


def deviation(x: Tensor) -> list[Tensor]:
    """Groups of four where the size allows it, in planes of 16 pixels if that does too."""
    size = x.numel() // 4
    if size == 0:
        return _with_gradients(lambda x: ganops.minibatch_stddev(x, 1), x.view(1, -1))
    pixels = 16 if size >= 16 else 1
    features = x[: 4 * (size // pixels * pixels)].view(4, -1, 1, pixels)
    return _with_gradients(ganops.minibatch_stddev, features)


def activation(x: Tensor) -> list[Tensor]:
    """Channels in long stretches, and side by side."""
    stretches = x.view(1, 1, -1) if x.numel() % 2 else x.view(2, 1, -1)
    bias = torch.full((1,), 0.3, dtype=x.dtype)
    found = _with_gradients(lambda x, b: ganops.bias_act(x, b, act="swish"), stretches, bias)
    channels = 5 if x.numel() % 5 == 0 else 1
    rows = x.view(-1, channels)
    bias = torch.linspace(-1, 1, channels, dtype=x.dtype)
    return found + _with_gradients(lambda x, b: ganops.bias_act(x, b, act="softplus", clamp=2.0), rows, bias)


OPS = (discriminator, generator, interpolate, penalty, clip, augment, discrimination, deviation, activation)


def _with_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The value, the gradients, and the gradients of their squared norm: forward, backward and double backward."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    value = function(*leaves)
    first = torch.autograd.grad(value, leaves, torch.ones_like(value), create_graph=True)
    norm = sum(g.double().square().sum() for g in first)
    second = torch.autograd.grad(norm, leaves, allow_unused=True) if norm.requires_grad else ()
    return [t.detach() for t in (value, *first, *second) if t is not None]


def logits(count: int, dtype: torch.dtype, offset: int = 0) -> Tensor:
    """`count` numbers, `offset` elements behind an aligned address."""
    values = torch.randn(count + offset, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    return values.to(dtype)[offset:]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", EDGES)
def test_any_order_any_address(emulator: ModuleType, op: Op, dtype: torch.dtype, count: int) -> None:
    """No bit depends on the order of threads, and addresses that forbid vectors give the same."""
    x = logits(count + 3, dtype)
    expected = op(x)
    emulator.set_seed(count)
    for got, want in zip(op(x), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
    shifted = torch.cat([x[:1], x])[1:]  # the same values, one element off
    assert shifted.data_ptr() % 16 != 0
    for got, want in zip(op(shifted), expected, strict=True):
        torch.testing.assert_close(got, want, equal_nan=True)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("multiprocessors", [1, 132])
def test_any_card(emulator: ModuleType, op: Op, multiprocessors: int) -> None:
    x = logits(20_003, torch.float64)
    expected = op(x)
    emulator.set_multiprocessors(multiprocessors)
    for got, want in zip(op(x), expected, strict=True):
        torch.testing.assert_close(got, want)


def test_launches_that_may_overlap_share_no_count(emulator: ModuleType) -> None:
    """Each stream has a word for the blocks to count in, 0 after use; a captured launch counts in cleared memory."""
    x = logits(20_003, torch.float32)
    expected = ganops.generator_loss(x)
    words = {}
    for _ in range(2):
        for stream, capture in ((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (1, 2)):
            emulator.reset()
            emulator.set_stream(stream, capture)
            assert torch.equal(ganops.generator_loss(x), expected)
            *before, launch = emulator.launches()
            assert launch["grid"][0] > 1
            (word,) = launch["atomic_words"]
            assert [operation["kernel"] for operation in before] == ["memset"] * (capture != 0)
            if capture == 0:
                assert words.setdefault(stream, word) == word
            else:
                assert word not in words.values()
    assert len(set(words.values())) == len(words)


SMALL = {
    "interpolate": lambda: interpolate_batch(torch.randn(64, 3, 32, 32)),
    "gradient_norm_penalty": lambda: penalty_of_batch(torch.randn(64, 3, 32, 32)),
    "minibatch_stddev": lambda: _with_gradients(ganops.minibatch_stddev, torch.randn(64, 512, 4, 4)),
    "diff_augment": lambda: augmented(torch.randn(64, 3, 32, 32), "color,translation,cutout"),
    "bias_act": lambda: activated(torch.randn(64, 3, 32, 32)),
    "bias_act, channels last": lambda: activated(torch.randn(64, 32, 32, 3).permute(0, 3, 1, 2)),
}


def activated(x: Tensor) -> list[Tensor]:
    return _with_gradients(lambda x, b: ganops.bias_act(x, b, act="swish"), x, torch.randn(x.shape[1]))


def interpolate_batch(x: Tensor) -> list[Tensor]:
    return _with_gradients(ganops.interpolate, x, 1 - x, torch.rand(len(x)))


def penalty_of_batch(x: Tensor) -> list[Tensor]:
    return _with_gradients(ganops.gradient_norm_penalty, x)


@pytest.mark.parametrize("name", SMALL)
def test_small_batches_fill_the_card(emulator: ModuleType, name: str) -> None:
    """A block or more for each of an H100's multiprocessors, but for launches that write a number a sample."""
    emulator.set_multiprocessors(132)
    SMALL[name]()
    launches = [launch for launch in emulator.launches() if not re.search("tails|add_columns", launch["kernel"])]
    assert launches
    for launch in launches:
        assert launch["grid"][0] >= 128, launch


# Samples of one piece, of several, and of so many that a few lanes add each; with more than one block and with one.
@pytest.mark.parametrize("shape", [(4096, 3), (300, 700), (9, 5000), (3, 40_000), (1, 70_001), (2, 6)])
@pytest.mark.parametrize("multiprocessors", [1, 132])
def test_sums_of_samples(emulator: ModuleType, shape: tuple[int, int], multiprocessors: int) -> None:
    emulator.set_multiprocessors(multiprocessors)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = (x.norm(dim=1) - 1).square()
    for reduction, want in (("mean", expected.mean()), ("none", expected)):
        emulator.reset()
        torch.testing.assert_close(ganops.gradient_norm_penalty(x, reduction=reduction), want)
        assert [launch["kernel"] for launch in emulator.launches() if launch["kernel"] == "memset"] == []
        assert len(emulator.launches()) == 1


MILLION = 1 << 20


def augmented(x: Tensor, policy: str) -> Tensor:
    """Moved by nothing."""
    return ganops.diff_augment(x, policy, parameters=torch.full((len(x), 7), 0.5))


# (run, least bytes read and written per element) for tensors of 2²⁰ floats.
TRAFFIC: dict[str, tuple[Callable[[], object], int, int]] = {
    "discriminator_loss": (lambda: ganops.discriminator_loss(*torch.randn(2, MILLION)), 8, 0),
    "generator_loss, none": (lambda: ganops.generator_loss(torch.randn(MILLION), reduction="none"), 4, 4),
    "interpolate": (lambda: ganops.interpolate(*torch.randn(2, 64, MILLION // 64), torch.rand(64)), 8, 4),
    "gradient_norm_penalty": (lambda: ganops.gradient_norm_penalty(torch.randn(64, MILLION // 64)), 4, 0),
    "clip_weights_": (lambda: ganops.clip_weights_(torch.randn(MILLION), 0.1), 4, 4),
    "minibatch_stddev": (lambda: ganops.minibatch_stddev(torch.randn(32, MILLION // 1024, 8, 4)), 4, 4),
    "diff_augment": (lambda: augmented(torch.randn(1 << 8, 1, 1 << 5, 1 << 7), "translation"), 4, 4),
    "bias_act": (lambda: ganops.bias_act(torch.randn(64, 16, MILLION >> 10), torch.randn(16), act="lrelu"), 4, 4),
    "diff_augment, colour": (lambda: augmented(torch.randn(1 << 8, 1, 1 << 5, 1 << 7), "color"), 8, 4),
}


@pytest.mark.parametrize("name", TRAFFIC)
def test_no_needless_traffic(emulator: ModuleType, name: str) -> None:
    """Bytes moved are within 5 % of the least possible, and through 16-byte accesses."""
    run, reads, writes = TRAFFIC[name]
    run()
    total = {
        key: sum(c[key] for c in emulator.counters().values())
        for key in ("read_bytes", "written_bytes", "vector_read_bytes")
    }
    least = (reads + writes) * MILLION
    assert least <= total["read_bytes"] + total["written_bytes"] <= 1.05 * least
    assert total["vector_read_bytes"] >= 0.95 * reads * MILLION


def huge(count: int, dtype: torch.dtype = torch.float16) -> Tensor:
    """More elements than 32 bits count. Only the pages that are touched take memory."""
    return torch.empty(count, dtype=dtype)


HUGE = (1 << 31) + 12_345


@pytest.mark.large
@pytest.mark.parametrize("aligned", [True, False])
def test_indices_beyond_32_bits(emulator: ModuleType, aligned: bool) -> None:
    """The first and last blocks of grids over 2³¹ elements: no access outside its tensor, right values at the end."""
    emulator.set_ends(2)
    offset = 0 if aligned else 1
    x = huge(HUGE + offset)[offset:]
    x[-5:] = 3
    ganops.clip_weights_(x, 1)
    assert x[-5:].tolist() == [1] * 5
    x[-1] = -1
    loss = ganops.generator_loss(x, "wasserstein", reduction="none")
    assert loss[-2:].tolist() == [-1, 1]
    batch = x.view(1, -1)
    # One image of one row, moved by nothing, its hole outside.
    u = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5, -1, -1]])
    moved = ganops.diff_augment(x.view(1, 1, 1, -1), "translation,cutout", parameters=u)
    assert moved.flatten()[-2:].tolist() == [1, -1]
    mixed = ganops.interpolate(batch, batch, torch.ones(1))
    assert mixed[0, -2:].tolist() == [1, -1]
    # A card so large that each block of the reductions has one tile or piece.
    emulator.set_multiprocessors(1 << 20)
    ganops.generator_loss(x, "wasserstein")
    ganops.gradient_norm_penalty(batch)
    if aligned:  # a group that is not of four is read element by element anyway
        extended = ganops.minibatch_stddev(batch, 1)
        assert extended[0, -3:].tolist()[:2] == [1, -1]
