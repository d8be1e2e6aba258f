"""Modules over the ops, for those who compose modules."""

from ganops.nn.augment import DiffAugment
from ganops.nn.filtered_snake import FilteredSnake
from ganops.nn.freezing import frozen
from ganops.nn.gan_loss import GANLoss
from ganops.nn.lecam import LeCam
from ganops.nn.losses import DiscriminatorLoss, GeneratorLoss, GradientPenalty
from ganops.nn.minibatch import MinibatchDiscrimination, MinibatchStddev

__all__ = [
    "DiffAugment",
    "DiscriminatorLoss",
    "FilteredSnake",
    "GANLoss",
    "GeneratorLoss",
    "GradientPenalty",
    "LeCam",
    "MinibatchDiscrimination",
    "MinibatchStddev",
    "frozen",
]
