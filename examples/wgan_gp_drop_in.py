"""An ordinary WGAN-GP training loop, with ganops where the usual lines stood.

What it replaces:

    alpha = torch.rand(len(real), 1)
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    gradient, = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    penalty = ((gradient.norm(2, dim=1) - 1) ** 2).mean()
    loss = critic(fake).mean() - critic(real).mean() + 0.1 * penalty

Run it:  python examples/wgan_gp_drop_in.py --steps 1000
"""

import argparse
import math

import torch
from torch import nn

import ganops


def ring(count: int) -> torch.Tensor:
    """`count` points of eight Gaussians on the unit circle, sigma 0.01."""
    angle = torch.randint(8, (count,)) * (2 * math.pi / 8)
    return torch.stack([angle.cos(), angle.sin()], dim=1) + 0.01 * torch.randn(count, 2)


def mlp(inputs: int, outputs: int, width: int = 128) -> nn.Sequential:
    """Three hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, outputs),
    )  # fmt: skip


def main() -> None:
    """Parse the options, train, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="generator steps")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)

    generator, critic = mlp(2, 2).to(options.device), mlp(2, 1).to(options.device)
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=5e-4, betas=(0.5, 0.9))
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=5e-4, betas=(0.5, 0.9))

    for step in range(1, options.steps + 1):
        for _ in range(5):
            real = ring(256).to(options.device)
            with torch.no_grad():
                fake = generator(torch.randn(256, 2, device=options.device))
            loss = ganops.discriminator_loss(critic(real), critic(fake), "wasserstein")
            penalty = ganops.gradient_penalty(critic, real, fake)
            critic_optimizer.zero_grad()
            (loss + 0.1 * penalty).backward()
            critic_optimizer.step()

        fake = generator(torch.randn(256, 2, device=options.device))
        generator_loss = ganops.generator_loss(critic(fake), "wasserstein")
        generator_optimizer.zero_grad()
        generator_loss.backward()
        generator_optimizer.step()

        if step % max(1, options.steps // 10) == 0:
            # The critic's loss estimates minus the Wasserstein distance: it goes to 0 as the samples improve.
            print(f"step {step:5d}  critic {loss.item():+.4f}  penalty {penalty.item():.4f}")

    with torch.no_grad():
        samples = generator(torch.randn(2500, 2, device=options.device)).cpu()
    angle = 2 * math.pi * torch.arange(8) / 8
    distance, mode = torch.cdist(samples, torch.stack([angle.cos(), angle.sin()], dim=1)).min(dim=1)
    close = distance < 0.1
    print(f"{close.float().mean():.0%} of the samples within 0.1 of a mode, {mode[close].unique().numel()} of 8 modes")


if __name__ == "__main__":
    main()
