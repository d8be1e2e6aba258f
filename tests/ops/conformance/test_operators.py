"""torch.library.opcheck over every operator that the library registers: schema, fake tensors, autograd, dispatch."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.library import opcheck
from torch.utils._pytree import tree_leaves, tree_map_only

import ganops
from ganops import _library
from ganops._common.dtypes import accumulate_dtype
from ganops.ops._loss_formulas import NUMBERS as _NUMBERS

from .layouts import LAYOUTS, OVERLAPPING, SHAPE
from .table import DTYPES, augmentation_of, group_of, images_of

pytestmark = pytest.mark.skipif(not _library.loaded(), reason="no compiled library defines the operators")

KIND = _NUMBERS.get("least_squares", 0)  # a parameter, and a second derivative
PAIRED = _NUMBERS.get("relativistic", 0)
REAL, FAKE, GENERATOR = 0, 1, 2
MEAN, SUM, NONE = 0, 1, 2


def _number(x: Tensor) -> Tensor:
    return torch.full((), 0.5, dtype=x.dtype, device=x.device)


def _vector(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return torch.linspace(0, 1, len(x), dtype=dtype or x.dtype, device=x.device)


def _norm(x: Tensor) -> Tensor:
    return x.to(accumulate_dtype(x.dtype)).flatten(1).norm(dim=1)


def _weight(x: Tensor) -> Tensor:
    return _vector(x, accumulate_dtype(x.dtype))


def _augmentation(x: Tensor) -> Tensor:
    return augmentation_of(x).to(accumulate_dtype(x.dtype))


def _lists(x: Tensor, *kept: bool, on_host: bool = False) -> list[list[Tensor]]:
    """Weights, gradients, three kinds of state, where they are kept, and steps, of an optimiser."""

    def like(scale: float) -> list[Tensor]:
        return [t.mul(scale) for t in (x, x.flatten()[:2], x.new_empty(0))]

    steps = [torch.full((), float(i), device="cpu" if on_host else x.device) for i in range(3)]
    return [like(1.0), like(2.0), *([t.square() for t in like(0.5)] if keep else [] for keep in kept), steps]


def _on_device(x: Tensor) -> tuple[bool, Tensor, Tensor, Tensor]:
    return True, *(torch.full((), value, device=x.device) for value in (0.1, 4.0, 0.0))


def _scales(x: Tensor) -> list[Tensor]:
    """The outputs of four discriminators, or of two for real and fake samples: in the layout of x, and few or none."""
    return [x, x.flatten()[:3] * 2, x * 3, x.flatten()]


def _numbers(x: Tensor, count: int) -> Tensor:
    return torch.arange(1, count + 1, dtype=x.dtype, device=x.device)


def _points(x: Tensor) -> Tensor:
    return (x.flatten(1).t() if x.dim() > 1 else x[None])[None]


def _tangents(x: Tensor, count: int) -> Tensor:
    return _points(x).flip(2).expand(count, *_points(x).shape)


def _features(x: Tensor) -> tuple[Tensor, int]:
    return x if x.dim() > 1 else x[:, None], group_of(len(x))


def _extended(x: Tensor) -> Tensor:
    """The gradient of what has one channel more, in the layout of x."""
    return ganops.reference.minibatch_stddev(*_features(x)) * 2


def _pairs(x: Tensor, last: int = 3) -> tuple[list[Tensor], list[Tensor]]:
    """Real and fake features: those in the layout of x, all of them once more, and a few or none."""
    return [x, x.flatten(), x.flatten()[:last] * 2], [x * 3, x.flatten() + 1, x.flatten()[:last]]


def _matched(x: Tensor, reduction: int, normalize: bool, *wanted: bool) -> tuple:
    """The arguments of the backward pass of an l1 distance."""
    real, fake = _pairs(x)
    loss, signs, scales = torch.ops.ganops.feature_matching_loss(real, fake, 0, normalize, reduction, False, True)
    shapes = [(y.shape, torch.empty_like(y).stride()) for y in fake]
    sizes, strides = ([n for shape in shapes for n in shape[i]] for i in (0, 1))
    dims = [y.dim() for y in fake]
    return (
        loss.nan_to_num(0.5),
        signs,
        scales.nan_to_num(1.0),
        x.new_empty(0),
        sizes,
        strides,
        dims,
        normalize,
        reduction,
        *wanted,
    )


def _taps(x: Tensor) -> Tensor:
    return torch.tensor([1.0, 3.0, 2.0, 0.5], dtype=accumulate_dtype(x.dtype), device=x.device)


def _snake(x: Tensor, ratio: int, up: int, down: int) -> tuple:
    """Signals in an order of memory that comes from x, the parameters of their channels, and filters of some taps."""
    signals = images_of(_features(x)[0]).flatten(1, 2)
    taps = torch.linspace(-0.2, 0.7, 12, dtype=accumulate_dtype(x.dtype), device=x.device)
    alpha = torch.linspace(0.5, 1.5, signals.shape[1], dtype=taps.dtype, device=x.device)
    return signals, alpha, alpha + 0.5, taps[:up], taps[:down], ratio


def _lrelu(x: Tensor, form: str, *settings: object) -> tuple:
    """Images in the layout of x, before them what the form takes, behind them the bias, filters and settings."""
    images = images_of(_features(x)[0])
    taps = torch.linspace(-0.2, 0.7, 12, dtype=accumulate_dtype(x.dtype), device=x.device)
    b = torch.linspace(-0.5, 0.5, images.shape[1], dtype=taps.dtype, device=x.device)
    given = images, b, taps, taps[:5].contiguous(), *settings
    if form == "slope":
        return images + 1, b + 1, *given
    return (torch.ops.ganops.filtered_lrelu(*given) * 2, *given) if form == "backward" else given


_LRELUS = ((2, 2, [12, 11, 10, 9], 1.4, 0.2, 0.5, False), (1, 3, [13, 8, 12, 9], 0.7, -0.3, -1.0, True))


def _snake_tangents(x: Tensor, *arguments: int) -> tuple:
    signals, alpha, *others = _snake(x, *arguments)
    return signals + 1, alpha - 1, alpha + 2, signals * 2, signals, alpha, *others


# From a tensor of samples or logits to the arguments of each operator, at each reduction where there is one.
ARGUMENTS = {
    "adversarial_loss": [
        *(lambda x, r=r: (x, KIND, FAKE, r, 0.25) for r in (MEAN, SUM, NONE)),
        lambda x: (x, KIND, GENERATOR, MEAN, 1.0),
    ],
    "adversarial_loss_backward": [
        lambda x: (_number(x), x, KIND, GENERATOR, MEAN, 0.25),
        lambda x: (_number(x), x, KIND, GENERATOR, SUM, 0.25),
        lambda x: (x * 2, x, KIND, REAL, NONE, 0.25),
        lambda x: (_number(x).expand(x.shape), x, KIND, REAL, NONE, 0.25),
    ],
    "adversarial_loss_double_backward": [
        lambda x: (x + 1, _number(x), x, KIND, REAL, MEAN, 0.25),
        lambda x: (x + 1, _number(x), x, KIND, REAL, SUM, 0.25),
        lambda x: (x + 1, x * 2, x, KIND, FAKE, NONE, 0.25),
    ],
    "discriminator_loss": [lambda x, r=r: (x, x[:1] * 2, KIND, r, 1.0, 0.0) for r in (MEAN, SUM)],
    "discriminator_loss_backward": [lambda x, r=r: (_number(x), x, x[:1] * 2, KIND, r, 1.0, 0.0) for r in (MEAN, SUM)],
    "discriminator_loss_double_backward": [
        lambda x, r=r: (x + 1, x[:1] + 2, _number(x), x, x[:1] * 2, KIND, r, 1.0, 0.0) for r in (MEAN, SUM)
    ],
    "paired_loss": [lambda x, r=r: (x, x.flip(0), PAIRED, REAL, r, 0.0) for r in (MEAN, SUM, NONE)],
    "paired_loss_backward": [
        lambda x: (_number(x), x, x.flip(0), PAIRED, REAL, MEAN, 0.0),
        lambda x: (x * 2, x, x.flip(0), PAIRED, GENERATOR, NONE, 0.0),
    ],
    "paired_loss_double_backward": [
        lambda x: (x + 1, x + 2, _number(x), x, x.flip(0), PAIRED, REAL, SUM, 0.0),
        lambda x: (x + 1, x + 2, x * 2, x, x.flip(0), PAIRED, GENERATOR, NONE, 0.0),
    ],
    "adversarial_losses": [
        lambda x: (_scales(x), [], KIND, [REAL, FAKE], MEAN, 0, [1.0, 0.0], True),
        lambda x: (_scales(x), [], KIND, [GENERATOR], SUM, 1, [1.0], False),
        lambda x: (_scales(x), [], KIND, [REAL, FAKE], MEAN, 2, [1.0, 0.0], True),
        lambda x: (_scales(x), [], KIND, [FAKE], NONE, 2, [0.25], False),
        lambda x: (_scales(x), _scales(x.flip(0)), PAIRED, [REAL], MEAN, 2, [0.0], False),
    ],
    "adversarial_losses_backward": [
        lambda x: ([_number(x), _number(x)], [0, 2], _scales(x), [], KIND, [REAL, FAKE], MEAN, 0, [1.0, 0.0]),
        lambda x: ([_numbers(x, 4)], [0], _scales(x), [], KIND, [GENERATOR], SUM, 2, [1.0]),
        lambda x: ([y * 2 for y in _scales(x)], [], _scales(x), [], KIND, [FAKE], NONE, 2, [0.25]),
        lambda x: ([_number(x)], [1], _scales(x), _scales(x.flip(0)), PAIRED, [REAL], MEAN, 1, [0.0]),
    ],
    "adversarial_losses_double_backward": [
        lambda x: (
            *(_scales(x + 1), [_numbers(x, 2), _numbers(x, 2)], [1, 0], _scales(x), []),
            *(KIND, [REAL, FAKE], MEAN, 2, [1.0, 0.0]),
        ),
        lambda x: (_scales(x + 1), _scales(x * 2), [], _scales(x), [], KIND, [FAKE], NONE, 2, [0.25]),
        lambda x: (
            *(_scales(x + 1) * 2, [_number(x)], [0], _scales(x), _scales(x.flip(0))),
            *(PAIRED, [REAL], MEAN, 1, [0.0]),
        ),
    ],
    "interpolate": [lambda x: (x, x * 2, _weight(x))],
    "interpolate_backward": [
        lambda x, real=real, fake=fake: (x, _weight(x), real, fake)
        for real, fake in ((True, True), (True, False), (False, True))
    ],
    "interpolate_weight_backward": [lambda x: (x, x * 2, x + 1)],
    "gradient_norm_penalty": [
        lambda x, r=r, one_sided=one_sided: (x, 1.0, one_sided, r)
        for r in (MEAN, SUM, NONE)
        for one_sided in (False, True)
    ],
    "gradient_norm_penalty_backward": [
        lambda x: (_number(x), x, _norm(x), 1.0, False, MEAN),
        lambda x: (_vector(x), x, _norm(x), 1.0, True, NONE),
    ],
    "gradient_norm_penalty_double_backward": [
        lambda x: (x + 1, _number(x), x, _norm(x), 1.0, False, MEAN),
        lambda x: (x + 1, _vector(x), x, _norm(x), 0.0, False, NONE),
    ],
    "diff_augment": [
        lambda x, policy=policy, form=form: (images_of(x), _augmentation(x), policy, form)
        for policy, form in ((7, 0), (1, 1), (7, 2), (6, 2))
    ],
    "minibatch_discrimination": [lambda x: (_points(x),), lambda x: (_points(x), _tangents(x, 2))],
    "minibatch_discrimination_backward": [
        lambda x: (_vector(x)[:, None], _points(x)),
        lambda x: (_vector(x)[:, None], _points(x), _tangents(x, 1)),
    ],
    "minibatch_discrimination_double_backward": [lambda x: (_vector(x)[:, None], _points(x), _tangents(x, 1))],
    "minibatch_stddev": [lambda x: _features(x)],
    "minibatch_stddev_backward": [lambda x: (_extended(x), *_features(x))],
    "minibatch_stddev_double_backward": [lambda x: (_features(x)[0] + 1, _extended(x), *_features(x))],
    "feature_matching_loss": [
        lambda x: (*_pairs(x, 0), 0, False, 0, False, True),
        lambda x: (*_pairs(x), 0, True, 1, True, False),
        lambda x: (*_pairs(x), 1, True, 2, False, True),
    ],
    "feature_matching_loss_l1_backward": [
        lambda x: _matched(x, 0, False, True, True),
        lambda x: _matched(x, 1, True, False, True),
        lambda x: _matched(x, 2, True, True, False),
    ],
    "feature_matching_loss_l2_backward": [
        lambda x: (_number(x), *_pairs(x), x.new_empty(0), False, 0, True, True),
        lambda x: (x.new_ones(3), *_pairs(x), x.new_ones(3, dtype=accumulate_dtype(x.dtype)), True, 2, False, True),
    ],
    "upfirdn": [
        lambda x: (images_of(_features(x)[0]), _taps(x), [2, 1], [1, 3], [3, 4, 5, 3], False, 0.5),
        lambda x: (images_of(_features(x)[0]), _taps(x).outer(_taps(x)), [1, 1], [2, 2], [3, 4, 5, 3], True, 1.0),
        lambda x: (images_of(_features(x)[0]).flatten(1, 2), _taps(x), [2], [3], [4, 4], False, 1.0),
    ],
    "filtered_snake": [lambda x: _snake(x, 2, 12, 12), lambda x: _snake(x, 3, 5, 4)],
    "filtered_snake_backward": [
        lambda x: (_snake(x, 2, 12, 12)[0] * 2, *_snake(x, 2, 12, 12)),
        lambda x: (_snake(x, 3, 5, 4)[0] * 2, *_snake(x, 3, 5, 4)),
    ],
    "filtered_snake_double_backward": [
        lambda x: _snake_tangents(x, 2, 12, 12),
        lambda x: _snake_tangents(x, 3, 5, 4),
    ],
    **{
        f"filtered_lrelu{suffix}": [lambda x, form=suffix[1:], s=s: _lrelu(x, form, *s) for s in _LRELUS]
        for suffix in ("", "_slope", "_backward")
    },
    "clip_weights_": [lambda x: ([x.clone(), x[0].clone(), x.new_empty(0)], 0.5)],
    "adam_": [
        lambda x: (*_lists(x, True, True, True, on_host=True), 0.1, 0.5, 0.9, 1e-8, 0.1, True, True, None, False),
        lambda x: (*_lists(x, True, True, False), 0.1, 0.5, 0.9, 1e-8, 0.1, False, False, 0.5, *_on_device(x)),
    ],
    "rmsprop_": [
        lambda x: (*_lists(x, True, True, True, on_host=True), 0.1, 0.9, 1e-8, 0.1, 0.5, True, None, False),
        lambda x: (*_lists(x, True, False, False), 0.1, 0.9, 1e-8, 0.0, 0.0, False, 0.5, *_on_device(x)),
    ],
}


def _operator(name: str) -> torch._ops.OpOverload:
    return getattr(torch.ops.ganops, name).default


def _registered() -> set[str]:
    names = torch._C._dispatch_get_all_op_names()
    return {name.removeprefix("ganops::") for name in names if name.startswith("ganops::")}


def test_the_table_names_every_operator():
    assert _registered() == set(ARGUMENTS)


# The autograd registration that opcheck knows is one in the dispatcher; ours are autograd Functions in Python above the
# operators. What remains of that test is that no operator pretends to be differentiable by itself.
UTILITIES = ("test_schema", "test_autograd_registration", "test_faketensor")
CHOICES = [
    pytest.param(name, make, id=f"{name}-{i}") for name, several in ARGUMENTS.items() for i, make in enumerate(several)
]


def _samples(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.randn(SHAPE, dtype=torch.float64).to(device, dtype)


@pytest.mark.parametrize(("name", "make"), CHOICES)
def test_settings(name, make, device):
    opcheck(_operator(name), make(_samples(torch.float32, device)), test_utils=UTILITIES)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_dtypes(name, device):
    for dtype in DTYPES:
        opcheck(_operator(name), ARGUMENTS[name][0](_samples(dtype, device)), test_utils=UTILITIES)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_layouts(name, device):
    for layout in ("channels_last", "transposed", "every_second_column", "first_channel", *OVERLAPPING):
        if name == "clip_weights_" and layout in OVERLAPPING:
            continue  # overlapping memory is not written to
        arguments = ARGUMENTS[name][0](LAYOUTS[layout](_samples(torch.float32, device)))
        opcheck(_operator(name), arguments, test_utils=UTILITIES)


SHAPES = [(0, 3), (3, 0), (1,), (5,), (1, 4, 1, 3), (4, 1), (2, 1, 1, 2, 2)]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_shapes(name, device):
    for shape in SHAPES:
        x = torch.randn(shape, device=device)
        if "norm_penalty_" in name and len(shape) == 1:
            x = x[:, None]
        if name == "clip_weights_" and not shape[0]:
            continue  # has no first sample
        opcheck(_operator(name), ARGUMENTS[name][-1](x), test_utils=UTILITIES)


@pytest.mark.compile
@pytest.mark.parametrize("name", ARGUMENTS)
def test_ahead_of_time_dispatch(name, device):
    opcheck(
        _operator(name),
        ARGUMENTS[name][-1](_samples(torch.float32, device)),
        test_utils=("test_aot_dispatch_dynamic",),
    )


def _step(
    x: Tensor,
    weights: list[Tensor] | None = None,
    gradients: list[Tensor] | None = None,
    squares: list[Tensor] | None = None,
    steps: list[Tensor] | None = None,
) -> tuple:
    lists = (weights or [x], gradients or [x + 1], squares or [x * x], [], [], steps or [_number(x).cpu()])
    return *lists, 0.1, 0.9, 1e-8, 0.0, 0.0, False, 0.5, False


def _signs(x: Tensor, **other: object) -> tuple:
    """The arguments of an l1 backward pass of one pair of features like ``x``, some of them wrong."""
    given: dict = {
        "grad": _number(x),
        "signs": x.new_zeros(1024, dtype=torch.uint8),
        "scales": x.new_empty(0),
        "like": x.new_empty(0),
        "sizes": list(x.shape),
        "strides": list(x.stride()),
        "dims": [x.dim()],
    }
    return *(given | other).values(), False, 0, True, True


# The operators check what memory safety needs, whoever calls them.
def _bad(x: Tensor) -> dict[str, tuple[str, tuple]]:
    whole, half = _number(x), x[: len(x) // 2]
    return {
        "kind": ("adversarial_loss", (x, len(_NUMBERS), REAL, MEAN, 0.0)),
        "negative kind": ("adversarial_loss", (x, -1, REAL, MEAN, 0.0)),
        "role": ("adversarial_loss", (x, KIND, 3, MEAN, 0.0)),
        "negative role": ("paired_loss", (x, x, PAIRED, -1, MEAN, 0.0)),
        "reduction of a loss": ("paired_loss", (x, x, PAIRED, REAL, 3, 0.0)),
        "negative reduction": ("adversarial_loss", (x, KIND, REAL, -1, 0.0)),
        "D's loss unreduced": ("discriminator_loss", (x, x, KIND, NONE, 0.0, 0.0)),
        "D's loss of pairs": ("discriminator_loss", (x, x, PAIRED, MEAN, 0.0, 0.0)),
        "pairs of two shapes": ("paired_loss", (x, half, PAIRED, REAL, MEAN, 0.0)),
        "reduction": ("gradient_norm_penalty", (x, 1.0, False, 3)),
        "dtype": ("interpolate", (x, x.half(), _weight(x))),
        "shape": ("interpolate", (x, half, _weight(x))),
        "weight": ("interpolate", (x, x, _weight(half))),
        "weight's dtype": ("interpolate", (x, x, _weight(x).half())),
        "logits of another dtype": ("discriminator_loss", (x, x.double(), KIND, MEAN, 0.0, 0.0)),
        "integer": ("adversarial_loss", (x.int(), KIND, REAL, MEAN, 0.0)),
        "grad's dtype": ("adversarial_loss_backward", (whole.half(), x, KIND, REAL, MEAN, 0.0)),
        "grad's size": ("adversarial_loss_backward", (half, x, KIND, REAL, MEAN, 0.0)),
        "empty grad": ("adversarial_loss_backward", (x[:0], x, KIND, REAL, MEAN, 0.0)),
        "grad's size, none": ("adversarial_loss_backward", (half, x, KIND, REAL, NONE, 0.0)),
        "grad of D": ("discriminator_loss_backward", (x[:0], x, x, KIND, MEAN, 0.0, 0.0)),
        "second grad of D": ("discriminator_loss_double_backward", (x, x, x[:0], x, x, KIND, MEAN, 0.0, 0.0)),
        "grad of pairs": ("paired_loss_backward", (half, x, x, PAIRED, REAL, NONE, 0.0)),
        "tangent of pairs": ("paired_loss_double_backward", (x, half, whole, x, x, PAIRED, REAL, MEAN, 0.0)),
        "an odd list": ("adversarial_losses", ([x], [], KIND, [REAL, FAKE], MEAN, 0, [0.0, 0.0], False)),
        "an empty list": ("adversarial_losses", ([], [], KIND, [REAL], MEAN, 0, [0.0], False)),
        "partners too few": ("adversarial_losses", ([x, x], [x], PAIRED, [REAL], MEAN, 0, [0.0], False)),
        "partner's shape": ("adversarial_losses", ([x], [half], PAIRED, [REAL], MEAN, 0, [0.0], False)),
        "mixed list": ("adversarial_losses", ([x, x.double()], [], KIND, [REAL], MEAN, 0, [0.0], False)),
        "scale reduction": ("adversarial_losses", ([x], [], KIND, [REAL], MEAN, 3, [0.0], False)),
        "parameters too few": ("adversarial_losses", ([x, x], [], KIND, [REAL, FAKE], MEAN, 0, [0.0], False)),
        "view": ("adversarial_losses_backward", ([whole], [2], [x], [], KIND, [REAL], MEAN, 0, [0.0])),
        "view twice": ("adversarial_losses_backward", ([whole, whole], [0, 0], [x], [], KIND, [REAL], MEAN, 0, [0.0])),
        "grad of a list": ("adversarial_losses_backward", ([whole], [0], [x, x], [], KIND, [REAL], MEAN, 2, [0.0])),
        "grads of a list": ("adversarial_losses_backward", ([half], [], [x], [], KIND, [REAL], NONE, 2, [0.0])),
        "tangents of a list": (
            "adversarial_losses_double_backward",
            ([half], [whole], [0], [x], [], KIND, [REAL], MEAN, 0, [0.0]),
        ),
        "second grad": ("adversarial_loss_double_backward", (x, x[:0], x, KIND, REAL, MEAN, 0.0)),
        "tangent": ("adversarial_loss_double_backward", (half, whole, x, KIND, REAL, MEAN, 0.0)),
        "tangent's dtype": ("gradient_norm_penalty_double_backward", (x.half(), whole, x, _norm(x), 1.0, False, MEAN)),
        "penalty's grad": ("gradient_norm_penalty_backward", (_vector(half), x, _norm(x), 1.0, False, NONE)),
        "norms": ("gradient_norm_penalty_backward", (whole, x, _norm(half), 1.0, False, MEAN)),
        "norms' dtype": ("gradient_norm_penalty_backward", (whole, x, _norm(x).double(), 1.0, False, MEAN)),
        "scalar batch": ("gradient_norm_penalty", (whole, 1.0, False, MEAN)),
        "weight's gradient": ("interpolate_weight_backward", (x, half, x)),
        "not images": ("diff_augment", (x, _augmentation(x), 7, 0)),
        "policy": ("diff_augment", (images_of(x), _augmentation(x), 8, 0)),
        "form": ("diff_augment", (images_of(x), _augmentation(x), 7, 3)),
        "parameters of too few": ("diff_augment", (images_of(x), _augmentation(half), 7, 0)),
        "too few parameters": ("diff_augment", (images_of(x), _augmentation(x)[:, :6].contiguous(), 7, 0)),
        "parameters' dtype": ("diff_augment", (images_of(x), _augmentation(x).double(), 7, 0)),
        "points": ("minibatch_discrimination", (x,)),
        "tangents": ("minibatch_discrimination", (_points(x), _tangents(half, 1))),
        "tangents' dtype": ("minibatch_discrimination", (_points(x), _tangents(x, 1).half())),
        "grad of closeness": ("minibatch_discrimination_backward", (x, _points(x))),
        "groups": ("minibatch_stddev", (x, 3)),
        "no channels": ("minibatch_stddev", (x[:, 0], 2)),
        "grad of one channel less": ("minibatch_stddev_backward", (x, x, 2)),
        "grad's dtype, extended": ("minibatch_stddev_backward", (_extended(x).half(), x, 2)),
        "tangent's shape": ("minibatch_stddev_double_backward", (half, _extended(x), x, 2)),
        "no features": ("feature_matching_loss", ([], [], 0, False, 0, False, True)),
        "features without partners": ("feature_matching_loss", ([x], [x, x], 0, False, 0, False, True)),
        "features of two shapes": ("feature_matching_loss", ([x], [half], 0, False, 0, False, True)),
        "features of two dtypes": ("feature_matching_loss", ([x, x.half()], [x, x.half()], 0, False, 0, False, True)),
        "distance": ("feature_matching_loss", ([x], [x], 2, False, 0, False, True)),
        "scale_reduction": ("feature_matching_loss", ([x], [x], 0, False, 3, False, True)),
        "loss's gradient": ("feature_matching_loss_l2_backward", (x, [x], [x], x, False, 0, True, True)),
        "scales": ("feature_matching_loss_l2_backward", (whole, [x], [x], x[0], True, 0, True, True)),
        "signs": ("feature_matching_loss_l1_backward", _signs(x, signs=x.new_empty(9, dtype=torch.uint8))),
        "strides that overlap": ("feature_matching_loss_l1_backward", _signs(x, strides=[0, 1])),
        "sizes": ("feature_matching_loss_l1_backward", _signs(x, sizes=[4, 3, 2])),
        "dimensions": ("feature_matching_loss_l1_backward", _signs(x, dims=[3])),
        "filter's dtype": ("upfirdn", (images_of(x), _taps(x).double(), [1, 1], [1, 1], [9] * 4, False, 1.0)),
        "filter's shape": ("upfirdn", (images_of(x), _taps(x)[None, None], [1, 1], [1, 1], [9] * 4, False, 1.0)),
        "filter too long": ("upfirdn", (images_of(x), _taps(x), [1, 1], [1, 1], [0] * 4, False, 1.0)),
        "factor": ("upfirdn", (images_of(x), _taps(x), [1, 0], [1, 1], [9] * 4, False, 1.0)),
        "axes": ("upfirdn", (images_of(x), _taps(x), [1], [1], [9] * 4, False, 1.0)),
        "not signals": ("filtered_snake", (x, *_snake(x, 2, 12, 12)[1:])),
        "ratio": ("filtered_snake", _snake(x, 9, 12, 12)),
        "filter of no taps": ("filtered_snake", _snake(x, 2, 0, 12)),
        "alpha's length": ("filtered_snake", (_snake(x, 2, 12, 12)[0], *_snake(x[:, :1], 2, 12, 12)[1:])),
        "alpha's dtype": ("filtered_snake", (_snake(x.double(), 2, 12, 12)[0], *_snake(x, 2, 12, 12)[1:])),
        "snake's grad": ("filtered_snake_backward", (x, *_snake(x, 2, 12, 12))),
        "snake's tangent": ("filtered_snake_double_backward", (half, *_snake_tangents(x, 2, 12, 12)[1:])),
        "not images to rise": ("filtered_lrelu", (x, *_lrelu(x, "", *_LRELUS[0])[1:])),
        "bias's length": ("filtered_lrelu", (images_of(x), x[0, :2], *_lrelu(x, "", *_LRELUS[0])[2:])),
        "filters too long": ("filtered_lrelu", _lrelu(x, "", 2, 2, [0] * 4, 1.0, 0.2, -1.0, False)),
        "five times": ("filtered_lrelu", _lrelu(x, "", 5, 2, [12] * 4, 1.0, 0.2, -1.0, False)),
        "direction's shape": ("filtered_lrelu_slope", (half, *_lrelu(x, "slope", *_LRELUS[0])[1:])),
        "lrelu's grad": ("filtered_lrelu_backward", (images_of(x), *_lrelu(x, "", *_LRELUS[1]))),
        "gaps": ("clip_weights_", ([x[:, ::2]], 0.5)),
        "mixed dtypes": ("clip_weights_", ([x.clone(), x.half()], 0.5)),
        "gradient's dtype": ("rmsprop_", _step(x, gradients=[x.half()])),
        "gradient's shape": ("rmsprop_", _step(x, gradients=[half])),
        "state's dtype": ("rmsprop_", _step(x, squares=[x.double()])),
        "state's length": ("rmsprop_", _step(x, squares=[x.clone(), x.clone()])),
        "overlapping weight": ("rmsprop_", _step(x, [x[:1].expand(4, 3)])),
        "overlapping state": ("rmsprop_", _step(x, squares=[x[:1].expand(4, 3)])),
        "step's dtype": ("rmsprop_", _step(x, steps=[whole.int()])),
        "step's size": ("rmsprop_", _step(x, steps=[x])),
        "scale's dtype": ("rmsprop_", (*_step(x), None, whole.double())),
    }


@pytest.mark.parametrize("what", _bad(torch.zeros(4, 3)))
def test_operators_refuse_what_is_unsafe(what, device):
    name, arguments = _bad(torch.randn(4, 3, device=device))[what]
    with pytest.raises(RuntimeError, match="ganops"):
        getattr(torch.ops.ganops, name).default(*arguments)


# ----------------------------------------------------------------------------------- fake tensors foretell the strides


def _relaid(x: Tensor, chance: random.Random) -> Tensor:
    """The same values elsewhere in memory: permuted, with gaps, expanded, with odd strides of size-1 dimensions."""
    order = chance.sample(range(x.dim()), x.dim())
    inverse = [order.index(dimension) for dimension in range(x.dim())]
    x = x.permute(order).contiguous().permute(inverse)
    what = chance.choice(("as it is", "gaps", "expanded", "odd strides"))
    dimension = chance.randrange(x.dim()) if x.dim() else None
    if what == "gaps" and dimension is not None:
        x = torch.cat([x, x], dimension)
        x = x[tuple(slice(None, None, 2) if i == dimension else slice(None) for i in range(x.dim()))]
    elif what == "expanded" and dimension is not None and x.shape[dimension]:
        x = x.narrow(dimension, 0, 1).expand(x.shape)
    elif what == "odd strides":
        strides = [chance.randrange(1, 50) if n == 1 else s for n, s in zip(x.shape, x.stride(), strict=True)]
        x = x.as_strided(x.shape, strides)
    return x


def _fuzzed(seed: int) -> tuple[str, tuple]:
    """An operator and arguments whose tensors of samples lie in memory at random."""
    chance = random.Random(seed)
    name = chance.choice([name for name in ARGUMENTS if not name.endswith("_")])
    lowest = 2 if "norm_penalty_" in name else 1
    shape = [chance.choice((0, 1, 1, 2, 3, 4)) for _ in range(chance.randint(lowest, 5))]
    x = torch.linspace(-1, 1, math.prod(shape)).reshape(shape)
    arguments = chance.choice(ARGUMENTS[name])(x)
    given = tuple(
        _relaid(a, chance) if isinstance(a, Tensor) and a.dim() > 1 and (a.dim() > 2 or a.shape == x.shape) else a
        for a in arguments
    )
    return name, given


@pytest.mark.parametrize("block", range(4))
def test_fake_tensors_foretell_strides(block, device):
    """200 operators a block on tensors in random layouts: shapes, strides and dtypes are those that come."""
    for seed in range(200 * block, 200 * (block + 1)):
        name, arguments = _fuzzed(seed)
        operator, arguments = _operator(name), tree_map_only(Tensor, lambda x: x.to(device), arguments)
        found = tree_leaves(operator(*arguments))
        with FakeTensorMode() as mode:
            foretold = tree_leaves(operator(*tree_map_only(Tensor, mode.from_tensor, arguments)))
        for real, fake in zip(found, foretold, strict=True):
            wanted = real.shape, real.stride(), real.dtype
            assert (fake.shape, fake.stride(), fake.dtype) == wanted, (
                seed, name, [(a.shape, a.stride()) for a in arguments if isinstance(a, Tensor)],
            )  # fmt: skip
