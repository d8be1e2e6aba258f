"""A small classifier of real images: it classifies generated images, and they are compared in its feature space.

It is trained once per data set, on four fifths of it, and cached; its accuracy is measured on the last fifth. Nothing
is downloaded, unlike for Inception, which is trained on photographs and needs its weights.
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

_VERSION = 1  # increase it when a change below changes the trained classifiers
_SIDE = 32  # larger images are reduced to this
_MOST = 10_000  # the most images that training and testing use
_STEPS = 300
_BATCH = 100


class Classifier(nn.Module):
    """A network from images (N, C, H, W) in [-1, 1] to logits (N, classes), float32 on the CPU.

    Attributes:
        test_accuracy: accuracy on the held-out real images.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        channels, *sides = shape
        self.shape = shape
        self.classes = classes
        self.test_accuracy = float("nan")
        self.sides = tuple(min(side, _SIDE) for side in sides)
        fold = min(self.sides) >= 16 and not any(side % 2 for side in self.sides)
        # Whatever torch's defaults are: the classifier, and with it the metrics, must be the same everywhere.
        where: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)] if fold else []  # strokes are two pixels wide: half the work
        channels *= 4 if fold else 1
        for a, b in ((channels, 32), (32, 32), (32, 64)):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False, **where), nn.BatchNorm2d(b, **where), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if a == b else []
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            flat = self.eval().convolutions(torch.zeros(1, shape[0], *self.sides, **where)).shape[1]
        self.embedding = nn.Linear(flat, FEATURES, **where)
        self.head = nn.Linear(FEATURES, classes, **where)
        self.train()

    def embed(self, images: Tensor) -> Tensor:
        """Return the features before the last layer, (N, FEATURES), with gradients."""
        if images.shape[1:] != self.shape:
            raise ValueError(
                f"classifier: images are {tuple(images.shape[1:])} and it was trained on {self.shape}; they must have "
                "the same shape"
            )
        if images.shape[2:] != self.sides:
            images = F.interpolate(images, self.sides, mode="bilinear", antialias=True)
        return self.embedding(self.convolutions(images))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        return self.head(F.relu(self.embed(images)))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the features of many images, (N, FEATURES), in batches, on the CPU."""
        return torch.cat([self.embed(part.cpu().float()) for part in images.split(500)])

    def classify(self, images: Tensor) -> Tensor:
        """Return the class of each image, (N,) int64."""
        return self.classes_of(self.features(images))

    @torch.no_grad()
    def classes_of(self, features: Tensor) -> Tensor:
        """Return the class for each row of `features`, (N,) int64."""
        return self.head(F.relu(features)).argmax(dim=1)


def cache_folder() -> Path:
    """Return the folder of trained classifiers: ``$XDG_CACHE_HOME/ganops``, or ``~/.cache/ganops``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganops"


def classifier(dataset: Dataset) -> Classifier:
    """Return the classifier of a labelled image data set, from the cache or newly trained (under a minute).

    It depends only on the images and labels, not on a seed or on torch's defaults. The global random state is
    unchanged afterwards.

    Raises:
        ValueError: `dataset` has no images or no labels.

    >>> classifier(data.load("digits")).test_accuracy                              # doctest: +SKIP
    0.98
    """
    if dataset.kind != "images" or dataset.labels is None or not dataset.classes:
        raise ValueError(f"classifier: data {dataset.name!r} must be images with labels")
    key = _key(dataset)
    if key not in _KNOWN:
        path = cache_folder() / f"classifier-{key}.pt"
        # With one thread the classifier, and with it the metrics, are the same on any number of cores. Batches this
        # small lose more to threads that wait for each other on a busy machine than they gain on an idle one.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)  # torch.manual_seed would seed the GPUs' generators as well
                network = Classifier(dataset.shape, dataset.classes)
                if not _restore(network, path):
                    _train(network, dataset)
                    _save(network, path)
        finally:
            torch.set_num_threads(threads)
        _KNOWN[key] = network.eval().requires_grad_(False)
    return _KNOWN[key]


_KNOWN: dict[str, Classifier] = {}  # by `_key`; half a megabyte each


def _key(dataset: Dataset) -> str:
    """A hash of the training data and of the way of training."""
    digest = hashlib.sha256(f"{_VERSION} {dataset.classes} {tuple(dataset.samples.shape)}".encode())
    digest.update(dataset.samples[:: max(1, len(dataset) // _MOST)].contiguous().cpu().numpy().tobytes())
    digest.update(dataset.labels.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _train(network: Classifier, dataset: Dataset) -> None:
    order = torch.randperm(len(dataset), dtype=torch.int64, device="cpu")[:_MOST]
    held, kept = order[: len(order) // 5], order[len(order) // 5 :]
    batch = min(_BATCH, len(kept))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=_STEPS)
    shift = max(1, min(dataset.shape[1:]) // 12)  # a digit moved this far is still that digit
    order = kept[:0]
    for _ in range(_STEPS):
        if len(order) < batch:
            order = kept[torch.randperm(len(kept), dtype=torch.int64, device="cpu")]
        part, order = order[:batch], order[batch:]
        down, right = torch.randint(-shift, shift + 1, (2,), dtype=torch.int64, device="cpu").tolist()
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
    """Move images by whole pixels; new pixels are black (-1)."""
    height, width = images.shape[2:]
    padded = F.pad(images, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)), value=-1.0)
    return padded[:, :, max(-down, 0) : max(-down, 0) + height, max(-right, 0) : max(-right, 0) + width]


def _restore(network: Classifier, path: Path) -> bool:
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        network.load_state_dict(state["network"])
        network.test_accuracy = float(state["test_accuracy"])
    except FileNotFoundError:
        return False
    # A damaged or foreign file can raise nearly anything. The classifier is trained again.
    except Exception:
        return False
    return True


def _save(network: Classifier, path: Path) -> None:
    state = {"network": network.state_dict(), "test_accuracy": network.test_accuracy}
    try:
        write_atomically(path, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:
        warnings.warn(f"the classifier could not be cached: {error}", stacklevel=2)
