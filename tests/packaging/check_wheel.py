"""Run in a clean environment with torch and the wheel alone: it imports, uses its kernels and computes."""

from pathlib import Path

import torch

import ganops

information = ganops.build_info()
print(information)
assert information["cpu"]["used"], "the wheel's CPU library is not used"
assert "site-packages" in ganops.__file__, f"{ganops.__file__} is not the installed wheel"
assert {path.name for path in (Path(ganops.__file__).parent / "lib").iterdir()} >= {"libganops_cpu.so"}

critic = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
real, fake = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
weight = torch.rand(5, dtype=torch.float64)


def gradients(library):
    loss = library.discriminator_loss(critic(real), critic(fake), "hinge")
    loss = loss + 10 * library.gradient_penalty(critic, real, fake, weight=weight)
    return torch.autograd.grad(loss, list(critic.parameters()))


for fused, reference in zip(gradients(ganops), gradients(ganops.reference), strict=True):
    torch.testing.assert_close(fused, reference)
ganops.clip_weights_(critic, 0.01)
assert all(parameter.abs().max() <= 0.01 for parameter in critic.parameters())
print("the wheel works")
