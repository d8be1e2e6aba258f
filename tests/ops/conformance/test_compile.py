"""torch.compile(fullgraph=True), forward and backward: the same numbers as eager, without a break in the graph.

Tracing is what can go wrong in an op, so every Function is traced (backend aot_eager, a fraction of a second each);
code is generated (inductor, seconds each) for one case of each op and for the whole gradient penalty.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import grad

import ganops

from ..scale import EMULATED
from .evaluate import derivatives, outputs, random_like
from .table import DIFFERENTIABLE, PENALTIES, REPRESENTATIVE, inputs_of

pytestmark = [
    pytest.mark.compile,
    pytest.mark.skipif(EMULATED, reason="the compiler sees the same operators, whoever runs them"),
]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _compiled(function, backend: str = "aot_eager", **options):
    return torch.compile(function, fullgraph=True, backend=backend, **options)


def _compare(case, backend, device, dtype=torch.float32, shape=(6, 5)):
    tensors = inputs_of(case, shape, dtype, device)
    upstream = random_like(outputs(case.fused, tensors))
    eager, compiled = (
        derivatives(f, tensors, case.differentiable, upstream) for f in (case.fused, _compiled(case.fused, backend))
    )
    # The kernels are the same; inductor may reorder the few operations around them.
    torch.testing.assert_close(compiled, eager, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", REPRESENTATIVE, ids=str)
def test_traced(case, device):
    _compare(case, "aot_eager", device)


ONE_OF_EACH = tuple({case.op: case for case in REPRESENTATIVE}.values())


@pytest.mark.parametrize("case", [c for c in ONE_OF_EACH if not c.composite], ids=lambda case: case.op)
def test_generated(case, device):
    _compare(case, "inductor", device)


def test_one_image_that_lies_as_numpy_has_it(device):
    """The compiler checks the strides that the fake implementation foretold."""
    real = torch.rand(8, 6, 3, device=device).permute(2, 0, 1)[None]
    weight = torch.rand(1, device=device)
    found = _compiled(ganops.interpolate, "inductor")(real, 1 - real, weight)
    torch.testing.assert_close(found, ganops.interpolate(real, 1 - real, weight))


@pytest.mark.parametrize("kind", ["hinge", "relativistic"])
def test_one_tensor_for_both(kind, device):
    """Of real and of fake logits, say, where a critic is tried on real samples alone."""
    x = torch.randn(7, dtype=torch.float64, device=device, requires_grad=True)

    def loss(x):
        return ganops.discriminator_loss(x, x, kind)

    found, wanted = (torch.autograd.grad(f(x), x)[0] for f in (_compiled(loss), loss))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=lambda case: case.op)
def test_dynamic_shapes(case, device):
    compiled = _compiled(case.fused, dynamic=True)
    for samples in (5, 9, 2):
        tensors = inputs_of(case, (samples, 7), torch.float32, device)
        torch.testing.assert_close(
            derivatives(compiled, tensors, case.differentiable), derivatives(case.fused, tensors, case.differentiable)
        )


@pytest.mark.parametrize("case", [c for c in REPRESENTATIVE if c.differentiable], ids=str)
def test_functional_gradient(case, device):
    """torch.func.grad inside of what is compiled, and once more within itself."""
    tensors, place = inputs_of(case, (4, 3), torch.float64, device), case.differentiable[0]

    def slope(*tensors):
        return grad(lambda *t: sum((v * v).sum() for v in outputs(case.fused, list(t))), argnums=place)(*tensors)

    def curvature(*tensors):
        return grad(lambda *t: slope(*t).square().sum(), argnums=place)(*tensors)

    for function in (slope, curvature):
        torch.testing.assert_close(_compiled(function)(*tensors), function(*tensors), rtol=1e-9, atol=1e-9)


def _critic(device) -> nn.Module:
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 3, 2, 1), nn.Softplus(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(32, 1)).to(device)


def _dense_critic(device) -> nn.Module:
    """Inductor takes a minute and a half over the double backward of convolutions, ten seconds over this one's."""
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, 1)).to(device)


@pytest.mark.parametrize(
    ("variant", "make", "backend"),
    [*((variant, _critic, "aot_eager") for variant in PENALTIES), ("two_sided", _dense_critic, "inductor")],
)
def test_the_whole_gradient_penalty(variant, make, backend, device):
    """λ·penalty plus the critic's loss: value and gradients to every weight of the critic are those of eager."""
    critic = make(device)
    real, fake = torch.randn(2, 4, 3, 8, 8, device=device)
    weight = torch.rand(4, device=device)

    def loss(real, fake, weight):
        penalty = ganops.gradient_penalty(critic, real, fake, weight=weight, **PENALTIES[variant])
        return 10 * penalty + ganops.discriminator_loss(critic(real), critic(fake), "wasserstein")

    found = []
    for function in (loss, _compiled(loss, backend)):
        critic.zero_grad()
        value = function(real, fake, weight)
        value.backward()
        found.append([value.detach(), *(p.grad.clone() for p in critic.parameters())])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)
    assert found[0][1].abs().max() > 1e-3, "the first layer has a gradient"


def test_numbers_that_change(device):
    """From the second value on dynamo passes a number as an input of the graph."""
    x = torch.randn(4, 3, device=device)

    def step(x, number):
        copy = x.clone()
        ganops.clip_weights_([copy], number)
        penalty = ganops.gradient_norm_penalty(x, target=number)
        return copy, penalty, ganops.discriminator_loss(x, x, "hinge", margin=number)

    compiled = _compiled(step)
    for number in (1.0, 0.5, 0.25, 0.75):
        torch.testing.assert_close(compiled(x, number), step(x, number))


def test_a_critic_step(device):
    """Penalty, loss and optimiser's gradients in one graph; the weights drawn inside."""
    critic = _critic(device)
    real, fake = torch.randn(2, 4, 3, 8, 8, device=device)
    value = _compiled(lambda r, f: ganops.gradient_penalty(critic, r, f))(real, fake)
    value.backward()
    assert value > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in list(critic.parameters())[:-1])


@pytest.mark.parametrize("case", DIFFERENTIABLE[:1], ids=str)
def test_double_backward_of_a_compiled_loss_is_refused(case, device):
    """torch.compile cannot differentiate twice from outside; it must say so and not give a wrong number."""
    tensors = [t.requires_grad_() for t in inputs_of(case, (3, 2), torch.float64, device)]
    value = _compiled(case.fused)(*tensors)
    (first,) = torch.autograd.grad(value, tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        torch.autograd.grad(first.sum(), tensors[0])


def test_modules(device):
    loss = ganops.nn.DiscriminatorLoss("hinge", margin=2.0)
    real, fake = torch.randn(2, 7, device=device)
    assert torch.equal(_compiled(loss)(real, fake), loss(real, fake))


def test_clipping_inside_a_compiled_step(device):
    layer = nn.Linear(5, 3).to(device)
    expected = [p.detach().clamp(-0.1, 0.1) for p in layer.parameters()]

    def step(x):
        ganops.clip_weights_(layer.parameters(), 0.1)
        return layer(x)

    x = torch.randn(2, 5, device=device)
    result = _compiled(step)(x)
    assert all(torch.equal(p, e) for p, e in zip(layer.parameters(), expected, strict=True))
    torch.testing.assert_close(result, nn.functional.linear(x, *expected))
