"""Modules over the ops, for those who compose modules."""

from ganops.nn.losses import DiscriminatorLoss, GeneratorLoss, GradientPenalty

__all__ = ["DiscriminatorLoss", "GeneratorLoss", "GradientPenalty"]
