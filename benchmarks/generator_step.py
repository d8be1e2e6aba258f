"""A vocoder's generator step with and without the work that nobody reads: gradients, FLOPs and time.

    python benchmarks/generator_step.py                  # a quarter of HiFi-GAN's width, two segments of 8,192 samples
    python benchmarks/generator_step.py --width 1        # HiFi-GAN's own width

The step is that of HiFi-GAN (Kong et al. 2020): least-squares losses of five period and three scale discriminators,
feature matching over 54 pairs, and a spectral distance. Each way starts from the same weights and samples. The page
docs/generator_step.md says what the ways change.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, l1_loss, leaky_relu, pad
from torch.utils.flop_counter import FlopCounterMode

import ganops

HOP = 256
Judged = tuple[list[Tensor], list[list[Tensor]]]


class Residual(nn.Module):
    """Three times: a dilated convolution and one without dilation, added to their input."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.dilated, self.plain = nn.ModuleList(), nn.ModuleList()
        for dilation in (1, 3, 5):
            reach = dilation * (kernel - 1) // 2
            self.dilated.append(nn.Conv1d(channels, channels, kernel, padding=reach, dilation=dilation))
            self.plain.append(nn.Conv1d(channels, channels, kernel, padding=kernel // 2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, T) to the same."""
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            x = x + plain(leaky_relu(dilated(leaky_relu(x, 0.1)), 0.1))
        return x


class Generator(nn.Module):
    """Spectra (N, 80, T) to samples (N, 1, 256·T): four transposed convolutions, residual layers of three widths behind
    each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(80, channels, 7, padding=3)
        self.up, self.residual = nn.ModuleList(), nn.ModuleList()
        for factor, kernel in ((8, 16), (8, 16), (2, 4), (2, 4)):
            self.up.append(nn.ConvTranspose1d(channels, channels // 2, kernel, factor, (kernel - factor) // 2))
            channels //= 2
            self.residual.append(nn.ModuleList([Residual(channels, kernel) for kernel in (3, 7, 11)]))
        self.last = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, spectrum: Tensor) -> Tensor:
        """The samples."""
        x = self.first(spectrum)
        for up, several in zip(self.up, self.residual, strict=True):
            x = up(leaky_relu(x, 0.1))
            x = sum(residual(x) for residual in several) / len(several)
        return torch.tanh(self.last(leaky_relu(x, 0.1)))


def features_of(layers: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """The features behind each layer; the last are the logits."""
    features = []
    for place, layer in enumerate(layers):
        x = layer(x)
        if place < len(layers) - 1:
            x = leaky_relu(x, 0.1)
        features.append(x)
    return features


class Discriminators(nn.Module):
    """Five that fold the samples by a period, and three at falling rates."""

    PERIODS = (2, 3, 5, 7, 11)

    def __init__(self, width: float) -> None:
        super().__init__()

        def n(channels: int) -> int:
            return max(16, int(width * channels))

        self.periods, self.scales = nn.ModuleList(), nn.ModuleList()
        for _ in self.PERIODS:
            sizes = [1, n(32), n(128), n(512), n(1024)]
            layers = [nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)) for a, b in itertools.pairwise(sizes)]
            layers += [nn.Conv2d(n(1024), n(1024), (5, 1), 1, (2, 0)), nn.Conv2d(n(1024), 1, (3, 1), 1, (1, 0))]
            self.periods.append(nn.ModuleList(layers))
        for _ in range(3):
            plan = ((1, 128, 15, 1, 1), (128, 128, 41, 2, 4), (128, 256, 41, 2, 16), (256, 512, 41, 4, 16))
            plan += ((512, 1024, 41, 4, 16), (1024, 1024, 41, 1, 16), (1024, 1024, 5, 1, 1))
            layers = [
                nn.Conv1d(1 if a == 1 else n(a), n(b), kernel, stride, kernel // 2, groups=groups)
                for a, b, kernel, stride, groups in plan
            ]
            self.scales.append(nn.ModuleList([*layers, nn.Conv1d(n(1024), 1, 3, padding=1)]))

    def forward(self, x: Tensor) -> Judged:
        """Logits and features of each discriminator."""
        features = []
        for period, layers in zip(self.PERIODS, self.periods, strict=True):
            y = pad(x, (0, -x.shape[2] % period), "reflect")
            features.append(features_of(layers, y.unflatten(2, (-1, period))))
        for place, layers in enumerate(self.scales):
            x = avg_pool1d(x, 4, 2, padding=2) if place else x
            features.append(features_of(layers, x))
        return [f[-1] for f in features], features


def spectral_distance(real: Tensor, fake: Tensor) -> Tensor:
    """Mean distance of logarithmic spectra."""
    window = torch.hann_window(1024, device=real.device)
    spectra = [torch.stft(x.squeeze(1), 1024, HOP, window=window, return_complex=True) for x in (real, fake)]
    return l1_loss(*(s.abs().clamp(min=1e-5).log() for s in spectra))


def adversarial(logits: list[Tensor]) -> Tensor:
    """Σ mean (D(G(x)) − 1)²."""
    return sum(((1 - y) ** 2).mean() for y in logits)


def matching(real: list[list[Tensor]], fake: list[list[Tensor]]) -> Tensor:
    """2 Σ mean |real − fake|, a pair at a time."""
    loss = 0
    for one, other in zip(real, fake, strict=True):
        for r, f in zip(one, other, strict=True):
            loss = loss + (r - f).abs().mean()
    return 2 * loss


def as_written(generator: Generator, discriminators: Discriminators, spectrum: Tensor, real: Tensor) -> Tensor:
    """As it is commonly written: D wants gradients, and the real branch has a graph."""
    fake = generator(spectrum)
    _, real_features = discriminators(real)
    logits, fake_features = discriminators(fake)
    return adversarial(logits) + matching(real_features, fake_features) + 45 * spectral_distance(real, fake)


def real_without_graph(generator: Generator, discriminators: Discriminators, spectrum: Tensor, real: Tensor) -> Tensor:
    """The real branch under no_grad."""
    fake = generator(spectrum)
    with torch.no_grad():
        _, real_features = discriminators(real)
    logits, fake_features = discriminators(fake)
    return adversarial(logits) + matching(real_features, fake_features) + 45 * spectral_distance(real, fake)


def frozen(generator: Generator, discriminators: Discriminators, spectrum: Tensor, real: Tensor) -> Tensor:
    """The discriminators frozen: the real branch then has no graph by itself."""
    fake = generator(spectrum)
    with ganops.frozen(discriminators):
        _, real_features = discriminators(real)
        logits, fake_features = discriminators(fake)
    return adversarial(logits) + matching(real_features, fake_features) + 45 * spectral_distance(real, fake)


def frozen_and_matched(generator: Generator, discriminators: Discriminators, spectrum: Tensor, real: Tensor) -> Tensor:
    """And feature matching in one operator."""
    fake = generator(spectrum)
    with ganops.frozen(discriminators):
        _, real_features = discriminators(real)
        logits, fake_features = discriminators(fake)
    feature = 2 * ganops.feature_matching_loss(real_features, fake_features)
    return adversarial(logits) + feature + 45 * spectral_distance(real, fake)


WAYS: dict[str, Callable[..., Tensor]] = {
    "as commonly written": as_written,
    "real branch without a graph": real_without_graph,
    "frozen": frozen,
    "frozen, feature_matching_loss": frozen_and_matched,
}


def measure(width: float, batch: int, samples: int, rounds: int) -> list[dict[str, object]]:
    """For each way: whether the generator's gradients have the bits of the first, GFLOPs, and median milliseconds."""
    torch.manual_seed(0)
    generator, discriminators = Generator(int(512 * width)), Discriminators(width)
    spectrum, real = torch.randn(batch, 80, samples // HOP), torch.rand(batch, 1, samples) * 2 - 1

    def step(way: Callable[..., Tensor]) -> list[Tensor]:
        generator.zero_grad(), discriminators.zero_grad()
        way(generator, discriminators, spectrum, real).backward()
        return [p.grad for p in generator.parameters()]

    found: list[dict[str, object]] = []
    for name, way in WAYS.items():
        with FlopCounterMode(display=False) as counter:
            gradients = step(way)
        found.append({"way": name, "gradients": gradients, "flops": counter.get_total_flops()})
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            start = time.perf_counter()
            step(way)
            times[name].append(1e3 * (time.perf_counter() - start))
    for row in found:
        row["equal"] = all(map(torch.equal, row["gradients"], found[0]["gradients"]))
        row["ms"] = statistics.median(times[row["way"]])
    return found


def main() -> None:
    """Parse the options, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.25, help="of HiFi-GAN's channels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    rows = measure(options.width, options.batch, options.samples, options.rounds)
    print("| generator step | G's gradients | GFLOP | of the first | ms | of the first |")
    print("|---|---|---:|---:|---:|---:|")
    for row in rows:
        bits = "the same bits" if row["equal"] else "differ"
        flops, ms = (row[key] / rows[0][key] for key in ("flops", "ms"))
        print(f"| {row['way']} | {bits} | {row['flops'] / 1e9:.2f} | {flops:.2f} | {row['ms']:.0f} | {ms:.2f} |")


if __name__ == "__main__":
    main()
