"""Attacks on `ganops.data.folder`: pixels of all kinds, damaged files, hostile trees, threads, and lack of memory.

Each attack counts what went wrong: pixels that differ from the format's definition, images taken or left out by
mistake, errors that are not a ValueError with a message, changed filters of `warnings`, and calls that do not end.

    python tests/attacks/images.py            # the long form
    python tests/attacks/images.py --short    # the form that runs among the tests
"""

from __future__ import annotations

import argparse
import os
import random as standard_random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import numpy as np
from PIL import Image

from attacks.encoders import MAKERS
from ganops import data

SECONDS = 60.0  # after which a call counts as hanging


class Count:
    """How many attacks were made, and the descriptions of those that succeeded."""

    def __init__(self) -> None:
        self.tried = 0
        self.failures: list[str] = []
        self.outcomes: Counter[str] = Counter()  # of attacks that can end well in several ways

    def check(self, held: bool, text: str) -> None:
        self.tried += 1
        if not held:
            self.failures.append(text)


def _load(folder: Path, **options: object) -> tuple[data.Dataset | None, str]:
    """The data set and the warnings, or None and the message; "!" before an error that no user should see."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            loaded = data.folder(str(folder), **options).in_memory()
        except (ValueError, FileNotFoundError) as error:
            return None, str(error)
        except Exception as error:
            return None, f"!{type(error).__name__}: {error}"
    return loaded, " ".join(str(each.message) for each in caught)


def pixels(count: Count, times: int, seed: int = 0) -> None:
    """Every kind of file beside a colour image, against the pixels that its format defines."""
    random = np.random.default_rng(seed)
    for name, (ending, make) in MAKERS.items():
        for trial in range(times):
            content, expected, tolerance = make(random)
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / f"x{ending}").write_bytes(content)
                loaded, text = _load(Path(folder))
            if loaded is None:
                count.check(False, f"{name} {trial}: {text}")
                continue
            found = ((loaded.samples[0] + 1) * 127.5).round().numpy()
            wanted = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
            same = found.shape == wanted.shape and np.abs(found - wanted).max() <= tolerance
            count.check(same, f"{name} {trial}: other pixels than the file's")


def damage(count: Count, times: int, seed: int = 0) -> None:
    """Truncated files and files with flipped bits among good ones: refused by name, or harmless."""
    random = np.random.default_rng(seed)
    for name, (ending, make) in MAKERS.items():
        for trial in range(times):
            content = bytearray(make(random)[0])
            if random.random() < 0.3:
                del content[int(random.integers(len(content))) :]
            else:
                for _ in range(int(random.integers(1, 6))):
                    content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / f"bad{ending}").write_bytes(bytes(content))
                Image.new("RGB", (8, 6), (255, 0, 0)).save(Path(folder) / "good.png")
                loaded, text = _load(Path(folder), on_bad="skip", size=6)
            held = loaded is not None and len(loaded) in (1, 2) and (len(loaded) == 2 or "bad" in text)
            held = held and bool((loaded.samples[-1, 0] == 1).all() and (loaded.samples[-1, 1] == -1).all())
            count.check(held, f"{name} {trial}: {text}")


def _tree(root: Path, random: standard_random.Random, unreadable: bool) -> tuple[set[tuple[int, int]], bool]:
    """A random tree: the (device, inode) of each image that must be read, and whether a warning is needed."""
    wanted: set[tuple[int, int]] = set()
    folders, outside, told = [root], root.parent / "outside", False
    outside.mkdir()

    def put(file: Path) -> None:
        Image.new("RGB", (2, 2)).save(file, "PNG")
        wanted.add((file.stat().st_dev, file.stat().st_ino))

    for i in range(random.randrange(3, 25)):
        folder = random.choice(folders)
        what = random.randrange(12)
        odd = random.choice(["x", "ü", "new\nline", "tab\t", " ", "a" * 100, os.fsdecode(b"\xff\xfe"), "\x1b[31m"])
        name = f"{odd}{i}"
        if what < 3:
            (folder / name).mkdir()
            folders.append(folder / name)
        elif what < 6:
            put(folder / f"{name}.png")
        elif what == 6:  # a link to a folder elsewhere
            (outside / str(i)).mkdir()
            put(outside / str(i) / "linked.png")
            (folder / name).symlink_to(outside / str(i), target_is_directory=True)
        elif what == 7:  # a loop
            (folder / name).symlink_to(random.choice(folders), target_is_directory=True)
            told = True
        elif what == 8:
            os.mkfifo(folder / f"{name}.png")
            told = True
        elif what == 9:
            (folder / f".git{i}").mkdir()
            Image.new("RGB", (2, 2)).save(folder / f".git{i}" / "hidden.png")
            told = True
        elif what == 10:
            (folder / f"{name}.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\nshowpage\n")
            told = True
        else:
            (folder / f"{name}.png").symlink_to("/dev/zero" if random.random() < 0.5 else folder / "nowhere")
            told = True
    if unreadable:
        locked = root / "locked"
        locked.mkdir()
        Image.new("RGB", (2, 2)).save(locked / "x.png")
        locked.chmod(0)
        told = True
    return wanted, told


def trees(count: Count, times: int, seed: int = 0) -> None:
    """Links, loops, pipes, devices, hidden and unreadable folders, EPS, names of all kinds."""
    unreadable = os.geteuid() != 0  # the superuser reads all
    for trial in range(times):
        random = standard_random.Random(f"{seed}-{trial}")
        base = Path(tempfile.mkdtemp())
        try:
            (base / "root").mkdir()
            wanted, told = _tree(base / "root", random, unreadable)
            loaded, text = _in_time(lambda: _load(base / "root", on_bad="skip"))  # noqa: B023
            if wanted:
                held = loaded is not None and len(loaded) == len(wanted) and (not told or "left out" in text)
            else:
                held = loaded is None and not text.startswith("!")
            held = held and text.isprintable()
            count.check(held, f"tree {trial}: {len(wanted)} images, {loaded and len(loaded)} read; {text[:300]!r}")
        finally:
            if (base / "root" / "locked").exists():
                (base / "root" / "locked").chmod(0o700)
            shutil.rmtree(base)


def _in_time(call: Callable[[], tuple[data.Dataset | None, str]]) -> tuple[data.Dataset | None, str]:
    """The result of a call in another process, or a failure when that does not end."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        loaded, text = call()
        with os.fdopen(write, "w", errors="backslashreplace") as pipe:
            pipe.write(f"{-1 if loaded is None else len(loaded)} {text}")
        os._exit(0)
    os.close(write)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.002)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(read)
        return None, "!the call did not end"
    with os.fdopen(read, errors="backslashreplace") as pipe:
        length, _, text = pipe.read().partition(" ")
    if not length:
        return None, "!the process died"
    return (range(int(length)) if int(length) >= 0 else None), text  # type: ignore[return-value]


def threads(count: Count, times: int) -> None:
    """Many loads at a time, with images above Pillow's limit: filters of `warnings` stay, no such image is decoded."""
    before, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(8):
            Image.new("RGB", (30, 30)).save(folder / f"bomb{i}.png")
            Image.new("RGB", (5, 5)).save(folder / f"good{i}.png")
        Image.MAX_IMAGE_PIXELS = 500
        try:

            def load(_: int) -> int:
                try:
                    return len(data.folder(name, size=5, on_bad="skip"))
                except Exception:
                    return -1  # the warning, where a filter makes it an error

            with ThreadPoolExecutor(4) as pool:
                lengths = list(pool.map(load, range(times)))
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    for i, length in enumerate(lengths):
        count.check(length == 8, f"load {i}: {length} images where 8 are within the limit")
    count.check(list(warnings.filters) == before, "the filters of `warnings` are not those from before")
    warnings.filters[:] = before


_CHILD = """
import resource, sys, warnings
from ganops import data
resource.setrlimit(resource.RLIMIT_AS, (int(open('/proc/self/statm').read().split()[0]) * 4096 + {room},) * 2)
warnings.simplefilter("ignore")
try:
    print("read", len(data.folder({folder!r}, size=8, on_bad="skip").in_memory()))
except MemoryError as error:
    print("MemoryError", error)
except ValueError as error:
    print("ValueError", error)
"""


def memory(count: Count, times: int) -> None:
    """With too little memory to decode some images: all are read, or none; a good image is never left out."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(6):
            Image.new("RGB", (4000 if i % 2 else 40, 4000 if i % 2 else 40)).save(Path(folder) / f"{i}.png")
        for trial in range(times):
            room = int(2**20 * 2 ** (6 + 4 * (trial + 1) / (times + 1)))
            command = [sys.executable, "-c", _CHILD.format(room=room, folder=folder)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, timeout=SECONDS, env=environment
                )
            except subprocess.TimeoutExpired:
                count.check(False, f"{room / 2**20:.0f} MiB: the call did not end")
                continue
            said = done.stdout.strip()
            count.outcomes[said.split(" ")[0] or f"exit {done.returncode}"] += 1
            # A thread that cannot be started, or torch itself, can fail first: there is no data set then either.
            held = said == "read 6" or said.startswith(("MemoryError", "ValueError")) or done.returncode != 0
            count.check(held, f"{room / 2**20:.0f} MiB: {said or done.stderr[-200:]}")


#: Each attack with the size of its short form (0: none) and of its long form.
ATTACKS: dict[str, tuple[Callable[..., None], int, int]] = {
    "pixels": (pixels, 6, 200),
    "damage": (damage, 4, 300),
    "trees": (trees, 30, 600),
    "threads": (threads, 20, 200),
    "memory": (memory, 0, 25),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the form that runs among the tests")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ATTACKS)}; none: all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which a call counts as hanging")
    options = parser.parse_args()
    globals()["SECONDS"] = options.seconds
    failed = 0
    for name, (attack, short, long) in ATTACKS.items():
        times = short if options.short else long
        if (options.names and name not in options.names) or not times:
            continue
        count, began = Count(), time.perf_counter()
        attack(count, times)
        seconds = time.perf_counter() - began
        print(f"{name:<8} {count.tried:>6} attacks {len(count.failures):>6} succeeded  {seconds:6.1f} s", flush=True)
        if count.outcomes:
            print("         " + ", ".join(f"{text}: {number}" for text, number in count.outcomes.items()))
        for text in count.failures[:5]:
            print(f"         {text[:300]}")
        failed += len(count.failures)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
