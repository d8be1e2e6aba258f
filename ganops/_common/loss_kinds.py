"""The table of loss kinds, and the checks of what the adversarial losses are given.

``r = D(x)`` and ``f = D(G(z))`` are raw logits (no sigmoid), σ the sigmoid, sp the softplus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ganops._common import checks
from ganops._common.dtypes import without_autocast
from ganops._common.reduction import REDUCTIONS

Formula = Callable[..., Tensor]


def _softplus(x: Tensor) -> Tensor:
    # Exact for every x, where F.softplus drops the tail beyond its threshold.
    return -F.logsigmoid(-x)


@dataclass(frozen=True)
class Kind:
    """One row of the table of objectives: what D minimises on real and on fake logits, and what G minimises.

    ``takes`` names, for each of the three formulas, the parameter it takes, if any. ``paired``: the formulas are of
    differences, D's of r − f and G's of f − r, and ``fake`` is not used.
    """

    real: Formula
    fake: Formula
    generator: Formula
    takes: tuple[str | None, str | None, str | None] = (None, None, None)
    defaults: dict[str, float] = field(default_factory=dict)
    paired: bool = False

    def formula(self, role: str) -> Formula:
        """The formula of one of ``ROLES``."""
        return getattr(self, role)


ROLES = ("real", "fake", "generator")

_LOGISTIC = {"real": lambda r: _softplus(-r), "fake": lambda f: _softplus(f)}

# The order is that of `enum class Kind` in csrc/math/adversarial_loss.h.
KINDS: dict[str, Kind] = {
    "minimax": Kind(**_LOGISTIC, generator=lambda f: -_softplus(f)),
    "non_saturating": Kind(**_LOGISTIC, generator=lambda f: _softplus(-f)),
    "kl": Kind(**_LOGISTIC, generator=lambda f: -f),
    "mle": Kind(**_LOGISTIC, generator=lambda f: -torch.exp(f)),
    "least_squares": Kind(
        real=lambda r, target: (r - target).square(),
        fake=lambda f, target: (f - target).square(),
        generator=lambda f, target: (f - target).square(),
        takes=("real_target", "fake_target", "generator_target"),
        defaults={"real_target": 1.0, "fake_target": 0.0, "generator_target": 1.0},
    ),
    "hinge": Kind(
        real=lambda r, margin: F.relu(margin - r),
        fake=lambda f, margin: F.relu(margin + f),
        generator=lambda f: -f,
        takes=("margin", "margin", None),
        defaults={"margin": 1.0},
    ),
    "wasserstein": Kind(real=lambda r: -r, fake=lambda f: f, generator=lambda f: -f),
    "relativistic": Kind(
        real=lambda d: _softplus(-d), fake=lambda d: _softplus(-d), generator=lambda d: _softplus(-d), paired=True
    ),
}


class Setting(NamedTuple):
    """A checked choice of kind and parameters; ``parameters`` holds one number per role, 0 where none is taken."""

    kind: str
    index: int
    parameters: tuple[float, float, float]

    def term(self, role: str, logits: Tensor) -> Tensor:
        """The formula of ``role`` at each logit: the same shape as ``logits``."""
        place = ROLES.index(role)
        kind = KINDS[self.kind]
        arguments = () if kind.takes[place] is None else (self.parameters[place],)
        return kind.formula(role)(logits, *arguments)


def _setting(index: int, name: str, values: dict[str, float]) -> Setting:
    numbers = tuple(0.0 if take is None else values[take] for take in KINDS[name].takes)
    return Setting(name, index, numbers)  # type: ignore[arg-type]


DEFAULTS = {name: _setting(index, name, kind.defaults) for index, (name, kind) in enumerate(KINDS.items())}


def resolve(function: str, kind: str, reduction: str, parameters: dict[str, float]) -> Setting:
    """Checks what is not a tensor and returns the setting. Raises ValueError or TypeError."""
    checks.choice(function, "kind", kind, KINDS)
    checks.choice(function, "reduction", reduction, REDUCTIONS)
    setting = DEFAULTS[kind]
    if not parameters:
        return setting
    values = dict(KINDS[kind].defaults)
    for name, value in parameters.items():
        if name not in values:
            wanted = f"it takes {', '.join(values)}" if values else "it takes none"
            raise TypeError(f"{function}: parameter {name!r} is unknown for kind {kind!r}; {wanted}")
        values[name] = checks.number(function, name, value)
    return _setting(setting.index, kind, values)


def check_pair(function: str, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Both, widened under autocast; raises unless they are tensors of one shape, dtype and device, as a kind that pairs
    them takes them."""
    checks.tensor(function, "real_logits", real_logits)
    checks.tensor(function, "fake_logits", fake_logits)
    real_logits, fake_logits = without_autocast(real_logits), without_autocast(fake_logits)
    checks.same_kind(function, "real_logits", real_logits, "fake_logits", fake_logits)
    checks.same_shape(function, "real_logits", real_logits, "fake_logits", fake_logits)
    return real_logits, fake_logits


def check_real_logits(kind: str, real_logits: Tensor | None) -> None:
    """Raises unless G's loss was given the real logits if its kind pairs them, and only then."""
    if KINDS[kind].paired and real_logits is None:
        raise TypeError(f"generator_loss: kind {kind!r} compares with real logits; pass real_logits=…")
    if not KINDS[kind].paired and real_logits is not None:
        paired = ", ".join(name for name, row in KINDS.items() if row.paired)
        raise TypeError(f"generator_loss: kind {kind!r} takes no real_logits; the kinds that do: {paired}")
