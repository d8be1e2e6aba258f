"""torch.library.opcheck over every operator that the library registers: schema, fake tensors, autograd, dispatch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

import ganops
from ganops import _library
from ganops.reference.interpolate import accumulate_dtype

from .layouts import LAYOUTS, OVERLAPPING, SHAPE
from .table import DTYPES, augmentation_of, group_of, images_of

pytestmark = pytest.mark.skipif(not _library.loaded(), reason="no compiled library defines the operators")

KIND, REAL, FAKE, GENERATOR = 4, 0, 1, 2  # least_squares: a parameter, and a second derivative
MEAN, SUM, NONE = 0, 1, 2


def _choice(role: int, reduction: int, kind: int = KIND) -> int:
    return (kind * 3 + role) * 3 + reduction


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


def _lists(x: Tensor, *kept: bool) -> list[list[Tensor]]:
    """Weights, gradients, three kinds of state, where they are kept, and steps, of an optimiser."""

    def like(scale: float) -> list[Tensor]:
        return [t.mul(scale) for t in (x, x.flatten()[:2], x.new_empty(0))]

    steps = [torch.full((), float(i), device=x.device) for i in range(3)]
    return [like(1.0), like(2.0), *([t.square() for t in like(0.5)] if keep else [] for keep in kept), steps]


def _on_device(x: Tensor) -> tuple[bool, Tensor, Tensor, Tensor]:
    return True, *(torch.full((), value, device=x.device) for value in (0.1, 4.0, 0.0))


def _points(x: Tensor) -> Tensor:
    return (x.flatten(1).t() if x.dim() > 1 else x[None])[None]


def _tangents(x: Tensor, count: int) -> Tensor:
    return _points(x).flip(2).expand(count, *_points(x).shape)


def _features(x: Tensor) -> tuple[Tensor, int]:
    return x if x.dim() > 1 else x[:, None], group_of(len(x))


def _extended(x: Tensor) -> Tensor:
    """The gradient of what has one channel more, in the layout of x."""
    return ganops.reference.minibatch_stddev(*_features(x)) * 2


def _taps(x: Tensor) -> Tensor:
    return torch.tensor([1.0, 3.0, 2.0, 0.5], dtype=accumulate_dtype(x.dtype), device=x.device)


# From a tensor of samples or logits to the arguments of each operator, at each reduction where there is one.
ARGUMENTS = {
    "adversarial_loss": [
        *(lambda x, r=r: (x, _choice(FAKE, r), 0.25) for r in (MEAN, SUM, NONE)),
        lambda x: (x, _choice(GENERATOR, MEAN)),
    ],
    "adversarial_loss_and_gradient": [
        lambda x: (x, _choice(FAKE, SUM), 0.25),
        lambda x: (x, _choice(GENERATOR, MEAN)),
    ],
    "adversarial_loss_backward": [
        lambda x: (_number(x), x, _choice(GENERATOR, MEAN), 0.25),
        lambda x: (_number(x), x, _choice(GENERATOR, SUM), 0.25),
        lambda x: (x * 2, x, _choice(REAL, NONE), 0.25),
        lambda x: (_number(x).expand(x.shape), x, _choice(REAL, NONE), 0.25),
    ],
    "adversarial_loss_double_backward": [
        lambda x: (x + 1, _number(x), x, _choice(REAL, MEAN), 0.25),
        lambda x: (x + 1, _number(x), x, _choice(REAL, SUM), 0.25),
        lambda x: (x + 1, x * 2, x, _choice(FAKE, NONE), 0.25),
    ],
    "discriminator_loss": [lambda x, r=r: (x, x[:1] * 2, _choice(REAL, r), 1.0, 0.0) for r in (MEAN, SUM)],
    "discriminator_loss_and_gradients": [
        lambda x, r=r: (x, x[:1] * 2, _choice(REAL, r), 1.0, 0.0) for r in (MEAN, SUM)
    ],
    "discriminator_loss_backward": [
        lambda x, r=r: (_number(x), x, x[:1] * 2, _choice(REAL, r), 1.0, 0.0) for r in (MEAN, SUM)
    ],
    "discriminator_loss_double_backward": [
        lambda x, r=r: (x + 1, x[:1] + 2, _number(x), x, x[:1] * 2, _choice(REAL, r), 1.0, 0.0) for r in (MEAN, SUM)
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
    "upfirdn": [
        lambda x: (images_of(_features(x)[0]), _taps(x), [2, 1], [1, 3], [3, 4, 5, 3], False, 0.5),
        lambda x: (images_of(_features(x)[0]), _taps(x).outer(_taps(x)), [1, 1], [2, 2], [3, 4, 5, 3], True, 1.0),
        lambda x: (images_of(_features(x)[0]).flatten(1, 2), _taps(x), [2], [3], [4, 4], False, 1.0),
    ],
    "clip_weights_": [lambda x: ([x.clone(), x[0].clone(), x.new_empty(0)], 0.5)],
    "adam_": [
        lambda x: (*_lists(x, True, True, True), 0.1, 0.5, 0.9, 1e-8, 0.1, True, True, None, False),
        lambda x: (*_lists(x, True, True, False), 0.1, 0.5, 0.9, 1e-8, 0.1, False, False, 0.5, *_on_device(x)),
    ],
    "rmsprop_": [
        lambda x: (*_lists(x, True, True, True), 0.1, 0.9, 1e-8, 0.1, 0.5, True, None, False),
        lambda x: (*_lists(x, True, False, False), 0.1, 0.9, 1e-8, 0.0, 0.0, False, 0.5, *_on_device(x)),
    ],
}


# What CUDA has no kernels for: where a gradient cannot be looked at without waiting, none is computed ahead.
CPU_ALONE = frozenset({"adversarial_loss_and_gradient", "discriminator_loss_and_gradients"})


def serves(name: str, device: torch.device) -> bool:
    return name not in CPU_ALONE or (device.type == "cpu" and _library.BACKEND != "emulated")


def _operator(name: str, device: torch.device) -> torch._ops.OpOverload:
    if not serves(name, device):
        pytest.skip("there are kernels for the CPU alone")
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


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize(("name", "make"), CHOICES)
def test_dtypes(name, make, dtype, device):
    opcheck(_operator(name, device), make(_samples(dtype, device)), test_utils=UTILITIES)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "negative_bit"])
@pytest.mark.parametrize(("name", "make"), CHOICES)
def test_layouts(name, make, layout, device):
    """The strides that the fake implementation foretells are those that come."""
    if name == "clip_weights_" and layout in OVERLAPPING:
        pytest.skip("overlapping memory is not written to")
    arguments = make(LAYOUTS[layout](_samples(torch.float32, device)))
    opcheck(_operator(name, device), arguments, test_utils=UTILITIES)


SHAPES = [(0, 3), (3, 0), (1,), (5,), (1, 4, 1, 3), (4, 1), (2, 1, 1, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize(("name", "make"), CHOICES)
def test_shapes(name, make, shape, device):
    x = torch.randn(shape, device=device)
    if "norm_penalty_" in name and len(shape) == 1:
        x = x[:, None]
    if name == "clip_weights_" and not shape[0]:
        pytest.skip("has no first sample")
    opcheck(_operator(name, device), make(x), test_utils=UTILITIES)


@pytest.mark.compile
@pytest.mark.parametrize("name", ARGUMENTS)
def test_ahead_of_time_dispatch(name, device):
    opcheck(
        _operator(name, device),
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
    lists = (weights or [x], gradients or [x + 1], squares or [x * x], [], [], steps or [_number(x)])
    return *lists, 0.1, 0.9, 1e-8, 0.0, 0.0, False, 0.5, False


# The operators check what memory safety needs, whoever calls them.
def _bad(x: Tensor) -> dict[str, tuple[str, tuple]]:
    whole, half = _number(x), x[: len(x) // 2]
    return {
        "choice": ("adversarial_loss", (x, _choice(0, 0, kind=8))),
        "negative choice": ("adversarial_loss", (x, -1)),
        "reduction": ("gradient_norm_penalty", (x, 1.0, False, 3)),
        "dtype": ("interpolate", (x, x.half(), _weight(x))),
        "shape": ("interpolate", (x, half, _weight(x))),
        "weight": ("interpolate", (x, x, _weight(half))),
        "weight's dtype": ("interpolate", (x, x, _weight(x).half())),
        "logits of another dtype": ("discriminator_loss", (x, x.double(), 0)),
        "integer": ("adversarial_loss", (x.int(), 0)),
        "grad's dtype": ("adversarial_loss_backward", (whole.half(), x, 0)),
        "grad's size": ("adversarial_loss_backward", (half, x, _choice(REAL, MEAN))),
        "empty grad": ("adversarial_loss_backward", (x[:0], x, _choice(REAL, MEAN))),
        "grad's size, none": ("adversarial_loss_backward", (half, x, _choice(REAL, NONE))),
        "grad of D": ("discriminator_loss_backward", (x[:0], x, x, _choice(REAL, MEAN))),
        "second grad of D": ("discriminator_loss_double_backward", (x, x, x[:0], x, x, _choice(REAL, MEAN))),
        "second grad": ("adversarial_loss_double_backward", (x, x[:0], x, _choice(REAL, MEAN))),
        "tangent": ("adversarial_loss_double_backward", (half, whole, x, _choice(REAL, MEAN))),
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
        "filter's dtype": ("upfirdn", (images_of(x), _taps(x).double(), [1, 1], [1, 1], [9] * 4, False, 1.0)),
        "filter's shape": ("upfirdn", (images_of(x), _taps(x)[None, None], [1, 1], [1, 1], [9] * 4, False, 1.0)),
        "filter too long": ("upfirdn", (images_of(x), _taps(x), [1, 1], [1, 1], [0] * 4, False, 1.0)),
        "factor": ("upfirdn", (images_of(x), _taps(x), [1, 0], [1, 1], [9] * 4, False, 1.0)),
        "axes": ("upfirdn", (images_of(x), _taps(x), [1], [1], [9] * 4, False, 1.0)),
        "gaps": ("clip_weights_", ([x[:, ::2]], 0.5)),
        "mixed dtypes": ("clip_weights_", ([x.clone(), x.half()], 0.5)),
        "gradient's dtype": ("rmsprop_", _step(x, gradients=[x.half()])),
        "gradient's shape": ("rmsprop_", _step(x, gradients=[half])),
        "state's dtype": ("rmsprop_", _step(x, squares=[x.double()])),
        "state's length": ("rmsprop_", _step(x, squares=[x.clone(), x.clone()])),
        "shared weights": ("rmsprop_", _step(x, [x, x], [x + 1, x + 1], [x * x, x * x], steps=[whole, whole])),
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
