"""The LeCam regulariser: D's logits are held near moving averages of the other side's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganops._common import checks
from ganops._common.dtypes import accumulate_dtype


class LeCam(nn.Module):
    """mean relu(D(x) − α_F)² + mean relu(α_R − D(G(z)))² (Tseng et al. 2021, arXiv:2104.03310, equations 4 and 5).

    α_R and α_F are moving averages of D's mean logits of real and of generated samples. They are buffers, so that they
    follow the module's device and are in its state; nothing is read by the host. Each call in training mode moves them
    first. Until 1 / (1 − decay) calls they are plain averages, so that no initial value counts.

    The paper adds the penalty to D's loss with a weight of 0.3 (CIFAR) or 0.01 (StyleGAN2). Under
    ``DistributedDataParallel`` each process has the averages of its own batches.

    Args:
        decay: Of the moving averages, in [0, 1).

    Example:
        >>> lecam = ganops.nn.LeCam().to(device)
        >>> loss_d = ganops.discriminator_loss(real_logits, fake_logits, "hinge")
        >>> loss_d = loss_d + 0.3 * lecam(real_logits, fake_logits)
    """

    real_mean: Tensor
    fake_mean: Tensor
    updates: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = checks.number("LeCam", "decay", decay, minimum=0)
        if decay >= 1:
            raise ValueError(f"LeCam: decay must be below 1, got {decay!r}")
        for name in ("real_mean", "fake_mean", "updates"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The penalty (), from D's raw outputs of any shapes; float32 for half precision."""
        checks.tensor("LeCam", "real_logits", real_logits)
        checks.tensor("LeCam", "fake_logits", fake_logits)
        checks.same_kind("LeCam", "real_logits", real_logits, "fake_logits", fake_logits)
        wide = accumulate_dtype(real_logits.dtype)
        real, fake = real_logits.to(wide), fake_logits.to(wide)
        if self.training:
            with torch.no_grad():
                weight = (1 / (self.updates + 1)).clamp(min=1 - self.decay)
                self.real_mean.lerp_(real.mean().to(self.real_mean), weight)
                self.fake_mean.lerp_(fake.mean().to(self.fake_mean), weight)
                self.updates.add_(1)
        above_fake = (real - self.fake_mean.to(wide)).relu()
        below_real = (self.real_mean.to(wide) - fake).relu()
        return above_fake.square().mean() + below_real.square().mean()

    def extra_repr(self) -> str:
        """The setting, for the module's text."""
        return f"decay={self.decay}"
