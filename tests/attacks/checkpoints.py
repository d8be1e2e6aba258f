"""Damaged checkpoints: each must be refused with one clear line, or be harmless.

    python tests/attacks/checkpoints.py --count 1000            # flips and truncations, and as many malformed states

A flipped bit or byte, a zeroed block or a truncation must not change what is loaded. Half of the damages hit the table
of contents at the end of the file. A malformed state (an entry that is missing, of another type or of another shape, in
an undamaged file) must be refused, or trained and sampled from without an error. Prints the counts and every failure;
the exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ganops.training import build_trainer, draw, generator_of, load_checkpoint, settings, train

#: Errors that a user may see: the command line prints them as one line.
CLEAR = (ValueError, TypeError, FileNotFoundError)
SETTINGS = {"width": 6, "batch_size": 16, "log_every": 2, "evaluate_every": 1, "monitor_every": 1, "steps": 3}


def equal(a: Any, b: Any) -> bool:
    """Whether two states are the same, to the bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same_bits = a.shape == b.shape and a.dtype == b.dtype
        return same_bits and (
            torch.equal(a, b) or torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and (a == b or a != a)


def damage(content: bytes, chance: random.Random) -> tuple[str, bytes]:
    """One damage to a file's bytes, and its name."""
    table = content.index(b"PK\x01\x02")  # where the table of contents begins
    place = chance.choice((chance.randrange(len(content)), chance.randrange(table, len(content))))
    kind = chance.choice(("bit", "bit", "bit", "byte", "block", "cut"))
    changed = bytearray(content)
    if kind == "bit":
        changed[place] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        changed[place] = (changed[place] + chance.randrange(1, 256)) % 256
    elif kind == "block":
        changed[place : place + 64] = bytes(len(changed[place : place + 64]))
    else:
        del changed[place:]
    return f"{kind} at {place}", bytes(changed)


#: What an entry of a state is replaced by.
REPLACEMENTS: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: "text",
    lambda: -1,
    lambda: 10**30,
    lambda: 0.5,
    lambda: float("nan"),
    lambda: [],
    lambda: [1, "a", None],
    lambda: {},
    lambda: {"a": {"b": None}},
    lambda: torch.zeros(()),
    lambda: torch.zeros(3, 5),
    lambda: torch.zeros(2, dtype=torch.uint8),
    lambda: torch.zeros(7, dtype=torch.int64),
    lambda: True,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every entry in nested dictionaries and lists."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list) and len(value) < 100:
        items = enumerate(value)
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def malform(state: dict[str, Any], chance: random.Random) -> tuple[str, dict[str, Any]]:
    """A copy of the state with one entry missing or replaced, and what was done. Shallow entries come as often as deep
    ones."""
    state = copy.deepcopy(state)
    top = chance.choice([key for key in state if key != "format"])
    paths = [path for path in places(state) if path[0] == top]
    depth = chance.choice(sorted({len(path) for path in paths}))
    path = chance.choice([path for path in paths if len(path) == depth])
    parent: Any = state
    for key in path[:-1]:
        parent = parent[key]
    name = ".".join(map(str, path))
    if chance.random() < 0.3:
        del parent[path[-1]]
        return f"{name} missing", state
    number = chance.randrange(len(REPLACEMENTS))
    parent[path[-1]] = REPLACEMENTS[number]()
    return f"{name} = {str(parent[path[-1]])[:30]!r}", state


def outcome(use: Callable[[], str]) -> str:
    """``refused``, or what `use` returns, or ``crashed: …``."""
    try:
        return use()
    except CLEAR as error:
        return "refused" if str(error) and "Traceback" not in str(error) else f"crashed: empty {type(error).__name__}"
    except FloatingPointError:
        return "refused"
    except Exception as error:  # whatever it is, a user would see its traceback
        return f"crashed: {type(error).__name__}: {str(error).splitlines()[:1]}"


class Attack:
    """A run of two steps, whose checkpoint is damaged again and again.

    Args:
        folder: where it is trained.
    """

    def __init__(self, folder: Path) -> None:
        self.config = settings("nsgan", "ring8?size=500", **SETTINGS)
        train(settings("nsgan", "ring8?size=500", **{**SETTINGS, "steps": 2}), folder / "run")
        self.path = folder / "damaged.pt"
        self.content = (folder / "run" / "checkpoint.pt").read_bytes()
        self.state = load_checkpoint(folder / "run")

    def use(self, same: bool) -> str:
        """Load, sample and train on. `same`: a state that differs from the original is a failure."""
        state = load_checkpoint(self.path)
        if same:
            return "harmless" if equal(state, self.state) else "loaded another state"
        # Each way of using a checkpoint must refuse for itself.
        generator, config = generator_of(state)
        samples = draw(generator, torch.zeros(2, config.latent_dim))
        trainer = build_trainer(self.config)
        trainer.load(self.path)
        trainer.step()
        return "harmless" if samples.shape == (2, 2) else "sampled another shape"

    def damaged(self, chance: random.Random) -> tuple[str, str]:
        """A damaged file: what was done, and the outcome."""
        name, content = damage(self.content, chance)
        self.path.write_bytes(content)
        return name, outcome(lambda: self.use(same=True))

    def malformed(self, chance: random.Random) -> tuple[str, str]:
        """A malformed state: what was done, and the outcome."""
        name, state = malform(self.state, chance)
        torch.save(state, self.path)
        return name, outcome(lambda: self.use(same=False))


def attack(count: int, seed: int = 0) -> tuple[dict[str, Counter[str]], list[str]]:
    """`count` damaged files and `count` malformed states: counts by kind of attack and outcome, and the failures."""
    chance = random.Random(seed)
    counts: dict[str, Counter[str]] = {}
    failures = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = Attack(Path(folder))
        for kind in ("damaged", "malformed"):
            counts[kind] = Counter()
            for _ in range(count):
                name, result = getattr(target, kind)(chance)
                counts[kind][result.partition(":")[0]] += 1
                if result not in ("refused", "harmless"):
                    failures.append(f"{kind}: {name}: {result}")
    return counts, failures


def main() -> int:
    """Run the attacks and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="damaged files, and malformed states (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    options = parser.parse_args()
    counts, failures = attack(options.count, options.seed)
    for line in failures:
        print(line)
    for kind, found in counts.items():
        print(f"{kind}: {', '.join(f'{number} {name}' for name, number in sorted(found.items()))}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
