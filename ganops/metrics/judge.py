"""A small classifier of real images: the judge of generated ones, and the space in which they are compared.

It is trained once for a data set, on four fifths of it, and kept; the last fifth says how far to trust it. Nothing is
downloaded: the usual judge, Inception, knows photographs and needs its weights.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganops._files import write_atomically
from ganops.data import Dataset

__all__ = ["FEATURES", "Classifier", "cache_folder", "classifier"]

#: Length of the feature vectors: short enough for a covariance matrix from a thousand images.
FEATURES = 64

_VERSION = 1  # of everything below that a kept classifier depends on
_SIDE = 32  # larger images are reduced to this before they are judged
_MOST = 10_000  # images that training and testing use at most
_STEPS = 300
_BATCH = 100


class Classifier(nn.Module):
    """Images (N, C, H, W) in [-1, 1] to logits (N, classes).

    Attributes:
        test_accuracy: share of the held-out real images that it gets right.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, *sides = shape
        self.shape = shape
        self.classes = classes
        self.test_accuracy = float("nan")
        self.sides = tuple(min(side, _SIDE) for side in sides)
        fold = min(self.sides) >= 16 and not any(side % 2 for side in self.sides)
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)] if fold else []  # strokes are two pixels wide: half the work
        channels *= 4 if fold else 1
        for a, b in ((channels, 32), (32, 32), (32, 64)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if a == b else []
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            flat = self.eval().convolutions(torch.zeros(1, shape[0], *self.sides)).shape[1]
        self.embedding = nn.Linear(flat, FEATURES)
        self.head = nn.Linear(FEATURES, classes)
        self.train()

    def embed(self, images: Tensor) -> Tensor:
        """The features before the last layer, (N, FEATURES), with gradients."""
        if images.shape[1:] != self.shape:
            raise ValueError(
                f"classifier: images are {tuple(images.shape[1:])} and it was trained on {self.shape}; "
                "they must have the same shape"
            )
        if images.shape[2:] != self.sides:
            images = F.interpolate(images, self.sides, mode="bilinear", antialias=True)
        return self.embedding(self.convolutions(images))

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (N, classes)."""
        return self.head(F.relu(self.embed(images)))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """The features of many images, (N, FEATURES), in evaluation mode and in batches, on the CPU."""
        return torch.cat([self.embed(part.float().cpu()) for part in images.split(500)])

    def classify(self, images: Tensor) -> Tensor:
        """The class of each image, (N,) int64."""
        return self.classes_of(self.features(images))

    @torch.no_grad()
    def classes_of(self, features: Tensor) -> Tensor:
        """The class that goes with each row of `features`, (N,) int64."""
        return self.head(F.relu(features)).argmax(dim=1)


def cache_folder() -> Path:
    """Where trained classifiers are kept: ``$XDG_CACHE_HOME/ganops``, or ``~/.cache/ganops``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganops"


def classifier(dataset: Dataset) -> Classifier:
    """The classifier of a labelled image data set: the kept one, or a new one, which is then kept (under a minute).

    It depends on the images and labels alone, not on any seed of the caller's, and leaves the global random state as
    it was.

    Raises:
        ValueError: `dataset` has no images or no labels.
    """
    if dataset.kind != "images" or dataset.labels is None or not dataset.classes:
        raise ValueError(f"classifier: data {dataset.name!r} must be images with labels")
    key = _key(dataset)
    if key not in _KNOWN:
        path = cache_folder() / f"classifier-{key}.pt"
        # One thread: the same classifier, and so the same metrics, on any number of cores; and batches this small
        # lose more to threads that wait for each other on a busy machine than they gain on an idle one.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network = Classifier(dataset.shape, dataset.classes)
                if not _restore(network, path):
                    _train(network, dataset)
                    _keep(network, path)
        finally:
            torch.set_num_threads(threads)
        _KNOWN[key] = network.eval().requires_grad_(False)
    return _KNOWN[key]


_KNOWN: dict[str, Classifier] = {}  # by key; half a megabyte each


def _key(dataset: Dataset) -> str:
    """A name for (what the classifier is trained on, how)."""
    digest = hashlib.sha256(f"{_VERSION} {dataset.classes} {tuple(dataset.samples.shape)}".encode())
    digest.update(dataset.samples[:: max(1, len(dataset) // _MOST)].contiguous().cpu().numpy().tobytes())
    digest.update(dataset.labels.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _train(network: Classifier, dataset: Dataset) -> None:
    order = torch.randperm(len(dataset))[:_MOST]
    held, kept = order[: len(order) // 5], order[len(order) // 5 :]
    batch = min(_BATCH, len(kept))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=_STEPS)
    shift = max(1, min(dataset.shape[1:]) // 12)  # a digit moved by so much is still that digit
    order = kept[:0]
    for _ in range(_STEPS):
        if len(order) < batch:
            order = kept[torch.randperm(len(kept))]
        part, order = order[:batch], order[batch:]
        down, right = torch.randint(-shift, shift + 1, (2,)).tolist()
        images = _moved(dataset.samples[part].float().cpu(), down, right)
        loss = F.cross_entropy(network(images), dataset.labels[part].cpu(), label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    right = network.classify(dataset.samples[held]) == dataset.labels[held].cpu()
    network.test_accuracy = right.double().mean().item()


def _moved(images: Tensor, down: int, right: int) -> Tensor:
    """The images moved by whole pixels; what comes in is black (-1)."""
    height, width = images.shape[2:]
    padded = F.pad(images, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)), value=-1.0)
    return padded[:, :, max(-down, 0) : max(-down, 0) + height, max(-right, 0) : max(-right, 0) + width]


def _restore(network: Classifier, path: Path) -> bool:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        network.test_accuracy = float(state["test_accuracy"])
    except FileNotFoundError:
        return False
    # A file cut short, or somebody else's: it is made again.
    except Exception:
        return False
    return True


def _keep(network: Classifier, path: Path) -> None:
    state = {"network": network.state_dict(), "test_accuracy": network.test_accuracy}
    try:
        write_atomically(path, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:
        warnings.warn(f"the classifier could not be kept for the next time: {error}", stacklevel=2)
