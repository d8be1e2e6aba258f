"""Pictures of common failures and of remedies: collapsed modes, checkerboards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganops import data, metrics
from ganops.figures.style import COLOURS, Picture, blank, new_figure, styled
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
    """Show which of three ways to enlarge an image makes checkerboards before any training.

    Layers with random weights double a constant image three times; the picture is the root mean square of the result
    over 300 draws of the weights. If a transposed convolution's kernel is not a multiple of its stride, neighbouring
    pixels gather different numbers of inputs (Odena et al. 2016, distill.pub/2016/deconv-checkerboard). The number is
    the relative difference between even and odd pixels away from the border.

    Args:
        seed: of the weights.
    """
    ways = (
        ("transposed_3", "transposed, kernel 3, stride 2"),
        ("transposed_4", "transposed, kernel 4, stride 2"),
        ("resize_3", "resize (nearest), kernel 3"),
    )
    figure, axes = new_figure(1, 3, size=(11, 4.4))
    numbers = {}
    for panel, (name, title) in zip(axes, ways, strict=True):
        energy = _energy(_DOUBLING[name], seed)
        middle = energy[16:-16, 16:-16]
        phases = torch.stack([middle[i::2, j::2].mean() for i in (0, 1) for j in (0, 1)])
        unevenness = ((phases.amax() - phases.amin()) / phases.mean()).item()
        numbers[name] = unevenness
        blank(panel)
        panel.imshow(middle.numpy(), cmap="cividis", vmin=0, vmax=2 * middle.mean().item(), interpolation="nearest")
        colour = COLOURS[0] if unevenness < 0.1 else COLOURS[1]
        panel.set_title(f"{title}\neven and odd pixels differ by {unevenness:.0%}", color=colour)
    return Picture(figure, numbers)


_WEIGHTS: dict[str, Any] = {"bias": False, "dtype": torch.float32}
_DOUBLING: dict[str, Callable[[], nn.Module]] = {
    "transposed_3": lambda: nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1, **_WEIGHTS),
    "transposed_4": lambda: nn.ConvTranspose2d(1, 1, 4, 2, 1, **_WEIGHTS),
    "resize_3": lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1, **_WEIGHTS)),
}


@torch.no_grad()
def _energy(layer: Callable[[], nn.Module], seed: int) -> Tensor:
    """Return the root mean square over random weights of a constant 8x8 image doubled three times, (64, 64)."""
    total = torch.zeros(64, 64, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for _ in range(300):
            image = torch.ones(1, 1, 8, 8, dtype=torch.float32)
            for _ in range(3):
                part = layer()
                for weight in part.parameters():
                    nn.init.normal_(weight)
                image = part(image)
            total += (image[0, 0] / image.std().clamp(min=1e-6)) ** 2
    return (total / 300).sqrt()
