"""Detects the ways in which GAN training fails while the run can still be stopped.

Each number compares the fakes with real data, measured in the same way at the same moment, so that one threshold
serves points and images. Only a failure that lasts gives a warning.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

import ganops
from ganops._common import checks
from ganops._common.loss_kinds import KINDS
from ganops.training.kinds import is_paired

if TYPE_CHECKING:
    from ganops.data import Dataset

__all__ = ["CollapseMonitor", "Observation", "as_in_training", "gradient_norm", "own_randomness"]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A run at one moment, for `CollapseMonitor.check`. `Trainer.observe` makes one.

    Attributes:
        step: generator steps done.
        steps: generator steps of the whole run; 0 if unknown.
        loss: kind of the adversarial loss, as in `ganops.generator_loss`.
        real, fake: as many samples each, (N, ...), N at least 2.
        real_logits, fake_logits: D's raw logits on them, of any shape.
        generator_gradient, discriminator_gradient: L2 norms of the last gradients over all weights; None if unknown.
        dataset: the data set, for its modes or labels; None if unknown.
    """

    step: int
    loss: str
    real: Tensor
    fake: Tensor
    real_logits: Tensor
    fake_logits: Tensor
    steps: int = 0
    generator_gradient: float | None = None
    discriminator_gradient: float | None = None
    dataset: Dataset | None = None


class CollapseMonitor:
    """Checks a run every few hundred steps; warns if it collapses or saturates, or if the discriminator wins.

    >>> monitor = CollapseMonitor()
    >>> for warning in monitor.check(trainer.observe(monitor.samples)):      # doctest: +SKIP
    ...     print(warning)

    Args:
        samples: number of real and of fake samples for each check.
        patience: number of consecutive checks that must agree before a warning.
        warmup: share of the run's steps without warnings, since every generator begins collapsed.
        quiet_steps: the same as a number of steps; the longer of the two counts.

    Attributes:
        history: one row of numbers for each check. ``diversity``: mean distance between two fakes, divided by that
            between two real samples (1: as varied; 0: all the same). ``novelty``, for images: median distance from a
            fake to the nearest other fake, divided by the same among real samples; it detects a conditional generator
            that makes one image for each class. ``kinds``, if modes or labels are known: effective number of modes or
            classes among the fakes (the exponential of the entropy of their shares, each sample counted where it is
            nearest); ``spread``: `kinds` divided by the same among real samples. ``separation``: probability that D
            rates a random real sample above a random fake (1/2: cannot tell; 1: always can). ``gap``: mean real logit
            minus mean fake logit. ``generator_slope``: mean |dL/df| of the generator's loss over the fake logits, 1
            for the kinds that cannot saturate. ``discriminator_slope``: mean of |dL/dr| and |dL/df| of the
            discriminator's loss. ``generator_gradient``, ``discriminator_gradient``: L2 norms over all weights.
    """

    def __init__(self, *, samples: int = 256, patience: int = 3, warmup: float = 0.2, quiet_steps: int = 300) -> None:
        checks.number("CollapseMonitor", "samples", samples, minimum=2)
        checks.number("CollapseMonitor", "patience", patience, minimum=1)
        checks.number("CollapseMonitor", "warmup", warmup, minimum=0)
        checks.number("CollapseMonitor", "quiet_steps", quiet_steps, minimum=0)
        self.samples = samples
        self.patience = patience
        self.warmup = warmup
        self.quiet_steps = quiet_steps
        self.history: list[dict[str, float]] = []
        self._streaks: dict[str, int] = {}

    def check(self, now: Observation) -> list[str]:
        """Append a row to `history`, and return the new warnings, a line each."""
        row = _measure(now)
        self.history.append(row)
        early = now.step < max(self.warmup * now.steps, self.quiet_steps)
        found = None if early else _diagnose(row, now.loss)
        if found and found[0] == "collapse" and self._recovers():
            found = None
        for name in ("saturation", "discriminator wins", "collapse"):
            self._streaks[name] = self._streaks.get(name, 0) + 1 if found and found[0] == name else 0
        if found and self._streaks[found[0]] == self.patience:  # once for as long as it lasts
            return [f"step {now.step}: {found[0]}: {found[1]}"]
        return []

    def _recovers(self) -> bool:
        """Whether the variety grew by a tenth over the last `patience` checks."""
        if len(self.history) <= self.patience:
            return False
        before, now = self.history[-1 - self.patience], self.history[-1]
        return all(now[name] > 1.1 * before.get(name, math.inf) for name in _VARIETY if _lacks(now, name))

    def state_dict(self) -> dict[str, Any]:
        """The history and the failures seen of late, in types that `torch.load(weights_only=True)` accepts."""
        return {"history": [dict(row) for row in self.history], "streaks": dict(self._streaks)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.history = [dict(row) for row in state["history"]]
        self._streaks = dict(state["streaks"])


# -- looking ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of the CPU and of `device`, and restore them afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def as_in_training(network: nn.Module) -> Callable[..., Tensor]:
    """`network` in training mode, which leaves it unchanged: batch and spectral norm write to copies of its buffers."""

    def call(*inputs: Tensor) -> Tensor:
        training = [module.training for module in network.modules()]
        network.train()
        try:
            return functional_call(network, {name: b.clone() for name, b in network.named_buffers()}, inputs)
        finally:
            for module, mode in zip(network.modules(), training, strict=True):
                module.training = mode

    return call


def gradient_norm(network: nn.Module) -> float | None:
    """L2 norm of the last gradients over all weights; None if there are none."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).item() if gradients else None


# -- measuring -------------------------------------------------------------------------------------------------------


def _measure(now: Observation) -> dict[str, float]:
    real, fake = now.real.detach().float().cpu().flatten(1), now.fake.detach().float().cpu().flatten(1)
    r, f = now.real_logits.detach().double().cpu().flatten(), now.fake_logits.detach().double().cpu().flatten()
    row = {
        "step": now.step,
        "diversity": _mean_distance(fake) / max(_mean_distance(real), 1e-12),
        "separation": _separation(r, f),
        "gap": (r.mean() - f.mean()).item(),
        **_loss_gradients(r, f, now.loss),
    }
    if now.generator_gradient is not None:
        row["generator_gradient"] = now.generator_gradient
    if now.discriminator_gradient is not None:
        row["discriminator_gradient"] = now.discriminator_gradient
    if now.real.ndim == 4:  # points of a good generator may lie on a curve, closer than the noise of real ones
        row["novelty"] = _nearest_distance(fake) / max(_nearest_distance(real), 1e-12)
    kinds = _kinds(now.dataset)
    if kinds is not None:
        centres, kind = kinds
        row["kinds"] = _effective(fake, centres, kind)
        row["spread"] = row["kinds"] / _effective(real, centres, kind)
    return row


def _mean_distance(x: Tensor) -> float:
    """Mean L2 distance between two different rows."""
    return torch.pdist(x).mean().item()


def _nearest_distance(x: Tensor) -> float:
    """Median L2 distance from a row to the nearest other one."""
    return torch.cdist(x, x).fill_diagonal_(math.inf).amin(dim=1).median().item()


def _separation(r: Tensor, f: Tensor) -> float:
    """P(r > f) + P(r = f)/2 over all pairs, the area under the ROC curve, which is independent of scale."""
    ordered = f.sort().values
    below = torch.searchsorted(ordered, r, right=False) + torch.searchsorted(ordered, r, right=True)
    return below.double().mean().item() / (2 * len(f))


def _loss_gradients(r: Tensor, f: Tensor, loss: str) -> dict[str, float]:
    """Mean magnitudes of the losses' gradients at these logits."""
    pairs = is_paired(loss)
    count = min(len(r), len(f)) if pairs else None
    r, f = r[:count].clone().requires_grad_(), f[:count].clone().requires_grad_()
    with torch.enable_grad():
        real = {"real_logits": r.detach()} if pairs else {}
        (generator,) = torch.autograd.grad(ganops.generator_loss(f, loss, reduction="sum", **real), f)
        discriminator = torch.autograd.grad(ganops.discriminator_loss(r, f, loss, reduction="sum"), (r, f))
    return {
        "generator_slope": generator.abs().mean().item(),
        "discriminator_slope": torch.cat(discriminator).abs().mean().item(),
    }


def _kinds(dataset: Dataset | None) -> tuple[Tensor, Tensor] | None:
    """Centres (M, F) and the mode or class of each, (M,): of the mixture, or the mean image of each class."""
    if dataset is None:
        return None
    if dataset.centres is not None and dataset.modes is not None:
        return dataset.centres, dataset.modes
    if dataset.labels is None or not dataset.classes:
        return None
    flat = dataset.samples.flatten(1)
    counts = torch.bincount(dataset.labels, minlength=dataset.classes)
    sums = flat.new_zeros(dataset.classes, flat.shape[1]).index_add_(0, dataset.labels, flat)
    present = counts > 0
    return sums[present] / counts[present, None], present.nonzero().squeeze(1)


def _effective(x: Tensor, centres: Tensor, kind: Tensor) -> float:
    """exp(entropy) of the shares of the kinds: K for an even spread over K, 1 for a single one."""
    nearest = torch.cdist(x, centres).nan_to_num(nan=math.inf).argmin(dim=1)
    shares = torch.bincount(kind[nearest]).double() / len(x)
    return math.exp(-torch.special.xlogy(shares, shares).sum().item())


# -- diagnosis -------------------------------------------------------------------------------------------------------

# Healthy runs of the recipes have, after their first fifth, diversity, spread and novelty above 0.8 and slopes above
# 0.1; failing ones diversity and novelty below 0.25, spread 1/K and slopes below 0.01. The thresholds lie between.
_VARIETY = {"diversity": 0.4, "spread": 0.6, "novelty": 0.5}
_SLOPE = 0.03
_APART = 0.999  # separation of a D that is never wrong on 256 samples
_NO_GRADIENT = 1e-10  # L2 norm over all weights; Adam divides by the root mean square, plus 1e-8


def _lacks(row: dict[str, float], name: str) -> bool:
    return row.get(name, 1.0) < _VARIETY[name]


def _diagnose(row: dict[str, float], loss: str) -> tuple[str, str] | None:
    """The failure that causes the others, and a line on its reason and remedy; None if there is none."""
    apart = row["separation"] >= _APART
    if row.get("generator_gradient", 1.0) < _NO_GRADIENT:
        return (
            "saturation",
            f"no gradient reaches the generator's weights (norm {row['generator_gradient']:.1e}): D is flat where the "
            "fakes are; give D more room (larger --clip or --width) or use wgan-gp instead of clipping",
        )
    if row["generator_slope"] < _SLOPE and row["gap"] > 0:
        return (
            "saturation",
            f"D rejects every fake and the {loss} loss is flat there ({row['generator_slope']:.1e} of its gradient is "
            "left); use --loss non_saturating, or a lower --discriminator-lr",
        )
    if row["generator_slope"] < _SLOPE:
        return (
            "saturation",
            f"D takes every fake for real, and {row['generator_slope']:.1e} of the generator's gradient is left: D "
            "lags behind; raise --discriminator-lr or --n-critic, or lower --generator-lr",
        )
    if not KINDS[loss].linear and apart and row["discriminator_slope"] < _SLOPE:
        return (
            "discriminator wins",
            f"it tells all fakes from real samples (gap {row['gap']:.3g} logits) and learns nothing more; lower "
            "--discriminator-lr, raise --generator-lr, or add --penalty",
        )
    if any(_lacks(row, name) for name in _VARIETY):
        what = f"distances between fakes are {row['diversity']:.2f} of those between real samples"
        if "kinds" in row:
            what += f", and they spread over {row['kinds']:.1f} modes or classes where those have "
            what += f"{row['kinds'] / row['spread']:.1f}"
        if _lacks(row, "novelty"):
            what += f", and the nearest other fake is {row['novelty']:.2f} times as far as among those"
        behind = row["separation"] < 0.3  # D prefers the fakes
        helps = "raise --discriminator-lr or --n-critic" if behind else "use --pack 2, --unroll 5 or --penalty"
        return "collapse", f"{what}; {helps}, or lower --generator-lr"
    return None
