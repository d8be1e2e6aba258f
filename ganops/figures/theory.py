"""Pictures of the theory: losses, optimal discriminators and critics, divergences."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal

import ganops
from ganops import data, theory
from ganops.figures.style import BLACK, COLOURS, GREY, Picture, mean, new_figure, styled

__all__ = ["critic_wasserstein", "generator_losses", "jsd_wasserstein", "optimal_discriminator", "value_surface"]


@styled
def generator_losses() -> Picture:
    """Show the generator's losses and their gradients as functions of the discriminator's output D(G(z)).

    All are `ganops.generator_loss` of the logit f = log(D / (1 - D)) and its gradient. Where D rejects a sample, as at
    the beginning of training, the gradient of the minimax loss vanishes (Goodfellow et al. 2014, section 3).
    """
    kinds = {
        "minimax": "minimax: log(1 − D)",
        "non_saturating": "non-saturating: −log D",
        "kl": "KL: −log(D/(1−D)); also hinge, Wasserstein",
        "mle": "maximum likelihood: −D/(1−D)",
    }
    verdict = torch.linspace(0.002, 0.998, 999, dtype=torch.float64)
    figure, (left, right) = new_figure(1, 2, size=(11.5, 5.2))
    numbers = {}
    for (kind, label), colour, dash in zip(kinds.items(), COLOURS, ("-", "--", "-.", ":"), strict=False):
        logits = verdict.logit().requires_grad_()
        loss = ganops.generator_loss(logits, kind, reduction="none")
        (slope,) = torch.autograd.grad(loss.sum(), logits)
        left.plot(verdict, loss.detach(), dash, color=colour, label=label)
        right.plot(verdict, slope.abs(), dash, color=colour)
        numbers[f"{kind}_gradient_at_0.01"] = slope[(verdict - 0.01).abs().argmin()].abs().item()
    left.set(
        ylim=(-6, 6), xlim=(0, 1), xlabel="D(G(z)), 0: rejected, 1: taken for real", ylabel="generator's loss (nats)"
    )
    right.set(ylim=(0, 2), xlim=(0, 1), xlabel="D(G(z))", ylabel="|gradient| with respect to D's logit")
    right.annotate(
        "minimax passes nothing back\nwhere D rejects", (0.02, 0.03), (0.06, 1.55), arrowprops={"arrowstyle": "->"}
    )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return Picture(figure, numbers)


@styled
def optimal_discriminator(*, steps: int = 600, seed: int = 0) -> Picture:
    """Compare a trained discriminator with the optimal one, sigmoid(2x - 2), for data N(2, 1) and generator N(0, 1).

    A small network is trained on new samples with `ganops.discriminator_loss`. The mean error is weighted by the
    density of the samples.

    Args:
        steps: steps of Adam, with 512 real and 512 generated samples each.
        seed: of weights and samples.
    """
    real, fake = _gaussian(2.0), _gaussian(0.0)
    random = torch.Generator().manual_seed(seed)
    network = _network(1, 32, 2, seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x, y = 2 + _normal(512, 1, random), _normal(512, 1, random)
        loss = ganops.discriminator_loss(network(x), network(y), "non_saturating")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()

    x = torch.linspace(-4, 6, 1001, dtype=torch.float32)
    with torch.no_grad():
        learnt = network(x[:, None])[:, 0].sigmoid()
        value = theory.game_value(real, fake, lambda points: network(points.float()[:, None])[:, 0].double()).item()
    best = theory.optimal_discriminator(real, fake, x)
    error = (learnt - best).abs()
    weight = (real.log_prob(x).exp() + fake.log_prob(x).exp()) / 2
    numbers = {
        "mean_error": (torch.trapezoid(error * weight, x) / torch.trapezoid(weight, x)).item(),
        "value": value,
        "optimal_value": theory.game_value(real, fake).item(),
        "jsd": theory.jsd(real, fake).item(),
    }
    figure, (top, bottom) = new_figure(2, 1, size=(9.6, 6.4), sharex=True, height_ratios=[3, 1])
    top.fill_between(x, real.log_prob(x).exp(), color=COLOURS[0], alpha=0.25, label="data, density of N(2, 1)")
    top.fill_between(x, fake.log_prob(x).exp(), color=COLOURS[1], alpha=0.25, label="generator, density of N(0, 1)")
    top.plot(x, best, color=BLACK, label="optimal D*(x) = σ(2x − 2)")
    top.plot(x, learnt, "--", color=COLOURS[2], label=f"trained D, {steps} steps")
    top.set(ylabel="probability, density", ylim=(0, 1.02), xlim=(-4, 6))
    top.legend(loc="upper left")
    top.set_title(f"V(D, G) = {value:.3f} nats; at best −log 4 + 2 JSD = {numbers['optimal_value']:.3f}", fontsize=13)
    bottom.plot(x, error, color=COLOURS[2])
    bottom.set(xlabel="x", ylabel="|D − D*|", ylim=(0, max(0.1, 1.1 * error.max().item())))
    bottom.set_title(f"mean error where the samples are: {numbers['mean_error']:.3f}", fontsize=13)
    return Picture(figure, numbers)


@styled
def critic_wasserstein(*, steps: int = 250, seed: int = 0) -> Picture:
    """Compare a trained critic's estimate of W1 with the true distance, while one Gaussian moves towards the other.

    For each mean m, from 4 down to 0, the critic's training continues on N(m, 1) against N(0, 1), whose W1 is m, with
    ``ganops.discriminator_loss(..., "wasserstein")`` and `ganops.gradient_penalty`. The penalty is one-sided because
    the dual problem allows slopes of *at most* 1. Its coefficient is 100: a critic of slope k gains
    k W1 - coefficient (k - 1)^2, so its slope is 1 + W1 / (2 coefficient), 20 % too steep for W1 = 4 with the usual 10.
    (A two-sided penalty with this coefficient holds the slope at +1 or -1, whichever is nearer at the start.)

    Args:
        steps: critic steps for each of the nine means, with 512 samples each.
        seed: of weights and samples.
    """
    coefficient, means = 100.0, [4 - 0.5 * i for i in range(9)]
    random = torch.Generator().manual_seed(seed)
    critic = _network(1, 64, 2, seed)
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))
    found = []
    for centre in means:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (1 - step / steps) + 1e-5
            x, y = centre + _normal(512, 1, random), _normal(512, 1, random)
            loss = ganops.discriminator_loss(critic(x), critic(y), "wasserstein")
            mixed = torch.rand(len(x), generator=random, dtype=torch.float32)
            loss = loss + coefficient * ganops.gradient_penalty(critic, x, y, one_sided=True, weight=mixed)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            x, y = centre + _normal(20_000, 1, random), _normal(20_000, 1, random)
            found.append(-ganops.discriminator_loss(critic(x), critic(y), "wasserstein").item())
    true = [theory.wasserstein_1(_gaussian(centre), _gaussian(0.0)).item() for centre in means]
    errors = [abs(a - b) for a, b in zip(found, true, strict=True)]
    figure, axes = new_figure(size=(8.4, 5.2))
    axes.plot(means, true, color=BLACK, label="true W₁ = |m|")
    axes.plot(means, found, "o", color=COLOURS[0], markersize=9, label="−(critic's loss), fresh samples")
    axes.set(xlabel="mean m of the data N(m, 1); the generator stays at N(0, 1)", ylabel="distance (units of x)")
    axes.set_title(f"mean error {mean(errors):.3f}, largest {max(errors):.3f}", fontsize=13)
    axes.legend(loc="upper left")
    return Picture(figure, {"mean_error": mean(errors), "largest_error": max(errors)})


@styled
def jsd_wasserstein() -> Picture:
    """Show JSD and W1 between N(m, 1) and N(0, 1), and their slopes: JSD saturates at log 2, W1 does not.

    The values come from `ganops.theory` and the slopes from autograd. A generator far from the data gets no gradient
    from JSD, and always gets one from W1 (Arjovsky et al. 2017).
    """
    means = torch.linspace(0.02, 10, 120, dtype=torch.float64)
    rows = []
    for value in means:
        m = value.clone().requires_grad_()
        moved, still = Normal(m, torch.ones_like(m)), Normal(torch.zeros_like(m), torch.ones_like(m))
        js, w = (
            theory.jsd(moved, still, torch.linspace(-12, 24, 4001, dtype=torch.float64)),
            theory.wasserstein_1(moved, still),
        )
        slopes = [torch.autograd.grad(distance, m)[0].item() for distance in (js, w)]
        rows.append([js.item(), w.item(), *slopes])
    js, w, js_slope, w_slope = torch.tensor(rows, dtype=torch.float32).T
    figure, (left, right) = new_figure(1, 2, size=(11, 4.8))
    left.plot(means, w, color=COLOURS[0], label="W₁ (units of x)")
    left.plot(means, js, color=COLOURS[1], label="JSD (nats)")
    left.axhline(math.log(2), color=GREY, linestyle=":", linewidth=1.5)
    left.text(10, math.log(2) + 0.12, "log 2", color=GREY, ha="right")
    left.set(xlabel="distance m between the means", ylabel="divergence", ylim=(0, 5), xlim=(0, 10))
    left.legend(loc="upper left")
    right.plot(means, w_slope, color=COLOURS[0], label="dW₁/dm")
    right.plot(means, js_slope, color=COLOURS[1], label="dJSD/dm")
    right.set(xlabel="distance m between the means", ylabel="slope: what the generator learns from", xlim=(0, 10))
    right.set(ylim=(0, 1.15))
    right.legend(loc="center right")
    numbers = {
        "jsd_at_10": js[-1].item(),
        "log_2": math.log(2),
        "jsd_slope_at_10": js_slope[-1].item(),
        "wasserstein_slope_at_10": w_slope[-1].item(),
    }
    return Picture(figure, numbers)


_TOYS = {
    "ring8": ("8 Gaussians", math.sqrt(2)),
    "grid25": ("25 Gaussians", 1 / math.sqrt(8)),
    "swiss_roll": ("Swiss roll", 1.0),
}


@styled
def value_surface(*, steps: int = 600, seed: int = 0) -> Picture:
    """Show critics that are kept Lipschitz by clipping (upper row) and by a gradient penalty (lower row).

    The picture follows Figure 1 of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): the generator is fixed to the
    data plus N(0, I) noise, and only the critic is trained. The clipped critic finds only simple surfaces. The numbers
    are the critic's mean difference between data and generator, divided by its mean slope there (in the units of x).

    Args:
        steps: critic steps for each of the six surfaces, with 256 samples each.
        seed: of weights and samples.
    """
    side = torch.linspace(-2.6, 2.6, 90, dtype=torch.float32)
    grid = torch.cartesian_prod(side, side)
    figure, axes = new_figure(2, 3, size=(11, 7.4))
    numbers = {}
    for column, (name, (title, scale)) in enumerate(_TOYS.items()):
        points = data.load(name).samples * scale
        for row, way in enumerate(("clipped", "penalised")):
            critic = _toy_critic(points, way, steps, seed)
            with torch.no_grad():
                values = critic(grid)
            few = points[:5000]
            noisy = few + _normal(len(few), 2, torch.Generator().manual_seed(seed + 1))
            at = torch.cat([few, noisy]).requires_grad_()
            logits = critic(at)
            slope = torch.autograd.grad(logits.sum(), at)[0].norm(dim=1).mean().item()
            found = -ganops.discriminator_loss(*logits.detach().split(len(few)), "wasserstein").item() / slope
            numbers[f"{name}_{way}"] = found
            panel = axes[row, column]
            surface = values.reshape(90, 90).T.numpy()
            panel.contourf(side, side, surface, levels=16, cmap="cividis")
            panel.contour(side, side, surface, levels=16, colors="white", linewidths=0.6, linestyles="solid", alpha=0.7)
            panel.plot(*points[:400].T.numpy(), ".", color=COLOURS[3], markersize=3)
            panel.set(aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2], title=f"{title}: {found:.2f}")
            panel.grid(False)
            if column == 0:
                what = "weights clipped" if way == "clipped" else "gradient penalty"
                panel.set_ylabel(f"{what}\nx₂", fontsize=14)
            if row == 1:
                panel.set_xlabel("x₁")
    return Picture(figure, numbers)


def _toy_critic(points: Tensor, way: str, steps: int, seed: int) -> nn.Module:
    random = torch.Generator().manual_seed(seed)
    critic = _network(2, 128, 3, seed)
    lr = 5e-4 if way == "clipped" else 2e-3
    optimizer = torch.optim.Adam(critic.parameters(), lr=lr, betas=(0.5, 0.9))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - step / steps) + lr / 100
        x = points[torch.randint(len(points), (256,), generator=random)]
        chosen = points[torch.randint(len(points), (256,), generator=random)]
        y = chosen + _normal(256, 2, random)
        loss = ganops.discriminator_loss(critic(x), critic(y), "wasserstein")
        if way == "penalised":
            loss = loss + ganops.gradient_penalty(
                critic, x, y, weight=torch.rand(len(x), generator=random, dtype=torch.float32)
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if way == "clipped":
            ganops.clip_weights_(critic, 0.1)
    return critic


def _network(inputs: int, width: int, depth: int, seed: int) -> nn.Sequential:
    """Build ReLU layers with PyTorch's initial weights, which depend only on `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(inputs if i == 0 else width, width, dtype=torch.float32), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(width, 1, dtype=torch.float32))


def _normal(count: int, width: int, generator: torch.Generator) -> Tensor:
    return torch.randn(count, width, generator=generator, dtype=torch.float32)


def _gaussian(mean: float) -> Normal:
    """N(mean, 1) in float32."""
    return Normal(torch.tensor(mean, dtype=torch.float32), torch.tensor(1.0, dtype=torch.float32))
