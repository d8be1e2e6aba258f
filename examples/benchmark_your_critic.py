"""How much faster is one WGAN-GP critic step with ganops, on your own critic and your own machine?

Put your critic and the shape of its input into `critic` below, then
run:  python examples/benchmark_your_critic.py --steps 30
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import ganops

SHAPE = (3, 32, 32)


def critic() -> nn.Module:
    """Yours goes here."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(32 * 8 * 8, 1),
    )  # fmt: skip


def eager_loss(network: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """As it is usually written."""
    alpha = torch.rand(len(real), 1, 1, 1, device=real.device)
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = network(mixed)
    (gradient,) = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True)
    penalty = ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
    return network(fake).mean() - network(real).mean() + 10 * penalty


def ganops_loss(network: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The same with ganops."""
    loss = ganops.discriminator_loss(network(real), network(fake), "wasserstein")
    return loss + 10 * ganops.gradient_penalty(network, real, fake)


def step(network: nn.Module, loss: Callable[..., Tensor], clip: Callable[[], object], batch: list[Tensor]) -> float:
    """Seconds for loss, gradients and clipping (which WGAN needs and WGAN-GP does not: both are shown)."""
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    loss(network, *batch).backward()
    clip()
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    elapsed = time.perf_counter() - began
    network.zero_grad()
    return elapsed


def main() -> None:
    """Time both, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30, help="timed steps of each")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.manual_seed(0)

    network = critic().to(options.device)
    batch = [torch.rand(options.batch_size, *SHAPE, device=options.device) * 2 - 1 for _ in range(2)]

    def eager_clip() -> None:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.clamp_(-1, 1)

    rivals = {
        "eager": (eager_loss, eager_clip),
        "ganops": (ganops_loss, lambda: ganops.clip_weights_(network, 1.0)),
    }
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for i in range(options.steps + 3):  # turn by turn, so that a busy moment of the machine hits both
        for name, (loss, clip) in rivals.items():
            elapsed = step(network, loss, clip, batch)
            if i >= 3:  # the first ones warm up
                times[name].append(elapsed)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:<7} {median * 1e3:8.3f} ms per critic step (median of {options.steps})")
    print(f"ganops takes {medians['ganops'] / medians['eager']:.2f} of the eager time")


if __name__ == "__main__":
    main()
