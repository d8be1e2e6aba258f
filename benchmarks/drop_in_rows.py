"""The rows of the drop-in table: loss code as repositories have it, beside the same with ganops.

The original side is written from each repository's formulas, in the form that its users have in front of them. A row is
one entry of ``ROWS``; its two sides are classes with the loss of D's step, that of G's, and what follows D's update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ganops
from ganops.compat import basicsr, pix2pix, spade


class Side:
    """Loss code. ``real`` and ``fake`` are samples; ``fake`` has a graph in G's step alone."""

    def discriminator(self, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """What D's step minimises."""
        raise NotImplementedError

    def generator(self, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """What G's step minimises."""
        raise NotImplementedError

    def after(self, D: nn.Module) -> None:
        """What follows D's update."""


@dataclass(frozen=True)
class Row:
    """A repository's loss code and its version with ganops.

    ``system`` names the networks of drop_in.py that it runs on. ``passes``: the loss code calls D, so that only the
    whole step is timed. ``note`` is the last column of the table.
    """

    repository: str
    code: str
    system: str
    original: Callable[[], Side]
    ours: Callable[[], Side]
    note: str = ""
    passes: bool = False


# -------------------------------------------------------------------------------------------------------- PyTorch-GAN


class LogisticBySigmoid(Side):
    def discriminator(self, D, real, fake):
        valid, generated = torch.sigmoid(D(real)), torch.sigmoid(D(fake))
        real_loss = F.binary_cross_entropy(valid, torch.ones_like(valid))
        fake_loss = F.binary_cross_entropy(generated, torch.zeros_like(generated))
        return (real_loss + fake_loss) / 2

    def generator(self, D, real, fake):
        validity = torch.sigmoid(D(fake))
        return F.binary_cross_entropy(validity, torch.ones_like(validity))


class Logistic(Side):
    def discriminator(self, D, real, fake):
        return ganops.discriminator_loss(D(real), D(fake)) / 2

    def generator(self, D, real, fake):
        return ganops.generator_loss(D(fake))


class SquaresByMSE(Side):
    def discriminator(self, D, real, fake):
        valid, generated = D(real), D(fake)
        real_loss = F.mse_loss(valid, torch.ones_like(valid))
        fake_loss = F.mse_loss(generated, torch.zeros_like(generated))
        return 0.5 * (real_loss + fake_loss)

    def generator(self, D, real, fake):
        validity = D(fake)
        return F.mse_loss(validity, torch.ones_like(validity))


class Squares(Side):
    def discriminator(self, D, real, fake):
        return 0.5 * ganops.discriminator_loss(D(real), D(fake), "least_squares")

    def generator(self, D, real, fake):
        return ganops.generator_loss(D(fake), "least_squares")


class ClippedLoop(Side):
    def discriminator(self, D, real, fake):
        return -torch.mean(D(real)) + torch.mean(D(fake))

    def generator(self, D, real, fake):
        return -torch.mean(D(fake))

    def after(self, D):
        for p in D.parameters():
            p.data.clamp_(-0.01, 0.01)


class Clipped(Side):
    def discriminator(self, D, real, fake):
        return ganops.discriminator_loss(D(real), D(fake), "wasserstein")

    def generator(self, D, real, fake):
        return ganops.generator_loss(D(fake), "wasserstein")

    def after(self, D):
        ganops.clip_weights_(D.parameters(), 0.01)


def gradient_penalty(D: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """WGAN-GP's, with one alpha a sample."""
    alpha = alpha.view(-1, *[1] * (real.dim() - 1))
    points = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = D(points)
    (slopes,) = torch.autograd.grad(scores, points, torch.ones_like(scores), create_graph=True, retain_graph=True)
    return ((slopes.view(len(slopes), -1).norm(2, dim=1) - 1) ** 2).mean()


class PenalisedByNumPy(ClippedLoop):
    def discriminator(self, D, real, fake):
        alpha = torch.tensor(np.random.random((len(real), 1, 1, 1))).to(real)
        penalty = gradient_penalty(D, real.data, fake.data, alpha)
        return -torch.mean(D(real)) + torch.mean(D(fake)) + 10 * penalty

    def after(self, D):
        pass


class PenalisedWithAlpha(Clipped):
    def discriminator(self, D, real, fake):
        alpha = torch.tensor(np.random.random(len(real))).to(real)
        penalty = ganops.gradient_penalty(D, real, fake, weight=alpha)
        return ganops.discriminator_loss(D(real), D(fake), "wasserstein") + 10 * penalty

    def after(self, D):
        pass


# ------------------------------------------------------------------------------------------------- PyTorch-StudioGAN


class StudioVanilla(Side):
    def discriminator(self, D, real, fake):
        logits, generated = D(real), D(fake)
        real_loss = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        fake_loss = F.binary_cross_entropy_with_logits(generated, torch.zeros_like(generated))
        return real_loss + fake_loss

    def generator(self, D, real, fake):
        logits = D(fake)
        return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


class StudioVanillaOurs(Side):
    def discriminator(self, D, real, fake):
        return ganops.discriminator_loss(D(real), D(fake), "vanilla")

    def generator(self, D, real, fake):
        return ganops.generator_loss(D(fake), "vanilla")


class StudioSquares(Side):
    def discriminator(self, D, real, fake):
        logits, generated = D(real), D(fake)
        loss = 0.5 * (logits - torch.ones_like(logits)) ** 2 + 0.5 * generated**2
        return loss.mean()

    def generator(self, D, real, fake):
        logits = D(fake)
        return (0.5 * (logits - torch.ones_like(logits)) ** 2).mean()


class StudioSquaresOurs(Side):
    def discriminator(self, D, real, fake):
        return 0.5 * ganops.discriminator_loss(D(real), D(fake), "ls")

    def generator(self, D, real, fake):
        return 0.5 * ganops.generator_loss(D(fake), "ls")


class StudioHingeAndR1(Side):
    def discriminator(self, D, real, fake):
        real = real.requires_grad_(True)
        logits, generated = D(real), D(fake)
        loss = torch.mean(F.relu(1.0 - logits)) + torch.mean(F.relu(1.0 + generated))
        (slopes,) = torch.autograd.grad(logits.sum(), real, create_graph=True, retain_graph=True)
        penalty = 0.5 * slopes.pow(2).contiguous().view(len(real), -1).sum(1).mean()
        return loss + 10 * penalty

    def generator(self, D, real, fake):
        return -torch.mean(D(fake))


class StudioHingeAndR1Ours(Side):
    def discriminator(self, D, real, fake):
        real = real.requires_grad_(True)
        logits, generated = D(real), D(fake)
        loss = ganops.discriminator_loss(logits, generated, "hinge")
        penalty = 0.5 * ganops.input_gradient_penalty(logits, real, target=0)
        return loss + 10 * penalty

    def generator(self, D, real, fake):
        return ganops.generator_loss(D(fake), "hinge")


class StudioWasserstein(Side):
    def discriminator(self, D, real, fake):
        alpha = torch.rand(len(real), 1, dtype=real.dtype)
        penalty = gradient_penalty(D, real, fake, alpha)
        return torch.mean(D(fake) - D(real)) + 10 * penalty

    def generator(self, D, real, fake):
        return -torch.mean(D(fake))


class StudioWassersteinOurs(Side):
    def discriminator(self, D, real, fake):
        alpha = torch.rand(len(real), 1, dtype=real.dtype)
        penalty = ganops.gradient_penalty(D, real, fake, weight=alpha)
        return ganops.discriminator_loss(D(real), D(fake), "wasserstein") + 10 * penalty

    def generator(self, D, real, fake):
        return ganops.generator_loss(D(fake), "wasserstein")


# ------------------------------------------------------------------------------------------- data-efficient-gans


def augment(x: Tensor, u: Tensor) -> Tensor:
    """DiffAugment's colour, translation and cutout, step by step; u (N, 7) are the draws."""
    u, (n, _, h, w) = u.to(x), x.shape
    column = [u[:, i].view(n, 1, 1, 1) for i in range(3)]
    x = x + (column[0] - 0.5)
    mean = x.mean(dim=1, keepdim=True)
    x = (x - mean) * (column[1] * 2) + mean
    mean = x.mean(dim=[1, 2, 3], keepdim=True)
    x = (x - mean) * (column[2] + 0.5) + mean
    reach = [int(side * 0.125 + 0.5) for side in (h, w)]
    shift = [(u[:, 3 + i].double() * (2 * r + 1)).floor().long().view(n, 1, 1) - r for i, r in enumerate(reach)]
    batch, rows, columns = torch.meshgrid(torch.arange(n), torch.arange(h), torch.arange(w), indexing="ij")
    rows = torch.clamp(rows + shift[0] + 1, 0, h + 1)
    columns = torch.clamp(columns + shift[1] + 1, 0, w + 1)
    padded = F.pad(x, [1, 1, 1, 1])
    x = padded.permute(0, 2, 3, 1).contiguous()[batch, rows, columns].permute(0, 3, 1, 2)
    size = [int(side * 0.5 + 0.5) for side in (h, w)]
    batch, rows, columns = torch.meshgrid(torch.arange(n), torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    middle = [
        (u[:, 5 + i].double() * (side + 1 - s % 2)).floor().long().view(n, 1, 1)
        for i, (side, s) in enumerate(zip((h, w), size, strict=True))
    ]
    # What lies outside of the image is clamped onto its border there, and cut out too; here it goes to a margin.
    mask = torch.ones(n, h + 2, w + 2, dtype=x.dtype)
    rows = torch.clamp(rows + middle[0] - size[0] // 2 + 1, 0, h + 1)
    columns = torch.clamp(columns + middle[1] - size[1] // 2 + 1, 0, w + 1)
    mask[batch, rows, columns] = 0
    return x * mask[:, None, 1:-1, 1:-1]


class AugmentedSteps(Side):
    def discriminator(self, D, real, fake):
        real, fake = augment(real, torch.rand(len(real), 7)), augment(fake, torch.rand(len(fake), 7))
        return F.relu(1 - D(real)).mean() + F.relu(1 + D(fake)).mean()

    def generator(self, D, real, fake):
        return -D(augment(fake, torch.rand(len(fake), 7))).mean()


class Augmented(Side):
    def discriminator(self, D, real, fake):
        real, fake = ganops.diff_augment(real), ganops.diff_augment(fake)
        return ganops.discriminator_loss(D(real), D(fake), "hinge")

    def generator(self, D, real, fake):
        return ganops.generator_loss(D(ganops.diff_augment(fake)), "hinge")


# ------------------------------------------------------------------------------------------------------------ hifi-gan


class VocoderLoops(Side):
    def discriminator(self, D, real, fake):
        loss = 0
        for dr, dg in zip(D(real)[0], D(fake)[0], strict=True):
            r_loss = torch.mean((1 - dr) ** 2)
            g_loss = torch.mean(dg**2)
            loss += r_loss + g_loss
        return loss

    def generator(self, D, real, fake):
        (_, fmap_r), (logits, fmap_g) = D(real), D(fake)
        loss_fm = 0
        for dr, dg in zip(fmap_r, fmap_g, strict=True):
            for rl, gl in zip(dr, dg, strict=True):
                loss_fm += torch.mean(torch.abs(rl - gl))
        loss_gen = 0
        for dg in logits:
            loss_gen += torch.mean((1 - dg) ** 2)
        return loss_gen + loss_fm * 2


class Vocoder(Side):
    def discriminator(self, D, real, fake):
        pairs = zip(D(real)[0], D(fake)[0], strict=True)
        return sum(ganops.discriminator_loss(dr, dg, "least_squares") for dr, dg in pairs)

    def generator(self, D, real, fake):
        with ganops.frozen(D):
            (_, fmap_r), (logits, fmap_g) = D(real), D(fake)
        loss_fm = ganops.feature_matching_loss(fmap_r, fmap_g)
        loss_gen = sum(ganops.generator_loss(dg, "least_squares") for dg in logits)
        return loss_gen + loss_fm * 2


# ------------------------------------------------------------------------------------------------- taming-transformers


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, at: Tensor) -> Tensor:
    """The ratio of both losses' gradients, here at the generator's result."""
    (of_reconstruction,) = torch.autograd.grad(reconstruction, at, retain_graph=True)
    (of_adversarial,) = torch.autograd.grad(adversarial, at, retain_graph=True)
    weight = torch.norm(of_reconstruction) / (torch.norm(of_adversarial) + 1e-4)
    return torch.clamp(weight, 0.0, 1e4).detach()


class Autoencoder(Side):
    def discriminator(self, D, real, fake):
        loss_real = torch.mean(F.relu(1.0 - D(real)))
        loss_fake = torch.mean(F.relu(1.0 + D(fake)))
        return 0.5 * (loss_real + loss_fake)

    def generator(self, D, real, fake):
        reconstruction = torch.abs(real - fake).mean()
        g_loss = -torch.mean(D(fake))
        return reconstruction + 0.8 * adaptive_weight(reconstruction, g_loss, fake) * g_loss


class AutoencoderOurs(Side):
    def discriminator(self, D, real, fake):
        return 0.5 * ganops.discriminator_loss(D(real), D(fake), "hinge")

    def generator(self, D, real, fake):
        reconstruction = torch.abs(real - fake).mean()
        g_loss = ganops.generator_loss(D(fake), "hinge")
        return reconstruction + 0.8 * adaptive_weight(reconstruction, g_loss, fake) * g_loss


# ------------------------------------------------------------------------- GANLoss of BasicSR, SPADE and pix2pix


class PlainGANLoss(nn.Module):
    """One side's loss by kind, with target tensors, as these repositories have it."""

    def __init__(self, kind: str, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.kind, self.loss_weight = kind, loss_weight

    def forward(self, x: Tensor, target_is_real: bool, is_disc: bool = False) -> Tensor:
        """The mean loss."""
        label = x.new_ones(x.size()) * (1.0 if target_is_real else 0.0)
        if self.kind == "hinge":
            loss = F.relu(1 - x if target_is_real else 1 + x).mean() if is_disc else -x.mean()
        elif self.kind in ("wgan", "wgangp", "w"):
            loss = -x.mean() if target_is_real else x.mean()
        elif self.kind == "wgan_softplus":
            loss = F.softplus(-x if target_is_real else x).mean()
        elif self.kind in ("lsgan", "ls"):
            loss = F.mse_loss(x, label)
        else:
            loss = F.binary_cross_entropy_with_logits(x, label)
        return loss if is_disc else loss * self.loss_weight


class Restoration(Side):
    """BasicSR's calls: D's halves one after the other, and a weight for G."""

    def __init__(self, criterion: nn.Module) -> None:
        self.cri_gan = criterion

    def discriminator(self, D, real, fake):
        return self.cri_gan(D(real), True, is_disc=True) + self.cri_gan(D(fake), False, is_disc=True)

    def generator(self, D, real, fake):
        return F.l1_loss(fake, real) + self.cri_gan(D(fake), True, is_disc=False)


class Translation(Side):
    """pix2pix's calls: two arguments, the halves averaged."""

    def __init__(self, criterion: nn.Module) -> None:
        self.criterionGAN = criterion

    def discriminator(self, D, real, fake):
        return (self.criterionGAN(D(fake), False) + self.criterionGAN(D(real), True)) * 0.5

    def generator(self, D, real, fake):
        return self.criterionGAN(D(fake), True) + 100 * F.l1_loss(fake, real)


class Semantic(Side):
    """SPADE's calls: lists of features, the last of each the logits."""

    def __init__(self, criterion: Callable[..., Tensor]) -> None:
        self.criterionGAN = criterion

    def discriminator(self, D, real, fake):
        fake_loss = self.criterionGAN(D(fake)[1], False, for_discriminator=True)
        return (fake_loss + self.criterionGAN(D(real)[1], True, for_discriminator=True)).mean()

    def generator(self, D, real, fake):
        return self.criterionGAN(D(fake)[1], True, for_discriminator=False).mean()


def plain_lists(kind: str) -> Callable[..., Tensor]:
    """SPADE's average over a list."""
    single = PlainGANLoss(kind)

    def criterion(scales: list, target_is_real: bool, for_discriminator: bool = True) -> Tensor:
        loss = 0
        for scale in scales:
            logits = scale[-1] if isinstance(scale, list) else scale
            value = single(logits, target_is_real, for_discriminator)
            loss += torch.mean(value.view(1, -1), dim=1)
        return loss / len(scales)

    return criterion


# --------------------------------------------------------------------------------------------------------------- R3GAN


class Relativistic(Side):
    def discriminator(self, D, real, fake):
        real, fake = real.detach().requires_grad_(True), fake.detach().requires_grad_(True)
        logits, generated = D(real), D(fake)
        penalties = []
        for scores, samples in ((logits, real), (generated, fake)):
            (slopes,) = torch.autograd.grad(scores.sum(), samples, create_graph=True)
            penalties.append(slopes.square().sum([1, 2, 3]))
        adversarial = F.softplus(-(logits - generated).flatten(1).mean(1))
        return (adversarial + 5 * (penalties[0] + penalties[1])).mean()

    def generator(self, D, real, fake):
        return F.softplus(-(D(fake) - D(real.detach())).flatten(1).mean(1)).mean()


class RelativisticOurs(Side):
    def discriminator(self, D, real, fake):
        real, fake = real.detach().requires_grad_(True), fake.detach().requires_grad_(True)
        logits, generated = D(real), D(fake)
        r1 = ganops.r1_penalty(D, real, logits=logits)
        r2 = ganops.r2_penalty(D, fake, logits=generated)
        scores = (x.flatten(1).mean(1) for x in (logits, generated))
        return ganops.discriminator_loss(*scores, "relativistic") + 5 * (r1 + r2)

    def generator(self, D, real, fake):
        scores = (x.flatten(1).mean(1) for x in (D(fake), D(real.detach())))
        fake_logits, real_logits = scores
        return ganops.generator_loss(fake_logits, "relativistic", real_logits=real_logits)


def _of(side: Callable[..., Side], criterion: Callable[[], object]) -> Callable[[], Side]:
    return lambda: side(criterion())


ROWS = (
    Row("PyTorch-GAN", "gan", "points", LogisticBySigmoid, Logistic, "D's sigmoid is removed"),
    Row("PyTorch-GAN", "lsgan", "images", SquaresByMSE, Squares),
    Row("PyTorch-GAN", "wgan", "images", ClippedLoop, Clipped),
    Row("PyTorch-GAN", "wgan_gp", "images", PenalisedByNumPy, PenalisedWithAlpha, "keeps NumPy's weights", True),
    Row(
        "WassersteinGAN", "main.py: clipping", "normalised", ClippedLoop, Clipped,
        "clips all of D.parameters(), including batch norm",
    ),
    Row("StudioGAN", "vanilla", "images", StudioVanilla, StudioVanillaOurs),
    Row("StudioGAN", "least squares", "images", StudioSquares, StudioSquaresOurs),
    Row("StudioGAN", "hinge, R1", "images", StudioHingeAndR1, StudioHingeAndR1Ours, "", True),
    Row("StudioGAN", "wasserstein, GP", "images", StudioWasserstein, StudioWassersteinOurs, "", True),
    Row("data-efficient-gans", "DiffAugment, hinge", "images", AugmentedSteps, Augmented, "draws in one call", True),
    Row("hifi-gan", "MPD, MSD: losses, features", "vocoder", VocoderLoops, Vocoder, "D is frozen in G's step"),
    Row("taming-transformers", "hinge, adaptive weight", "images", Autoencoder, AutoencoderOurs, "", True),
    *(
        Row(
            "BasicSR", f"GANLoss {kind}", "images",
            _of(Restoration, lambda kind=kind: PlainGANLoss(kind, 0.1)),
            _of(Restoration, lambda kind=kind: basicsr.GANLoss(kind, loss_weight=0.1)),
            "only the import changes",
        )
        for kind in ("vanilla", "lsgan", "wgan", "wgan_softplus", "hinge")
    ),
    *(
        Row(
            "pix2pix", f"GANLoss {mode}", "images",
            _of(Translation, lambda mode=mode: PlainGANLoss(mode)),
            _of(Translation, lambda mode=mode: pix2pix.GANLoss(mode)),
            "only the import changes",
        )
        for mode in ("lsgan", "vanilla", "wgangp")
    ),
    Row(
        "SPADE", "GANLoss hinge, lists", "vocoder",
        _of(Semantic, lambda: plain_lists("hinge")),
        _of(Semantic, lambda: spade.GANLoss("hinge")),
        "only the import changes",
    ),
    Row("R3GAN", "relativistic, R1, R2", "images", Relativistic, RelativisticOurs, "", True),
)  # fmt: skip
