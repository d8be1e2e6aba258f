"""Runs every operator once on each of a few sizes: one pass over all kernels, and a short program for the sanitizer.

``python tests/cuda/exercise.py --compare`` runs each call on the CPU kernels too and exits with 1 where the results
differ. ``compute-sanitizer --tool racecheck --kernel-name kns=ganops python tests/cuda/exercise.py --reduced`` runs
fewer sizes. Inputs are made on the CPU and copied, so that initcheck, which watches only our kernels, has seen every
byte that they may read being written. GANOPS_BACKEND=emulated with ``--device cpu`` runs the same on the emulator, and
reports the faults it finds.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ganops
from emulation.plugin import the_emulator
from ops.conformance.table import DTYPES, KINDS
from ops.conformance.test_operators import ARGUMENTS

# Samples of one element, rests, one tile, several tiles and pieces; with and without whole vectors.
SHAPES = ((1, 1), (3, 7), (5, 33), (2, 4096), (3, 4099), (2, 20_000))
REDUCED = ((5, 33), (3, 4099))

# Largest difference from the CPU kernels, relative to the largest entry: sums are taken in another order.
ALLOWED = {torch.float16: 1e-2, torch.bfloat16: 5e-2, torch.float32: 1e-4, torch.float64: 1e-10}


def difference(found: Any, expected: Any) -> float:
    """The largest difference over all tensors, relative to the largest entry of each; infinite where NaN differ."""
    worst = 0.0
    for a, b in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        if not isinstance(a, Tensor) or b.numel() == 0:
            continue
        a, b = a.detach().cpu().double(), b.detach().double()
        same = (a == b) | (a.isnan() & b.isnan())
        error = ((a - b).abs() / b.abs().nan_to_num(0, 0, 0).max().clamp(min=1e-30)).where(~same, 0)
        worst = max(worst, error.nan_to_num(float("inf"), float("inf")).max().item())
    return worst


def placed(call: Any, arguments: tuple, device: str) -> tuple:
    """Copies on the device, except an optimiser's numbers of steps where they are to be on the host."""
    names = [argument.name for argument in call._schema.arguments] if isinstance(call, torch._ops.OpOverload) else []
    given = dict(zip(names, arguments, strict=False))
    on_host = names.index("steps") if given.get("steps_on_device") is False else None
    return tuple(
        tree_map_only(Tensor, lambda t, where="cpu" if place == on_host else device: t.clone().to(where), value)
        for place, value in enumerate(arguments)
    )


def exercise(device: str, reduced: bool = False, compare: bool = False) -> tuple[int, dict[str, float]]:
    """Runs everything. Returns the number of calls and, if compared, {operator and dtype: worst difference}."""
    calls = 0
    worst: dict[str, float] = defaultdict(float)

    def run(name: str, dtype: torch.dtype, call: Any, arguments: tuple) -> None:
        nonlocal calls
        calls += 1
        there = placed(call, arguments, device)
        results = call(*there), there  # some write to their arguments
        if compare:
            here = placed(call, arguments, "cpu")
            key = f"{name} {str(dtype).removeprefix('torch.')}"
            worst[key] = max(worst[key], difference(results, (call(*here), here)))

    for dtype in DTYPES:
        if reduced:
            shapes = REDUCED if dtype == torch.float32 else REDUCED[1:]
        else:
            shapes = SHAPES if dtype == torch.float32 else SHAPES[2:5:2]
        for shape in shapes:
            x = torch.randn(shape, dtype=torch.float64).to(dtype)
            for name, several in ARGUMENTS.items():
                operator = getattr(torch.ops.ganops, name).default
                # Each of the features is a sample there, and each is compared with each.
                samples = x[:, :300] if name.startswith("minibatch_discrimination") else x
                for make in several:
                    run(name, dtype, operator, make(samples))
            for kind in KINDS:
                run(f"D's {kind}", dtype, lambda r, f, k=kind: ganops.discriminator_loss(r, f, k), (x, x[:1]))
                run(f"G's {kind}", dtype, lambda f, k=kind: ganops.generator_loss(f, k, reduction="none"), (x,))
            print(f"{str(dtype).removeprefix('torch.')}, {'x'.join(map(str, shape))}: {calls} calls so far", flush=True)
    if device != "cpu":
        torch.cuda.synchronize()
    return calls, dict(worst)


def main() -> int:
    """Returns 1 where a result differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--reduced", action="store_true", help="fewer sizes")
    parser.add_argument("--compare", action="store_true", help="with the CPU kernels")
    options = parser.parse_args()
    torch.manual_seed(0)
    calls, worst = exercise(options.device, options.reduced, options.compare)
    wrong = {key: found for key, found in worst.items() if found > ALLOWED[getattr(torch, key.rpartition(" ")[2])]}
    for key, found in worst.items():
        print(f"{found:8.1e}  {key}{'  DIFFERS' if key in wrong else ''}")
    if the_emulator is not None:
        the_emulator.raise_faults()
    print(f"{calls} calls" + (f", {len(wrong)} of {len(worst)} differ: {', '.join(wrong)}" if worst else ""))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
