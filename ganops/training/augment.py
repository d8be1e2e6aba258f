"""What the discriminator is shown: augmented by chance, with a probability that follows its confidence."""

from __future__ import annotations

import torch
from torch import Tensor

import ganops

__all__ = ["Augmentation"]


class Augmentation:
    """`ganops.diff_augment` with a probability for each of its changes and each image.

    With a target the probability p follows Karras et al. 2020 (arXiv:2006.06676, section 3.1): r = E[sign(D(real))] is
    measured, and p rises where r is above the target (D is too sure of the real images) and falls where it is below.
    p stays on the device, so that nothing waits for it.

    Args:
        policy: as in `ganops.diff_augment`.
        target: of r, in (0, 1); 0: p is 1 for good.
        ramp: real images over which p can go from 0 to 1.
        middle: the logit at which D is undecided (½ for least squares between 0 and 1).
    """

    def __init__(self, policy: str, target: float, ramp: int, middle: float, device: torch.device) -> None:
        self._policy, self._target, self._ramp, self._middle = policy, target, ramp, middle
        self.probability = torch.zeros((), device=device) if target else torch.ones((), device=device)

    def __call__(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Images (N, C, H, W), each change made to each image with the present probability; gradients flow through."""
        strength = self.probability if self._target else 1.0
        return ganops.diff_augment(x, self._policy, generator=noise, p=strength)

    def observe(self, real_logits: Tensor, images: int) -> None:
        """Adapt p to D's logits on a real batch of so many images."""
        if self._target:
            sureness = (real_logits.detach() - self._middle).sign().mean()
            self.probability = (self.probability + (sureness - self._target).sign() * (images / self._ramp)).clamp(0, 1)
