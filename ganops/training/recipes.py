"""Recipes: a GAN by name is a set of settings and nothing else.

To add one, add an entry to `RECIPES`. Its settings are fields of `RunConfig`; what it does not mention comes from
`DEFAULTS` for the kind of data, then from the dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ganops import _checks
from ganops.data import Kind, source
from ganops.training.run import RunConfig

__all__ = ["DEFAULTS", "RECIPES", "Recipe", "settings"]


@dataclass(frozen=True)
class Recipe:
    """A named set of settings.

    Attributes:
        summary: one line for ``ganops recipes``.
        paper: where it comes from.
        always: its settings on any data.
        on: further settings by kind of data (``points``, ``images``), or for one data set by its name.
    """

    summary: str
    paper: str
    always: dict[str, Any]
    on: dict[str, dict[str, Any]] = field(default_factory=dict)


#: What suits a kind of data whatever the recipe: sizes and rates chosen so that a run takes minutes on two CPU cores.
DEFAULTS: dict[Kind, dict[str, Any]] = {
    "points": {
        "model": "mlp",
        "width": 128,
        "generator_norm": "none",
        "batch_size": 256,
        "latent_dim": 2,
        "steps": 8000,
        "ema": 0.99,
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
    },
}

RECIPES: dict[str, Recipe] = {
    "wgan": Recipe(
        "Wasserstein loss, critic's weights clipped after each of its steps",
        "Arjovsky et al. 2017, arXiv:1701.07875",
        {"loss": "wasserstein", "n_critic": 5, "optimizer": "rmsprop"},
        # In three narrow layers of weights below 0.01 nothing is left of the signal: a toy critic needs more room.
        on={
            "points": {"clip": 0.1, "generator_lr": 5e-4, "discriminator_lr": 5e-4, "steps": 3000},
            "images": {"clip": 0.01, "generator_lr": 2e-4, "discriminator_lr": 2e-4, "steps": 1500},
        },
    ),
    "wgan-gp": Recipe(
        "Wasserstein loss, gradient penalty between real and fake",
        "Gulrajani et al. 2017, arXiv:1704.00028",
        {"loss": "wasserstein", "n_critic": 5, "beta1": 0.5, "beta2": 0.9},
        on={
            "points": {"penalty": 0.1, "generator_lr": 5e-4, "discriminator_lr": 5e-4, "steps": 3000},
            # The critic's difference grows with the data's scale and the penalty does not: here the grid is four times
            # as wide as the ring, and the paper's 0.1 (for data about as wide as the ring) leaves slopes far above 1.
            "grid25": {"penalty": 1.0, "generator_lr": 1e-3, "discriminator_lr": 1e-3, "steps": 4000},
            "images": {
                "penalty": 10.0,
                "discriminator_norm": "layer",
                "generator_lr": 4e-4,
                "discriminator_lr": 4e-4,
                "steps": 1000,
            },
        },
    ),
    "lsgan": Recipe(
        "least squares on the logits, targets 1 and 0",
        "Mao et al. 2017, arXiv:1611.04076",
        {"loss": "least_squares"},
    ),
    "hinge": Recipe(
        "hinge loss on the logits, margin 1",
        "Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957",
        {"loss": "hinge"},
    ),
    "nsgan": Recipe(
        "non-saturating logistic loss: the original GAN as it is trained in practice",
        "Goodfellow et al. 2014, arXiv:1406.2661",
        {"loss": "non_saturating"},
        on={"grid25": {"generator_norm": "batch", "generator_lr": 1e-3, "discriminator_lr": 1e-3, "steps": 5000}},
    ),
}


def settings(recipe: str, data: str = "mnist", **changes: Any) -> RunConfig:
    """The settings of `recipe` on `data`, with `changes`.

    Args:
        recipe: one of `RECIPES`.
        data: one of `ganops.data.SOURCES`.
        changes: fields of `RunConfig`.

    Raises:
        ValueError: an unknown name (the nearest one is offered), or a value out of range.
        TypeError: a field that does not exist, or a value of the wrong type.
    """
    _checks.choice("train", "recipe", recipe, RECIPES)
    kind = source(data).kind
    chosen = RECIPES[recipe]
    own = {**chosen.on.get(kind, {}), **chosen.on.get(data, {})}
    values = {"recipe": recipe, "data": data, **DEFAULTS[kind], **chosen.always, **own}
    if changes.get("model", values["model"]) != values["model"]:
        values.pop("width", None)  # it was meant for the other model, which counts in other units
    return RunConfig(**{**values, **changes})
