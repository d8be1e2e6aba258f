"""Augmentation of the discriminator's input, with a probability that follows the discriminator's confidence."""

from __future__ import annotations

import torch
from torch import Tensor

import ganops
from ganops._common.diff_augment import draw

__all__ = ["Augmentation"]


class Augmentation:
    """`ganops.diff_augment` with a probability for each change of each image.

    With a target the probability p follows Karras et al. 2020 (arXiv:2006.06676, section 3.1): r = E[sign(D(real))] is
    measured; p rises if r is above the target (D overfits) and falls if r is below. p stays on the device and is never
    read on the host.

    Args:
        policy: as in `ganops.diff_augment`.
        target: of r, in (0, 1); 0: p is always 1.
        ramp: real images over which p can go from 0 to 1.
        middle: the logit at which D is undecided (½ for least squares with targets 0 and 1).
        device: where p is kept.

    Attributes:
        probability: p, ().
    """

    def __init__(self, policy: str, target: float, ramp: int, middle: float, device: torch.device) -> None:
        self._policy, self._target, self._ramp, self._middle = policy, target, ramp, middle
        self.probability = torch.full((), 0.0 if target else 1.0, device=device, dtype=torch.float32)

    def draw(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """The random numbers for images (N, C, H, W): each change is made to each image with probability p."""
        return draw(x, noise, self.probability if self._target else 1.0)

    def __call__(self, x: Tensor, noise: torch.Generator | Tensor) -> Tensor:
        """Augment images (N, C, H, W); differentiable in `x`.

        Args:
            x: the images.
            noise: the generator to `draw` with, or what it drew.
        """
        drawn = noise if isinstance(noise, Tensor) else self.draw(x, noise)
        return ganops.diff_augment(x, self._policy, parameters=drawn)

    def observe(self, real_logits: Tensor, images: int) -> None:
        """Adapt p to D's logits on a real batch of `images` images."""
        if self._target:
            confidence = (real_logits.detach() - self._middle).sign().mean()
            change = (confidence - self._target).sign() * (images / self._ramp)
            self.probability.add_(change).clamp_(0, 1)
