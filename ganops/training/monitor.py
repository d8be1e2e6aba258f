"""Watches a training run for the ways in which GANs fail, and says so while it can still be stopped.

Every number is a comparison with real data measured in the same way at the same moment, so that one threshold serves
points and pictures, and a warning is given only for what lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

import ganops
from ganops import _checks

if TYPE_CHECKING:
    from ganops.data import Dataset
    from ganops.training.trainer import Trainer

__all__ = ["CollapseMonitor", "Observation", "observe"]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A run at one moment: what `CollapseMonitor.judge` judges.

    Attributes:
        step: generator steps done.
        steps: generator steps that the run is to have; 0: not known.
        loss: kind of the adversarial loss, as in `ganops.generator_loss`.
        real, fake: as many samples each, (N, ...), N at least 2.
        real_logits, fake_logits: what the discriminator says of them, raw logits of any shape.
        generator_gradient, discriminator_gradient: L2 norms of the last gradients over all weights; None if unknown.
        dataset: what is known of the data (modes, labels); None for nothing.
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
    """Judges a run every few hundred steps; warns when it collapses, saturates, or when the discriminator wins.

    >>> monitor = CollapseMonitor()
    >>> for warning in monitor.check(trainer):      # doctest: +SKIP
    ...     print(warning)

    Args:
        samples: real and fake samples looked at in each check.
        patience: how many checks in a row must agree before there is a warning.
        warmup: share of the run's steps in which there are no warnings: every generator begins collapsed.
        quiet_steps: the same as a number of steps; the longer of the two counts.

    Attributes:
        history: one row of numbers for each check. ``diversity``: mean distance between two fakes over that between
            two real samples (1: as varied; 0: all the same). ``novelty``: median distance from a fake to its nearest
            other fake over that among as many real samples, for images: it sees a conditional generator that makes one
            image for each class, which are as far apart as classes are. ``spread``: effective number of modes or
            classes (the exponential of the entropy of their shares, each sample counted where it is nearest) among the
            fakes over that among as many real samples; where modes or labels are known, and then ``kinds`` is that
            number of the fakes. ``separation``: probability that D rates
            a random real sample above a random fake (1/2: cannot tell; 1: always can). ``gap``: mean real logit less
            mean fake logit. ``generator_slope``: mean |dL/df| of the generator's loss over the fake logits, 1 for the
            kinds that cannot saturate. ``discriminator_slope``: mean of |dL/dr| and |dL/df| of the discriminator's
            loss. ``generator_gradient``, ``discriminator_gradient``: L2 norms over all weights.
    """

    def __init__(self, *, samples: int = 256, patience: int = 3, warmup: float = 0.2, quiet_steps: int = 300) -> None:
        _checks.number("CollapseMonitor", "samples", samples, minimum=2)
        _checks.number("CollapseMonitor", "patience", patience, minimum=1)
        _checks.number("CollapseMonitor", "warmup", warmup, minimum=0)
        _checks.number("CollapseMonitor", "quiet_steps", quiet_steps, minimum=0)
        self.samples = samples
        self.patience = patience
        self.warmup = warmup
        self.quiet_steps = quiet_steps
        self.history: list[dict[str, float]] = []
        self._streaks: dict[str, int] = {}

    def check(self, trainer: Trainer, real: Tensor | None = None) -> list[str]:
        """Look at a run without disturbing it: append a row to `history`, and return the new warnings, a line each.

        Args:
            trainer: the run.
            real: real samples to compare with, (N, ...); None: drawn from the trainer's data set, or, where its data is
                not a `Dataset`, those of its last batch.
        """
        return self.judge(observe(trainer, self.samples, real))

    def judge(self, now: Observation) -> list[str]:
        """As `check`, for any training loop that fills in an `Observation`."""
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
        """Whether the variety has grown by a tenth since `patience` checks ago: young generators are poor but learn."""
        if len(self.history) <= self.patience:
            return False
        before, now = self.history[-1 - self.patience], self.history[-1]
        return all(now[name] > 1.1 * before[name] for name in _VARIETY if _lacks(now, name))

    def state_dict(self) -> dict[str, Any]:
        """The history and what is suspected, in types that `torch.load(weights_only=True)` accepts."""
        return {"history": [dict(row) for row in self.history], "streaks": dict(self._streaks)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.history = [dict(row) for row in state["history"]]
        self._streaks = dict(state["streaks"])


# -- looking ---------------------------------------------------------------------------------------------------------


def observe(trainer: Trainer, count: int, real: Tensor | None = None) -> Observation:
    """Up to `count` real and as many fake samples of a run and D's logits on them, as training sees them.

    Nothing changes: the networks run in training mode (batch norm on the statistics of this batch) but on copies of
    their buffers, and all randomness comes from generators of its own, seeded by the step.
    """
    config, step = trainer.config, trainer.step_count
    random = torch.Generator().manual_seed(step)
    with torch.no_grad(), torch.random.fork_rng(_cuda_devices(trainer.device)):
        torch.manual_seed(step)
        real, condition = trainer.batch_to_look_at(count, random) if real is None else (real[:count], None)
        real = real.to(trainer.device)
        inputs = (trainer.latent(len(real), random), *(() if condition is None else (condition,)))
        fake = _as_in_training(trainer.generator)(*inputs)
        judge = trainer.judge_with(_as_in_training(trainer.discriminator), condition)
        real_logits, fake_logits = (judge(ganops.pack(x, config.pack)) for x in (real, fake))
    return Observation(
        step=step,
        steps=config.steps,
        loss=config.loss,
        real=real,
        fake=fake,
        real_logits=real_logits,
        fake_logits=fake_logits,
        generator_gradient=_gradient_norm(trainer.generator),
        discriminator_gradient=_gradient_norm(trainer.discriminator),
        dataset=trainer.dataset,
    )


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _as_in_training(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """`network` in training mode, without a trace in it: batch norm and spectral norm write to copies."""

    def call(*inputs: Tensor) -> Tensor:
        training = [module.training for module in network.modules()]
        network.train()
        try:
            return functional_call(network, {name: b.clone() for name, b in network.named_buffers()}, inputs)
        finally:
            for module, mode in zip(network.modules(), training, strict=True):
                module.training = mode

    return call


def _gradient_norm(network: nn.Module) -> float | None:
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
        **_slopes(r, f, now.loss),
    }
    if now.generator_gradient is not None:
        row["generator_gradient"] = now.generator_gradient
    if now.discriminator_gradient is not None:
        row["discriminator_gradient"] = now.discriminator_gradient
    if now.real.ndim == 4:  # points of a fine generator may lie closer than their noise: on a curve
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
    """P(r > f) + P(r = f)/2 over all pairs: the area under the ROC curve, which no threshold or scale affects."""
    ordered = f.sort().values
    below = torch.searchsorted(ordered, r, right=False) + torch.searchsorted(ordered, r, right=True)
    return below.double().mean().item() / (2 * len(f))


def _slopes(r: Tensor, f: Tensor, loss: str) -> dict[str, float]:
    """How much of the losses' gradient is left at these logits."""
    pairs = loss == "relativistic"
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
    """Centres (M, F) and the mode or class of each (M,): those of the mixture, or the mean image of each class."""
    if dataset is None:
        return None
    if dataset.centres is not None and dataset.modes is not None:
        return dataset.centres, dataset.modes
    if dataset.labels is None or not dataset.classes:
        return None
    flat = dataset.samples.flatten(1)
    counts = torch.bincount(dataset.labels, minlength=dataset.classes)
    sums = torch.zeros(dataset.classes, flat.shape[1]).index_add_(0, dataset.labels, flat)
    present = counts > 0
    return sums[present] / counts[present, None], present.nonzero().squeeze(1)


def _effective(x: Tensor, centres: Tensor, kind: Tensor) -> float:
    """exp(entropy) of the shares of the kinds: K for an even spread over K, 1 for a single one."""
    nearest = torch.cdist(x, centres).nan_to_num(nan=math.inf).argmin(dim=1)
    shares = torch.bincount(kind[nearest]).double() / len(x)
    return math.exp(-torch.special.xlogy(shares, shares).sum().item())


# -- judging ---------------------------------------------------------------------------------------------------------

# Seen in healthy runs after their first fifth, with batches and rates as in the recipes: diversity, spread and novelty
# above 0.8, slopes above 0.1. In failing ones: diversity and novelty below 0.25, spread at 1/K, slopes below 0.01.
# Between the two:
_VARIETY = {"diversity": 0.4, "spread": 0.6, "novelty": 0.5}
_SLOPE = 0.03
_APART = 0.999  # separation from which D is never wrong, on 256 samples
_NO_GRADIENT = 1e-10  # L2 norm over all weights; Adam divides by the root mean square, plus 1e-8


def _lacks(row: dict[str, float], name: str) -> bool:
    return row.get(name, 1.0) < _VARIETY[name]


def _diagnose(row: dict[str, float], loss: str) -> tuple[str, str] | None:
    """What is wrong (one thing: that which causes the others), and a line on why and what helps; None for health."""
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
    if loss != "wasserstein" and apart and row["discriminator_slope"] < _SLOPE:
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
