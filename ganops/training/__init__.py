"""A complete trainer, for recipes by name and for your own networks and data.

>>> from ganops.training import settings, train
>>> train(settings("wgan-gp", "ring8", steps=2000), "runs/ring")                                  # doctest: +SKIP

>>> from ganops.training import Trainer, TrainingConfig
>>> Trainer(generator, discriminator, loader, TrainingConfig(loss="hinge"), out="runs/mine").run()  # doctest: +SKIP
"""

from ganops.training.batches import Batch
from ganops.training.checkpoint import load_checkpoint, save_checkpoint
from ganops.training.config import TrainingConfig
from ganops.training.examples import draw
from ganops.training.export import export, load_generator
from ganops.training.loggers import LOGGERS, Logger, attach
from ganops.training.losses import TrainingDiverged
from ganops.training.monitor import CollapseMonitor, Observation
from ganops.training.objective import Draws, Objective, Update
from ganops.training.recipes import RECIPES, Recipe, settings
from ganops.training.run import RunConfig, build_trainer, evaluate_checkpoint, generator_of, sample_condition, train
from ganops.training.signals import TrainingInterrupted
from ganops.training.trainer import Trainer

__all__ = [
    "LOGGERS",
    "RECIPES",
    "Batch",
    "CollapseMonitor",
    "Draws",
    "Logger",
    "Objective",
    "Observation",
    "Recipe",
    "RunConfig",
    "Trainer",
    "TrainingConfig",
    "TrainingDiverged",
    "TrainingInterrupted",
    "Update",
    "attach",
    "build_trainer",
    "draw",
    "evaluate_checkpoint",
    "export",
    "generator_of",
    "load_checkpoint",
    "load_generator",
    "sample_condition",
    "save_checkpoint",
    "settings",
    "train",
]
