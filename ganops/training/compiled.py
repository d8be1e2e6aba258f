"""Updates of the networks as functions of tensors: the fakes, the loss, its gradients and the optimiser's rule in one.

`torch.compile` compiles them whole, and a CUDA graph can capture them.

What the host decides stays outside: batches, random numbers, learning rates, and which update is due. The functions
change weights, buffers and the optimisers' state in place, so checkpoints are those of a run that is not compiled.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ganops.training.monitor import own_randomness
from ganops.training.objective import Draws, Objective
from ganops.training.unroll import update_rule

__all__ = ["CompiledUpdates", "Player", "check_objective", "compiled"]


class Player(NamedTuple):
    """A network with its optimiser, and the parameters that are clipped to [−clip, clip] after each step."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    clipped: tuple[nn.Parameter, ...] = ()
    clip: float = 0.0


def check_objective(objective: Objective) -> None:
    """Raise a `ValueError` if an objective has its own ``discriminator_updates``, which are not single functions."""
    if type(objective).discriminator_updates is not Objective.discriminator_updates:
        raise ValueError(
            "compile and cuda_graph: the objective has its own discriminator_updates, and these call update and "
            "lazy_update; override them, or leave compile and cuda_graph out"
        )


def compiled(function: types.MethodType) -> Callable[..., Any]:
    """A bound method, compiled whole."""
    # A code object of its own: torch.compile compiles one eight times at most, for any number of objects.
    code = function.__func__.__code__.replace()
    own = types.FunctionType(code, function.__func__.__globals__)
    options = {"guard_filter_fn": _of_arguments}
    return torch.compile(types.MethodType(own, function.__self__), fullgraph=True, dynamic=False, options=options)


def _of_arguments(guards: Sequence[Any]) -> list[bool]:
    """Which guards to check at each call: those of arguments. The object is fixed; its guards take 0.6 ms a call."""
    return [guard.name.startswith("L['arguments']") for guard in guards]


class CompiledUpdates:
    """The updates of both networks, each made a function when it is first needed.

    The optimisers must have their state, as after one ordinary step.

    Args:
        generator, discriminator: the networks, in training mode.
        objective: their losses.
        device: where they are.
        wrap: what makes a method that works in place on tensors faster, such as `compiled`.
    """

    def __init__(
        self,
        generator: Player,
        discriminator: Player,
        objective: Objective,
        device: torch.device,
        wrap: Callable[[types.MethodType], Callable[..., Any]] = compiled,
    ) -> None:
        self._wrap = wrap
        self._networks = {"generator": generator.network, "discriminator": discriminator.network}
        self._objective = objective
        self._device = device
        self._descents = {
            "adversarial": _Descent("discriminator", discriminator, self._networks, self._adversarial),
            "lazy penalty": _Descent("discriminator", discriminator, self._networks, self._lazy_penalty),
            "generator": _Descent("generator", generator, self._networks, self._generator),
        }

    def discriminator_step(
        self, z: Tensor, real: Tensor, condition: Tensor | None, draws: Draws, number: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Step `number` of D: the adversarial loss, the weighted penalty (0 if none is due) and the real logits.

        Args:
            z: the generator's inputs for as many fakes as `real` has samples.
            real: (N, *shape).
            condition: one for each sample; None in a run without conditions.
            draws: from `Objective.discriminator_draws`.
            number: index of the step, from 0.
        """
        lazy = self._objective.config.penalty_every > 1
        first = draws._replace(penalty=None) if lazy else draws  # of the same types in every step
        adversarial, penalty, real_logits, inputs = self._run("adversarial", z, real, condition, first)
        if lazy and self._objective.penalty_is_due(number):
            penalty = self._run("lazy penalty", *inputs, condition, draws)
        return adversarial, penalty, real_logits

    def generator_step(self, z: Tensor, condition: Tensor | None, real: Tensor | None, draws: Draws) -> Tensor:
        """A step of G: its loss. `draws` are from `Objective.generator_draws`."""
        return self._run("generator", z, condition, real, draws)

    def _run(self, name: str, *arguments: Any) -> Any:
        descent = self._descents[name]
        if descent.function is not None:
            return descent(*arguments)
        with own_randomness(0, self._device):  # finding the gradients that exist must not change the run
            descent.prepare(self._wrap, *arguments)
        try:
            return descent(*arguments)
        except RuntimeError as error:  # the compiler's errors are of this class
            raise RuntimeError(
                f"train: the {name} update cannot be compiled or captured ({type(error).__name__}: {error}); leave "
                "compile and cuda_graph out"
            ) from error

    # -- the losses, as functions of the networks' calls -------------------------------------------------------------

    def _fakes(self, generator: Callable[..., Tensor], z: Tensor, condition: Tensor | None) -> Tensor:
        with self._objective.autocast(self._device):
            fake = generator(z) if condition is None else generator(z, condition)
        return fake.float() if self._objective.config.amp != "off" else fake

    def _adversarial(
        self, calls: dict[str, Callable[..., Tensor]], z: Tensor, real: Tensor, condition: Tensor | None, draws: Draws
    ) -> tuple[Tensor, Any]:
        objective = self._objective
        with torch.no_grad():
            fake = self._fakes(calls["generator"], z, condition)
            with objective.autocast(self._device):
                inputs = objective.augment_and_pack(real, draws.real), objective.augment_and_pack(fake, draws.fake)
        update = objective.update(objective.score_fn(calls["discriminator"], condition), *inputs, draws)
        penalty = update.adversarial.new_zeros(()) if update.penalty is None else update.penalty
        return update.loss, (update.adversarial, penalty, update.real_logits, inputs)

    def _lazy_penalty(
        self,
        calls: dict[str, Callable[..., Tensor]],
        real: Tensor,
        fake: Tensor,
        condition: Tensor | None,
        draws: Draws,
    ) -> tuple[Tensor, Any]:
        objective = self._objective
        update = objective.lazy_update(objective.score_fn(calls["discriminator"], condition), real, fake, draws)
        return update.loss, update.loss

    def _generator(
        self,
        calls: dict[str, Callable[..., Tensor]],
        z: Tensor,
        condition: Tensor | None,
        real: Tensor | None,
        draws: Draws,
    ) -> tuple[Tensor, Any]:
        fake = self._fakes(calls["generator"], z, condition)
        loss = self._objective.generator_loss(calls["discriminator"], fake, condition, real, noise=draws)
        return loss, loss


class _Trained(NamedTuple):
    """A parameter with its name, the settings and the state that its optimiser has for it, and its limit."""

    name: str
    parameter: nn.Parameter
    settings: dict[str, Any]
    state: dict[str, Any]
    clip: float | None


class _Descent:
    """One optimiser step on a loss, in place.

    Args:
        name: the network that is trained, a key of `networks`.
        player: it, with its optimiser.
        networks: all networks that the loss calls.
        loss: from the calls of the networks and the update's tensors to the loss and what else the caller wants.
    """

    def __init__(
        self, name: str, player: Player, networks: dict[str, nn.Module], loss: Callable[..., tuple[Tensor, Any]]
    ) -> None:
        self._name, self._player, self._networks, self._loss = name, player, networks, loss
        self._rule = update_rule(player.optimizer)
        # Rates as tensors: a compiled function would be compiled again for each value of a number.
        groups = player.optimizer.param_groups
        device = groups[0]["params"][0].device
        self._rates = [torch.zeros((), dtype=torch.float64, device=device) for _ in groups]
        self._trained: list[_Trained] = []
        self._untrained: list[nn.Parameter] = []
        self.function: Callable[..., Any] | None = None

    def prepare(self, wrap: Callable[[types.MethodType], Callable[..., Any]], *arguments: Any) -> None:
        """Find the parameters that have a gradient, as torch's optimisers leave out the others; make the function."""
        named = {name: p for name, p in self._networks[self._name].named_parameters() if p.requires_grad}
        weights = {name: p.detach().requires_grad_() for name, p in named.items()}
        state = {key: {n: t.detach().clone() for n, t in _tensors(net).items()} for key, net in self._networks.items()}
        with torch.enable_grad():
            loss, _ = self._with_weights(weights, state, arguments)
            gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        optimizer, player = self._player.optimizer, self._player
        groups = {
            id(p): (group, rate)
            for group, rate in zip(optimizer.param_groups, self._rates, strict=True)
            for p in group["params"]
        }
        clipped = {id(p) for p in player.clipped}
        for (name, p), gradient in zip(named.items(), gradients, strict=True):
            if gradient is None:
                self._untrained.append(p)
            else:
                group, rate = groups[id(p)]
                settings = {key: value for key, value in group.items() if key != "params"} | {"lr": rate}
                limit = player.clip if id(p) in clipped else None
                self._trained.append(_Trained(name, p, settings, optimizer.state.get(p, {}), limit))
        self.function = wrap(self._descend)

    def __call__(self, *arguments: Any) -> Any:
        """Take the step. Returns what the loss returns beside its value."""
        for group, rate in zip(self._player.optimizer.param_groups, self._rates, strict=True):
            rate.fill_(group["lr"])
        for parameter in self._untrained:
            parameter.grad = None
        with torch.no_grad():
            gradients, more = self.function(*arguments)
        for each, gradient in zip(self._trained, gradients, strict=True):
            each.parameter.grad = gradient
        return more

    def _with_weights(
        self, weights: dict[str, Tensor], state: dict[str, dict[str, Tensor]], arguments: tuple[Any, ...]
    ) -> tuple[Tensor, Any]:
        """The loss with these weights of the trained network, and this state of all networks."""
        tensors = {key: {**values, **(weights if key == self._name else {})} for key, values in state.items()}

        def call_of(key: str) -> Callable[..., Tensor]:
            return lambda *inputs: functional_call(self._networks[key], tensors[key], inputs)

        return self._loss({key: call_of(key) for key in self._networks}, *arguments)

    def _descend(self, *arguments: Any) -> tuple[list[Tensor], Any]:
        weights = {each.name: each.parameter.detach() for each in self._trained}
        state = {key: {n: t.detach() for n, t in _tensors(network).items()} for key, network in self._networks.items()}
        gradients, more = torch.func.grad(self._with_weights, has_aux=True)(weights, state, arguments)
        for each in self._trained:
            moved, changed = self._rule(weights[each.name], gradients[each.name], each.state, each.settings)
            each.parameter.copy_(moved if each.clip is None else moved.clamp(-each.clip, each.clip))
            for key, value in changed.items():
                each.state[key].copy_(value)
        return [gradients[each.name] for each in self._trained], more


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
