"""A complete trainer: for the recipes by name, and for anybody's own networks and data.

>>> from ganops.training import settings, train
>>> train(settings("wgan-gp", "ring8", steps=2000), "runs/ring")                                  # doctest: +SKIP

>>> from ganops.training import Trainer, TrainingConfig
>>> Trainer(generator, discriminator, loader, TrainingConfig(loss="hinge"), out="runs/mine").run()  # doctest: +SKIP
"""

from ganops.training.batches import Batch
from ganops.training.checkpoint import load_checkpoint, save_checkpoint
from ganops.training.config import TrainingConfig
from ganops.training.recipes import RECIPES, Recipe, settings
from ganops.training.run import RunConfig, build_trainer, evaluate_checkpoint, generator_of, sample_condition, train
from ganops.training.trainer import Trainer, TrainingDiverged, TrainingInterrupted, draw

__all__ = [
    "RECIPES",
    "Batch",
    "Recipe",
    "RunConfig",
    "Trainer",
    "TrainingConfig",
    "TrainingDiverged",
    "TrainingInterrupted",
    "build_trainer",
    "draw",
    "evaluate_checkpoint",
    "generator_of",
    "load_checkpoint",
    "sample_condition",
    "save_checkpoint",
    "settings",
    "train",
]
