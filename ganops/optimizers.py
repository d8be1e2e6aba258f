"""Optimisers that clip what they update, in one pass over the weights: ``RMSprop`` and ``Adam``."""

from ganops.ops.optimizers import Adam, RMSprop

__all__ = ["Adam", "RMSprop"]
