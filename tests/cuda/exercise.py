"""Every operator once at each of a few sizes: a short program for compute-sanitizer.

``compute-sanitizer --tool racecheck --kernel-name kns=ganops python tests/cuda/exercise.py``. Inputs are made on the
CPU and copied, so that initcheck, which watches our kernels alone, has seen every byte that they may read being
written. GANOPS_BACKEND=emulated with ``--device cpu`` runs the same on the emulator, and reports what that finds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ganops
from emulation.plugin import the_emulator
from ops.conformance.table import DTYPES, KINDS
from ops.conformance.test_operators import ARGUMENTS

# Samples of one element, rests, one tile, several tiles and pieces; with and without whole vectors.
SHAPES = ((1, 1), (3, 7), (5, 33), (2, 4096), (3, 4099), (2, 20_000))


def exercise(device: str) -> int:
    """Runs everything and returns how many calls that were."""
    calls = 0

    def placed(value: Any) -> Any:
        return tree_map_only(Tensor, lambda t: t.clone().to(device), value)

    for dtype in DTYPES:
        for shape in SHAPES if dtype == torch.float32 else SHAPES[2:5:2]:
            x = torch.randn(shape, dtype=torch.float64).to(dtype)
            for name, several in ARGUMENTS.items():
                operator = getattr(torch.ops.ganops, name).default
                # Each of the features is a sample there, and each is compared with each.
                samples = x[:, :300] if name.startswith("minibatch_discrimination") else x
                for make in several:
                    operator(*placed(make(samples)))
                    calls += 1
            for kind in KINDS:
                ganops.discriminator_loss(placed(x), placed(x[:1]), kind)
                ganops.generator_loss(placed(x), kind, reduction="none")
                calls += 2
    if device != "cpu":
        torch.cuda.synchronize()
    return calls


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    print(f"{exercise(options.device)} calls")
    if the_emulator is not None:
        the_emulator.raise_faults()
