"""What a card should show, from bytes alone: the predictions in docs/proof.md, to hold measurements against."""

from __future__ import annotations

import math

import tables

# Copy rates that cards of these names reach, bytes a µs, and the µs of a launch in a graph that moves next to nothing.
RATES = {"H100": 3.0e6, "H200": 4.3e6}
LAUNCH = 2.2

BATCHES = [(64, 3, 32, 32), (64, 3, 128, 128), (96, 3, 512, 512)]
LOGITS = [(64, 1), (64, 1, 128, 128), (1024, 1, 256, 256)]
FEATURES = [(64, 512, 4, 4), (16, 64, 32, 32), (64, 64, 128, 128)]
WEIGHTS = [(300_000,), (4_600_000,), (67_100_000,)]

# (op and pass, launches or launches of each size, bytes read and written for each float32 element of the shape, shapes)
ROWS = [
    ("discriminator_loss, forward", 1, 2 * 4, LOGITS),
    ("discriminator_loss, backward", 1, 2 * 8, LOGITS),
    ("discriminator_loss, double backward", 1, 2 * 12, LOGITS),
    ("interpolate, forward", 1, 12, BATCHES),
    ("interpolate, backward to both", 1, 12, BATCHES),
    ("interpolate, backward to weights", 1, 12, BATCHES),
    ("gradient_norm_penalty, forward", 1, 4, BATCHES),
    ("gradient_norm_penalty, backward", 1, 8, BATCHES),
    ("gradient_norm_penalty, double backward", 2, 20, BATCHES),
    ("diff_augment with colour", 2, 12, BATCHES),
    ("diff_augment without colour", 1, 8, BATCHES),
    ("minibatch_stddev, forward", 2, 8, FEATURES),
    ("minibatch_stddev, backward", (1, 2, 2), 12, FEATURES),
    ("minibatch_stddev, double backward", (2, 3, 3), 16, FEATURES),
    ("clip_weights_", 1, 8, WEIGHTS),
    ("optimizers.RMSprop", 1, 20, WEIGHTS),
    ("optimizers.Adam", 1, 28, WEIGHTS),
]


def digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def test_predictions() -> None:
    rows = []
    for name, launches, per_element, shapes in ROWS:
        for index, shape in enumerate(shapes):
            moved = per_element * math.prod(shape)
            count = launches if isinstance(launches, int) else launches[index]
            size = "×".join(map(str, shape)) if len(shape) > 1 else f"{shape[0] / 1e6:g} M"
            times = (digits(count * LAUNCH + moved / rate) for rate in RATES.values())
            rows.append([f"{name}, {size}", count, digits(moved / 1e6), *times])
    tables.check("predictions", tables.table(["op, size", "launches", "MB", *(f"{name}, µs" for name in RATES)], rows))
