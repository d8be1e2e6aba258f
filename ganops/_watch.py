"""What one training step computes and does not use, found by watching it through PyTorch's hooks."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from ganops._transforms import is_compiling, transforms_active

__all__ = ["Finding", "Report", "watch"]

# Operators that make the host wait for the device.
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal"}
_TORCH = str(Path(torch.__file__).parent) + os.sep
_READS_ITS_OWN = (os.path.join(_TORCH, "optim"), os.path.join(_TORCH, "amp"))
# This package, and what PyTorch wraps around a dispatch mode.
_AROUND = (str(Path(__file__).parent) + os.sep, os.path.join(_TORCH, "_compile"), os.path.join(_TORCH, "_dynamo"))
_MIXES_SAMPLES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_DIFFERS_IN_EVAL = (*_MIXES_SAMPLES, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@dataclass(frozen=True)
class Finding:
    """One kind of waste in one place.

    ``kind``: ``"unread gradients"``, ``"unused graph"``, ``"real branch with a graph"``, ``"eval mode"``,
    ``"batch norm under a penalty"``, ``"host synchronisation"`` or ``"run again"``. ``where``: the network's
    name, or a file and line. ``text``: what happens, and what to change.
    """

    kind: str
    where: str
    text: str


@dataclass
class Report:
    """What :func:`watch` found; filled when its block ends."""

    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.findings:
            return "Nothing was computed that was not used."
        return "\n".join(f"{number}. {finding.text}" for number, finding in enumerate(self.findings, start=1))


@dataclass
class _Call:
    """One forward pass of a network."""

    network: nn.Module
    training: bool
    inputs: list[Tensor]  # copies
    from_graph: bool  # an input is the result of another network
    weights: int  # optimiser steps that the weights had seen
    phase: int = -1  # in which a gradient arrived at the outputs; −1: in none
    has_graph: bool = False
    penalised: bool = False


class _Watch:
    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.given = networks
        self.names: dict[nn.Module, str] = {network: name for name, network in networks.items()}
        self.calls: list[_Call] = []
        self.depth = 0
        self.phase = 0  # optimiser steps so far
        self.handles: dict[Tensor, Any] = {}  # of parameters
        self.pending: dict[Tensor, tuple[Tensor, int]] = {}  # gradients that nobody has read, since which phase
        self.unread: dict[Tensor, set[int]] = {}  # phases whose gradients nobody read
        self.trained: dict[Tensor, set[int]] = {}  # phases whose gradients an optimiser read
        self.steps: dict[Tensor, int] = {}
        self.waits: dict[str, tuple[int, str]] = {}

    # ---------------------------------------------------------------------------------------------- what happens

    def before(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not self._concerns(module):
            return
        self.depth += 1
        if self.depth > 1:
            return
        if module not in self.names:
            self.names[module] = self._name(module)
        for parameter in module.parameters():
            if parameter.requires_grad and parameter not in self.handles:
                self.handles[parameter] = parameter.register_post_accumulate_grad_hook(self.accumulated)
        tensors = [x for x in _tensors(inputs) if x.is_floating_point()]
        self.calls.append(
            _Call(
                module,
                module.training,
                [x.detach().clone() for x in tensors],
                any(x.requires_grad and not x.is_leaf for x in tensors),
                self._weights(module),
            )
        )

    def after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not self._concerns(module):
            return
        self.depth -= 1
        if self.depth > 0:
            return
        call = self.calls[-1]
        for tensor in _tensors(output):
            if tensor.requires_grad:
                call.has_graph = True
                tensor.register_hook(lambda _, call=call: self.arrived(call))

    def arrived(self, call: _Call) -> None:
        call.phase = self.phase
        # Within backward the gradient mode is on where the gradient itself is to be differentiated.
        call.penalised |= torch.is_grad_enabled()

    def accumulated(self, parameter: Tensor) -> None:
        before = self.pending.get(parameter)
        if before is not None and before[0] is not parameter.grad:  # set to None in between
            self.lose(parameter)
        since = self.pending[parameter][1] if parameter in self.pending else self.phase
        if parameter.grad is not None:
            self.pending[parameter] = (parameter.grad, since)

    def lose(self, parameter: Tensor) -> None:
        _, since = self.pending.pop(parameter)
        self.unread.setdefault(parameter, set()).add(since)

    def zeroed(self, gradient: Tensor) -> None:
        for parameter, (pending, _) in list(self.pending.items()):
            if pending is gradient:
                self.lose(parameter)

    def stepping(self, optimizer: Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self.steps[parameter] = self.steps.get(parameter, 0) + 1
                pending = self.pending.pop(parameter, None)
                if pending is not None and parameter.grad is pending[0]:
                    self.trained.setdefault(parameter, set()).add(pending[1])
                elif pending is not None:  # set to None without having been read
                    self.unread.setdefault(parameter, set()).add(pending[1])
        self.phase += 1

    def waited(self, operator: str, on_host: bool) -> None:
        frames = [frame for frame in traceback.extract_stack() if not frame.filename.startswith(_AROUND)]
        own = [frame for frame in frames if not frame.filename.startswith(_TORCH)]
        # Optimisers and gradient scalers read numbers of their own, and all of PyTorch may read those of the host.
        if not own or frames[-1].filename.startswith(_TORCH if on_host else _READS_ITS_OWN):
            return
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        count, _ = self.waits.get(place, (0, ""))
        self.waits[place] = (count + 1, own[-1].line or operator)

    # ------------------------------------------------------------------------------------------------- judgement

    def report(self) -> Iterator[Finding]:
        if self.phase > 0:
            for parameter in list(self.pending):
                self.lose(parameter)
        for network, name in self.names.items():
            calls = [call for call in self.calls if call.network is network]
            if calls:
                yield from self._gradients(network, name, calls)
                yield from self._modes(network, name, calls)
        yield from self._reruns()
        for place, (count, line) in self.waits.items():
            yield Finding(
                "host synchronisation",
                place,
                f"{place} makes the host wait for the device {_times(count)} ({line}). Keep the tensor, and read it "
                "where a number is shown, every hundred steps for instance.",
            )

    def _gradients(self, network: nn.Module, name: str, calls: list[_Call]) -> Iterator[Finding]:
        parameters = set(network.parameters())
        unread = {p: phases for p, phases in self.unread.items() if p in parameters}
        # The backward passes that trained the network; of the others no gradient of its weights was read.
        trained = set().union(*(phases for p, phases in self.trained.items() if p in parameters))
        wasted = set().union(*unread.values()) if unread else set()
        constant = [c for c in calls if c.phase in wasted - trained and not c.from_graph and not c.penalised]
        if unread:
            yield Finding(
                "unread gradients",
                name,
                f"{name}: a backward pass computed gradients of {len(unread)} parameters that no optimizer read. In "
                f"the step that does not train {name}, put its forward pass in `with ganops.frozen(...)`, or detach "
                "what it makes for others.",
            )
        if constant and any(c.from_graph and c.phase in wasted for c in calls):
            yield Finding(
                "real branch with a graph",
                name,
                f"{name}: {_count(len(constant), 'forward pass', 'forward passes')} over samples that have no gradient "
                "kept a graph, and the backward pass through it gave gradients that nobody read. Run it under "
                "torch.no_grad(), or freeze the network.",
            )
        unused = [c for c in calls if c.has_graph and c.phase < 0]
        if unused and self.phase > 0:
            yield Finding(
                "unused graph",
                name,
                f"{name}: {_count(len(unused), 'forward pass', 'forward passes')} kept a graph that no backward pass "
                "went through. Run it under torch.no_grad().",
            )

    def _modes(self, network: nn.Module, name: str, calls: list[_Call]) -> Iterator[Finding]:
        layers = list(network.modules())
        differing = sorted({type(layer).__name__ for layer in layers if isinstance(layer, _DIFFERS_IN_EVAL)})
        trained = any(p in self.trained for p in network.parameters())
        if trained and differing and any(not c.training and c.phase >= 0 for c in calls):
            yield Finding(
                "eval mode",
                name,
                f"{name} was trained in eval mode: its {', '.join(differing)} acted as at inference. Call train() on "
                "it before the step.",
            )
        mixing = sorted({type(layer).__name__ for layer in layers if isinstance(layer, _MIXES_SAMPLES)})
        if mixing and any(c.penalised and c.training for c in calls):
            yield Finding(
                "batch norm under a penalty",
                name,
                f"{name}: a gradient penalty was taken through {', '.join(mixing)}, which makes each output depend on "
                "the whole batch, so that there is no gradient norm of a single sample. Use layer or group "
                "normalisation.",
            )

    def _reruns(self) -> Iterator[Finding]:
        again: dict[str, int] = {}
        for place, call in enumerate(self.calls):
            for other in self.calls[:place]:
                # Beside a generator's graph the same numbers have another gradient.
                same = other.network is call.network and other.weights == call.weights
                same = same and other.training == call.training and other.from_graph == call.from_graph
                if same and _equal(other.inputs, call.inputs):
                    name = self.names[call.network]
                    again[name] = again.get(name, 0) + 1
                    break
        for name, count in again.items():
            yield Finding(
                "run again",
                name,
                f"{name} was run again on inputs that it had already been given, with the same weights "
                f"({_times(count)}). Keep the first result; the R1 and R2 penalties, for instance, can be taken from "
                "logits that are already there.",
            )

    # ----------------------------------------------------------------------------------------------------- helpers

    def _concerns(self, module: nn.Module) -> bool:
        if is_compiling() or transforms_active():
            return False
        if self.given:
            return module in self.names
        return next(module.parameters(), None) is not None

    def _name(self, module: nn.Module) -> str:
        kind = type(module).__name__
        number = sum(type(other).__name__ == kind for other in self.names) + 1
        return kind if number == 1 else f"{kind} number {number}"

    def _weights(self, module: nn.Module) -> int:
        return sum(self.steps.get(p, 0) for p in module.parameters())


class _Operators(TorchDispatchMode):
    """Sees what makes the host wait, and gradients that are zeroed in place."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), named: dict | None = None) -> Any:
        name = function.name().partition("::")[2].partition(".")[0]
        if name in _WAITS or _to_host(name, arguments, named or {}):
            self.watch.waited(name, all(tensor.is_cpu for tensor in _tensors(arguments)))
        elif name in ("zero_", "_foreach_zero_"):
            for tensor in _tensors(arguments):
                self.watch.zeroed(tensor)
        return function(*arguments, **(named or {}))


def _to_host(name: str, arguments: tuple, named: dict) -> bool:
    if name == "_to_copy":
        to = named.get("device")
        return to is not None and torch.device(to).type == "cpu" and arguments[0].device.type not in ("cpu", "meta")
    if name == "copy_":
        return arguments[0].is_cpu and arguments[1].device.type not in ("cpu", "meta")
    return False


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [x for entry in value for x in _tensors(entry)]


def _equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return (
        bool(some)
        and len(some) == len(others)
        and all(
            a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
            for a, b in zip(some, others, strict=True)
        )
    )


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


@contextmanager
def watch(**networks: nn.Module) -> Iterator[Report]:
    """Watches one training step and reports what it computes and does not use.

    Found are gradients that no optimizer reads, graphs that no backward pass goes through, forward passes over real
    samples whose graph serves nothing, networks trained in eval mode, batch normalisation under a penalty of single
    samples' gradients, operators that make the host wait for the device (``.item()``, and ``float()``, ``bool()`` or a
    comparison of a tensor), and networks that are run again on inputs they have just been given. The step runs slower
    while it is watched, and copies of the networks' inputs are kept; nothing else of it changes.

    Args:
        networks: The networks to watch, by the names to call them in the report. Without any, all outermost modules
            with parameters, called by their classes. Those within ``torch.compile`` or ``torch.func`` are not seen.

    Yields:
        A :class:`Report`, whose ``findings`` are there when the block has ended, and whose text is the list of them.
        Let the block hold a whole step: gradients that are left unread at its end count as not used, unless no
        optimizer took a step.

    Raises:
        TypeError: If a network is not a module.

    Example:
        >>> with ganops.watch(G=generator, D=discriminator) as report:
        ...     training_step(batch)
        >>> print(report)
        1. D: a backward pass computed gradients of 154 parameters that no optimizer read. ...
    """
    for name, network in networks.items():
        if not isinstance(network, nn.Module):
            raise TypeError(f"watch: {name} must be a torch.nn.Module, got {type(network).__name__}")
    report, watched = Report(), _Watch(networks)
    with ExitStack() as stack:
        stack.callback(lambda: [handle.remove() for handle in watched.handles.values()])
        for handle in (
            register_module_forward_pre_hook(watched.before),
            register_module_forward_hook(watched.after, always_call=True),
            register_optimizer_step_pre_hook(watched.stepping),
        ):
            stack.callback(handle.remove)
        with _Operators(watched):
            yield report
    report.findings.extend(watched.report())
