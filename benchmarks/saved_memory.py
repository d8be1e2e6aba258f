"""Bytes saved for backward by anti-aliased Snakes, ours and the plain form, for the stack of BigVGAN's base generator.

BigVGAN-base (24 kHz, 100 bands, hop 256) has 73 of them: 18 in each of four stages, which have 256, 128, 64 and 32
channels at 8, 64, 128 and 256 samples a frame, and one at the end. Between two of them lie convolutions; here they
follow one another, so that nothing but their own is counted. Tensors that share memory count once, and so does the
output of one that is the input of the next.

    python benchmarks/saved_memory.py [--batch 1] [--frames 32]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

import ganops
from ganops.bench.cases.filtered_snake import popular

# (channels, samples a frame, activations)
STAGES = ((256, 8, 18), (128, 64, 18), (64, 128, 18), (32, 256, 18), (32, 256, 1))


def ours(snake: ganops.nn.FilteredSnake, x: Tensor) -> Tensor:
    """The fused op."""
    return snake(x)


def plain(snake: ganops.nn.FilteredSnake, x: Tensor) -> Tensor:
    """The same parameters in the steps that BigVGAN takes."""
    act = snake.act
    return popular(x, act.alpha.exp(), act.beta.exp(), snake.upsample.filter.flatten())


def saved_bytes(run: Callable[[nn.Module, Tensor], Tensor], batch: int, frames: int) -> int:
    """The memory that autograd keeps between forward and backward."""
    kept: dict[int, int] = {}
    alive = []

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        for channels, rate, count in STAGES:
            x = torch.randn(batch, channels, rate * frames, requires_grad=True)
            for _ in range(count):
                x = run(ganops.nn.FilteredSnake(channels, logscale=True), x)
            alive.append(x)  # memory that is freed could be counted under its next owner's address
    return sum(kept.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--frames", type=int, default=32, help="32 are the 8192 samples that BigVGAN trains on")
    given = parser.parse_args()
    found = {run.__name__: saved_bytes(run, given.batch, given.frames) for run in (plain, ours)}
    for name, count in found.items():
        print(f"{name}: {count / 2**20:.1f} MiB saved by {sum(stage[2] for stage in STAGES)} activations")
    print(f"plain / ours: {found['plain'] / found['ours']:.2f}")


if __name__ == "__main__":
    main()
