"""A hinge GAN on scikit-learn's 8x8 digits in plain PyTorch: ganops gives the two losses, the rest is yours.

Run it:  python examples/hinge_gan.py --steps 2000 --out digits.png
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import ganops


def networks(latent_dim: int) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator of 8x8 images, dense."""
    generator = nn.Sequential(
        nn.Linear(latent_dim, 256), nn.BatchNorm1d(256), nn.ReLU(),
        nn.Linear(256, 256), nn.BatchNorm1d(256), nn.ReLU(),
        nn.Linear(256, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Flatten(),
        spectral_norm(nn.Linear(64, 256)), nn.LeakyReLU(0.2),
        spectral_norm(nn.Linear(256, 256)), nn.LeakyReLU(0.2),
        spectral_norm(nn.Linear(256, 1)),
    )  # fmt: skip
    return generator, discriminator


def main() -> None:
    """Parse the options, train, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", default="digits.png", help="picture of 64 samples")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)

    images = torch.from_numpy(load_digits().images).float().unsqueeze(1).to(options.device) / 8 - 1
    generator, discriminator = (network.to(options.device) for network in networks(latent_dim=32))
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    discriminator_optimizer = torch.optim.Adam(discriminator.parameters(), lr=4e-4, betas=(0.5, 0.999))

    for step in range(1, options.steps + 1):
        real = images[torch.randint(len(images), (128,))]
        fake = generator(torch.randn(128, 32, device=options.device)).detach()
        loss = ganops.discriminator_loss(discriminator(real), discriminator(fake), "hinge")
        discriminator_optimizer.zero_grad()
        loss.backward()
        discriminator_optimizer.step()

        fake = generator(torch.randn(128, 32, device=options.device))
        generator_loss = ganops.generator_loss(discriminator(fake), "hinge")
        generator_optimizer.zero_grad()
        generator_loss.backward()
        generator_optimizer.step()

        if step % max(1, options.steps // 10) == 0:
            print(f"step {step:5d}  D {loss.item():.3f}  G {generator_loss.item():+.3f}")

    generator.eval()
    with torch.no_grad():
        samples = generator(torch.randn(64, 32, device=options.device)).cpu()
    grid = samples.reshape(8, 8, 8, 8).permute(0, 2, 1, 3).reshape(64, 64)  # 8 rows and columns of 8x8 pixels
    import matplotlib.image

    matplotlib.image.imsave(options.out, grid.repeat_interleave(8, 0).repeat_interleave(8, 1).numpy(), cmap="gray")
    print(f"64 samples: {options.out}")


if __name__ == "__main__":
    main()
