"""Images from a folder: throughput beside a plain torch DataLoader with the same transforms, and memory.

    python benchmarks/data_loading.py --folder /tmp/images --images 20000

The images are generated into the folder if they are not there: JPEG, 256x256, the same on every machine. The plain
loader is what most training scripts have: a data set that opens a file with Pillow, scales, crops and mirrors it, in as
many workers. `uint8` sends bytes and scales them to [-1, 1] in the process that trains, as ganops does; `float32` does
so in the workers, as torchvision's ``ToTensor`` and ``Normalize`` do.

All are run in turn, several times. The table has medians, and medians and quartiles of the ratios within a round. On a
busy machine CPU time is the steadier measure.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageOps
from torch.utils.data import DataLoader, Dataset, RandomSampler

sys.path.insert(0, str(Path(__file__).parents[1]))

from ganops import data
from ganops.training.streams import StreamBatches

SIDE = 256


def generate(folder: Path, count: int) -> None:
    """Smooth shapes with some grain, about 20 KB each."""
    random = np.random.default_rng(0)
    grains = [
        Image.fromarray(random.integers(0, 32, (SIDE // 2, SIDE // 2, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        for _ in range(16)
    ]
    for i in range(count):
        path = folder / f"{i // 1000:03}" / f"{i:06}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(i).integers(0, 224, (9, 9, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.BILINEAR)
        ImageChops.add(picture, grains[i % 16]).save(path, quality=85)


class Plain(Dataset):
    def __init__(self, folder: Path, size: int, as_float: bool) -> None:
        self.files = sorted(str(path) for path in folder.rglob("*.jpg"))
        self.size, self.as_float = size, as_float

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as opened:
            picture = ImageOps.fit(opened.convert("RGB"), (self.size, self.size), Image.LANCZOS)
        if torch.rand(()) < 0.5:
            picture = ImageOps.mirror(picture)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        if self.as_float:
            return pixels.contiguous().float().div_(255).sub_(0.5).div_(0.5)
        return pixels


def plain(folder: Path, size: int, batch: int, workers: int, *, as_float: bool) -> Iterator[torch.Tensor]:
    images = Plain(folder, size, as_float)
    loader = DataLoader(images, batch, sampler=RandomSampler(images), num_workers=workers, drop_last=True)
    for samples in loader:
        yield (
            samples
            if as_float
            else samples.to(torch.float32, memory_format=torch.contiguous_format).mul_(2 / 255).sub_(1)
        )


def ours(images: data.Images, batch: int, workers: int) -> Iterator[torch.Tensor]:
    batches = StreamBatches(images, batch, 0, torch.device("cpu"), workers=workers)
    try:
        while True:
            yield batches.next().samples
    finally:
        batches.close()


def rate(make: Callable[[], Iterator[torch.Tensor]], batches: int, batch: int) -> tuple[float, float]:
    """Images per second without the start of the workers, and CPU time per image in ms, of all processes."""
    used = sum(os.times()[:4])
    stream = make()
    for _ in range(3):
        next(stream)
    began = time.perf_counter()
    for _ in range(batches):
        next(stream)
    seconds = time.perf_counter() - began
    stream.close()
    del stream
    gc.collect()  # ends the workers, whose time counts once they have ended
    used = sum(os.times()[:4]) - used
    return batches * batch / seconds, 1000 * used / ((batches + 3) * batch)


def throughput(options: argparse.Namespace, size: int) -> None:
    images = data.folder(str(options.folder), size=size, flip=True, memory=0)
    rows = {
        "ganops": lambda: ours(images, options.batch, options.workers),
        "DataLoader, uint8": lambda: plain(options.folder, size, options.batch, options.workers, as_float=False),
        "DataLoader, float32": lambda: plain(options.folder, size, options.batch, options.workers, as_float=True),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, make in rows.items():
            found[name].append(rate(make, options.batches, options.batch))
    for name, values in found.items():
        pairs = list(zip(values, found["ganops"], strict=True))
        speed = np.quantile([mine[0] / other[0] for other, mine in pairs], [0.25, 0.5, 0.75])
        work = np.quantile([other[1] / mine[1] for other, mine in pairs], [0.25, 0.5, 0.75])
        cells = [f"{statistics.median(column):.3g}" for column in zip(*values, strict=True)]
        cells += [f"{middle:.2f} ({low:.2f} to {high:.2f})" for low, middle, high in (speed, work)]
        print(f"| {size} | {name} | {' | '.join(cells)} |", flush=True)


def family_bytes() -> tuple[int, int]:
    """Memory of this process, and of it and its workers together; pages that they share are counted once."""

    def proportional(pid: str) -> int:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # it has ended
            return 0
        return 1024 * int(text.partition("Pss:")[2].split()[0])

    me = str(os.getpid())
    children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
    mine = int(Path(f"/proc/{me}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return mine, sum(proportional(pid) for pid in (me, *children))


def memory(options: argparse.Namespace) -> None:
    """Growth from before the data set is opened to the highest value in one epoch of training batches."""
    before, highest, done = family_bytes(), [0, 0], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            for i, value in enumerate(family_bytes()):
                highest[i] = max(highest[i], value)

    thread = threading.Thread(target=watch)
    thread.start()
    images = data.open(f"folder:{options.folder}?size={SIDE}&flip=yes")
    real = data.reference(images)
    opened = family_bytes()
    stream = ours(images, options.batch, options.workers)
    for _ in range(len(images) // options.batch):
        next(stream)
    stream.close()
    done.set()
    thread.join()
    mib = [(value - first) / 2**20 for value, first in zip((*opened, *highest), (*before, *before), strict=True)]
    print(f"{len(images):,} images, {len(real)} of them in memory for metrics; kept in memory: {images.kept}")
    print(f"growth once opened: {mib[0]:.0f} MiB; at most in an epoch: {mib[2]:.0f} MiB, with workers {mib[3]:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=["generate", "memory", "throughput"])
    options = parser.parse_args()
    generate(options.folder, options.images)
    if options.only in (None, "memory"):
        memory(options)
    if options.only in (None, "throughput"):
        print("| size | loader | images/s | CPU ms per image | ganops: images/s relative to it | and per CPU second |")
        print("|---|---|---|---|---|---|")
        for size in (SIDE, SIDE // 2):
            throughput(options, size)


if __name__ == "__main__":
    main()
