"""Adversarial losses beyond conformance: closed forms, the theory they come from, every half-precision number."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import ganops
from ganops import _library, reference
from ganops._common.loss_kinds import ALIASES, numbers
from ganops._common.loss_kinds import KINDS as KIND_ROWS

from .conformance.table import KINDS, REDUCTIONS
from .properties import given, st

LOG2 = math.log(2)


def sp(x: float) -> float:
    """log(1 + eˣ), by another route than the code's."""
    return math.log1p(math.exp(x)) if x < 30 else x + math.exp(-x)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# kind: (real, fake, generator) as (value, derivative), each at a logit x; by hand, from the papers.
BY_HAND = {
    "minimax": (
        (lambda x: sp(-x), lambda x: sigmoid(x) - 1),
        (sp, sigmoid),
        (lambda x: math.log(1 - sigmoid(x)), lambda x: -sigmoid(x)),
    ),
    "non_saturating": (
        (lambda x: -math.log(sigmoid(x)), lambda x: sigmoid(x) - 1),
        (lambda x: -math.log(1 - sigmoid(x)), sigmoid),
        (lambda x: -math.log(sigmoid(x)), lambda x: sigmoid(x) - 1),
    ),
    "kl": (
        (lambda x: -math.log(sigmoid(x)), lambda x: sigmoid(x) - 1),
        (lambda x: -math.log(1 - sigmoid(x)), sigmoid),
        (lambda x: -math.log(sigmoid(x) / (1 - sigmoid(x))), lambda x: -1.0),
    ),
    "mle": (
        (lambda x: -math.log(sigmoid(x)), lambda x: sigmoid(x) - 1),
        (lambda x: -math.log(1 - sigmoid(x)), sigmoid),
        (lambda x: -sigmoid(x) / (1 - sigmoid(x)), lambda x: -math.exp(x)),
    ),
    "least_squares": (
        (lambda x: (x - 1) ** 2, lambda x: 2 * (x - 1)),
        (lambda x: x**2, lambda x: 2 * x),
        (lambda x: (x - 1) ** 2, lambda x: 2 * (x - 1)),
    ),
    "hinge": (
        (lambda x: max(0, 1 - x), lambda x: -1.0 if x < 1 else 0.0),
        (lambda x: max(0, 1 + x), lambda x: 1.0 if x > -1 else 0.0),
        (lambda x: -x, lambda x: -1.0),
    ),
    "wasserstein": (
        (lambda x: -x, lambda x: -1.0),
        (lambda x: x, lambda x: 1.0),
        (lambda x: -x, lambda x: -1.0),
    ),
}
LOGITS = [-3.5, -1.25, -1.0, -0.5, 0.0, 0.25, 1.0, 1.5, 4.0]


def _by_hand(role: int, kind: str, logits: list[float]) -> tuple[list[float], list[float]]:
    value, slope = BY_HAND[kind][role]
    return [value(x) for x in logits], [slope(x) for x in logits]


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize("kind", BY_HAND)
def test_values_and_slopes_by_hand(kind, module, device):
    real, fake = (torch.tensor(LOGITS, dtype=torch.float64, device=device, requires_grad=True) for _ in range(2))
    values = (
        *module.discriminator_loss(real, fake, kind, reduction="none"),
        module.generator_loss(fake, kind, reduction="none"),
    )
    for role, (value, x) in enumerate(zip(values, (real, fake, fake), strict=True)):
        expected, slope = _by_hand(role, kind, LOGITS)
        assert value.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)
        assert torch.autograd.grad(value.sum(), x)[0].tolist() == pytest.approx(slope, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kind", BY_HAND)
def test_reductions_are_over_each_tensors_own_elements(kind, device):
    """Means are taken separately, so that batches of different sizes weigh the same."""
    real = torch.tensor(LOGITS[:2], dtype=torch.float64, device=device)
    fake = torch.tensor([LOGITS[2:]], dtype=torch.float64, device=device)
    on_real, on_fake = (_by_hand(role, kind, values)[0] for role, values in ((0, LOGITS[:2]), (1, LOGITS[2:])))
    mean = sum(on_real) / 2 + sum(on_fake) / 7
    assert ganops.discriminator_loss(real, fake, kind).item() == pytest.approx(mean, rel=1e-12)
    total = sum(on_real) + sum(on_fake)
    assert ganops.discriminator_loss(real, fake, kind, reduction="sum").item() == pytest.approx(total, rel=1e-12)
    generator = _by_hand(2, kind, LOGITS[2:])[0]
    assert ganops.generator_loss(fake, kind).item() == pytest.approx(sum(generator) / 7, rel=1e-12)
    assert ganops.generator_loss(fake, kind, reduction="sum").item() == pytest.approx(sum(generator), rel=1e-12)


def test_none_gives_the_pair_in_the_shapes_that_came(device):
    real, fake = torch.randn(4, 1, 3, 3, device=device), torch.randn(5, device=device)
    on_real, on_fake = ganops.discriminator_loss(real, fake, "hinge", reduction="none")
    assert (on_real.shape, on_fake.shape) == (real.shape, fake.shape)
    assert torch.equal(on_real, F.relu(1 - real))
    assert torch.equal(on_fake, F.relu(1 + fake))


def test_defaults(device):
    real, fake = torch.randn(2, 6, device=device)
    assert torch.equal(
        ganops.discriminator_loss(real, fake), ganops.discriminator_loss(real, fake, "non_saturating", reduction="mean")
    )
    assert torch.equal(ganops.generator_loss(fake), ganops.generator_loss(fake, "non_saturating", reduction="mean"))
    targets = {"real_target": 1, "fake_target": 0, "generator_target": 1}
    for function, logits in ((ganops.discriminator_loss, (real, fake)), (ganops.generator_loss, (fake,))):
        assert torch.equal(function(*logits, "least_squares"), function(*logits, "least_squares", **targets))
        assert torch.equal(function(*logits, "hinge"), function(*logits, "hinge", margin=1))
        assert torch.equal(function(*logits, "bce"), function(*logits, "bce", **targets))


def test_shared_rows_of_the_table(device):
    """Four kinds share D's loss, three share G's."""
    real, fake = torch.randn(2, 50, device=device)
    logistic = [ganops.discriminator_loss(real, fake, kind) for kind in ("minimax", "non_saturating", "kl", "mle")]
    assert len({value.item() for value in logistic}) == 1
    linear = [ganops.generator_loss(fake, kind) for kind in ("kl", "hinge", "wasserstein")]
    assert len({value.item() for value in linear}) == 1


def test_targets_and_margin(device):
    real, fake = torch.tensor([0.5], device=device), torch.tensor([-0.25], device=device)
    targets = {"real_target": 2.0, "fake_target": -1.0, "generator_target": 0.25}
    on_real, on_fake = ganops.discriminator_loss(real, fake, "least_squares", reduction="none", **targets)
    assert (on_real.item(), on_fake.item()) == (2.25, 0.5625)
    assert ganops.generator_loss(fake, "least_squares", **targets).item() == 0.25
    on_real, on_fake = ganops.discriminator_loss(real, fake, "hinge", reduction="none", margin=3)
    assert (on_real.item(), on_fake.item()) == (2.5, 2.75)
    assert ganops.generator_loss(fake, "hinge", margin=3).item() == 0.25


@pytest.mark.parametrize("label", [0.0, 0.1, 0.5, 0.9, 1.0, 1.2])
def test_labels_are_those_of_cross_entropy(label, device):
    """In float64, against torch's own loss, with the gradient and that of the gradient."""
    logits = torch.linspace(-30, 30, 121, dtype=torch.float64, device=device).requires_grad_()
    expected = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
    for loss in (
        ganops.gan_loss(logits, True, "bce", real_target=label),
        ganops.gan_loss(logits, False, "minimax", fake_target=label),
        ganops.generator_loss(logits, "ns", generator_target=label),
        ganops.discriminator_loss(logits, logits, "kl", real_target=label, fake_target=label) / 2,
        ganops.gan_loss([logits, logits], True, "mle", real_target=label, scale_reduction="mean"),
    ):
        torch.testing.assert_close(loss, expected, rtol=1e-13, atol=1e-13)
        found, wanted = (torch.autograd.grad(x, logits, create_graph=True)[0] for x in (loss, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-14)
        found, wanted = (torch.autograd.grad(x.square().sum(), logits)[0] for x in (found, wanted))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)


def test_infinite_logits_keep_their_loss_without_labels(device):
    logits = torch.tensor([math.inf, -math.inf], device=device)
    assert ganops.gan_loss(logits, True, reduction="none").tolist() == [0.0, math.inf]
    assert ganops.gan_loss(logits, False, reduction="none").tolist() == [math.inf, 0.0]


def test_pearson_setting_of_least_squares(device):
    """b − c = 1, b − a = 2 (Mao et al. 2017, section 3.2): a = −1, b = 1, c = 0."""
    fake = torch.linspace(-2, 2, 9, device=device)
    assert torch.equal(
        ganops.generator_loss(fake, "least_squares", generator_target=0, reduction="none"), fake.square()
    )


def test_an_undecided_discriminator(device):
    """D = ½ everywhere costs log 4 (Goodfellow et al. 2014, theorem 1)."""
    zeros = torch.zeros(7, dtype=torch.float64, device=device)
    assert ganops.discriminator_loss(zeros, zeros).item() == pytest.approx(2 * LOG2, rel=1e-15)
    assert ganops.generator_loss(zeros, "minimax").item() == pytest.approx(-LOG2, rel=1e-15)
    assert ganops.generator_loss(zeros, "non_saturating").item() == pytest.approx(LOG2, rel=1e-15)


def test_agrees_with_torchs_cross_entropy(device):
    real, fake = torch.randn(2, 400, dtype=torch.float64, device=device) * 20
    logits, labels = torch.cat([real, fake]), torch.cat([torch.ones_like(real), torch.zeros_like(fake)])
    expected = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    torch.testing.assert_close(ganops.discriminator_loss(real, fake, reduction="sum"), expected)


def test_optimal_discriminator_recovers_the_divergences(device):
    """With D* = p_d/(p_d + p_g) the kinds estimate what they are named after; on a grid of two discrete densities."""
    p, q = (torch.softmax(2 * torch.randn(40, dtype=torch.float64, device=device), 0) for _ in range(2))
    logits = (p / q).log()  # of D*
    on_real, on_fake = ganops.discriminator_loss(logits, logits, reduction="none")
    mixture = (p + q) / 2
    jensen_shannon = ((p * (p / mixture).log()).sum() + (q * (q / mixture).log()).sum()) / 2
    torch.testing.assert_close((p * on_real).sum() + (q * on_fake).sum(), 2 * LOG2 - 2 * jensen_shannon)
    kl = (q * (q / p).log()).sum()
    torch.testing.assert_close((q * ganops.generator_loss(logits, "kl", reduction="none")).sum(), kl)
    # E_q[−p/q] = −1 whatever q: the value is constant, the gradient is that of KL(p ‖ q).
    maximum_likelihood = (q * ganops.generator_loss(logits, "mle", reduction="none")).sum()
    assert maximum_likelihood.item() == pytest.approx(-1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_log_losses_are_finite_at_every_finite_logit(dtype, device):
    limit = torch.finfo(dtype).max
    logits = torch.tensor([limit, -limit, limit / 2, -limit / 2], dtype=dtype, device=device, requires_grad=True)
    for values in (
        *ganops.discriminator_loss(logits, logits, reduction="none"),
        ganops.generator_loss(logits, "minimax", reduction="none"),
        ganops.generator_loss(logits, "non_saturating", reduction="none"),
    ):
        assert values.isfinite().all()
        (gradient,) = torch.autograd.grad(values.sum(), logits, create_graph=True)
        assert gradient.isfinite().all()
        assert gradient.abs().max() == 1
        (second,) = torch.autograd.grad(gradient.sum(), logits)
        assert torch.equal(second, torch.zeros_like(second))


def test_saturation(device):
    """The minimax generator has no gradient where D is sure, the non-saturating one has; that is why it exists."""
    sure = torch.tensor([-50.0], dtype=torch.float64, device=device, requires_grad=True)
    saturated, alive = (
        torch.autograd.grad(ganops.generator_loss(sure, kind), sure)[0].item() for kind in ("minimax", "non_saturating")
    )
    assert saturated == pytest.approx(-math.exp(-50), rel=1e-9)
    assert alive == pytest.approx(-1)


def test_small_tails_keep_their_digits(device):
    """sp(−x) is e^−x and not 0 beyond x = 20, where torch's softplus changes to the identity."""
    x = torch.tensor([25.0, 60.0, 80.0], device=device)
    torch.testing.assert_close(
        ganops.generator_loss(x, reduction="none").double(), torch.exp(-x.double()), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_at_the_kinks_are_those_of_torch(kind, device):
    at = torch.tensor([1.0, -1.0, 0.0, -0.0], device=device, requires_grad=True)
    for fused, plain in zip(
        (*ganops.discriminator_loss(at, at, kind, reduction="none"), ganops.generator_loss(at, kind, reduction="none")),
        (
            *reference.discriminator_loss(at, at, kind, reduction="none"),
            reference.generator_loss(at, kind, reduction="none"),
        ),
        strict=True,
    ):
        assert torch.allclose(*(torch.autograd.grad(value.sum(), at)[0] for value in (fused, plain)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_half_precision_number(dtype, device):
    """All 65,536 patterns are read and written exactly: −x is exact, and x² rounds once, to nearest even."""
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype).to(device)
    negated = ganops.generator_loss(x, "wasserstein", reduction="none")
    assert torch.equal(negated.nan_to_num(7.0, 1e9, -1e9), (-x).nan_to_num(7.0, 1e9, -1e9))
    assert torch.equal(negated.isnan(), x.isnan())
    squared = ganops.generator_loss(x, "least_squares", reduction="none", generator_target=0)
    plain = x.float().square().to(dtype)
    assert torch.equal(squared.isnan(), x.isnan())
    assert torch.equal(squared[~x.isnan()], plain[~x.isnan()])


def test_accuracy_of_the_elementary_functions(device):
    """Against torch in float64, densely, over all magnitudes: softplus, sigmoid and exp within 4 ulp of float32."""
    steps = torch.cat(
        [torch.linspace(-110, 110, 20_001), torch.logspace(-40, 2, 5_000), -torch.logspace(-40, 2, 5_000)]
    )
    x = steps.to(device).requires_grad_()
    truth = x.detach().double().requires_grad_()
    for kind in ("non_saturating", "mle"):
        value, plain = (m.generator_loss(v, kind, reduction="none") for m, v in ((ganops, x), (reference, truth)))
        slope, exact = (torch.autograd.grad(a.sum(), b)[0] for a, b in ((value, x), (plain, truth)))
        for got, expected in ((value, plain), (slope, exact)):
            got, expected = got.detach().double(), expected.detach()
            inside = expected.abs() < torch.finfo(torch.float32).max
            error = (got - expected).abs()[inside]
            assert (error <= 4 * (torch.finfo(torch.float32).eps * expected.abs()[inside] + 2**-149)).all()


finite = st.floats(min_value=-200, max_value=200, width=32)
batches = st.lists(finite, min_size=1, max_size=70)


@given(real=batches, fake=batches, kind=st.sampled_from(KINDS), reduction=st.sampled_from(REDUCTIONS[:2]))
def test_property_matches_the_reference(real, fake, kind, reduction):
    tensors = [torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in (real, fake)]
    fused, plain = (m.discriminator_loss(*tensors, kind, reduction=reduction) for m in (ganops, reference))
    torch.testing.assert_close(fused, plain, rtol=1e-12, atol=1e-12)
    found = [torch.autograd.grad(value, tensors) for value in (fused, plain)]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


@given(values=batches, kind=st.sampled_from(KINDS), scale=st.floats(-3, 3, width=32))
def test_property_linear_in_the_gradient_from_above(values, kind, scale):
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    loss = ganops.generator_loss(x, kind)
    once, scaled = (
        torch.autograd.grad(loss, x, torch.tensor(s, dtype=torch.float64), retain_graph=True)[0] for s in (1.0, scale)
    )
    torch.testing.assert_close(scaled, scale * once, rtol=1e-12, atol=1e-300)


@given(values=batches, data=st.data())
def test_property_order_does_not_matter(values, data):
    x = torch.tensor(values, dtype=torch.float64)
    y = torch.tensor(data.draw(st.permutations(values)), dtype=torch.float64)
    torch.testing.assert_close(ganops.generator_loss(x), ganops.generator_loss(y), rtol=1e-12, atol=1e-12)


@given(shape=st.lists(st.integers(0, 5), max_size=5), kind=st.sampled_from(KINDS))
def test_property_any_shape(shape, kind):
    x = torch.randn(shape)
    value = ganops.generator_loss(x, kind, reduction="none")
    torch.testing.assert_close(value, reference.generator_loss(x, kind, reduction="none"))
    torch.testing.assert_close(ganops.generator_loss(x, kind), value.mean(), equal_nan=True, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------------------------------------- pairs


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
def test_the_relativistic_loss_by_hand(module, device):
    real = torch.tensor([0.0, 2.0, -1.0], dtype=torch.float64, device=device, requires_grad=True)
    fake = torch.tensor([0.0, -1.0, 3.0], dtype=torch.float64, device=device, requires_grad=True)
    difference = real.detach() - fake.detach()
    for loss, sign in (
        (module.discriminator_loss(real, fake, "relativistic", reduction="none"), 1),
        (module.generator_loss(fake, "relativistic", real_logits=real, reduction="none"), -1),
    ):
        torch.testing.assert_close(loss.detach(), torch.log1p(torch.exp(-sign * difference)))
        of_real, of_fake = torch.autograd.grad(loss.sum(), (real, fake))
        torch.testing.assert_close(of_real, -sign * torch.sigmoid(-sign * difference))
        torch.testing.assert_close(of_fake, -of_real)
    assert module.discriminator_loss(real, real, "relativistic").item() == pytest.approx(math.log(2))


def test_only_differences_count(device):
    """The same added to all logits changes nothing, where every other kind's D would notice."""
    real, fake = torch.randn(2, 50, dtype=torch.float64, device=device)
    found = [ganops.discriminator_loss(real + shift, fake + shift, "relativistic") for shift in (0, 100)]
    torch.testing.assert_close(*found)
    large = torch.full((2,), 1e4, device=device)
    assert ganops.discriminator_loss(-large, large, "relativistic").item() == 2e4
    assert ganops.discriminator_loss(large, -large, "relativistic").item() == 0


def test_partners_may_lie_differently_in_memory(device):
    real = torch.randn(4, 3, 5, 2, device=device).contiguous(memory_format=torch.channels_last)
    fake = torch.randn(4, 3, 5, 2, device=device)
    found, wanted = (
        module.discriminator_loss(real, fake, "relativistic", reduction="none") for module in (ganops, reference)
    )
    torch.testing.assert_close(found, wanted)


def test_the_module_takes_the_real_logits(device):
    real, fake = torch.randn(2, 7, device=device)
    loss = ganops.nn.GeneratorLoss("relativistic")
    assert torch.equal(loss(fake, real), ganops.generator_loss(fake, "relativistic", real_logits=real))


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda m: m.discriminator_loss(torch.zeros(3), torch.zeros(2), "relativistic"),
            ValueError,
            r"discriminator_loss: real_logits \(3,\) and fake_logits \(2,\) must have the same shape",
        ),
        (
            lambda m: m.generator_loss(torch.zeros(2, 1), "relativistic", real_logits=torch.zeros(2)),
            ValueError,
            r"generator_loss: real_logits \(2,\) and fake_logits \(2, 1\) must have the same shape",
        ),
        (
            lambda m: m.generator_loss(torch.zeros(2), "relativistic"),
            TypeError,
            "kind 'relativistic' compares with real logits; pass real_logits=",
        ),
        (
            lambda m: m.generator_loss(torch.zeros(2), "hinge", real_logits=torch.zeros(2)),
            TypeError,
            "kind 'hinge' takes no real_logits; the kinds that do: relativistic",
        ),
        (
            lambda m: m.generator_loss(torch.zeros(2), "relativistic", real_logits=torch.zeros(2).double()),
            TypeError,
            "must have the same dtype",
        ),
        (
            lambda m: m.discriminator_loss(torch.zeros(2), torch.zeros(2), "relativistic", margin=1.0),
            TypeError,
            "parameter 'margin' is unknown for kind 'relativistic'; it takes none",
        ),
    ],
)
def test_bad_pairs(module, call, error, text):
    with pytest.raises(error, match=text):
        call(module)


# ---------------------------------------------------------------------------------------- the average-relativistic loss


def _average(first, second):
    return F.softplus(-(first - second.mean())), F.softplus(second - first.mean())


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_average_relativistic_loss_by_its_formula(reduction, module, device):
    """With gradients in both logits, whose numbers differ, to second order."""
    real = torch.randn(5, 2, dtype=torch.float64, device=device, requires_grad=True)
    fake = torch.randn(7, dtype=torch.float64, device=device, requires_grad=True)
    for found, wanted in (
        (module.discriminator_loss(real, fake, "ragan", reduction=reduction), _average(real, fake)),
        (module.generator_loss(fake, "ragan", real_logits=real, reduction=reduction), _average(fake, real)),
    ):
        if reduction == "none":
            torch.testing.assert_close(found, wanted)
            found = sum(x.square().sum() for x in found)
            wanted = sum(x.square().sum() for x in wanted)
        else:
            wanted = sum(getattr(x, reduction)() for x in wanted)
        torch.testing.assert_close(found, wanted)
        found, wanted = (torch.autograd.grad(x, (real, fake), create_graph=True) for x in (found, wanted))
        torch.testing.assert_close(found, wanted)
        found, wanted = (
            torch.autograd.grad(sum(x.square().sum() for x in both), (real, fake)) for both in (found, wanted)
        )
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
def test_lists_of_the_average_relativistic_loss(module, device):
    real, fake = ([torch.randn(4, n, dtype=torch.float64, device=device) for n in (1, 5)] for _ in range(2))
    each = torch.stack([sum(x.mean() for x in _average(r, f)) for r, f in zip(real, fake, strict=True)])
    torch.testing.assert_close(module.discriminator_loss(real, fake, "ragan", scale_reduction="none"), each)
    torch.testing.assert_close(module.discriminator_loss(real, fake, "ragan"), each.sum())
    each = torch.stack([sum(x.mean() for x in _average(f, r)) for r, f in zip(real, fake, strict=True)])
    torch.testing.assert_close(
        module.generator_loss(fake, "ragan", real_logits=real, scale_reduction="mean"), each.mean()
    )


def test_the_mean_of_half_precision_is_wide(device):
    real, fake = 100 + torch.randn(2, 4096, device=device)
    for dtype in (torch.float16, torch.bfloat16):
        halves = real.to(dtype), fake.to(dtype)
        loss = ganops.discriminator_loss(*halves, "ragan")
        exact = ganops.discriminator_loss(*(x.double() for x in halves), "ragan")
        assert loss.dtype == dtype
        torch.testing.assert_close(loss.double(), exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
def test_bad_input_of_averages(module):
    x = torch.zeros(3)
    with pytest.raises(TypeError, match="compares with real logits; pass real_logits="):
        module.generator_loss(x, "ragan")
    with pytest.raises(ValueError, match="compares real with generated logits"):
        module.gan_loss(x, True, "ragan")
    with pytest.raises(ValueError, match="its loss has no parts"):
        module.discriminator_loss(x, x, "ragan", return_parts=True)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        module.generator_loss(x, "ragan", real_logits=x, sample_weight=x)
    with pytest.raises(TypeError, match="it takes none"):
        module.discriminator_loss(x, x, "ragan", real_target=0.9)


# ------------------------------------------------------------------------------------------------- half of D's loss


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize("kind", BY_HAND)
def test_half_of_the_discriminators_loss_by_hand(kind, module, device):
    logits = torch.tensor(LOGITS, dtype=torch.float64, device=device, requires_grad=True)
    for role, is_real in enumerate((True, False)):
        expected, slope = _by_hand(role, kind, LOGITS)
        values = module.gan_loss(logits, is_real, kind, reduction="none")
        assert values.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)
        mean = module.gan_loss(logits, is_real, kind)
        assert mean.item() == pytest.approx(sum(expected) / len(LOGITS), rel=1e-12, abs=1e-12)
        found = torch.autograd.grad(mean, logits)[0] * len(LOGITS)
        assert found.tolist() == pytest.approx(slope, rel=1e-12, abs=1e-12)


def test_half_takes_the_parameters_of_its_side(device):
    logits = torch.tensor([0.5], device=device)
    targets = {"real_target": 2.0, "fake_target": -1.0}
    assert ganops.gan_loss(logits, True, "lsgan", **targets).item() == 2.25
    assert ganops.gan_loss(logits, False, "lsgan", **targets).item() == 2.25
    assert ganops.gan_loss(logits, False, "hinge", margin=3).item() == 3.5


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        (
            (torch.zeros(3), True, "relativistic"),
            {},
            ValueError,
            "gan_loss: kind 'relativistic' compares real with generated logits; use discriminator_loss and generator_",
        ),
        ((torch.zeros(3), 1), {}, TypeError, "gan_loss: is_real must be True or False, got int 1"),
        ((torch.zeros(3), "hinge"), {}, TypeError, "gan_loss: is_real must be True or False, got str 'hinge'"),
        ((torch.zeros(3, dtype=torch.int32), True), {}, TypeError, "gan_loss: logits must be a floating-point tensor"),
        ((torch.zeros(3), True, "hings"), {}, ValueError, r"gan_loss: kind 'hings' is unknown \(did you mean 'hinge'"),
        ((torch.zeros(3), True), {"margin": 1}, TypeError, "gan_loss: parameter 'margin' is unknown"),
    ],
)
def test_bad_input_of_half_a_loss(module, arguments, settings, error, text):
    with pytest.raises(error, match=text):
        module.gan_loss(*arguments, **settings)


# ---------------------------------------------------------------------------------------------------- bad input

X = torch.zeros(3)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        (
            (X, X, "hinges"),
            {},
            ValueError,
            r"^discriminator_loss: kind 'hinges' is unknown \(did you mean 'hinge'\?\); choose one of hinge, kl, ",
        ),
        ((X, X, "nonsaturating"), {}, ValueError, "did you mean 'non_saturating'"),
        ((X, X, None), {}, ValueError, "discriminator_loss: kind None is unknown; choose one of"),
        ((X, X, ["hinge"]), {}, ValueError, r"discriminator_loss: kind \['hinge'\] is unknown.*; choose one of"),
        (
            (X, X),
            {"reduction": "average"},
            ValueError,
            "discriminator_loss: reduction 'average' is unknown.*mean, none, sum",
        ),
        ((X, X), {"reduction": None}, ValueError, "discriminator_loss: reduction None is unknown.*mean, none, sum"),
        ((X, X), {"reduction": ["mean"]}, ValueError, r"discriminator_loss: reduction \['mean'\] is unknown"),
        (
            (X, X.double()),
            {},
            TypeError,
            r"real_logits \(torch.float32\) and fake_logits \(torch.float64\) must have the same dtype; convert one",
        ),
        ((X, X.half()), {"reduction": "none"}, TypeError, "must have the same dtype"),
        ((X, X.to("meta")), {}, ValueError, r"real_logits \(cpu\) and fake_logits \(meta\) must be on the same device"),
        (
            (X.int(), X),
            {},
            TypeError,
            "discriminator_loss: real_logits must be a floating-point tensor, got torch.int32; convert it first",
        ),
        ((X, X.bool()), {}, TypeError, "fake_logits must be a floating-point tensor, got torch.bool"),
        ((X, X.to(torch.complex64)), {}, TypeError, "fake_logits must be a floating-point tensor, got torch.complex64"),
        (([1.0], X), {}, TypeError, "discriminator_loss: real_logits is a list and fake_logits is a Tensor"),
        (("logits", X), {}, TypeError, "discriminator_loss: real_logits must be a tensor, got str"),
        ((X, 1.0), {}, TypeError, "discriminator_loss: fake_logits must be a tensor, got float"),
        ((X, X.to_sparse()), {}, TypeError, "discriminator_loss: fake_logits must be a (dense|strided) tensor"),
        (
            (X, X),
            {"margin": 1},
            TypeError,
            "parameter 'margin' is unknown for kind 'non_saturating'; it takes real_target, fake_target, "
            "generator_target",
        ),
        ((X, X, "kl"), {"generator_target": 1}, TypeError, "'kl'; it takes real_target, fake_target"),
        ((X, X, "wgan"), {"real_target": 1}, TypeError, "'real_target' is unknown for kind 'wgan'; it takes none"),
        (
            (X, X, "hinge"),
            {"margins": 1},
            TypeError,
            "parameter 'margins' is unknown for kind 'hinge'; it takes margin",
        ),
        ((X, X, "least_squares"), {"target": 1}, TypeError, "it takes real_target, fake_target, generator_target"),
        ((X, X, "hinge"), {"margin": "1"}, TypeError, "discriminator_loss: margin must be a number, got str"),
        ((X, X, "hinge"), {"margin": True}, TypeError, "margin must be a number, got bool"),
        ((X, X, "hinge"), {"margin": math.nan}, ValueError, "margin must be finite, got nan"),
        ((X, X, "least_squares"), {"real_target": math.inf}, ValueError, "real_target must be finite, got inf"),
    ],
)
def test_bad_input_of_the_discriminator(module, arguments, settings, error, text):
    with pytest.raises(error, match=text):
        module.discriminator_loss(*arguments, **settings)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        (
            (X, "wassertein"),
            {},
            ValueError,
            r"^generator_loss: kind 'wassertein' is unknown \(did you mean 'wasserstein'\?\)",
        ),
        ((X,), {"reduction": "batchmean"}, ValueError, "generator_loss: reduction 'batchmean' is unknown"),
        ((X.long(),), {}, TypeError, "generator_loss: fake_logits must be a floating-point tensor, got torch.int64"),
        ((None,), {}, TypeError, "generator_loss: fake_logits must be a tensor, got NoneType"),
        ((X.to_sparse(),), {}, TypeError, "generator_loss: fake_logits must be a (dense|strided) tensor"),
        (
            (X, "hinge"),
            {"generator_target": 1},
            TypeError,
            "generator_loss: parameter 'generator_target' is unknown for kind 'hinge'",
        ),
    ],
)
def test_bad_input_of_the_generator(module, arguments, settings, error, text):
    with pytest.raises(error, match=text):
        module.generator_loss(*arguments, **settings)


def test_a_bad_module_fails_when_it_is_made():
    with pytest.raises(ValueError, match=r"DiscriminatorLoss: kind 'hing' is unknown.*'hinge'"):
        ganops.nn.DiscriminatorLoss("hing")
    with pytest.raises(ValueError, match="GeneratorLoss: reduction 'max' is unknown"):
        ganops.nn.GeneratorLoss(reduction="max")
    with pytest.raises(TypeError, match="GeneratorLoss: parameter 'margin' is unknown for kind 'kl'"):
        ganops.nn.GeneratorLoss("kl", margin=1)


def test_modules(device):
    real, fake = torch.randn(2, 5, device=device)
    d = ganops.nn.DiscriminatorLoss("least_squares", reduction="sum", real_target=0.9)
    assert torch.equal(
        d(real, fake), ganops.discriminator_loss(real, fake, "least_squares", reduction="sum", real_target=0.9)
    )
    assert repr(d) == "DiscriminatorLoss('least_squares', reduction='sum', real_target=0.9)"
    g = ganops.nn.GeneratorLoss("hinge")
    assert torch.equal(g(fake), -fake.mean())
    assert repr(g) == "GeneratorLoss('hinge', reduction='mean')"
    assert not list(d.parameters())
    assert not list(d.state_dict())


def test_second_order_in_half_precision_is_as_good_with_a_graph_as_without(device):
    """1/n of many logits is at the end of float16: it must not be rounded before the scaled gradient multiplies it."""
    n, scale = 2_000_000, 32768.0
    logits = torch.linspace(-3, 3, n, device=device).half().requires_grad_()
    (first,) = torch.autograd.grad(ganops.generator_loss(logits) * scale, logits, create_graph=True)
    tangent = torch.full_like(first, 8.0)
    second = [
        torch.autograd.grad(first, logits, tangent, create_graph=graph, retain_graph=True)[0].detach()
        for graph in (False, True)
    ]
    torch.testing.assert_close(second[1], second[0], rtol=2e-3, atol=0)
    assert second[0].abs().max() > 1e-2


# --------------------------------------------------------------------------------------------- gradients from above


@pytest.fixture(params=["discriminator_loss", "generator_loss", "relativistic"])
def loss_of(request, device):
    """A loss of two tensors of logits, with these."""
    real, fake = (torch.linspace(-3, 2, 5, dtype=torch.float64, device=device).requires_grad_() for _ in range(2))
    functions = {
        "discriminator_loss": lambda real, fake: ganops.discriminator_loss(real, fake),
        "generator_loss": lambda real, fake: ganops.generator_loss(fake) + 0 * real.sum(),
        "relativistic": lambda real, fake: ganops.generator_loss(fake, "relativistic", real_logits=real),
    }
    return functions[request.param], (real, fake)


@pytest.mark.parametrize("scale", [0.0, -3.0, 65536.0, math.nan])
def test_gradients_scale_with_the_one_from_above(loss_of, scale):
    function, logits = loss_of
    one = torch.autograd.grad(function(*logits), logits)
    scaled = torch.autograd.grad(scale * function(*logits), logits)
    torch.testing.assert_close(scaled, tuple(scale * g for g in one), equal_nan=True)


def test_logits_overwritten_before_the_backward_are_noticed(loss_of):
    function, logits = loss_of
    copies = [x * 1 for x in logits]
    loss = function(*copies)
    for x in copies:
        x.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("kind", ["non_saturating", "minimax", "relativistic"])
def test_second_derivatives_keep_their_tails_with_a_graph(kind, device):
    """σ'(20) = 2.06e-9 and σ'(-20) too, though σ(20) rounds to 1 in float32; to third order."""
    x = torch.tensor([-20.0, -3.0, 0.0, 3.0, 20.0], device=device, requires_grad=True)
    zeros = torch.zeros_like(x)
    if kind == "relativistic":
        value = ganops.discriminator_loss(x, zeros, kind)
    else:
        value = ganops.discriminator_loss(x, zeros, kind, reduction="none")[0].sum()
    value = ganops.generator_loss(x, kind, reduction="sum") if kind == "minimax" else value * 1
    exact = x.detach().double()
    scale = {"minimax": -1.0, "relativistic": 0.2}.get(kind, 1.0)
    wanted = scale * torch.sigmoid(exact) * torch.sigmoid(-exact)
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    torch.testing.assert_close(second.detach().double(), wanted, rtol=1e-6, atol=0)
    (third,) = torch.autograd.grad(second.sum(), x)
    torch.testing.assert_close(third.double(), wanted * (1 - 2 * torch.sigmoid(exact)), rtol=1e-6, atol=0)


# ------------------------------------------------------------------------------------------------------------ kinds

LISTING = "\n".join(
    [
        "reductions mean sum none",
        "roles real fake generator",
        *(kind.describe(name) for name, kind in KIND_ROWS.items() if not kind.average),
    ]
)


def test_the_library_numbers_the_kinds_wherever_their_rows_are():
    names = [name for name, kind in KIND_ROWS.items() if not kind.average]  # which the kernels serve as another
    assert numbers(LISTING, "library") == {name: i for i, name in enumerate(names)}
    permuted = {name: KIND_ROWS[name] for name in sorted(names, reverse=True)}
    assert numbers(LISTING, "library", permuted) == {name: i for i, name in enumerate(names)}
    first = "smooth " + LISTING.splitlines()[2].split(maxsplit=1)[1]
    extended = {"smooth": KIND_ROWS[names[0]], **KIND_ROWS}
    head, rows = LISTING.splitlines()[:2], LISTING.splitlines()[2:]
    found = numbers("\n".join([*head, first, *rows]), "library", extended)
    assert found == {name: i for i, name in enumerate(["smooth", *names])}, "numbers are the library's"


@pytest.mark.parametrize(
    ("listing", "table", "named"),
    [
        (None, KIND_ROWS, "hinge"),
        ("\n".join(LISTING.splitlines()[:-1]), KIND_ROWS, LISTING.splitlines()[-1].split()[0]),
        (LISTING, {"smooth": KIND_ROWS["hinge"], **KIND_ROWS}, "smooth"),
        (LISTING.replace("hinge unpaired relu 1 -1 1", "hinge unpaired relu 1 -1 2"), KIND_ROWS, "hinge"),
        (LISTING.replace("relativistic paired", "relativistic unpaired"), KIND_ROWS, "relativistic"),
        (LISTING.replace("roles real fake", "roles fake real"), KIND_ROWS, "roles"),
    ],
    ids=["older", "row less", "row more", "formula", "pairing", "roles"],
)
def test_a_library_that_disagrees_is_refused(listing, table, named):
    with pytest.raises(ImportError, match=rf"some/library\.so .* disagree about the loss kinds .*{named}.*rebuild"):
        numbers(listing, "some/library.so", table)


@pytest.mark.skipif(not _library.loaded(), reason="no compiled library")
def test_the_compiled_libraries_list_the_same_kinds():
    assert _library.texts("ganops_loss_kinds"), "one library at least"
    for path, listing in _library.texts("ganops_loss_kinds").items():
        assert numbers(listing, path).keys() == {name for name, kind in KIND_ROWS.items() if not kind.average}


@pytest.mark.parametrize(("alias", "kind"), ALIASES.items())
def test_usual_names_of_the_kinds(alias, kind, device):
    real, fake = torch.randn(2, 6, device=device)
    assert torch.equal(ganops.discriminator_loss(real, fake, alias), ganops.discriminator_loss(real, fake, kind))
    assert ganops.nn.DiscriminatorLoss(alias).kind == kind


@pytest.mark.parametrize(
    ("near", "kind"), [("wgan-gp", "wasserstein"), ("LSGAN", "least_squares"), ("Hinge", "hinge"), ("bces", "non_satu")]
)
def test_a_near_miss_names_the_kind(near, kind):
    with pytest.raises(ValueError, match=rf"kind '{near}' is unknown \(did you mean '{kind}"):
        ganops.generator_loss(torch.zeros(2), near)
