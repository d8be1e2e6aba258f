"""Networks without gradients for a while: flags as before, gradients of the generator the same to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import ganops


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6))
    discriminator = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    return generator, discriminator


def flags(network: nn.Module) -> list[bool]:
    return [p.requires_grad for p in network.parameters()]


def test_the_generators_gradients_are_the_same_to_the_bit():
    generator, discriminator = networks()
    other, other_discriminator = copy.deepcopy((generator, discriminator))
    z = torch.randn(5, 4)
    ganops.generator_loss(discriminator(generator(z))).backward()
    with ganops.frozen(other_discriminator):
        logits = other_discriminator(other(z))
    ganops.generator_loss(logits).backward()  # outside
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(generator.parameters(), other.parameters(), strict=True))
    assert all(p.grad is not None for p in discriminator.parameters())
    assert all(p.grad is None for p in other_discriminator.parameters())
    assert torch.equal(discriminator[1].running_mean, other_discriminator[1].running_mean)


def test_flags_are_those_of_before():
    _, discriminator = networks()
    discriminator[0].bias.requires_grad_(False)
    before = flags(discriminator)
    with ganops.frozen(discriminator):
        assert not any(flags(discriminator))
        with ganops.frozen(discriminator, discriminator[0]):
            assert not any(flags(discriminator))
        assert not any(flags(discriminator))
    assert flags(discriminator) == before


def test_an_exception_restores_them():
    _, discriminator = networks()
    with pytest.raises(KeyError), ganops.frozen(discriminator):
        raise KeyError
    assert all(flags(discriminator))


def test_shared_parameters():
    """Listed twice, in one network or in two: frozen once, restored once."""
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    with ganops.frozen(first, second, nn.Sequential(first)):
        assert not first.weight.requires_grad
    assert first.weight.requires_grad
    assert second.weight is first.weight


def test_as_a_decorator_and_more_than_once():
    _, discriminator = networks()

    @ganops.frozen(discriminator)
    def loss(x):
        return discriminator(x).mean()

    for _ in range(2):
        assert not loss(torch.randn(3, 6)).requires_grad
        assert all(flags(discriminator))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "at least one torch.nn.Module"),
        ((nn.Linear(1, 1), [nn.Linear(1, 1)]), r"networks\[1\] must be a torch.nn.Module, got list"),
        ((nn.Linear(1, 1).weight,), r"networks\[0\] must be a torch.nn.Module, got Parameter"),
    ],
)
def test_what_is_no_network(arguments, text):
    with pytest.raises(TypeError, match=text), ganops.frozen(*arguments):
        pass
