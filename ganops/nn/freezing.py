"""Networks whose parameters need no gradient for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Inside, the parameters of ``networks`` require no gradient; afterwards they do again if they did before.

    Use it around the forward pass of a discriminator in the generator's step. Gradients still pass **through** the
    discriminator to the generator, with the same bits, but those of the discriminator's own weights, which nobody reads
    there, are not computed: a third of the work of its forward and backward pass.

    Flags are restored when the block is left, by an exception too, and blocks may be nested. Only the parameters that
    required a gradient at entry are touched. What matters is the forward pass: ``backward()`` may follow outside.

    A parameter that a frozen network shares with another network is frozen for both. Enter the block outside of
    functions compiled by ``torch.compile``.

    Args:
        networks: Modules, at least one.

    Raises:
        TypeError: If an argument is not a module, before any flag is changed.

    Example:
        >>> with ganops.frozen(discriminator):
        ...     fake_logits = discriminator(generator(z))
        >>> ganops.generator_loss(fake_logits).backward()
    """
    if not networks:
        raise TypeError("frozen: pass at least one torch.nn.Module")
    for place, network in enumerate(networks):
        if not isinstance(network, nn.Module):
            raise TypeError(f"frozen: networks[{place}] must be a torch.nn.Module, got {type(network).__name__}")
    parameters = [p for network in networks for p in network.parameters() if p.requires_grad]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
