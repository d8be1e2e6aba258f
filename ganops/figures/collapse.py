"""Pictures of common failures and of remedies: collapsed modes, checkerboards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganops import data, metrics
from ganops.figures.style import COLOURS, Picture, blank, new_figure, styled
from ganops.models.layers import FilteredUpsample
from ganops.training import build_trainer, settings

__all__ = ["checkerboard", "mode_densities", "unrolled"]


def _density(axes: object, points: Tensor, dataset: data.Dataset) -> None:
    """Draw a histogram of points in the plane, with the modes of the data as rings."""
    low, high = dataset.samples.amin(), dataset.samples.amax()
    reach = 1.2 * max(-low.item(), high.item())
    counts, _ = torch.histogramdd(points.double(), bins=[90, 90], range=[-reach, reach, -reach, reach])
    blank(axes)
    # The square root makes a mode with a hundredth of the samples visible.
    extent = [-reach, reach, -reach, reach]
    axes.imshow(counts.T.sqrt().numpy(), origin="lower", extent=extent, cmap="cividis", interpolation="nearest")
    axes.plot(*dataset.centres.T.numpy(), "o", mfc="none", mec="white", ms=7, mew=0.7, alpha=0.8)


@styled
def mode_densities(*, steps: int = 8000, seed: int = 0) -> Picture:
    """Show where the samples of a plain GAN, PacGAN and WGAN-GP lie after training on the grid of 25 Gaussians.

    PacGAN and WGAN-GP follow their recipes; the GAN is PacGAN with packs of one and as many packs per batch. The
    circles are the modes of the data. Modes and quality are measured as in PacGAN, on 2,500 samples.

    Args:
        steps: generator steps of each.
        seed: of weights, batches and noise.
    """
    packs = settings("pacgan", "grid25")
    alone = {"pack": 1, "batch_size": packs.batch_size // packs.pack}
    methods = {"GAN": ("pacgan", alone), f"PacGAN{packs.pack}": ("pacgan", {}), "WGAN-GP": ("wgan-gp", {})}
    dataset = data.grid25()
    figure, axes = new_figure(1, 4, size=(13, 4.2))
    _density(axes[0], dataset.samples[:10_000], dataset)
    axes[0].set_title("data\n25 of 25 modes")
    numbers = {}
    for panel, (title, (recipe, changes)) in zip(axes[1:], methods.items(), strict=True):
        trainer = build_trainer(settings(recipe, "grid25", steps=steps, seed=seed, **changes))
        for _ in range(steps):
            trainer.step()
        samples = trainer.sample(10_000)
        score = metrics.mode_metrics(samples[:2500], dataset.centres, dataset.sigma)
        _density(panel, samples, dataset)
        panel.set_title(f"{title}\n{score['modes']} of 25 modes, {score['high_quality']:.0%} within 3σ")
        numbers |= {f"{title}_{name}": float(score[name] or 0) for name in ("modes", "high_quality")}
    return Picture(figure, numbers)


@styled
def unrolled(*, steps: int = 600, seed: int = 0) -> Picture:
    """Show samples over time on the ring of eight, for generators unrolled over k = 0, 1 and 5 discriminator steps.

    The picture follows Figure 2 of Unrolled GANs (Metz et al. 2017, arXiv:1611.02163). The generator learns ten times
    as fast as its discriminator, as in the authors' demonstration; without unrolling it jumps from mode to mode.

    Args:
        steps: generator steps; five moments of the training are shown.
        seed: of weights, batches and noise.
    """
    dataset = data.ring8()
    moments = [max(1, steps * i // 5) for i in range(1, 6)]
    figure, axes = new_figure(3, 5, size=(12, 7.4))
    numbers = {}
    for row, k in zip(axes, (0, 1, 5), strict=True):
        rates = {"generator_lr": 1e-3, "discriminator_lr": 1e-4, "ema": 0.0, "steps": steps, "seed": seed}
        config = settings("unrolled", "ring8", unroll=k, **rates)
        trainer = build_trainer(config)
        for panel, moment in zip(row, moments, strict=True):
            while trainer.step_count < moment:
                trainer.step()
            samples = trainer.sample(2500)
            score = metrics.mode_metrics(samples, dataset.centres, dataset.sigma)
            _density(panel, samples, dataset)
            panel.set_title(f"{score['modes']} of 8 modes" + (f"\nstep {moment}" if k == 0 else ""))
            numbers[f"k{k}_step{moment}_modes"] = float(score["modes"])  # type: ignore[arg-type]
        row[0].set_ylabel(f"k = {k}", fontsize=15)
    return Picture(figure, numbers)


@styled
def checkerboard(*, seed: int = 0) -> Picture:
    """Show which of four ways to enlarge an image makes checkerboards before any training, and which copy its spectrum.

    Layers with random weights double a constant image three times; the upper pictures are the root mean square of the
    result over 300 draws of the weights. If a transposed convolution's kernel is not a multiple of its stride,
    neighbouring pixels gather different numbers of inputs (Odena et al. 2016,
    distill.pub/2016/deconv-checkerboard). The number is the relative difference between even and odd pixels away from
    the border.

    The lower pictures are the mean power spectra, in decibels, of white noise that the same layers have doubled three
    times. The number is the share of the power above half of the highest frequency, where the noise had none before the
    last doubling: copies of its spectrum, which resizing attenuates and a filter nearly removes.

    Args:
        seed: of the weights and of the noise.
    """
    ways = (
        ("transposed_3", "transposed, kernel 3"),
        ("transposed_4", "transposed, kernel 4"),
        ("resize_3", "resize, kernel 3"),
        ("filtered_3", "filtered, kernel 3"),
    )
    figure, axes = new_figure(2, len(ways), size=(15, 8.2))
    numbers = {}
    for (panel, below), (name, title) in zip(axes.T, ways, strict=True):
        middle = _energy(_DOUBLING[name], seed)[16:-16, 16:-16]
        phases = torch.stack([middle[i::2, j::2].mean() for i in (0, 1) for j in (0, 1)])
        unevenness = ((phases.amax() - phases.amin()) / phases.mean()).item()
        numbers[name] = unevenness
        blank(panel)
        panel.imshow(middle.numpy(), cmap="cividis", vmin=0, vmax=2 * middle.mean().item(), interpolation="nearest")
        colour = COLOURS[0] if unevenness < 0.1 else COLOURS[1]
        panel.set_title(f"{title}\neven and odd pixels: {unevenness:.0%} apart", color=colour)

        power = _spectrum(_DOUBLING[name], seed)
        quarter = len(power) // 4
        high = 1 - (power[quarter:-quarter, quarter:-quarter].sum() / power.sum()).item()
        numbers[f"{name}_copies"] = high
        decibels = 10 * torch.log10(power / power.amax())
        below.grid(False)
        shown = below.imshow(
            decibels.numpy(), cmap="cividis", vmin=-40, vmax=0, interpolation="nearest", extent=(-1, 1, -1, 1)
        )
        below.add_patch(_square())
        below.set_xticks([-1, 0, 1], ["−½", "0", "½"])
        below.set_yticks([-1, 0, 1], ["−½", "0", "½"])
        colour = COLOURS[0] if high < 0.1 else COLOURS[1]
        below.set_title(f"{high:.1%} outside of the square", color=colour)
    axes[0, 0].set_ylabel("a constant image")
    axes[1, 0].set_ylabel("spectrum of noise\n(cycles per pixel)")
    figure.colorbar(shown, ax=axes[1, :].tolist(), label="dB", shrink=0.9)
    return Picture(figure, numbers)


def _square() -> Any:
    """The frequencies that an image of half the size can hold."""
    from matplotlib.patches import Rectangle

    return Rectangle((-0.5, -0.5), 1, 1, fill=False, edgecolor="white", linewidth=1.2, linestyle="--")


_WEIGHTS: dict[str, Any] = {"bias": False, "dtype": torch.float32}
_DOUBLING: dict[str, Callable[[], nn.Module]] = {
    "transposed_3": lambda: nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1, **_WEIGHTS),
    "transposed_4": lambda: nn.ConvTranspose2d(1, 1, 4, 2, 1, **_WEIGHTS),
    "resize_3": lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1, **_WEIGHTS)),
    "filtered_3": lambda: nn.Sequential(FilteredUpsample(), nn.Conv2d(1, 1, 3, padding=1, **_WEIGHTS)),
}


def _doubled(layer: Callable[[], nn.Module], image: Tensor) -> Tensor:
    """Return an image (H, W) doubled three times by layers with random weights, each of its own."""
    image = image[None, None]
    for _ in range(3):
        part = layer()
        for weight in part.parameters():
            nn.init.normal_(weight)
        image = part(image)
    return image[0, 0]


@torch.no_grad()
def _energy(layer: Callable[[], nn.Module], seed: int) -> Tensor:
    """Return the root mean square over random weights of a constant 8x8 image doubled three times, (64, 64)."""
    total = torch.zeros(64, 64, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for _ in range(300):
            image = _doubled(layer, torch.ones(8, 8, dtype=torch.float32))
            total += (image / image.std().clamp(min=1e-6)) ** 2
    return (total / 300).sqrt()


@torch.no_grad()
def _spectrum(layer: Callable[[], nn.Module], seed: int) -> Tensor:
    """Return the mean power over random weights of white noise doubled three times, by frequency, 0 in the middle."""
    window = torch.hann_window(64, dtype=torch.float32)
    total = torch.zeros(64, 64, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for _ in range(300):
            image = _doubled(layer, torch.randn(8, 8, dtype=torch.float32))
            power = torch.fft.fft2(image * window.outer(window)).abs() ** 2
            total += power / power.sum().clamp(min=1e-12)
    return torch.fft.fftshift(total)
