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
        points, images: further settings on that kind of data.
    """

    summary: str
    paper: str
    always: dict[str, Any]
    points: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)


#: What suits a kind of data whatever the recipe.
DEFAULTS: dict[Kind, dict[str, Any]] = {
    "points": {"model": "mlp", "batch_size": 256, "latent_dim": 2, "generator_norm": "none", "steps": 8000},
    "images": {"model": "dcgan", "batch_size": 64, "latent_dim": 64, "generator_norm": "batch", "steps": 5000},
}

RECIPES: dict[str, Recipe] = {
    "wgan": Recipe(
        "Wasserstein loss, critic's weights clipped after each of its steps",
        "Arjovsky et al. 2017, arXiv:1701.07875",
        {"loss": "wasserstein", "n_critic": 5, "clip": 0.01, "optimizer": "rmsprop"},
    ),
    "wgan-gp": Recipe(
        "Wasserstein loss, gradient penalty between real and fake",
        "Gulrajani et al. 2017, arXiv:1704.00028",
        {"loss": "wasserstein", "n_critic": 5, "beta1": 0.5, "beta2": 0.9},
        points={"penalty": 0.1},
        images={"penalty": 10.0, "discriminator_norm": "layer"},
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
    own = chosen.points if kind == "points" else chosen.images
    return RunConfig(**{"recipe": recipe, "data": data, **DEFAULTS[kind], **chosen.always, **own, **changes})
