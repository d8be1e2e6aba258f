"""Every picture by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ganops.figures import collapse, runs, theory
from ganops.figures.style import Picture

__all__ = ["FIGURES", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A picture that can be drawn. The keyword arguments of `draw` are the options of ``ganops figure``."""

    draw: Callable[..., Picture]
    summary: str


#: Every picture by name. To add one, write a function and add a line here.
FIGURES: dict[str, Entry] = {
    "generator-losses": Entry(theory.generator_losses, "the generator's losses and gradients against D(G(z))"),
    "optimal-discriminator": Entry(theory.optimal_discriminator, "a trained D beside D* on two Gaussians"),
    "critic-wasserstein": Entry(theory.critic_wasserstein, "a critic's loss beside W1 while one Gaussian moves"),
    "jsd-wasserstein": Entry(theory.jsd_wasserstein, "JSD saturates at log 2, W1 does not"),
    "value-surface": Entry(theory.value_surface, "clipped and penalised critics as landscapes (WGAN-GP, Figure 1)"),
    "mode-densities": Entry(collapse.mode_densities, "GAN, PacGAN and WGAN-GP on 25 Gaussians, side by side"),
    "unrolled": Entry(collapse.unrolled, "the ring over time, looking 0, 1 and 5 D steps ahead"),
    "checkerboard": Entry(collapse.checkerboard, "transposed convolutions and resizing, before any training"),
    "class-grid": Entry(runs.class_grid, "a row of samples for each class of a conditional run"),
    "latent-interpolation": Entry(runs.latent_interpolation, "images between two codes of a run"),
    "latent-arithmetic": Entry(runs.latent_arithmetic, "bold minus thin, added to thin, in a digit run's codes"),
    "nearest-neighbours": Entry(runs.nearest_neighbours, "samples of a run beside the nearest real images"),
    "image-to-image": Entry(runs.image_to_image, "given, generated and true images of a pix2pix run"),
}
