"""Mistakes on the command line: each must end with one clear line and a code, without a traceback or a file.

    python tests/attacks/command_line.py            # all of them, some minutes
    python tests/attacks/command_line.py --every 9  # every ninth

Every invocation runs in a process forked from this one, in a folder with some files of other programs, with bounded
memory and time. A mistake must end with code 2, a line on standard error that begins with ``ganops: `` (or the text of
the options' parser), and an unchanged folder; an invocation that happens to be right with code 0. Prints the counts and
every failure; the exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import os
import resource
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SMALL = ["--width", "4", "--batch-size", "16", "--steps", "2", "--monitor-every", "0", "--evaluate-every", "0"]
RING = ["train", "nsgan", "--data", "ring8?size=100", *SMALL]
HUGE = ("9223372036854775807", "9223372036854775808", "18446744073709551616", "1" + "0" * 30)
WRONG = ("", " ", "x", "-1", "1.5", "nan", "--", "0x10", "1_0", "é")
NUMBERS = ("", "x", "-1", "nan", "inf", "-inf", "1e400", "1e-400", "1" + "0" * 30, "0", "é")

#: Options by kind. Those that would only make an honest run longer are not given huge values.
WHOLE = (
    "width", "discriminator-width", "batch-size", "latent-dim", "pack", "seed", "log-every", "checkpoint-every",
    "evaluate-every", "monitor-every", "penalty-every", "augment-ramp",
)  # fmt: skip
PATIENT = ("steps", "n-critic", "unroll")
REAL = (
    "minutes", "generator-lr", "discriminator-lr", "beta1", "beta2", "lr-decay", "clip", "penalty", "penalty-target",
    "penalty-difference", "l1-weight", "adversarial-weight", "augment-target", "ema", "lipschitz",
)  # fmt: skip
NAMES = (
    "loss", "optimizer", "penalty-kind", "amp", "device", "model", "generator-norm", "discriminator-norm", "upsample",
    "data", "augment", "recipe",
)  # fmt: skip
DATA = (
    "", " ", "?", "ring8?", "ring8?size", "ring8?size=", "ring8?size=x", "ring8?size=0", "ring8?size=-1",
    "ring8?size=1e5", "ring8?size=1000000000000", "ring8?size=" + "1" + "0" * 30, "ring8?sise=5", "ring8?seed=-1",
    "ring8?seed=18446744073709551616", "ring8?scale=nan", "ring8?scale=0", "ring8?size=5&size=7", "RING8", "mnist?x=1",
    "folder:", "folder:/no/such", "folder:/dev/null", "folder:/etc/passwd", "folder:.", "folder:.?size=0",
    "folder:.?size=x", "folder:.?on_bad=x", "folder:.?labels=x", "torchvision:", "torchvision:X", "torchvision:CIFAR10",
    "torchvision:CIFAR10?root=/no", "http://x", "../x", "ring8:", "grid25?size=8",
)  # fmt: skip
DEVICES = ("cpu:7", "cuda", "cuda:0", "cuda:99", "cuda:-1", "meta", "mps", "xpu", "gpu", "CPU", "cpu:", ":0", "auto:0")
OUTS = ("", " ", "/dev/null", "/dev/null/x", "/proc/x", "/etc/passwd", "config.json", "no/such", "x" * 300, "a/" * 2000)


def invocations() -> Iterator[list[str]]:
    """Every attacked command line."""
    for option in (*WHOLE, *PATIENT):
        for value in (*WRONG, *(HUGE if option not in PATIENT else ())):
            yield [*RING, f"--{option}", value]
    for option in REAL:
        for value in NUMBERS:
            yield [*RING, f"--{option}", value]
    for option in NAMES:
        for value in ("", "x", "nope", "NSGAN", "1", "none,none", "é"):
            yield [*RING, f"--{option}", value]
    for value in DATA:
        yield ["train", "nsgan", "--data", value, *SMALL]
    for value in DEVICES:
        yield [*RING, "--device", value]
    for value in OUTS:
        yield [*RING, "--out", value]
        yield [*RING, "--out", value, "--resume"]
        yield [*RING, "--out", value, "--overwrite"]
    yield [*RING, "--resume", "--overwrite", "--out", "run"]
    yield [*RING, "--width"]
    yield [*RING, "--no-such-option", "1"]
    yield [*RING, "surplus"]
    for command in ("sample", "evaluate"):
        for path in (
            "",
            " ",
            "no",
            "/dev/null",
            ".",
            "empty.pt",
            "text.pt",
            "foreign.pt",
            "half.pt",
            "/etc/passwd",
            "own.pt",
        ):
            yield [command, path]
        yield [command]
        for seed in (*WRONG, *HUGE):
            yield [command, "good.pt", "--seed", seed, "--out", "x.npy"]
        for out in ("", ".", "x", "x.jpg", "no/such/x.png", "pipe.png", "good.pt", "good.pt/x.png", "/proc/x.png"):
            yield [command, "good.pt", "--out", out]
    for count in (*WRONG, *HUGE, "0", "1000000000000", "100000000000"):
        yield ["sample", "good.pt", "--count", count, "--out", "x.npy"]
    for label in (*WRONG, *HUGE, "0"):
        yield ["sample", "good.pt", "--label", label, "--out", "x.npy"]
    for arguments in (["no"], [""], ["--seeds", "1"], ["pacgan-ring-short", "--seeds", "0"],
                      ["pacgan-ring-short", "--seeds", "-1"], ["pacgan-ring-short", "--seeds", "x"],
                      ["pacgan-ring-short", "--out", "/dev/null"], ["pacgan-ring-short", "--out", ""], []):  # fmt: skip
        yield ["card", *arguments]
    for arguments in (["no"], [""], ["optimal-discriminator", "--steps", "0"], ["--out", "x.jpg"],
                      ["class-grid"], ["class-grid", "--run", "no"], ["class-grid", "--run", "good.pt"],
                      ["nearest-neighbours", "--run", "good.pt"], ["latent-interpolation", "--run", "text.pt"],
                      ["samples", "--run", "no"], ["jsd-wasserstein", "--out", "samples.png"],
                      ["jsd-wasserstein", "--out", "pipe.png", "--overwrite"], ["jsd-wasserstein", "--out", ""],
                      *(["value-surface", "--steps", "1", "--seed", seed] for seed in ("-1", *HUGE))):  # fmt: skip
        yield ["figure", *arguments]
    row = ["--filter", "interpolate/256x2/float32/forward", "--no-compile", "--seconds", "0"]
    for arguments in (["--json", "foreign.json"], ["--json", "."], ["--json", "good.pt/x"], ["--json", ""],
                      ["--plot", "samples.png"], ["--plot", "x.jpg"],
                      ["--plot", "pipe.png", "--overwrite"]):  # fmt: skip
        yield ["bench", *row, *arguments]
    for arguments in (["--replay", "no"], ["--replay", "text.pt"], ["--replay", "foreign.json"], ["--suite", "no"],
                      ["--filter", "nothing matches"], ["--device", "meta"], ["--threads", "-1"], ["--nope"],
                      ["--seconds", "nan"], ["--seconds", "-1"]):  # fmt: skip
        yield ["bench", *arguments]
    for command in ("info", "recipes", "cards"):
        yield [command, "surplus"]
        yield [command, ""]
    for arguments in ([], [""], ["trian"], ["--nope"], ["-"], ["train"], ["train", ""], ["train", "--help", "x"],
                      ["train", "nope"], ["train", "--data"], ["train", "--data", "ring8"]):  # fmt: skip
        yield arguments


def prepare(folder: Path) -> dict[str, bytes]:
    """The files that lie in the folder of every invocation."""
    import torch

    from ganops.training import settings, train

    config = settings("nsgan", "ring8?size=100", width=4, batch_size=16, steps=2, monitor_every=0, evaluate_every=0)
    train(config, folder / "run")
    torch.save({"model": torch.zeros(3)}, folder / "foreign.pt")
    torch.save(torch.nn.Linear(2, 2), folder / "own.pt")
    good = (folder / "run" / "checkpoint.pt").read_bytes()
    return {
        "good.pt": good,
        "half.pt": good[: len(good) // 2],
        "foreign.pt": (folder / "foreign.pt").read_bytes(),
        "own.pt": (folder / "own.pt").read_bytes(),
        "empty.pt": b"",
        "text.pt": b"text\n",
        "foreign.json": b'{"a": [1]}\n',
        "config.json": b'{"mine": true}\n',
        "samples.png": b"mine\n",
    }


def _run(arguments: list[str], output: str) -> None:
    """In the forked process: run one command. Its code is the exit code; 70 stands for a traceback."""
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - of the whole process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    try:
        import torch

        from ganops.cli import main

        torch.set_num_threads(1)
        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stderr.flush()
    os._exit(code)


def judge(code: int | None, error: str, changed: bool) -> str:
    """What came of an invocation: ``done``, ``clear``, or what is wrong."""
    if code is None:
        return "still running"
    if code == 70 or "Traceback" in error:
        return "traceback"
    if code < 0:
        return f"killed by signal {-code}"
    if code == 0:
        return "done"
    if code not in (1, 2):
        return f"code {code}"
    lines = [line for line in error.splitlines() if line.strip() and not line.startswith("step ")]
    parsing = any("--help" in line or line.startswith("usage:") for line in lines)  # the options' parser explains
    if not parsing and (not lines or not lines[-1].startswith("ganops: ")):
        return "unclear"
    if not parsing and code == 2 and len([line for line in lines if line.startswith("ganops: ")]) != len(lines):
        return "several lines"
    if changed and code == 2:
        return "wrote files"
    return "clear"


def snapshot(folder: Path) -> dict[str, bytes]:
    """The files below a folder and their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def attempt(arguments: list[str], files: dict[str, bytes], seconds: float) -> tuple[str, str]:
    """Run one invocation in a folder of its own: what came of it, and the last line of its standard error."""
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as name, tempfile.NamedTemporaryFile() as output:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        os.mkfifo(folder / "pipe.png")  # not a regular file; a device must not be tried, as it might be replaced
        with contextlib.chdir(folder) if hasattr(contextlib, "chdir") else _chdir(folder):
            process = fork.Process(target=_run, args=(arguments, output.name))
            process.start()
        process.join(seconds)
        code: Any = process.exitcode
        if code is None:
            process.kill()
            process.join()
        error = Path(output.name).read_text(errors="replace")
        mine = {file: snapshot(folder).get(file) for file in files}
        result = judge(code, error, snapshot(folder) != files)
        if result in ("done", "clear") and (mine != files or not (folder / "pipe.png").is_fifo()):
            result = "replaced a file that was not its own"
        return result, (error.strip().splitlines() or [""])[-1]


@contextlib.contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def attack(every: int = 1, only: str = "", seconds: float = 60.0) -> tuple[Counter[str], list[str]]:
    """Every `every`-th invocation of those that begin with `only`: the counts by outcome, and the failures.

    An invocation that runs for longer than `seconds` is a failure.
    """
    for module in ("ganops.training.options", "ganops.figures", "ganops.bench", "matplotlib.image"):
        importlib.import_module(module)  # once, and not in every forked process
    with tempfile.TemporaryDirectory() as folder:
        files = prepare(Path(folder))
    counts: Counter[str] = Counter()
    failures = []
    for arguments in [each for each in invocations() if " ".join(each).startswith(only)][::every]:
        result, last = attempt(arguments, files, seconds)
        counts[result] += 1
        if result not in ("done", "clear"):
            shown = " ".join(repr(a) if not a or " " in a else a[:60] for a in arguments if a not in SMALL)
            failures.append(f"{result}: ganops {shown}: {last[:150]}")
    return counts, failures


def main() -> int:
    """Run the attacks and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one invocation in N (default: 1, all)")
    parser.add_argument("--only", default="", metavar="TEXT", help="those that begin with TEXT, e.g. 'bench'")
    parser.add_argument("--seconds", type=float, default=60.0, help="after which one counts as hanging (default: 60)")
    options = parser.parse_args()
    counts, failures = attack(options.every, options.only, options.seconds)
    for line in failures:
        print(line)
    total = sum(counts.values())
    print(f"{total} invocations: {', '.join(f'{number} {name}' for name, number in sorted(counts.items()))}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
