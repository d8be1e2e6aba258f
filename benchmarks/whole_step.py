"""Whole training steps with ganops, in eager PyTorch and with torch.compile: time, passes through D, saved bytes.

    python benchmarks/whole_step.py                               # every case, a table
    python benchmarks/whole_step.py --cases "WGAN-GP, points" --rounds 40
    python benchmarks/whole_step.py --json steps.json --chart steps.png

One step is D's loss, backward and optimiser step, then the same for G. The candidates share networks of equal weights
and the same batch, and their rounds are interleaved. "eager" is the step as popular repositories write it. "compile" is
that step with its networks and its loss formulas under ``torch.compile``; a case whose critic is differentiated twice
compiles the loss formulas alone, because torch does not differentiate a compiled network twice.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import ganops

Loss = Callable[[], Tensor]


@dataclass
class Networks:
    """A generator and a discriminator with their optimisers, and the batch that they are trained on."""

    generator: nn.Module
    discriminator: nn.Module
    real: Tensor
    noise: Tensor

    def __post_init__(self) -> None:
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), lr=1e-4, betas=(0.0, 0.9))
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=1e-4, betas=(0.0, 0.9))


@dataclass(frozen=True)
class Case:
    """One system: how its networks are built, and the losses of each candidate.

    ``losses`` maps a candidate to (D's loss, G's loss), functions of :class:`Networks`. ``critic_steps`` is the number
    of D steps for each G step.
    """

    name: str
    build: Callable[[], Networks]
    losses: dict[str, tuple[Callable[[Networks], Tensor], Callable[[Networks], Tensor]]]
    critic_steps: int = 1
    compile_networks: bool = True
    freeze: frozenset[str] = frozenset({"ganops"})  # candidates that freeze D in G's step


def train_step(case: Case, candidate: str, networks: Networks) -> None:
    """One whole step: ``critic_steps`` updates of D and one of G."""
    discriminator_loss, generator_loss = case.losses[candidate]
    for _ in range(case.critic_steps):
        networks.discriminator_optimizer.zero_grad()
        discriminator_loss(networks).backward()
        networks.discriminator_optimizer.step()
    frozen = candidate in case.freeze
    networks.discriminator.requires_grad_(not frozen)
    networks.generator_optimizer.zero_grad()
    generator_loss(networks).backward()
    networks.generator_optimizer.step()
    networks.discriminator.requires_grad_(True)


# Networks


def dense(inputs: int, outputs: int, width: int = 512) -> nn.Sequential:
    """The network of WGAN-GP's toys: three hidden layers."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def convolutional(width: int = 32) -> tuple[nn.Module, nn.Module]:
    """A DCGAN-like pair for 32×32 RGB images, without normalisation in D."""
    discriminator = nn.Sequential(
        nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4 * width, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(4 * width * 16, 1),
    )  # fmt: skip
    generator = nn.Sequential(
        nn.Linear(64, 4 * width * 16), nn.Unflatten(1, (4 * width, 4, 4)),
        nn.BatchNorm2d(4 * width), nn.ReLU(), nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1),
        nn.BatchNorm2d(2 * width), nn.ReLU(), nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
        nn.BatchNorm2d(width), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    return generator, discriminator


class Waves(nn.Module):
    """Discriminators of waveforms at several periods, as HiFi-GAN's: logits and features of each."""

    def __init__(self, periods: tuple[int, ...] = (2, 3, 5), width: int = 16) -> None:
        super().__init__()
        self.periods = periods
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.Conv2d(1, width, (5, 1), (3, 1), (2, 0)),
                    nn.Conv2d(width, 2 * width, (5, 1), (3, 1), (2, 0)),
                    nn.Conv2d(2 * width, 4 * width, (5, 1), (3, 1), (2, 0)),
                    nn.Conv2d(4 * width, 1, (3, 1), 1, (1, 0)),
                ]
            )
            for _ in periods
        )

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        logits, features = [], []
        for period, stack in zip(self.periods, self.stacks, strict=True):
            h = F.pad(x, (0, -x.shape[-1] % period), "reflect").unflatten(-1, (-1, period))
            found = []
            for layer in stack[:-1]:
                h = F.leaky_relu(layer(h), 0.1)
                found.append(h)
            h = stack[-1](h)
            found.append(h)
            logits.append(h.flatten(1))
            features.append(found)
        return logits, features


def vocoder(width: int = 16) -> nn.Module:
    """A small upsampling generator of waveforms."""
    return nn.Sequential(
        nn.Conv1d(20, 4 * width, 7, 1, 3), nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(4 * width, 2 * width, 16, 8, 4), nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(2 * width, width, 16, 8, 4), nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(width, width, 4, 2, 1), nn.LeakyReLU(0.1),
        nn.Conv1d(width, 1, 7, 1, 3), nn.Tanh(),
    )  # fmt: skip


# The candidates


def usual_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """The gradient penalty as it is usually written."""
    weight = torch.rand(len(real), *(1 for _ in real.shape[1:]), device=real.device)
    mixed = (weight * real + (1 - weight) * fake).requires_grad_()
    scores = critic(mixed)
    (gradient,) = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True)
    return ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


def fakes(n: Networks) -> Tensor:
    """Samples without a graph to the generator."""
    with torch.no_grad():
        return n.generator(n.noise)


def wasserstein_usual(factor: float) -> Callable[[Networks], Tensor]:
    def loss(n: Networks) -> Tensor:
        fake = fakes(n)
        value = n.discriminator(fake).mean() - n.discriminator(n.real).mean()
        return value + factor * usual_penalty(n.discriminator, n.real, fake)

    return loss


def wasserstein_ganops(factor: float) -> Callable[[Networks], Tensor]:
    def loss(n: Networks) -> Tensor:
        fake = fakes(n)
        value = ganops.discriminator_loss(n.discriminator(n.real), n.discriminator(fake), "wasserstein")
        return value + factor * ganops.gradient_penalty(n.discriminator, n.real, fake)

    return loss


def wasserstein_cases() -> list[Case]:
    def points() -> Networks:
        return Networks(dense(2, 2), dense(2, 1), torch.randn(256, 2), torch.randn(256, 2))

    def images() -> Networks:
        return Networks(*convolutional(), torch.rand(64, 3, 32, 32) * 2 - 1, torch.randn(64, 64))

    def of(factor: float) -> dict[str, Any]:
        return {
            "ganops": (
                wasserstein_ganops(factor),
                lambda n: ganops.generator_loss(n.discriminator(n.generator(n.noise)), "wasserstein"),
            ),
            "eager": (wasserstein_usual(factor), lambda n: -n.discriminator(n.generator(n.noise)).mean()),
        }

    return [
        Case("WGAN-GP, points", points, of(0.1), critic_steps=5, compile_networks=False),
        Case("WGAN-GP, 32×32 images", images, of(10.0), critic_steps=5, compile_networks=False),
    ]


def usual_zero_centred(critic: nn.Module, points: Tensor) -> tuple[Tensor, Tensor]:
    """(scores, ‖∇D‖²) from one pass, as R3GAN writes it."""
    points = points.detach().requires_grad_()
    scores = critic(points)
    (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
    return scores, gradient.square().sum((1, 2, 3)).mean()


def ganops_zero_centred(critic: nn.Module, points: Tensor) -> tuple[Tensor, Tensor]:
    points = points.detach().requires_grad_()
    scores = critic(points)
    return scores, ganops.input_gradient_penalty(scores, points, target=0.0)


def relativistic_case() -> Case:
    def build() -> Networks:
        return Networks(*convolutional(), torch.rand(64, 3, 32, 32) * 2 - 1, torch.randn(64, 64))

    def usual(n: Networks) -> Tensor:
        real, r1 = usual_zero_centred(n.discriminator, n.real)
        fake, r2 = usual_zero_centred(n.discriminator, fakes(n))
        return F.softplus(-(real - fake)).mean() + 0.5 * (r1 + r2)

    def ours(n: Networks) -> Tensor:
        real, r1 = ganops_zero_centred(n.discriminator, n.real)
        fake, r2 = ganops_zero_centred(n.discriminator, fakes(n))
        return ganops.discriminator_loss(real, fake, "relativistic") + 0.5 * (r1 + r2)

    def usual_generator(n: Networks) -> Tensor:
        return F.softplus(-(n.discriminator(n.generator(n.noise)) - n.discriminator(n.real))).mean()

    def our_generator(n: Networks) -> Tensor:
        with torch.no_grad():
            real = n.discriminator(n.real)
        return ganops.generator_loss(n.discriminator(n.generator(n.noise)), "relativistic", real_logits=real)

    losses = {"ganops": (ours, our_generator), "eager": (usual, usual_generator)}
    return Case("R3GAN's losses, 32×32 images", build, losses, compile_networks=False)


def augmented_case() -> Case:
    policy = "color,translation,cutout"

    def build() -> Networks:
        return Networks(*convolutional(), torch.rand(64, 3, 32, 32) * 2 - 1, torch.randn(64, 64))

    def augmented(augment: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
        def discriminator(n: Networks) -> Tensor:
            real = n.discriminator(augment(n.real, policy))
            fake = n.discriminator(augment(fakes(n), policy))
            if augment is ganops.diff_augment:
                return ganops.discriminator_loss(real, fake, "hinge")
            return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

        def generator(n: Networks) -> Tensor:
            logits = n.discriminator(augment(n.generator(n.noise), policy))
            return ganops.generator_loss(logits, "hinge") if augment is ganops.diff_augment else -logits.mean()

        return discriminator, generator

    losses = {"ganops": augmented(ganops.diff_augment), "eager": augmented(ganops.reference.diff_augment)}
    return Case("hinge and DiffAugment, 32×32 images", build, losses)


def waveform_case() -> Case:
    def build() -> Networks:
        return Networks(vocoder(), Waves(), torch.randn(8, 1, 4096) * 0.1, torch.randn(8, 20, 32))

    def usual(n: Networks) -> Tensor:
        (real, _), (fake, _) = n.discriminator(n.real), n.discriminator(fakes(n))
        return sum(((1 - r) ** 2).mean() + (f**2).mean() for r, f in zip(real, fake, strict=True))

    def ours(n: Networks) -> Tensor:
        (real, _), (fake, _) = n.discriminator(n.real), n.discriminator(fakes(n))
        return ganops.discriminator_loss(real, fake, "least_squares")

    def usual_generator(n: Networks) -> Tensor:
        wave = n.generator(n.noise)
        _, real_features = n.discriminator(n.real)
        logits, features = n.discriminator(wave)
        matching = sum(
            (r - f).abs().mean()
            for a, b in zip(real_features, features, strict=True)
            for r, f in zip(a, b, strict=True)
        )
        return sum(((1 - f) ** 2).mean() for f in logits) + 2 * matching

    def our_generator(n: Networks) -> Tensor:
        with torch.no_grad():
            _, real_features = n.discriminator(n.real)
        logits, features = n.discriminator(n.generator(n.noise))
        matching = ganops.feature_matching_loss(real_features, features)
        return ganops.generator_loss(logits, "least_squares") + 2 * matching

    losses = {"ganops": (ours, our_generator), "eager": (usual, usual_generator)}
    return Case("HiFi-GAN-like, waveforms", build, losses)


def translation_case() -> Case:
    """pix2pix-like: a patch discriminator conditioned on the input image, and an L1 term."""

    def build() -> Networks:
        width = 16
        generator = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.BatchNorm2d(2 * width), nn.ReLU(), nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.BatchNorm2d(width), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        discriminator = nn.Sequential(
            nn.Conv2d(6, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 1, 4, 1, 1),
        )  # fmt: skip
        return Networks(generator, discriminator, torch.rand(8, 3, 64, 64) * 2 - 1, torch.rand(8, 3, 64, 64) * 2 - 1)

    def pair(n: Networks, image: Tensor) -> Tensor:
        return n.discriminator(torch.cat([n.noise, image], 1))

    def usual(n: Networks) -> Tensor:
        real, fake = pair(n, n.real), pair(n, fakes(n))
        ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
        loss = F.binary_cross_entropy_with_logits
        return 0.5 * (loss(real, ones) + loss(fake, zeros))

    def ours(n: Networks) -> Tensor:
        return 0.5 * ganops.discriminator_loss(pair(n, n.real), pair(n, fakes(n)))

    def usual_generator(n: Networks) -> Tensor:
        image = n.generator(n.noise)
        logits = pair(n, image)
        adversarial = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        return adversarial + 100 * F.l1_loss(image, n.real)

    def our_generator(n: Networks) -> Tensor:
        image = n.generator(n.noise)
        return ganops.generator_loss(pair(n, image)) + 100 * F.l1_loss(image, n.real)

    losses = {"ganops": (ours, our_generator), "eager": (usual, usual_generator)}
    return Case("pix2pix-like, 64×64 images", build, losses)


def cases() -> list[Case]:
    """Every case of the benchmark."""
    return [*wasserstein_cases(), relativistic_case(), augmented_case(), waveform_case(), translation_case()]


# Measuring


class Operators(TorchDispatchMode):
    """Counts the operators that compute something: on a GPU each is at least one launch."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = function(*args, **(kwargs or {}))
        views = any(argument.alias_info and not argument.alias_info.is_write for argument in function._schema.arguments)
        self.count += not views
        return outputs


def counted(case: Case, candidate: str, networks: Networks) -> dict[str, int]:
    """Passes through D, operators and bytes saved for backward in one step."""
    passes, saved = 0, {}

    def count_pass(*_: Any) -> None:
        nonlocal passes
        passes += 1

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in networks.discriminator.parameters()}
    weights |= {p.untyped_storage().data_ptr() for p in networks.generator.parameters()}
    handle = networks.discriminator.register_forward_hook(count_pass)
    with Operators() as operators, torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        train_step(case, candidate, networks)
    handle.remove()
    return {
        "passes": passes,
        "operators": operators.count,
        "saved_bytes": sum(size for pointer, size in saved.items() if pointer not in weights),
    }


def candidates(case: Case, with_compile: bool) -> dict[str, tuple[str, Networks]]:
    """Each candidate's losses and its own copy of the networks."""
    torch.manual_seed(0)
    origin = case.build()
    found = {
        name: (name, Networks(*copy.deepcopy((origin.generator, origin.discriminator)), origin.real, origin.noise))
        for name in case.losses
    }
    if with_compile:
        generator, discriminator = copy.deepcopy((origin.generator, origin.discriminator))
        generator.compile()
        if case.compile_networks:
            discriminator.compile()
        found["compile"] = ("eager", Networks(generator, discriminator, origin.real, origin.noise))
    return found


def measure(case: Case, rounds: int, with_compile: bool) -> dict[str, Any]:
    """Interleaved times of every candidate, its counts, and the ratios to ganops."""
    every = candidates(case, with_compile)
    for losses, networks in every.values():
        for _ in range(3):
            train_step(case, losses, networks)
    times: dict[str, list[float]] = {name: [] for name in every}
    names = list(every)
    for turn in range(rounds):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            losses, networks = every[name]
            began = time.perf_counter()
            train_step(case, losses, networks)
            times[name].append((time.perf_counter() - began) * 1e3)
    result: dict[str, Any] = {"case": case.name, "critic_steps": case.critic_steps, "candidates": {}}
    for name, (losses, networks) in every.items():
        low, median, high = statistics.quantiles(times[name], n=4)
        row: dict[str, Any] = {"ms": median, "quartiles": [low, high]}
        if name != "compile":
            row |= counted(case, losses, networks)
        ratios = sorted(other / ours for other, ours in zip(times[name], times["ganops"], strict=True))
        row["ratio"] = statistics.median(ratios)
        row["ratio_quartiles"] = [ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]]
        result["candidates"][name] = row
    return result


def verdict(row: dict[str, Any]) -> str:
    """The ratio with its quartiles; no verdict where the quartiles hold 1."""
    low, high = row["ratio_quartiles"]
    text = f"{row['ratio']:.2f} ({low:.2f}–{high:.2f})"
    return text if low > 1 or high < 1 else f"{text}, no difference"


def table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    lines = ["| step | candidate | ms | time / ganops' | passes through D | operators | saved, MiB |"]
    lines.append("|---|---|---|---|---|---|---|")
    for result in results:
        for name, row in result["candidates"].items():
            counts = [str(row.get("passes", "")), str(row.get("operators", ""))]
            saved = f"{row['saved_bytes'] / 2**20:.1f}" if "saved_bytes" in row else ""
            ratio = "" if name == "ganops" else verdict(row)
            lines.append(f"| {result['case']} | {name} | {row['ms']:.1f} | {ratio} | {' | '.join(counts)} | {saved} |")
    return "\n".join(lines)


def chart(results: list[dict[str, Any]], path: Path) -> None:
    """Bars of step times relative to eager PyTorch, with the quartiles of the rounds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    colours = {"eager": "#9aa5b1", "compile": "#c9a227", "ganops": "#1b6ca8"}
    titles = {"eager": "eager PyTorch", "compile": "torch.compile", "ganops": "ganops"}
    figure, axes = plt.subplots(figsize=(8, 0.75 * len(results) + 1.2), layout="constrained")
    height = 0.26
    for place, result in enumerate(results):
        rows = result["candidates"]
        unit = rows["eager"]["ms"]
        for index, name in enumerate(name for name in ("ganops", "compile", "eager") if name in rows):
            value, (low, high) = rows[name]["ms"] / unit, (q / unit for q in rows[name]["quartiles"])
            y = place + (index - 1) * height
            spread = [[max(value - low, 0)], [max(high - value, 0)]]
            axes.barh(y, value, height * 0.92, color=colours[name], label=titles[name] if place == 0 else None)
            axes.errorbar(value, y, xerr=spread, color="#333333", linewidth=1, capsize=2)
            axes.text(0.01, y, f"{rows[name]['ms']:.0f} ms", va="center", color="white", fontsize=8)
    axes.set_yticks(range(len(results)), [result["case"] for result in results])
    axes.invert_yaxis()
    axes.axvline(1, color="#333333", linewidth=0.8, linestyle=":")
    axes.set_xlabel("time of a whole training step, eager PyTorch = 1 (lower is better)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print the table, write what was asked for."""
    every = {case.name: case for case in cases()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=every, default=list(every), help="which (default: all)")
    parser.add_argument("--rounds", type=int, default=30, help="interleaved rounds (default: 30)")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--chart", type=Path, help="draw the chart here")
    parser.add_argument("--replay", type=Path, help="print and draw the results of an earlier --json")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, got {options.rounds}")
    if options.replay:
        report = json.loads(options.replay.read_text())
    else:
        machine = {"threads": torch.get_num_threads(), "cpu": platform.processor() or platform.machine()}
        report = {"torch": torch.__version__, "machine": machine, "load": os.getloadavg()[0], "rounds": options.rounds}
        report["results"] = [measure(every[name], options.rounds, not options.no_compile) for name in options.cases]
    print(f"torch {report['torch']}, {report['machine']['threads']} threads, load {report['load']:.1f} at the start")
    print(table(report["results"]))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.chart:
        chart(report["results"], options.chart)


if __name__ == "__main__":
    main()
