"""The table of loss kinds, and the checks of the adversarial losses' arguments.

``r = D(x)`` and ``f = D(G(z))`` are raw logits (no sigmoid), σ the sigmoid, sp the softplus.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ganops._common import checks
from ganops._common.dtypes import HALVES, accumulate_dtype, without_autocast
from ganops._common.reduction import REDUCTIONS


@dataclass(frozen=True)
class Base:
    """An elementwise function and closed forms of its first two derivatives; autograd can differentiate all three."""

    name: str
    value: Callable[[Tensor], Tensor]
    first: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]


def _sigmoid(u: Tensor) -> Tensor:
    # torch's derivative of y = sigmoid(u) is y·(1 − y), which is 0 where y rounds to 1. For u ≥ 0 this form uses
    # sigmoid(−u), which is small there and keeps the derivative's digits.
    return torch.where(u < 0, torch.sigmoid(u), 1 - torch.sigmoid(-u))


SOFTPLUS = Base(
    "softplus",
    # Above its threshold softplus returns u. The default of 20 is too low for float64. F.softplus is used instead of
    # torch.logaddexp because more tensor subclasses implement it.
    lambda u: F.softplus(u, threshold=40),
    _sigmoid,
    lambda u: torch.sigmoid(u) * torch.sigmoid(-u),
)
LINEAR = Base("linear", lambda u: u, torch.ones_like, torch.zeros_like)
EXPONENTIAL = Base("exponential", torch.exp, torch.exp, torch.exp)
SQUARE = Base("square", torch.square, lambda u: 2 * u, lambda u: torch.full_like(u, 2))
RELU = Base("relu", F.relu, lambda u: torch.where(u <= 0, 0, torch.ones_like(u)), torch.zeros_like)


def _scaled(factor: float, x: Tensor) -> Tensor:
    return x if factor == 1 else -x if factor == -1 else factor * x


@dataclass(frozen=True)
class Term:
    """One formula, outer · (base(u) + tilt·(p − default)·u) with u = inner·x + shift·p.

    The loss takes p as a keyword argument named ``parameter``. A tilted softplus is the cross-entropy with the label p.
    """

    base: Base
    outer: float = 1
    inner: float = 1
    shift: float = 0
    parameter: str | None = None
    default: float = 0.0
    tilt: float = 0

    def _argument(self, x: Tensor, p: float) -> Tensor:
        u = _scaled(self.inner, x)
        return u + self.shift * p if self.shift else u

    def _tilt(self, p: float) -> float:
        return self.tilt * (p - self.default) if self.tilt else 0

    def value(self, x: Tensor, p: float) -> Tensor:
        """The formula at each element of ``x``."""
        u, tilt = self._argument(x, p), self._tilt(p)
        return _scaled(self.outer, self.base.value(u) + tilt * u if tilt else self.base.value(u))

    def first(self, x: Tensor, p: float) -> Tensor:
        """Its derivative."""
        slope, tilt = self.base.first(self._argument(x, p)), self._tilt(p)
        return _scaled(self.outer * self.inner, slope + tilt if tilt else slope)

    def second(self, x: Tensor, p: float) -> Tensor:
        """Its second derivative."""
        return _scaled(self.outer * self.inner**2, self.base.second(self._argument(x, p)))


@dataclass(frozen=True)
class Kind:
    """One row of the table: what D minimises on real and on fake logits, and what G minimises on fake ones.

    Attributes:
        real, fake, generator: The formulas of the three roles: D's loss on real logits, D's loss on fake logits, and
            G's loss on fake logits.
        paired: Both networks' losses need real and fake logits. The formulas take differences of logits: ``real`` takes
            r − f, ``generator`` takes f − r, and ``fake`` is not used.
        average: Paired, but each logit is compared with the mean of the other side's: ``real`` takes r − mean f,
            ``fake`` takes f − mean r, and G's loss is D's with the sides exchanged. The kernels are those of
            ``non_saturating``, at logits from which the mean has been subtracted.
        saturating: G minimises the negative of D's loss on fake logits. Its gradient vanishes for samples that D
            rejects with confidence.
        undecided_logit: The logit that D gives a sample if it considers real and generated equally likely; for least
            squares, with the default targets. None if the loss defines no such logit.
    """

    real: Term
    fake: Term
    generator: Term
    paired: bool = False
    average: bool = False
    saturating: bool = False
    undecided_logit: float | None = 0.0

    def term(self, role: str) -> Term:
        """The formula of one of ``ROLES``."""
        return getattr(self, role)

    @property
    def linear(self) -> bool:
        """Whether D's gradient is the same at every logit, so that its size does not show whether D wins."""
        return self.fake.base is LINEAR

    @property
    def defaults(self) -> dict[str, float]:
        """The names of the kind's parameters, with their default values."""
        terms = (self.real, self.fake, self.generator)
        return {term.parameter: term.default for term in terms if term.parameter is not None}

    def describe(self, name: str) -> str:
        """The row as text, in the format of ``ganops_loss_kinds`` in csrc/torch/adversarial_loss.cpp."""
        terms = (self.real, self.fake, self.generator)
        numbers = ((t.outer, t.inner, t.shift, t.tilt, t.default if t.tilt else 0) for t in terms)
        formulas = (f"{t.base.name} {' '.join(f'{x:g}' for x in row)}" for t, row in zip(terms, numbers, strict=True))
        return " ".join([name, "paired" if self.paired else "unpaired", *formulas])


ROLES = ("real", "fake", "generator")


# The cross-entropy of σ(x) with a label of 1 or of 0, unless another is given.
def _label_one(target: str) -> Term:
    return Term(SOFTPLUS, inner=-1, tilt=1, parameter=target, default=1.0)


_LOGISTIC = {
    "real": _label_one("real_target"),
    "fake": Term(SOFTPLUS, tilt=-1, parameter="fake_target", default=0.0),
}


def _distance(target: str, default: float) -> Term:
    return Term(SQUARE, shift=-1, parameter=target, default=default)


def _below_margin(sign: float) -> Term:
    return Term(RELU, inner=sign, shift=1, parameter="margin", default=1.0)


# To add a kind, add a row here and a row in csrc/math/adversarial_loss.h, at any place. `numbers` reads each kind's
# number from the compiled library.
KINDS: dict[str, Kind] = {
    "minimax": Kind(**_LOGISTIC, generator=Term(SOFTPLUS, outer=-1), saturating=True),
    "non_saturating": Kind(**_LOGISTIC, generator=_label_one("generator_target")),
    "kl": Kind(**_LOGISTIC, generator=Term(LINEAR, outer=-1)),
    "mle": Kind(**_LOGISTIC, generator=Term(EXPONENTIAL, outer=-1)),
    "least_squares": Kind(
        _distance("real_target", 1.0),
        _distance("fake_target", 0.0),
        _distance("generator_target", 1.0),
        undecided_logit=0.5,
    ),
    "hinge": Kind(_below_margin(-1), _below_margin(1), Term(LINEAR, outer=-1)),
    "wasserstein": Kind(Term(LINEAR, outer=-1), Term(LINEAR), Term(LINEAR, outer=-1), undecided_logit=None),
    "relativistic": Kind(*(Term(SOFTPLUS, inner=-1),) * 3, paired=True, undecided_logit=None),
    # Not in the compiled table, see ``Kind.average``.
    "relativistic_average": Kind(
        Term(SOFTPLUS, inner=-1),
        Term(SOFTPLUS),
        Term(SOFTPLUS, inner=-1),
        paired=True,
        average=True,
        undecided_logit=None,
    ),
}

#: Names that other code uses for the same kinds.
ALIASES = {
    "vanilla": "non_saturating",
    "bce": "non_saturating",
    "ns": "non_saturating",
    "lsgan": "least_squares",
    "ls": "least_squares",
    "mse": "least_squares",
    "wgan": "wasserstein",
    "rpgan": "relativistic",
    "ragan": "relativistic_average",
}


def canonical(function: str, kind: object) -> str:
    """Returns the name in ``KINDS`` for a name or an alias. Raises ValueError with the nearest name otherwise."""
    if isinstance(kind, str) and (kind in KINDS or kind in ALIASES):
        return ALIASES.get(kind, kind)
    near = difflib.get_close_matches(str(kind).lower(), [*KINDS, *ALIASES], n=1)
    hint = f" (did you mean {ALIASES.get(near[0], near[0])!r}?)" if near else ""
    raise ValueError(f"{function}: kind {kind!r} is unknown{hint}; choose one of {', '.join(sorted(KINDS))}")


def numbers(listing: str | None, library: object, table: dict[str, Kind] | None = None) -> dict[str, int]:
    """Returns the number of each kind in the compiled library, read from the library's listing of its table.

    Raises ImportError if the listing is missing, or if it differs from this table in any kind or formula.
    """
    table = KINDS if table is None else table
    head, rows = [f"reductions {' '.join(REDUCTIONS)}", f"roles {' '.join(ROLES)}"], (listing or "").splitlines()
    theirs = {row.split()[0]: row for row in rows[2:]}
    ours = {name: kind.describe(name) for name, kind in table.items() if not kind.average}
    if rows[:2] != head or theirs != ours:
        different = sorted(name for name in theirs | ours if theirs.get(name) != ours.get(name))
        raise ImportError(
            f"ganops: {library} and ganops/_common/loss_kinds.py disagree about the loss kinds "
            f"{', '.join(different) or '(roles or reductions)'}: they are of different versions; rebuild with "
            "python -m pip install --no-build-isolation ."
        )
    return {name: number for number, name in enumerate(theirs)}


class Setting(NamedTuple):
    """A kind with checked parameters. ``parameters`` has one number for each role: 0 for a role without a parameter."""

    name: str
    kind: Kind
    parameters: tuple[float, float, float]

    def value(self, role: str, logits: Tensor) -> Tensor:
        """The formula of ``role`` at each logit."""
        return self.kind.term(role).value(logits, self.parameters[ROLES.index(role)])


def _setting(name: str, values: dict[str, float]) -> Setting:
    kind = KINDS[name]
    real, fake, generator = (values.get(kind.term(role).parameter or "", 0.0) for role in ROLES)
    return Setting(name, kind, (real, fake, generator))


_DEFAULTS = {name: _setting(name, kind.defaults) for name, kind in KINDS.items()}


#: The setting of the terms of average kinds.
CENTRED = _DEFAULTS["non_saturating"]


def centred(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Each less the mean of the other, in its own dtype; the mean is that of the wide numbers."""
    wide = accumulate_dtype(first.dtype)
    of_first, of_second = first.mean(dtype=wide), second.mean(dtype=wide)
    return (first - of_second).to(first.dtype), (second - of_first).to(second.dtype)


def resolve(function: str, kind: str, reduction: str, parameters: dict[str, float]) -> Setting:
    """Checks all arguments that are not tensors and returns the setting. Raises ValueError or TypeError."""
    known = isinstance(reduction, str) and reduction in REDUCTIONS
    if known and not parameters and isinstance(kind, str) and kind in _DEFAULTS:
        return _DEFAULTS[kind]  # the ordinary case
    name = canonical(function, kind)
    if not known:
        checks.choice(function, "reduction", reduction, REDUCTIONS)
    if not parameters:
        return _DEFAULTS[name]
    values = KINDS[name].defaults
    for key, value in parameters.items():
        if key not in values:
            wanted = f"it takes {', '.join(values)}" if values else "it takes none"
            raise TypeError(f"{function}: parameter {key!r} is unknown for kind {kind!r}; {wanted}")
        values[key] = checks.number(function, key, value)
    return _setting(name, values)


def check_logits(function: str, real_logits: Tensor, fake_logits: Tensor, paired: bool) -> tuple[Tensor, Tensor]:
    """Returns both tensors, half precision converted to float32 under autocast.

    Raises TypeError or ValueError if they differ in dtype or device, or in shape for a paired kind.
    """
    ordinary = checks.alike(real_logits, fake_logits)
    if not ordinary:
        checks.tensor(function, "real_logits", real_logits)
        checks.tensor(function, "fake_logits", fake_logits)
    if not ordinary or real_logits.dtype in HALVES:
        real_logits, fake_logits = without_autocast(real_logits), without_autocast(fake_logits)
    if not ordinary:
        checks.same_kind(function, "real_logits", real_logits, "fake_logits", fake_logits)
    if paired:
        checks.same_shape(function, "real_logits", real_logits, "fake_logits", fake_logits)
    return real_logits, fake_logits


def check_one(function: str, name: str, logits: Tensor) -> Tensor:
    """The logits, widened under autocast; raises TypeError unless they are a dense floating-point tensor."""
    if not checks.alike(logits):
        checks.tensor(function, name, logits)
    return without_autocast(logits) if logits.dtype in HALVES else logits


def check_real_logits(name: str, kind: Kind, real_logits: Tensor | None) -> None:
    """Raises TypeError if a paired kind is missing the real logits, or if another kind was given them."""
    if kind.paired and real_logits is None:
        raise TypeError(f"generator_loss: kind {name!r} compares with real logits; pass real_logits=…")
    if not kind.paired and real_logits is not None:
        paired = ", ".join(name for name, row in KINDS.items() if row.paired)
        raise TypeError(f"generator_loss: kind {name!r} takes no real_logits; the kinds that do: {paired}")


def check_no_weight(name: str, kind: Kind, sample_weight: object) -> None:
    """Raises ValueError if a kind that is no sum over samples was given weights of samples."""
    if kind.average and sample_weight is not None:
        raise ValueError(
            f"generator_loss: kind {name!r} compares with means of the batch and takes no sample_weight; choose "
            "relativistic, or leave it out"
        )


def check_half(name: str, kind: Kind, is_real: object) -> None:
    """Raises ValueError if the kind is paired, so that its loss has no halves; TypeError if ``is_real`` is no bool."""
    if kind.paired:
        raise ValueError(
            f"gan_loss: kind {name!r} compares real with generated logits; use discriminator_loss and generator_loss, "
            "which take both"
        )
    if not isinstance(is_real, bool):
        raise TypeError(f"gan_loss: is_real must be True or False, got {type(is_real).__name__} {is_real!r}")
