"""Pictures of a trained generator, from the folder of its run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganops import data, metrics
from ganops.figures.style import COLOURS, GREY, Picture, mean, new_figure, show_images, styled
from ganops.metrics.distances import nearest
from ganops.training import draw, generator_of, load_checkpoint
from ganops.training.run import RunConfig

__all__ = ["class_grid", "image_to_image", "latent_arithmetic", "latent_interpolation", "nearest_neighbours"]


@dataclass(frozen=True)
class _Run:
    """A trained generator and its data."""

    generator: nn.Module
    config: RunConfig
    dataset: data.Dataset
    classes: int | None  # number of classes of a conditional generator; None: it is not conditional

    def noise(self, count: int, seed: int) -> Tensor:
        shape = (count, self.config.latent_dim)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)

    def samples(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images from z (N, latent_dim); a conditional generator makes the classes `labels`, or all in turn."""
        if self.classes is None:
            return draw(self.generator, z)
        return draw(self.generator, z, torch.arange(len(z)) % self.classes if labels is None else labels)


def _load(run: str | Path, figure: str) -> _Run:
    state = load_checkpoint(run)
    generator, config = generator_of(state)
    dataset = data.reference(data.open(config.data))
    if dataset.kind != "images":
        raise ValueError(f"{figure}: {run} is a run on {config.data}, which are points; give a run on images")
    return _Run(generator, config, dataset, state["extra"].get("classes"))


def _unpaired(run: str | Path, figure: str) -> _Run:
    found = _load(run, figure)
    if found.dataset.conditions is not None and found.config.conditional:
        raise ValueError(f"{figure}: {run} makes images from images; give a run that makes images from noise")
    return found


@styled
def latent_interpolation(run: str | Path, *, seed: int = 0) -> Picture:
    """Show images between two codes: six rows from one sample to another, along great circles.

    In many dimensions samples of N(0, I) lie near a sphere of radius sqrt(d). A straight line between two codes passes
    closer to the centre than samples do, so the path follows the sphere (slerp; White 2016, arXiv:1609.04468). The
    numbers are L2 distances in pixels. If a generator jumps from image to image, its largest step is far above the
    mean.

    Args:
        run: folder of a run on images.
        seed: of the codes.
    """
    found = _unpaired(run, "latent-interpolation")
    rows, columns = 6, 11
    ends = found.noise(2 * rows, seed).reshape(2, rows, -1)
    ways = torch.stack([_slerp(a, b, columns) for a, b in zip(*ends, strict=True)])
    labels = None if found.classes is None else (torch.arange(rows) % found.classes).repeat_interleave(columns)
    images = found.samples(ways.flatten(0, 1), labels)
    steps = images.reshape(rows, columns, -1).diff(dim=1).norm(dim=2)
    figure, axes = new_figure(size=(9.6, 5.6))
    show_images(axes, images, columns)
    axes.set_title(f"from one code to another on the sphere ({found.config.recipe} on {found.config.data})")
    return Picture(figure, {"mean_step": steps.mean().item(), "largest_step": steps.max().item()})


def _slerp(a: Tensor, b: Tensor, count: int) -> Tensor:
    """Return (count, d) points from a to b: directions along the great circle, lengths in even steps."""
    t = torch.linspace(0, 1, count, dtype=a.dtype)[:, None]
    angle = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    direction = torch.sin((1 - t) * angle) * a / a.norm() + torch.sin(t * angle) * b / b.norm()
    return direction / direction.norm(dim=1, keepdim=True) * torch.lerp(a.norm(), b.norm(), t)


@styled
def nearest_neighbours(run: str | Path, *, seed: int = 0) -> Picture:
    """Show samples, and below each the nearest real image in pixels, to see whether the generator has memorised.

    Args:
        run: folder of a run on images.
        seed: of the codes.
    """
    found = _unpaired(run, "nearest-neighbours")
    real = found.dataset.samples.flatten(1)
    images = found.samples(found.noise(500, seed))
    distance, which = nearest(images.flatten(1), real)
    few = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))[:500]]
    # The second nearest: the nearest to a real image is itself.
    usual = torch.cdist(few, real).kthvalue(2, dim=1).values
    columns = 12
    figure, axes = new_figure(2, 1, size=(9.6, 4.2), height_ratios=[2, 1.6])
    pairs = torch.cat([images[:columns], found.dataset.samples[which[:columns]]])
    show_images(axes[0], pairs, columns)
    axes[0].set_title("above: generated; below: the nearest real image")
    edges = torch.linspace(0, max(distance.max().item(), usual.max().item()), 40).numpy()
    for values, label, colour in (
        (distance, "generated", COLOURS[1]),
        (usual, "real, to another real one", COLOURS[0]),
    ):
        axes[1].hist(values.numpy(), bins=edges, density=True, alpha=0.6, label=label, color=colour)
    axes[1].set(xlabel="L2 distance to the nearest real image (pixels in [−1, 1])", yticks=[], ylabel="share")
    axes[1].legend()
    numbers = {"median_distance": distance.median().item(), "median_distance_of_real": usual.median().item()}
    numbers["exact_copies"] = float((distance < 0.1 * usual.median()).sum())
    return Picture(figure, numbers)


@styled
def class_grid(run: str | Path, *, seed: int = 0) -> Picture:
    """Show a row for each class of a conditional generator, with the same codes in every row.

    Args:
        run: folder of a run that was trained with ``--conditional`` (recipe cgan).
        seed: of the codes.
    """
    found = _unpaired(run, "class-grid")
    if found.classes is None:
        raise ValueError(f"class-grid: {run} is not conditional; train a run with: ganops train cgan --data mnist")
    rows, columns = min(found.classes, 10), 12
    z = found.noise(columns, seed).repeat(rows, 1)
    images = found.samples(z, torch.arange(rows).repeat_interleave(columns))
    labels = torch.arange(1000) % found.classes
    score = metrics.evaluate(found.samples(found.noise(1000, seed + 1), labels), found.dataset, labels)
    figure, axes = new_figure(size=(8.4, 7.4))
    show_images(axes, images, columns)
    height = images.shape[2] + 1
    axes.set_yticks([height * (i + 0.5) for i in range(rows)], [str(i) for i in range(rows)])
    accuracy, judge = float(score["label_accuracy"]), float(score["judge_accuracy"])  # type: ignore[arg-type]
    axes.set_ylabel("class asked for")
    axes.set_title(f"a classifier sees the class asked for in {accuracy:.1%} (and in {judge:.1%} of real digits)")
    return Picture(figure, {"label_accuracy": accuracy, "judge_accuracy": judge})


@styled
def latent_arithmetic(run: str | Path, *, seed: int = 0) -> Picture:
    """Show sums and differences of mean codes: bold minus thin, added to thin digits of another class.

    The codes of 4,000 samples are sorted by the class that a classifier sees in the image and by the amount of ink. The
    mean code of a class's bolder half minus that of its thinner half is the direction of ink; it is found for one class
    and added to the thin mean of another (Radford et al. 2016, section 6.3.2). Means are scaled to the length sqrt(d)
    of the codes that the generator was trained with.

    Args:
        run: folder of a run on digits.
        seed: of the codes.
    """
    found = _unpaired(run, "latent-arithmetic")
    classifier = metrics.classifier(found.dataset)
    z = found.noise(4000, seed)
    length = z.shape[1] ** 0.5
    images = found.samples(z)
    ink, seen = images.flatten(1).mean(dim=1), classifier.classify(images)

    def group(digit: int, bold: bool) -> Tensor:
        members = (seen == digit).nonzero()[:, 0]
        if len(members) < 10:
            raise ValueError(
                f"latent-arithmetic: {run} makes {len(members)} samples of class {digit} among 4,000; "
                "give a run whose generator makes all classes"
            )
        order = members[ink[members].argsort(descending=bold)]
        return z[order[: len(order) // 2]].mean(dim=0)

    def made(code: Tensor, digit: int) -> Tensor:
        return found.samples((length * code / code.norm())[None], torch.tensor([digit]))[0]

    rows, results = [], []
    for a, b in ((3, 7), (0, 4), (6, 2), (9, 5)):
        code = group(a, True) - group(a, False) + group(b, False)
        row = [made(group(a, True), a), made(group(a, False), a), made(group(b, False), b), made(code, b)]
        rows.append(row)
        results.append((row[3].mean() - row[2].mean(), classifier.classify(row[3][None])[0] == b))
    figure, axes = new_figure(len(rows), 4, size=(8.4, 7.6))
    titles = ("bold a", "−  thin a", "+  thin b", "=  bold b?")
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            show_images(axes[i, j], image[None], 1)
            if i == 0:
                axes[i, j].set_title(titles[j])
    bolder = [float(gain > 0) for gain, _ in results]
    kept = [float(same) for _, same in results]
    return Picture(figure, {"bolder_than_thin_b": mean(bolder), "still_of_class_b": mean(kept)})


@styled
def image_to_image(run: str | Path, *, twin: str | Path | None = None, seed: int = 0) -> Picture:
    """Show triples of an image-to-image run: the input image, the generated image, and the true image.

    All pairs were held out of the training.

    Args:
        run: folder of a run of recipe pix2pix.
        twin: folder of another run on the same data, e.g. with ``--adversarial-weight 0``; adds a row of its images.
        seed: selects the pairs.
    """
    found = _paired(run)
    others = [] if twin is None else [_paired(twin)]
    for other in others:
        if other.config.data != found.config.data:
            raise ValueError(
                f"image-to-image: twin {twin} was trained on {other.config.data} and {run} on {found.config.data}; "
                "both must have the same data"
            )
    columns = 10
    random = torch.Generator().manual_seed(seed)
    _, unseen = found.dataset.split()
    unseen = unseen.part(torch.randperm(len(unseen), generator=random)[:500])
    given, truth = unseen.conditions, unseen.samples
    made = [draw(each.generator, each.noise(len(given), seed), given) for each in (*others, found)]
    rows = [given, *made, truth]
    figure, axes = new_figure(size=(9.6, 1 + 0.94 * len(rows)))
    show_images(axes, torch.cat([row[:columns] for row in rows]), columns)
    height = truth.shape[2] + 1
    names = [
        "given",
        *(["L1 alone" if o.config.adversarial_weight == 0 else "twin" for o in others]),
        "generated",
        "truth",
    ]
    axes.set_yticks([height * (i + 0.5) for i in range(len(rows))], names)
    errors = [(images - truth).abs().mean().item() for images in made]
    axes.set_title(f"mean |generated − truth| = {errors[-1]:.3f} for pixels in [−1, 1]", color=GREY)
    return Picture(figure, {"l1": errors[-1], **({"twin_l1": errors[0]} if others else {})})


def _paired(run: str | Path) -> _Run:
    found = _load(run, "image-to-image")
    if found.dataset.conditions is None or not found.config.conditional:
        raise ValueError(f"image-to-image: {run} makes images from noise; train a run with: ganops train pix2pix")
    return found
