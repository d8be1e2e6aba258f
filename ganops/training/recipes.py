"""Recipes: a GAN by name is a set of settings.

To add one, add an entry to `RECIPES`. Its settings are fields of `RunConfig`. Other fields have the values of
`DEFAULTS` for the kind of data, or else the dataclass's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ganops._common import checks
from ganops.data import Kind, base_name, source
from ganops.training.run import RunConfig

__all__ = ["DEFAULTS", "RECIPES", "Recipe", "default_settings", "settings"]


@dataclass(frozen=True)
class Recipe:
    """A named set of settings.

    Attributes:
        summary: one line for ``ganops recipes``.
        paper: its source.
        always: its settings on any data.
        on: further settings by kind of data (``points``, ``images``) or by the name of a data set.
        data: the default data set.
        kinds: the kinds of data that it is for.
    """

    summary: str
    paper: str
    always: dict[str, Any]
    on: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: str = "mnist"
    kinds: tuple[Kind, ...] = ("points", "images")


#: Settings by kind of data for all recipes. With these sizes and rates a run takes minutes on two CPU cores.
DEFAULTS: dict[Kind, dict[str, Any]] = {
    "points": {
        "model": "mlp",
        "width": 128,
        "generator_norm": "none",
        "batch_size": 256,
        "latent_dim": 2,
        "steps": 8000,
        "ema": 0.99,
        "evaluate_every": 500,
    },
    "images": {
        "model": "dcgan",
        "generator_norm": "batch",
        "discriminator_norm": "batch",
        "batch_size": 32,
        "latent_dim": 32,
        "generator_lr": 4e-4,
        "discriminator_lr": 2e-4,
        "steps": 3200,
        "ema": 0.998,
        "evaluate_every": 400,
    },
}

_GRID25_PLAIN = {"generator_norm": "batch", "generator_lr": 1e-3, "discriminator_lr": 1e-3, "steps": 5000}

RECIPES: dict[str, Recipe] = {
    "gan": Recipe(
        "the original minimax game, which saturates if the discriminator wins: for study",
        "Goodfellow et al. 2014, arXiv:1406.2661",
        {"loss": "minimax"},
        on={"grid25": _GRID25_PLAIN},
    ),
    "nsgan": Recipe(
        "non-saturating logistic loss: the original GAN as it is trained in practice",
        "Goodfellow et al. 2014, arXiv:1406.2661",
        {"loss": "non_saturating"},
        on={"grid25": _GRID25_PLAIN},
    ),
    "klgan": Recipe(
        "the generator minimises KL(model || data): prefers few good modes",
        "Goodfellow 2017, arXiv:1701.00160",
        {"loss": "kl"},
    ),
    "mlegan": Recipe(
        "the generator minimises KL(data || model), as maximum likelihood does: gradients of high variance",
        "Goodfellow 2014, arXiv:1412.6515; 2017, arXiv:1701.00160",
        # The gradient exp(f) is dominated by single fakes with large logits. An R1 penalty keeps f small.
        {"loss": "mle", "penalty_kind": "r1"},
        on={"points": {"penalty": 0.1}, "images": {"penalty": 1.0, "discriminator_norm": "layer"}},
    ),
    "lsgan": Recipe(
        "least squares on the logits, targets 1 and 0",
        "Mao et al. 2017, arXiv:1611.04076",
        {"loss": "least_squares"},
    ),
    "hinge": Recipe(
        "hinge loss on the logits, margin 1",
        "Lim & Ye 2017, arXiv:1705.02894",
        {"loss": "hinge"},
    ),
    "sngan": Recipe(
        "hinge loss, spectral normalisation of the discriminator's weights",
        "Miyato et al. 2018, arXiv:1802.05957",
        {"loss": "hinge", "spectral_norm": True, "discriminator_norm": "none"},
        # With slopes of at most 1 D cannot separate points at sigma = 0.01 by the loss's margin of 1, and no mode of
        # the ring is found. With 30 all modes are found.
        on={
            "points": {
                "lipschitz": 30.0,
                "generator_lr": 5e-4,
                "discriminator_lr": 5e-4,
                "lr_decay": 0.5,
                "steps": 5000,
            }
        },
    ),
    "wgan": Recipe(
        "Wasserstein loss, critic's weights clipped after each of its steps",
        "Arjovsky et al. 2017, arXiv:1701.07875",
        {"loss": "wasserstein", "n_critic": 5, "optimizer": "rmsprop"},
        # With weights below 0.01 the signal vanishes in three narrow layers, so the limit is larger for toys.
        on={
            "points": {
                "clip": 0.1,
                "generator_lr": 5e-4,
                "discriminator_lr": 5e-4,
                "lr_decay": 0.5,
                "steps": 4000,
            },
            "images": {"clip": 0.01, "generator_lr": 2e-4, "discriminator_lr": 2e-4, "steps": 1500},
        },
    ),
    "wgan-gp": Recipe(
        "Wasserstein loss, gradient penalty between real and fake",
        "Gulrajani et al. 2017, arXiv:1704.00028",
        {"loss": "wasserstein", "n_critic": 5, "beta1": 0.5, "beta2": 0.9},
        on={
            "points": {
                "penalty": 0.1,
                "penalty_every": 4,
                "generator_lr": 5e-4,
                "discriminator_lr": 5e-4,
                "lr_decay": 0.5,
                "steps": 4000,
            },
            # The critic's difference grows with the data's scale and the penalty does not. The grid is four times as
            # wide as the ring, and the paper's 0.1, for data about as wide as the ring, leaves slopes far above 1. All
            # modes are found within 3,000 steps, with 54 % of the samples within 3 sigma; at 6,000 these are 93 %.
            "grid25": {
                "penalty": 1.0,
                "penalty_every": 4,
                "generator_lr": 1e-3,
                "discriminator_lr": 1e-3,
                "lr_decay": 0.4,
                "steps": 6000,
                "ema": 0.998,
            },
            "images": {
                "penalty": 10.0,
                "discriminator_norm": "layer",
                "generator_lr": 4e-4,
                "discriminator_lr": 4e-4,
                "steps": 1000,
            },
        },
    ),
    "r1gan": Recipe(
        "non-saturating loss, zero-centred gradient penalty at real samples",
        "Mescheder et al. 2018, arXiv:1801.04406",
        {"loss": "non_saturating", "penalty_kind": "r1", "beta1": 0.0, "beta2": 0.99},
        on={
            "points": {"penalty": 0.1, "generator_lr": 1e-3, "discriminator_lr": 1e-3, "lr_decay": 0.5},
            "images": {"penalty": 1.0, "discriminator_norm": "layer"},
        },
    ),
    "r3gan": Recipe(
        "relativistic loss of pairs, zero-centred gradient penalties at real and at fake samples",
        "Huang et al. 2024, arXiv:2501.05441",
        {"loss": "relativistic", "penalty_kind": "r1+r2", "beta1": 0.0, "beta2": 0.99},
        on={
            "points": {"penalty": 0.1, "generator_lr": 1e-3, "discriminator_lr": 1e-3, "lr_decay": 0.5},
            "images": {"penalty": 1.0, "discriminator_norm": "layer"},
        },
    ),
    "dcgan": Recipe(
        "strided convolutions, batch norm, Adam 2e-4 with beta1 0.5, non-saturating loss",
        "Radford et al. 2016, arXiv:1511.06434",
        {"loss": "non_saturating", "model": "dcgan", "generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5},
        kinds=("images",),
    ),
    "cgan": Recipe(
        "both networks take the class: concatenated in the generator, projected in the discriminator",
        "Mirza & Osindero 2014, arXiv:1411.1784; Miyato & Koyama 2018, arXiv:1802.05637",
        # A conditional generator easily collapses to one image per class, which batch norm's statistics in D hardly
        # show. R1 keeps D from rewarding a single image, and G learns no faster than D.
        {
            "loss": "non_saturating",
            "conditional": True,
            "penalty_kind": "r1",
            "beta1": 0.0,
            "beta2": 0.99,
            "generator_lr": 2e-4,
            "discriminator_lr": 4e-4,
        },
        on={"points": {"penalty": 0.1}, "images": {"penalty": 1.0, "discriminator_norm": "layer", "steps": 2400}},
    ),
    "pix2pix": Recipe(
        "image to image: U-Net, a discriminator of patches, adversarial and L1 loss",
        "Isola et al. 2017, arXiv:1611.07004",
        {
            "loss": "non_saturating",
            "model": "unet",
            "conditional": True,
            "l1_weight": 100.0,
            "generator_lr": 2e-4,
            "discriminator_lr": 2e-4,
            "batch_size": 16,
            "steps": 2000,
        },
        # If half of the image is unknown, L1 prefers the mean of all possible ones. With a lower weight than 100 the
        # strokes are sharp (Frechet distance 10.5; weight 100: 16.0; L1 alone: 27.4).
        on={"mnist_half": {"l1_weight": 10.0}},
        data="mnist_half",
        kinds=("images",),
    ),
    "unrolled": Recipe(
        "the generator looks five discriminator steps ahead and differentiates through them",
        "Metz et al. 2017, arXiv:1611.02163",
        {"loss": "non_saturating", "unroll": 5},
        on={"points": {"steps": 3000}, "images": {"discriminator_norm": "layer", "unroll": 1, "steps": 1500}},
        data="ring8",
    ),
    "pacgan": Recipe(
        "the discriminator scores packs of samples, and detects samples that resemble each other",
        "Lin et al. 2018, arXiv:1712.04086",
        {"loss": "non_saturating", "pack": 2},
        # A pack of two has 625 narrow modes in four dimensions, which D learns late: the modes are held early and
        # sharpen while the rates fall. Batches have 100 packs, as in the paper.
        on={
            "grid25": {
                "batch_size": 200,
                "n_critic": 2,
                "generator_lr": 1e-3,
                "discriminator_lr": 1e-3,
                "lr_decay": 0.5,
                "steps": 8000,
            },
        },
        data="ring8",
    ),
    "minibatch": Recipe(
        "minibatch discrimination: the discriminator sees how close the samples of a batch are",
        "Salimans et al. 2016, arXiv:1606.03498",
        {"loss": "non_saturating", "minibatch_discrimination": True},
        on={"grid25": _GRID25_PLAIN},
    ),
}


def default_settings(recipe: str, data: str | None = None, **changes: Any) -> dict[str, Any]:
    """The default settings of `recipe` on `data`, given the `changes` to them; not checked."""
    checks.choice("train", "recipe", recipe, RECIPES)
    chosen = RECIPES[recipe]
    data = chosen.data if data is None else data
    kind = source(data).kind
    if kind not in chosen.kinds:
        raise ValueError(f"recipe {recipe!r} is for {' and '.join(chosen.kinds)}, and data {data!r} holds {kind}")
    own = {**chosen.on.get(kind, {}), **chosen.on.get(base_name(data), {})}
    values = {"recipe": recipe, "data": data, **DEFAULTS[kind], **chosen.always, **own}
    if changes.get("model", values["model"]) != values["model"]:
        values.pop("width", None)  # it has another unit in the other model
    wanted = {**values, **changes}
    if (wanted.get("penalty") or wanted.get("unroll")) and values.get("discriminator_norm") == "batch":
        values["discriminator_norm"] = "layer"
    if wanted["model"] == "maxout":
        values["discriminator_norm"] = "none"
    return values


def settings(recipe: str, data: str | None = None, **changes: Any) -> RunConfig:
    """The settings of `recipe` on `data`, with `changes`.

    Defaults that a change excludes are replaced: with a gradient penalty or unrolling the default normalisation of the
    discriminator is ``layer`` instead of batch norm, and another model has its own default width.

    Args:
        recipe: one of `RECIPES`.
        data: one of `ganops.data.SOURCES`, with options if any; None: the recipe's default.
        changes: fields of `RunConfig`.

    Raises:
        ValueError: an unknown name (the nearest one is suggested), a value out of range, or settings that exclude each
            other (with the reason).
        TypeError: a field that does not exist, or a value of the wrong type.
    """
    return RunConfig(**{**default_settings(recipe, data, **changes), **changes})
