"""Odd arguments of the ops: each call must give the value of the same call with ordinary tensors, or one clear error.

    python tests/attacks/arguments.py            # all of them, some minutes
    python tests/attacks/arguments.py --every 9  # every ninth

Every argument of every public function is replaced in turn: a tensor by the same numbers in other layouts and types
(views with gaps, with a negative bit, inference tensors, subclasses, …), whose result must be the same, and by what it
must not be (integers, float8, sparse, quantized, nested and meta tensors, lists, text); a setting by numbers and texts
of all kinds. torch's default dtype and device must not matter. A clear error is a ValueError or TypeError whose first
line begins with the function's name. Prints the counts and every failure; the exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import ganops
from ganops import reference

Call = tuple[str, Callable[..., Any], dict[str, Any]]


class Labelled(Tensor):
    """A subclass that means nothing to torch."""


def _with_gaps(x: Tensor) -> Tensor:
    wide = torch.full((*x.shape, 2), math.nan, dtype=x.dtype)
    wide[..., 0] = x.detach()
    return wide[..., 0]


def _odd_strides(x: Tensor) -> Tensor:
    """Strides that mean nothing, where a dimension has one element."""
    x = x.detach().contiguous()
    return x.as_strided(
        x.shape, [999 if size == 1 else stride for size, stride in zip(x.shape, x.stride(), strict=True)]
    )


def _unaligned(x: Tensor) -> Tensor:
    flat = torch.empty(x.numel() + 1, dtype=x.dtype)
    flat[1:] = x.detach().flatten()
    return flat[1:].view(x.shape)


def _in_inference_mode(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.detach().clone()


def _negative(x: Tensor) -> Tensor:
    """With the negative bit: the imaginary part of a conjugate."""
    view = torch.complex(torch.zeros_like(x), -x.detach()).conj().imag
    assert view.is_neg()
    return view


#: The same numbers in another form.
FORMS: dict[str, Callable[[Tensor], Any]] = {
    "gaps": _with_gaps,
    "transposed": lambda x: x.detach().mT.contiguous().mT if x.dim() > 1 else x.detach(),
    "channels last": lambda x: x.detach().contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.detach(),
    "odd strides": _odd_strides,
    "unaligned": _unaligned,
    "inference": _in_inference_mode,
    "negative bit": _negative,
    "real part": lambda x: torch.complex(x.detach(), torch.ones_like(x)).conj().real,
    "subclass": lambda x: x.detach().as_subclass(Labelled),
    "parameter": lambda x: nn.Parameter(x.detach().clone()),
    "buffer": lambda x: nn.Buffer(x.detach().clone()),
    "read-only array": lambda x: _read_only(x),
}


def _read_only(x: Tensor) -> Tensor:
    array = x.detach().numpy().copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(array)


#: What a tensor must not be: a clear error, or (rarely) a result.
WRONG: dict[str, Callable[[Tensor], Any]] = {
    "int": lambda x: x.detach().int(),
    "bool": lambda x: x.detach().bool(),
    "complex": lambda x: x.detach().to(torch.complex64),
    "float8": lambda x: x.detach().to(torch.float8_e4m3fn),
    "float8 scale": lambda x: x.detach().to(torch.float8_e8m0fnu),
    "sparse": lambda x: x.detach().to_sparse(),
    "csr": lambda x: x.detach().reshape(len(x) if x.dim() else 1, -1).to_sparse_csr(),
    "mkldnn": lambda x: x.detach().to_mkldnn(),
    "quantized": lambda x: torch.quantize_per_tensor(x.detach(), 0.1, 0, torch.qint8),
    "nested": lambda x: torch.nested.nested_tensor([x.detach().reshape(-1), x.detach().reshape(-1)[:1]]),
    "jagged": lambda x: torch.nested.nested_tensor(
        [x.detach().reshape(-1), x.detach().reshape(-1)[:1]], layout=torch.jagged
    ),
    "meta": lambda x: x.detach().to("meta"),
    "half": lambda x: x.detach().half(),
    "double": lambda x: x.detach().double(),
    "number": lambda x: x.detach().reshape(-1)[0].clone(),
    "no samples": lambda x: x.detach()[:0] if x.dim() else x.detach().new_empty(0),
    "no features": lambda x: x.detach().new_empty((len(x) if x.dim() else 1, 0)),
    "one sample less": lambda x: x.detach()[1:] if x.dim() else x.detach(),
    "one dimension more": lambda x: x.detach()[None],
    "eight dimensions": lambda x: x.detach().reshape(*x.shape, *(1,) * (8 - x.dim())),
    "expanded": lambda x: x.detach().new_ones(()).expand(x.shape),
    "huge": lambda x: x.detach().new_ones(()).expand((2**31, *x.shape[1:])),
    "nan": lambda x: torch.full_like(x.detach(), math.nan),
    "inf": lambda x: torch.full_like(x.detach(), math.inf),
    "nothing": lambda x: None,
    "list": lambda x: [x.detach()],
    "empty list": lambda x: [],
    "tuple of numbers": lambda x: (1.0, 2.0),
    "array": lambda x: x.detach().numpy(),
    "text": lambda x: "x",
    "float": lambda x: 0.5,
    "dict": lambda x: {"x": x.detach()},
    "type": lambda x: Tensor,
}


SETTINGS: tuple[Any, ...] = (
    math.nan, math.inf, -math.inf, -1, 0, 1, 2, 3, 0.5, 10**30, -(10**400), 1e300, 1e-300, "", "x", "none", None, True,
    False, np.float32(0.5), np.int64(2), np.bool_(True), np.array([1.0, 2.0]), torch.tensor(0.5),
    torch.tensor([1.0, 2.0]), 1j, [], [1], (0.25, 0.5), (0.5, 0.25), (1, 2, 3), {}, object(), b"mean", len,
    torch.float32, torch.device("meta"), torch.Generator(), torch.amp.GradScaler("cpu", enabled=False),
)  # fmt: skip


class Critic(nn.Module):
    """Takes whatever it is given, so that no error is its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        """A score (N,) for samples (N, …)."""
        return (x * self.scale.to(x)).flatten(1).sin().sum(1) if x.dim() > 1 else (x * self.scale.to(x)).sin()


#: Refusals of torch that are as clear: too little memory, sparse gradients, and, in its own optimisers' step, settings
#: beyond float32.
_OF_TORCH = ("can't allocate memory", "does not support sparse gradients", "without overflow")


class _Impossible(Exception):
    """torch itself refuses the attack."""


def calls() -> Iterator[Call]:
    """Every function with arguments that are right. Tensors are new in each call."""
    torch.manual_seed(0)
    logits, other = torch.randn(4, 3), torch.randn(4, 3)
    samples, fakes, weight = torch.randn(4, 6), torch.randn(4, 6), torch.rand(4)
    images, taps = torch.randn(4, 3, 8, 8), torch.tensor([1.0, 3.0, 3.0, 1.0])
    for module, prefix in ((ganops, ""), (reference, "reference ")):
        of = lambda name, module=module: getattr(module, name)  # noqa: E731
        for kind, more in (("non_saturating", {}), ("least_squares", {"real_target": 0.9}), ("hinge", {"margin": 1.0})):
            common = {"kind": kind, "reduction": "mean", "scale_reduction": "sum"}
            both = {"real_logits": logits, "fake_logits": other, **common, "return_parts": False, **more}
            yield f"{prefix}discriminator_loss", of("discriminator_loss"), both
            more = {} if kind == "least_squares" else more
            yield f"{prefix}generator_loss", of("generator_loss"), {"fake_logits": other, **common, **more}
            yield f"{prefix}gan_loss", of("gan_loss"), {"logits": logits, "is_real": True, **common, **more}
        paired = {"kind": "relativistic", "real_logits": logits, "fake_logits": other, "reduction": "none"}
        yield f"{prefix}discriminator_loss", of("discriminator_loss"), paired
        yield f"{prefix}generator_loss", of("generator_loss"), paired
        matching = {"real_features": logits, "fake_features": other, "distance": "l1", "normalize": False}
        matching |= {"detach_real": True, "scale_reduction": "sum"}
        yield f"{prefix}feature_matching_loss", of("feature_matching_loss"), matching
        yield f"{prefix}interpolate", of("interpolate"), {"real": samples, "fake": fakes, "weight": weight}
        drawn = {"real": samples, "fake": fakes, "generator": None}
        yield f"{prefix}interpolate", _seeded(of("interpolate")), drawn
        norms = {"gradient": samples, "target": 1.0, "one_sided": False, "reduction": "mean"}
        yield f"{prefix}gradient_norm_penalty", of("gradient_norm_penalty"), norms
        between = {"critic": Critic(), "real": samples, "fake": fakes, "weight": weight}
        exact = {"finite_difference": 0.0, "reduction": "mean", "scaler": None, "select": None}
        yield (
            f"{prefix}gradient_penalty",
            of("gradient_penalty"),
            {**between, "target": 1.0, "one_sided": False, **exact},
        )
        yield f"{prefix}lp_penalty", of("lp_penalty"), {**between, "target": 1.0, **exact}
        yield f"{prefix}r1_penalty", of("r1_penalty"), {"critic": Critic(), "real": samples, **exact}
        yield f"{prefix}r2_penalty", of("r2_penalty"), {"critic": Critic(), "fake": samples, **exact}
        noise = {"critic": Critic(), "real": samples, "noise": fakes, "scale": 0.5, "target": 1.0, **exact}
        yield f"{prefix}dragan_penalty", of("dragan_penalty"), noise
        estimate = {"critic": Critic(), "samples": samples, "sigma": 0.1, "noise": fakes, "logits": None}
        estimate |= {"reduction": "mean", "select": None}
        yield f"{prefix}approximate_r1_penalty", of("approximate_r1_penalty"), estimate
        yield f"{prefix}minibatch_stddev", of("minibatch_stddev"), {"x": images, "group_size": 4}
        discrimination = {"x": samples, "weight": torch.randn(6, 3, 2)}
        yield f"{prefix}minibatch_discrimination", of("minibatch_discrimination"), discrimination
        augment = {"x": images, "policy": "color,translation,cutout", "parameters": torch.rand(4, 7)}
        yield f"{prefix}diff_augment", of("diff_augment"), augment
        drawn = {"x": images, "policy": "color,cutout", "generator": None, "p": 0.5}
        yield f"{prefix}diff_augment", _seeded(of("diff_augment")), drawn
        yield f"{prefix}pack", of("pack"), {"x": samples, "degree": 2}
        resampling = {"x": images, "f": taps, "up": 2, "down": 1, "padding": 1, "flip_filter": False, "gain": 1.0}
        yield f"{prefix}upfirdn2d", of("upfirdn2d"), resampling
        yield f"{prefix}upfirdn1d", of("upfirdn1d"), {**resampling, "x": images[:, :, 0]}
        yield (
            f"{prefix}clip_weights_",
            _clipped(of("clip_weights_")),
            {"parameters": samples, "limit": 0.5, "normalization": False},
        )
        for kind in ("Adam", "RMSprop"):
            steps = {"weight": samples, "gradient": fakes, "lr": 0.1, "eps": 1e-8, "weight_decay": 0.0, "clip": 0.5}
            yield f"{prefix}{kind}", _stepped(getattr(module.optimizers, kind)), steps
    yield (
        "GradientPenalty",
        _module(ganops.nn.GradientPenalty),
        {"weight": 10.0, "target": 1.0, "one_sided": False, "select": None},
    )
    for name in ("DiscriminatorLoss", "GeneratorLoss"):
        settings = {"kind": "hinge", "reduction": "mean", "scale_reduction": "sum", "margin": 1.0}
        yield name, _module(getattr(ganops.nn, name)), settings
    yield "DiffAugment", _module(ganops.nn.DiffAugment), {"policy": "color", "p": 0.5}
    yield "MinibatchStddev", _module(ganops.nn.MinibatchStddev), {"group_size": 4}
    sizes = {"in_features": 6, "kernels": 3, "dimensions": 2}
    yield "MinibatchDiscrimination", _module(ganops.nn.MinibatchDiscrimination), sizes
    yield "LeCam", _module(ganops.nn.LeCam), {"decay": 0.99}
    yield "GANLoss", _module(ganops.nn.GANLoss), {"kind": "hinge"}


def _seeded(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(**arguments: Any) -> Tensor:
        torch.manual_seed(0)
        return function(**arguments)

    return call


def _clipped(function: Callable[..., None]) -> Callable[..., Tensor]:
    """`function` of a copy in the same form, which it returns."""

    def call(parameters: Any, **settings: Any) -> Any:
        function(parameters, **settings)
        return parameters

    return call


def _stepped(kind: Callable[..., Any]) -> Callable[..., Tensor]:
    def call(weight: Any, gradient: Any, **settings: Any) -> Any:
        if settings:
            kind([nn.Parameter(torch.ones(2))], **settings)
        try:
            leaf = weight.requires_grad_()
            leaf.grad = gradient
            kind([leaf])
        except Exception as error:
            raise _Impossible from error
        optimizer = kind([leaf], **settings)
        optimizer.step()
        return leaf

    return call


def _module(kind: Callable[..., nn.Module]) -> Callable[..., None]:
    def call(**settings: Any) -> None:
        repr(kind(**settings))

    return call


def _flat(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [x for entry in value for x in _flat(entry)] if isinstance(value, (list, tuple)) else []


def _own(value: Any) -> Any:
    """A copy of an argument, so that calls do not see each other."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    return copy.deepcopy(value) if isinstance(value, nn.Module) else value


def _outcome(name: str, argument: str, call: Callable[[], Any], wanted: list[Tensor] | None) -> str:
    """``same``, ``result``, ``clear``, or what is wrong."""
    try:
        found = _flat(call())
    except (torch.OutOfMemoryError, _Impossible):
        return "clear"
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else ""
        if any(part in text for part in _OF_TORCH):
            return "clear"
        if not isinstance(error, (ValueError, TypeError)) and "inference_mode" not in text:
            return f"crashed: {type(error).__name__}: {text[:120]}"
        if not text.startswith(name.removeprefix("reference ")):
            return f"unclear: {type(error).__name__}: {text[:120]}"
        refusable = wanted is None or any(part in text for part in ("inference_mode", "no gradient flows"))
        return "clear" if refusable else f"refused: {text[:120]}"
    if wanted is None:
        return "result"
    for a, b in zip(found, wanted, strict=True):
        a, b = (torch.Tensor.as_subclass(x.detach(), Tensor) for x in (a, b))
        if a.shape != b.shape or a.dtype != b.dtype or not torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True):
            return "another value"
    return "same"


def attacks() -> Iterator[tuple[str, Callable[[], str]]]:
    """Every attack: what is done, and a function that does it and returns the outcome."""
    for name, function, arguments in calls():
        for surrounding, enter in SURROUNDINGS.items():

            def attack(name=name, function=function, arguments=arguments, enter=enter) -> str:
                wanted = _flat(function(**{key: _own(each) for key, each in arguments.items()}))
                own = {key: _own(each) for key, each in arguments.items()}
                with enter():
                    return _outcome(name, "", lambda: function(**own), wanted)

            yield f"{name} with {surrounding}", attack
        for argument, value in arguments.items():
            if isinstance(value, Tensor):
                for form, change in (*FORMS.items(), *WRONG.items()):

                    def attack(
                        name=name, function=function, arguments=arguments, argument=argument, form=form, change=change
                    ) -> str:
                        own = {key: _own(each) for key, each in arguments.items()}
                        wanted = _flat(function(**{key: _own(each) for key, each in arguments.items()}))
                        try:
                            changed = change(own[argument])
                        except Exception:
                            return "impossible"
                        call = lambda: function(**{**own, argument: changed})  # noqa: E731
                        return _outcome(name, argument, call, wanted if form in FORMS else None)

                    yield f"{name} {argument} = {form}", attack
            elif not callable(value) or argument == "critic":
                for setting in SETTINGS:

                    def attack(
                        name=name, function=function, arguments=arguments, argument=argument, setting=setting
                    ) -> str:
                        own = {key: _own(each) for key, each in arguments.items()}
                        return _outcome(name, argument, lambda: function(**{**own, argument: setting}), None)

                    yield f"{name} {argument} = {str(setting)[:40]!r}", attack


#: Settings of torch that must not change a result.
SURROUNDINGS: dict[str, Callable[[], Any]] = {
    "default dtype float64": lambda: _Default(dtype=torch.float64),
    "default dtype float16": lambda: _Default(dtype=torch.float16),
    "default device meta": lambda: _Default(device="meta"),
    "inference mode": torch.inference_mode,
    "deterministic algorithms": lambda: _Default(deterministic=True),
}


class _Default:
    """Other defaults of torch; a context manager."""

    def __init__(
        self, dtype: torch.dtype = torch.float32, device: str | None = None, deterministic: bool = False
    ) -> None:
        self.settings = dtype, device, deterministic

    def __enter__(self) -> None:
        self._set(*self.settings)

    def __exit__(self, *_: object) -> None:
        self._set(torch.float32, None, False)

    @staticmethod
    def _set(dtype: torch.dtype, device: str | None, deterministic: bool) -> None:
        torch.set_default_dtype(dtype)
        torch.set_default_device(device)
        torch.use_deterministic_algorithms(deterministic)


def attack(every: int = 1) -> tuple[Counter[str], list[str]]:
    """Every `every`-th attack: the counts by outcome, and the failures."""
    counts: Counter[str] = Counter()
    failures = []
    for text, run in list(attacks())[::every]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = run()
        kind = result.partition(":")[0]
        counts[kind] += 1
        if kind not in ("same", "result", "clear", "impossible"):
            failures.append(f"{text}: {result}")
    return counts, failures


def main() -> int:
    """Run the attacks and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one attack in N (default: 1, all)")
    options = parser.parse_args()
    counts, failures = attack(options.every)
    for line in failures:
        print(line)
    print(f"{sum(counts.values())} calls: {', '.join(f'{number} {name}' for name, number in sorted(counts.items()))}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
