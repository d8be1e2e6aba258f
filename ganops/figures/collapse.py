"""Pictures of what goes wrong, and of what helps: collapsed modes, checkerboards."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganops import data, metrics
from ganops.figures.style import COLOURS, Picture, blank, new_figure, styled
from ganops.training import build_trainer, settings

__all__ = ["checkerboard", "mode_densities", "unrolled"]


def _density(axes: object, points: Tensor, dataset: data.Dataset) -> None:
    """A histogram of points in the plane, with the modes of the data as rings."""
    low, high = dataset.samples.amin(), dataset.samples.amax()
    reach = 1.2 * max(-low.item(), high.item())
    counts, _ = torch.histogramdd(points.double(), bins=[90, 90], range=[-reach, reach, -reach, reach])
    blank(axes)
    # Square root: a mode with a hundredth of the samples still shows.
    extent = [-reach, reach, -reach, reach]
    axes.imshow(counts.T.sqrt().numpy(), origin="lower", extent=extent, cmap="cividis", interpolation="nearest")
    axes.plot(*dataset.centres.T.numpy(), "o", mfc="none", mec="white", ms=7, mew=0.7, alpha=0.8)


@styled
def mode_densities(*, steps: int = 8000, seed: int = 0) -> Picture:
    """Where the samples lie of a plain GAN, of PacGAN and of WGAN-GP, trained on the grid of 25 Gaussians.

    By the recipes of the two; the GAN is PacGAN with packs of one, as many. The circles are the modes of the data.
    Modes and quality as in PacGAN, on 2,500 samples.

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
    """Samples over time on the ring of eight, the generator looking k = 0, 1 and 5 discriminator steps ahead.

    As Figure 2 of Unrolled GANs (Metz et al. 2017, arXiv:1611.02163), with a generator that learns ten times as fast as
    its discriminator, as in the authors' demonstration: without looking ahead it runs from mode to mode.

    Args:
        steps: generator steps; five moments of them are shown.
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
    """Three ways to double an image three times, before any training: which of them draws a checkerboard by itself?

    Random layers of each kind are applied to a constant image; shown is the root mean square of the result over 300
    draws of the weights. Where a transposed convolution's kernel is no multiple of its stride, neighbouring pixels
    gather different numbers of inputs (Odena et al. 2016, distill.pub/2016/deconv-checkerboard). The number is the
    relative difference between even and odd pixels away from the border.

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


_DOUBLING: dict[str, Callable[[], nn.Module]] = {
    "transposed_3": lambda: nn.ConvTranspose2d(1, 1, 3, 2, 1, output_padding=1, bias=False),
    "transposed_4": lambda: nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False),
    "resize_3": lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1, bias=False)),
}


@torch.no_grad()
def _energy(layer: Callable[[], nn.Module], seed: int) -> Tensor:
    """Root mean square over random weights of a constant 8x8 image doubled three times, (64, 64)."""
    total = torch.zeros(64, 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(300):
            image = torch.ones(1, 1, 8, 8)
            for _ in range(3):
                part = layer()
                for weight in part.parameters():
                    nn.init.normal_(weight)
                image = part(image)
            total += (image[0, 0] / image.std().clamp(min=1e-6)) ** 2
    return (total / 300).sqrt()
