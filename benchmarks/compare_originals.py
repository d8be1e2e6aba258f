"""The drop-in operations beside the plain PyTorch code that they replace, from checkouts in a folder.

    python benchmarks/compare_originals.py FOLDER

FOLDER holds any of these checkouts, under these names: ``stylegan2-ada-pytorch``, ``stylegan3``, ``stylegan2-pytorch``
(rosinality), ``BasicSR``, ``BigVGAN``. Each original runs in its plain PyTorch form, on the CPU; its compiled form is
not built. The table has the largest difference, over settings, of values, gradients and second derivatives in float64,
relative to the largest number. Nothing of the checkouts is changed.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch.utils import cpp_extension

from ganops.compat import basicsr, bigvgan, rosinality, stylegan

ROOMS = ("torch_utils", "dnnlib", "op", "basicsr", "alias_free_activation")


def fresh(folder: Path, name: str) -> ModuleType:
    """Imports a module of a checkout; what another one left under the same names is forgotten."""
    for known in [module for module in sys.modules if module.partition(".")[0] in ROOMS]:
        del sys.modules[known]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def alone(folder: Path, path: str) -> ModuleType:
    """Imports one file of a checkout without its package."""
    specification = importlib.util.spec_from_file_location(Path(path).stem, folder / path)
    if specification is None or specification.loader is None:
        raise FileNotFoundError(folder / path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def derivatives(function: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """The value, the gradients, and the gradients of their squares."""
    leaves = [t.clone().requires_grad_() for t in tensors]
    value = function(*leaves)
    weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
    first = torch.autograd.grad((value * weights).sum(), leaves, create_graph=True)
    total = sum(g.square().sum() for g in first)
    second = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else []
    return [value, *first, *(g for g in second if g is not None)]


def difference(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], tensors: list[Tensor], **given: object
) -> float:
    """The largest difference relative to the largest number of each result."""
    found, wanted = (derivatives(functools.partial(function, **given), tensors) for function in (ours, theirs))
    if len(found) != len(wanted):  # a second derivative that is zero to one side is absent on the other
        found, wanted = found[: 1 + len(tensors)], wanted[: 1 + len(tensors)]
    return max(
        ((a - b).abs().max() / b.abs().max().clamp(min=1e-12)).item() for a, b in zip(found, wanted, strict=True)
    )


IMAGES = torch.randn(2, 3, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
BIAS = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def of_stylegan(folder: Path) -> Iterator[tuple[str, float]]:
    """torch_utils/ops of StyleGAN2-ADA and StyleGAN3."""
    theirs = fresh(folder, "torch_utils.ops.upfirdn2d")
    # Gains are such that the originals scale their float32 filters without rounding.
    worst = dict.fromkeys(("upfirdn2d", "filter2d", "upsample2d", "downsample2d"), 0.0)
    for taps, flip in itertools.product(([1, 3, 3, 1], [1, 2, 1], list(range(1, 13)), [[1, 2], [0, 3]]), (False, True)):
        f, g = theirs.setup_filter(taps), stylegan.upfirdn2d.setup_filter(taps)
        if not torch.equal(f, g):
            raise AssertionError(f"setup_filter({taps}) differs")
        for up, down, padding in itertools.product((1, 2, (2, 3)), (1, 2, (3, 1)), (11, (12, 11), (11, 12, 13, 14))):
            found = difference(
                lambda x, **given: stylegan.upfirdn2d.upfirdn2d(x, gain=4, **given),
                lambda x, **given: theirs.upfirdn2d(x, gain=4, impl="ref", **given),
                [IMAGES],
                f=f, up=up, down=down, padding=padding, flip_filter=flip,
            )  # fmt: skip
            worst["upfirdn2d"] = max(worst["upfirdn2d"], found)
        for name in ("filter2d", "upsample2d", "downsample2d"):
            ours, original = getattr(stylegan.upfirdn2d, name), functools.partial(getattr(theirs, name), impl="ref")
            found = difference(ours, original, [IMAGES], f=f, padding=4, flip_filter=flip, gain=0.25)
            worst[name] = max(worst[name], found)
    yield from worst.items()
    theirs = fresh(folder, "torch_utils.ops.bias_act")
    for act, entry in theirs.activation_funcs.items():
        ours = stylegan.bias_act.activation_funcs[act]
        if (ours.def_gain, ours.def_alpha) != (entry.def_gain, entry.def_alpha or 0):
            raise AssertionError(f"the defaults of {act} differ")
        original = functools.partial(theirs.bias_act, impl="ref")
        yield (
            f"bias_act {act}",
            max(
                difference(stylegan.bias_act.bias_act, original, [IMAGES, BIAS], act=act, gain=gain, clamp=clamp)
                for gain, clamp in itertools.product((None, 0.5), (None, 0.8))
            ),
        )


def of_stylegan3(folder: Path) -> Iterator[tuple[str, float]]:
    """The same, and filtered_lrelu."""
    yield from of_stylegan(folder)
    theirs = fresh(folder, "torch_utils.ops.filtered_lrelu")
    original = functools.partial(theirs.filtered_lrelu, impl="ref")
    worst = 0.0
    for taps, (up, down), clamp, flip in itertools.product(
        ([1, 3, 3, 1], list(range(1, 13))), ((2, 2), (1, 2), (4, 2), (2, 1)), (None, 0.5), (False, True)
    ):
        f = stylegan.upfirdn2d.setup_filter(taps, separable=True)
        given = {"fu": f, "fd": f, "up": up, "down": down, "padding": (14, 13, 12, 15), "clamp": clamp}
        functions = (
            functools.partial(function, flip_filter=flip, **given)
            for function in (stylegan.filtered_lrelu.filtered_lrelu, original)
        )
        ours, plain = (lambda x, b, function=function: function(x, b=b) for function in functions)
        worst = max(worst, difference(ours, plain, [IMAGES, BIAS]))
    yield "filtered_lrelu", worst


def of_bigvgan(folder: Path) -> Iterator[tuple[str, float]]:
    """alias_free_activation.torch.act.Activation1d with each of activations.py."""
    activation = fresh(folder, "alias_free_activation.torch.act").Activation1d
    theirs = alone(folder, "activations.py")
    signals = torch.randn(2, 4, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    numbers = [0.5 + torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in (3, 4)]
    for name, logscale in itertools.product(("Snake", "SnakeBeta"), (False, True)):
        built = getattr(theirs, name)(4, alpha_logscale=logscale)
        modules = [make(built).double() for make in (bigvgan.Activation1d, activation)]
        modules[0].load_state_dict(modules[1].state_dict())  # filters are computed in float32, each side in its order
        used = numbers[: len(list(built.parameters()))]

        def run(module: torch.nn.Module, x: Tensor, *parameters: Tensor) -> Tensor:
            named = dict(zip(("act.alpha", "act.beta"), parameters, strict=False))
            return torch.func.functional_call(module, named, (x,))

        value = difference(*(functools.partial(run, module) for module in modules), [signals, *used])
        yield f"Activation1d, {name}{', logscale' if logscale else ''}", value


def of_two_functions(
    upfirdn2d: Callable[..., Tensor], leaky: Callable[..., Tensor], ours: ModuleType
) -> Iterator[tuple[str, float]]:
    """upfirdn2d(input, kernel, up, down, pad) and fused_leaky_relu(input, bias)."""
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64).outer(torch.tensor([1.0, 2.0, 0.5]).double())
    yield (
        "upfirdn2d",
        max(
            difference(ours.upfirdn2d, upfirdn2d, [IMAGES], kernel=kernel, up=up, down=down, pad=pad)
            for up, down, pad in itertools.product((1, 2), (1, 2), ((2, 1), (3, -1), (4, 4)))
        ),
    )
    yield "fused_leaky_relu", difference(ours.fused_leaky_relu, leaky, [IMAGES, BIAS])


def of_rosinality(folder: Path) -> Iterator[tuple[str, float]]:
    """op/: on the CPU its functions run their plain form."""
    op = fresh(folder, "op")
    yield from of_two_functions(op.upfirdn2d, op.fused_leaky_relu, rosinality)


def of_basicsr(folder: Path) -> Iterator[tuple[str, float]]:
    """basicsr/ops: upfirdn2d runs its plain form on the CPU; fused_leaky_relu has none, its formula stands for it."""
    module = alone(folder, "basicsr/ops/upfirdn2d/upfirdn2d.py")

    def leaky(x: Tensor, b: Tensor) -> Tensor:
        return 2**0.5 * torch.nn.functional.leaky_relu(x + b[:, None, None], 0.2)

    yield from of_two_functions(module.upfirdn2d, leaky, basicsr)


CHECKOUTS: dict[str, Callable[[Path], Iterator[tuple[str, float]]]] = {
    "stylegan2-ada-pytorch": of_stylegan,
    "stylegan3": of_stylegan3,
    "stylegan2-pytorch": of_rosinality,
    "BasicSR": of_basicsr,
    "BigVGAN": of_bigvgan,
}


def main() -> int:
    """Prints the table; returns 1 if a difference is above 1e-12, or if no checkout was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    cpp_extension.load = lambda *_, **__: None  # theirs compile when they are imported
    found = {name: of for name, of in CHECKOUTS.items() if (folder / name).is_dir()}
    if not found:
        print(f"{folder} has none of {', '.join(CHECKOUTS)}", file=sys.stderr)
        return 1
    largest = 0.0
    print("| repository | function | largest relative difference |\n|---|---|---:|")
    for name, of in found.items():
        for function, value in of(folder / name):
            largest = max(largest, value)
            print(f"| {name} | {function} | {value:.1e} |", flush=True)
    return 1 if largest > 1e-12 else 0


if __name__ == "__main__":
    raise SystemExit(main())
