"""Discriminator steps with R1 and R2 written by hand, and with ganops: forward passes and time.

    python benchmarks/penalty_steps.py                  # both steps, 41 interleaved rounds
    python benchmarks/penalty_steps.py --rounds 11 --threads 1

A step is the losses, the penalties, backward and Adam, on samples that are given. By hand there is one forward pass for
each batch, and ``torch.autograd.grad`` of its logits. Ratios are by hand / ganops, above 1 ganops is faster: medians of
the rounds' ratios with their quartiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus
from torch.nn.utils import spectral_norm

import ganops

SIGMA = 0.05
LAMBDA = 5.0


class Residual(nn.Module):
    """x + convolutions(x), with a grouped one in between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=8, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def r3gan_critic() -> nn.Module:
    """32 × 32 pixels; residual stages without normalization, as R3GAN's are."""
    stages: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1)]
    for channels in (32, 64, 128):
        stages += [Residual(channels), Residual(channels), nn.AvgPool2d(2), nn.Conv2d(channels, 2 * channels, 1)]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(256 * 16, 1))


def studiogan_critic() -> nn.Module:
    """32 × 32 pixels; strided convolutions with spectral norm."""
    layers: list[nn.Module] = []
    for i, o in ((3, 64), (64, 128), (128, 256)):
        layers += [spectral_norm(nn.Conv2d(i, o, 3, padding=1)), nn.LeakyReLU(0.1)]
        layers += [spectral_norm(nn.Conv2d(o, o, 4, 2, 1)), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Flatten(), spectral_norm(nn.Linear(256 * 16, 1)))


def by_hand(logits: Tensor, points: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def r3gan(critic: nn.Module, real: Tensor, fake: Tensor, way: str) -> Tensor:
    real, fake = (x.detach().requires_grad_(way != "approximate") for x in (real, fake))
    r, f = critic(real), critic(fake)
    if way == "by hand":
        return softplus(f - r).mean() + LAMBDA * (by_hand(r, real) + by_hand(f, fake))
    loss = ganops.discriminator_loss(r, f, "relativistic")
    if way == "one pass":
        return loss + LAMBDA * (ganops.r1_penalty(critic, real, logits=r) + ganops.r2_penalty(critic, fake, logits=f))
    if way == "second pass":
        return loss + LAMBDA * (ganops.r1_penalty(critic, real) + ganops.r2_penalty(critic, fake))
    return loss + LAMBDA * (
        ganops.approximate_r1_penalty(critic, real, SIGMA, logits=r)
        + ganops.approximate_r1_penalty(critic, fake, SIGMA, logits=f)
    )


def studiogan(critic: nn.Module, real: Tensor, fake: Tensor, way: str) -> Tensor:
    real = real.detach().requires_grad_(way != "approximate")
    r, f = critic(real), critic(fake.detach())
    if way == "by hand":
        return relu(1 - r).mean() + relu(1 + f).mean() + LAMBDA * by_hand(r, real)
    loss = ganops.discriminator_loss(r, f, "hinge")
    if way == "one pass":
        return loss + LAMBDA * ganops.r1_penalty(critic, real, logits=r)
    if way == "second pass":
        return loss + LAMBDA * ganops.r1_penalty(critic, real)
    return loss + LAMBDA * ganops.approximate_r1_penalty(critic, real, SIGMA, logits=r)


WAYS = ("by hand", "one pass", "second pass", "approximate")
STEPS: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor]]] = {
    "R3GAN: relativistic + R1 + R2": (r3gan_critic, r3gan),
    "StudioGAN: hinge + R1": (studiogan_critic, studiogan),
}


def forwards(make: Callable[[], nn.Module], step: Callable[..., Tensor], way: str, real: Tensor, fake: Tensor) -> int:
    """Forward passes through the critic in one step."""
    critic, calls = make(), []
    critic.register_forward_hook(lambda *_: calls.append(1))
    step(critic, real, fake, way)
    return len(calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    real, fake = (torch.randn(options.batch, 3, 32, 32) for _ in range(2))
    print("| step | way | forward passes | ms | by hand / this | quartiles |\n|---|---|---|---|---|---|")
    for name, (make, step) in STEPS.items():
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        torch.manual_seed(0)
        critic = make()
        optimizer = torch.optim.Adam(critic.parameters(), lr=1e-5, betas=(0.0, 0.99))
        for measured in range(options.rounds + 2):
            for way in WAYS:
                start = time.perf_counter()
                optimizer.zero_grad(set_to_none=True)
                step(critic, real, fake, way).backward()
                optimizer.step()
                if measured > 1:
                    times[way].append(1e3 * (time.perf_counter() - start))
        for way in WAYS:
            ratios = [a / b for a, b in zip(times["by hand"], times[way], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            count = forwards(make, step, way, real, fake)
            median = statistics.median(times[way])
            print(f"| {name} | {way} | {count} | {median:.1f} | {middle:.2f} | {low:.2f}–{high:.2f} |", flush=True)


if __name__ == "__main__":
    main()
