"""The gradient penalties of the trainer: the one table that the config, the command line and the objective read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

import ganops
from ganops.training.noise import normal, uniform

if TYPE_CHECKING:
    from ganops.training.config import TrainingConfig

__all__ = ["PENALTIES", "Known", "Penalty"]

Critic = Callable[[Tensor], Tensor]


class Known(NamedTuple):
    """The critic's logits at D's inputs, and their gradients with respect to these inputs, where they are known."""

    real_logits: Tensor | None = None
    fake_logits: Tensor | None = None
    real_gradient: Tensor | None = None
    fake_gradient: Tensor | None = None


class Points(NamedTuple):
    """What the unweighted penalty is computed from.

    Attributes:
        critic: from D's input to logits.
        real, fake: D's inputs. If ``fake`` requires a gradient, the penalty's gradient flows into it: the generator of
            an unrolled GAN depends on D's steps that way.
        draw: what the row's ``draw`` returned.
        known: results of the critic that are at hand.
        scaler: the gradient scaler of a float16 run.
    """

    critic: Critic
    real: Tensor
    fake: Tensor
    draw: Tensor | None
    known: Known
    scaler: torch.amp.GradScaler | None


class Penalty(NamedTuple):
    """A row of the table.

    Attributes:
        term: the unweighted penalty of `Points` under a config.
        takes_target: whether ``penalty_target`` is used; if not, the target is 0.
        summary: for help texts.
        draw: the random numbers for a penalty, from D's input for real samples and a `torch.Generator`; None: none.
        gradients: at which inputs of D, ``real`` and ``fake``, the penalty is one on the gradient. The objective takes
            it from the pass of the adversarial loss.
        estimates: whether the penalty is estimated from the change of the logits under noise of the standard deviation
            ``penalty_sigma``. The critic must then be the same function in both passes.
    """

    term: Callable[[Points, TrainingConfig], Tensor]
    takes_target: bool
    summary: str
    draw: Callable[[Tensor, torch.Generator], Tensor] | None = None
    gradients: tuple[str, ...] = ()
    estimates: bool = False


def _weight(real: Tensor, noise: torch.Generator) -> Tensor:
    return uniform(len(real), generator=noise).to(real)


def _normal(real: Tensor, noise: torch.Generator) -> Tensor:
    return normal(*real.shape, generator=noise).to(real)


def _moving_with(critic: Critic, points: Tensor) -> Critic:
    """`critic` for a penalty at ``points.detach()``, as a function of `points` too.

    The library's penalties detach their samples. Adding ``points - points.detach()``, which is zero, inside the critic
    connects the penalty with whatever `points` depends on and leaves its value unchanged.
    """
    if not points.requires_grad:
        return critic
    shift = points - points.detach()
    return lambda x: critic(x + shift)


def _options(at: Points, config: TrainingConfig) -> dict[str, Any]:
    return {"finite_difference": config.penalty_difference, "scaler": at.scaler}


def _between(penalty: Callable[..., Tensor]) -> Callable[[Points, TrainingConfig], Tensor]:
    def term(at: Points, config: TrainingConfig) -> Tensor:
        points = ganops.interpolate(at.real, at.fake, at.draw) if at.fake.requires_grad else at.fake
        critic, options = _moving_with(at.critic, points), _options(at, config)
        return penalty(critic, at.real, at.fake, weight=at.draw, target=config.penalty_target, **options)

    return term


def _r1(at: Points, config: TrainingConfig) -> Tensor:
    if at.known.real_gradient is not None:
        return ganops.gradient_norm_penalty(at.known.real_gradient, target=0.0)
    return ganops.r1_penalty(at.critic, at.real, **_options(at, config))


def _r2(at: Points, config: TrainingConfig) -> Tensor:
    if at.known.fake_gradient is not None:
        return ganops.gradient_norm_penalty(at.known.fake_gradient, target=0.0)
    return ganops.r2_penalty(_moving_with(at.critic, at.fake), at.fake, **_options(at, config))


def _dragan(at: Points, config: TrainingConfig) -> Tensor:
    return ganops.dragan_penalty(at.critic, at.real, at.draw, target=config.penalty_target, **_options(at, config))


def _estimated(at: Points, points: Tensor, logits: Tensor | None, config: TrainingConfig) -> Tensor:
    critic = _moving_with(at.critic, points)
    if config.amp == "off":
        return ganops.approximate_r1_penalty(critic, points, config.penalty_sigma, logits=logits, noise=at.draw)
    # The rounding errors of half precision would exceed the difference.
    with torch.autocast(points.device.type, enabled=False):
        return ganops.approximate_r1_penalty(critic, points, config.penalty_sigma, noise=at.draw)


#: Every penalty by its name in `TrainingConfig.penalty_kind`. To add one, add a row.
PENALTIES: dict[str, Penalty] = {
    "gradient": Penalty(
        _between(ganops.gradient_penalty), True, "(norm - target)^2 between real and fake (WGAN-GP)", _weight
    ),
    "one-sided": Penalty(
        _between(ganops.lp_penalty), True, "the same for norms above the target only (WGAN-LP)", _weight
    ),
    "r1": Penalty(_r1, False, "norm^2 at real samples (R1's gamma is twice the weight)", gradients=("real",)),
    "r2": Penalty(_r2, False, "norm^2 at fake samples", gradients=("fake",)),
    "r1+r2": Penalty(
        lambda at, config: _r1(at, config) + _r2(at, config),
        False,
        "the sum of both (R3GAN)",
        gradients=("real", "fake"),
    ),
    "dragan": Penalty(_dragan, True, "(norm - target)^2 at noise around real samples", _normal),
    "approximate-r1": Penalty(
        lambda at, config: _estimated(at, at.real, at.known.real_logits, config),
        False,
        "an estimate of r1 from noise, without double backward",
        _normal,
        estimates=True,
    ),
    "approximate-r2": Penalty(
        lambda at, config: _estimated(at, at.fake, at.known.fake_logits, config),
        False,
        "the same of r2",
        _normal,
        estimates=True,
    ),
}
