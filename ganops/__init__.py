"""Fused kernels for GAN training as PyTorch ops for any training code, and a trainer.

Every function of :mod:`ganops.ops` is available here by its name, and in plain PyTorch in :mod:`ganops.reference`.
``ganops.build_info()`` tells which kernels this machine uses and why. ``import ganops`` needs only torch. The modules
`bench`, `data`, `figures`, `metrics`, `models`, `theory` and `training` are imported when they are first used, and need
``pip install "ganops[train]"``, except `models` and `theory`.

>>> import ganops
>>> ganops.theory.jsd(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))      # log 2
tensor(0.6931)
"""

__version__ = "0.1.0"

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from ganops import nn, optimizers, reference
from ganops._library import FallbackWarning, build_info
from ganops._watch import watch
from ganops.nn import frozen
from ganops.ops import (
    approximate_r1_penalty,
    clip_weights_,
    diff_augment,
    discriminator_loss,
    downsample2d,
    dragan_penalty,
    feature_matching_loss,
    filter2d,
    filtered_lrelu,
    filtered_snake,
    gan_loss,
    generator_loss,
    gradient_norm_penalty,
    gradient_penalty,
    input_gradient_penalty,
    interpolate,
    lp_penalty,
    minibatch_discrimination,
    minibatch_stddev,
    pack,
    r1_penalty,
    r2_penalty,
    setup_filter,
    upfirdn1d,
    upfirdn2d,
    upsample2d,
)

if TYPE_CHECKING:
    from ganops import bench as bench
    from ganops import data as data
    from ganops import figures as figures
    from ganops import metrics as metrics
    from ganops import models as models
    from ganops import theory as theory
    from ganops import training as training

__all__ = [
    "FallbackWarning",
    "approximate_r1_penalty",
    "build_info",
    "clip_weights_",
    "diff_augment",
    "discriminator_loss",
    "downsample2d",
    "dragan_penalty",
    "feature_matching_loss",
    "filter2d",
    "filtered_lrelu",
    "filtered_snake",
    "frozen",
    "gan_loss",
    "generator_loss",
    "gradient_norm_penalty",
    "gradient_penalty",
    "input_gradient_penalty",
    "interpolate",
    "lp_penalty",
    "minibatch_discrimination",
    "minibatch_stddev",
    "nn",
    "optimizers",
    "pack",
    "r1_penalty",
    "r2_penalty",
    "reference",
    "setup_filter",
    "upfirdn1d",
    "upfirdn2d",
    "upsample2d",
    "watch",
]

_ON_USE = ("bench", "data", "figures", "metrics", "models", "theory", "training")


if not TYPE_CHECKING:  # with it type checkers would accept any name

    def __getattr__(name: str) -> ModuleType:
        """Import a module when it is first used."""
        if name not in _ON_USE:
            raise AttributeError(f"module 'ganops' has no attribute {name!r}")
        try:
            return importlib.import_module(f"ganops.{name}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "ganops":
                raise
            raise ModuleNotFoundError(
                f'ganops.{name} needs the package {error.name!r}, which is not installed: pip install "ganops[train]"',
                name=error.name,
            ) from error

    def __dir__() -> list[str]:
        return sorted({*globals(), *_ON_USE})
