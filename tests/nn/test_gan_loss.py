"""One side's loss at a time, against formulas; lists; what has to be said and what makes no sense."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, relu, softplus

import ganops
from ganops.nn import GANLoss

X = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(3, 1, 2, 2)

HALVES = {
    "non_saturating": (lambda x: softplus(-x), softplus, lambda x: softplus(-x)),
    "minimax": (lambda x: softplus(-x), softplus, lambda x: -softplus(x)),
    "kl": (lambda x: softplus(-x), softplus, lambda x: -x),
    "mle": (lambda x: softplus(-x), softplus, lambda x: -x.exp()),
    "least_squares": (lambda x: (x - 1) ** 2, lambda x: x**2, lambda x: (x - 1) ** 2),
    "hinge": (lambda x: relu(1 - x), lambda x: relu(1 + x), lambda x: -x),
    "wasserstein": (lambda x: -x, lambda x: x, lambda x: -x),
}
SIDES_DIFFER = ("minimax", "kl", "mle", "hinge")


def value_and_gradient(function, x=X):
    x = x.clone().requires_grad_()
    value = function(x)
    return value.detach(), *torch.autograd.grad(value, x)


@pytest.mark.parametrize("kind", HALVES)
def test_each_side_of_each_kind(kind):
    loss = GANLoss(kind)
    real, fake, generator = HALVES[kind]
    for target, formula in ((True, real), (False, fake)):
        found = value_and_gradient(lambda x, target=target: loss(x, target, is_disc=True))
        torch.testing.assert_close(found, value_and_gradient(lambda x, formula=formula: formula(x).mean()))
    found = value_and_gradient(lambda x: loss(x, True, is_disc=False))
    torch.testing.assert_close(found, value_and_gradient(lambda x: generator(x).mean()))


@pytest.mark.parametrize("kind", HALVES)
def test_whose_step_it_is_has_to_be_said_where_it_matters(kind):
    loss = GANLoss(kind)
    if kind in SIDES_DIFFER:
        with pytest.raises(TypeError, match=f"is_disc must be given for kind '{kind}'"):
            loss(X, True)
        with pytest.raises(ValueError, match="target_is_real must be True, got False"):
            loss(X, False, is_disc=False)
    else:
        assert loss(X, True) == loss(X, True, is_disc=True) == loss(X, True, is_disc=False)
        assert loss(X, False) == loss(X, False, is_disc=False)


@pytest.mark.parametrize(("real", "fake"), [(0.9, 0.1), (1.0, 0.3), (0.0, 1.0)])
def test_labels(real, fake):
    formulas = {"non_saturating": binary_cross_entropy_with_logits, "least_squares": mse_loss}
    for kind, formula in formulas.items():
        loss = GANLoss(kind, real, fake)
        for target, label in ((True, real), (False, fake)):
            found = value_and_gradient(lambda x, loss=loss, target=target: loss(x, target))
            wanted = value_and_gradient(lambda x, formula=formula, label=label: formula(x, torch.full_like(x, label)))
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("scale_reduction", ["sum", "mean"])
def test_lists_of_logits_and_of_features(scale_reduction):
    loss = GANLoss("lsgan", scale_reduction=scale_reduction)
    features = torch.full((2, 3), torch.nan, dtype=torch.float64)
    scales = [X, 2 * X[:1]]
    wanted = (loss(X, True) + loss(2 * X[:1], True)) / (2 if scale_reduction == "mean" else 1)
    for logits in (scales, tuple(scales), [[features, x] for x in scales], [X, [features, scales[1]]]):
        torch.testing.assert_close(loss(logits, True), wanted)
    assert loss([X], True) == loss(X, True)


def test_autocast_widens_and_aliases_are_one_kind():
    loss = GANLoss("bce", 0.9)
    assert repr(loss) == "GANLoss('non_saturating', real_label_val=0.9, fake_label_val=0.0, scale_reduction='sum')"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(X.bfloat16(), True).dtype == torch.float32
        assert loss(X.bfloat16(), False).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("hinges",), ValueError, "kind 'hinges' is unknown"),
        (("rpgan",), ValueError, "compares real with generated logits"),
        (("hinge", 0.9), ValueError, "hinge has no labels, got real_label_val 0.9"),
        (("wgan", 1, 0.1), ValueError, "wasserstein has no labels"),
        (("lsgan", "1"), TypeError, "real_label_val must be a number"),
    ],
)
def test_wrong_settings_are_named(arguments, error, text):
    with pytest.raises(error, match=text):
        GANLoss(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((X, 1), TypeError, "target_is_real must be True or False, got 1"),
        ((X, True, "d"), TypeError, "is_disc must be True or False"),
        (([], True), ValueError, "logits is an empty list"),
        (([X, None], True), TypeError, r"logits\[1\] must be a tensor, got NoneType"),
        ((3.0, True), TypeError, "logits must be a tensor or a list, got float"),
    ],
)
def test_wrong_calls_are_named(arguments, error, text):
    with pytest.raises(error, match=text):
        GANLoss("lsgan")(*arguments)


def test_scale_reduction_is_checked():
    with pytest.raises(ValueError, match="scale_reduction 'none' is unknown"):
        GANLoss(scale_reduction="none")


# --------------------------------------------------------------------------------------------------------------- LeCam


def test_lecam_by_hand():
    lecam = ganops.nn.LeCam(decay=0.5)
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([[-1.0], [2.0]])
    averages = [2.0, 0.5]
    for place in range(3):
        found = lecam(real + place, fake - place)
        weight = max(1 / (place + 1), 0.5)
        for i, mean in enumerate((2.0 + place, 0.5 - place)):
            averages[i] += weight * (mean - averages[i])
        of_real = relu(real + place - averages[1]).square().mean()
        of_fake = relu(averages[0] - (fake - place)).square().mean()
        torch.testing.assert_close(found, of_real + of_fake)
    assert [lecam.real_mean.item(), lecam.fake_mean.item()] == pytest.approx(averages)


def test_lecam_in_eval_mode_and_in_its_state():
    lecam, other = ganops.nn.LeCam(), ganops.nn.LeCam()
    for _ in range(3):
        lecam(torch.randn(5), torch.randn(7))
    other.load_state_dict(lecam.state_dict())
    real, fake = torch.randn(2, 5)
    other.eval()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    other(real, fake)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    other.train()
    assert torch.equal(other(real, fake), lecam(real, fake))


def test_lecam_has_gradients_for_logits_alone():
    lecam = ganops.nn.LeCam()
    real, fake = (torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    lecam(real.detach(), fake.detach())
    lecam.eval()
    assert torch.autograd.gradcheck(lecam, (real, fake))
    assert torch.autograd.gradgradcheck(lecam, (real, fake))
    assert not any(buffer.requires_grad for buffer in lecam.buffers())


def test_lecam_does_not_wait_for_the_device():
    """On meta tensors nothing can be read."""
    lecam = ganops.nn.LeCam().to("meta")
    assert lecam(torch.zeros(4, device="meta"), torch.zeros(4, device="meta")).is_meta
    with ganops.watch() as report:
        ganops.nn.LeCam()(torch.randn(4), torch.randn(4))
    assert not report.findings


@pytest.mark.compile
def test_lecam_compiled():
    eager, compiled = ganops.nn.LeCam(), ganops.nn.LeCam()
    function = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    for _ in range(3):
        real, fake = torch.randn(2, 5)
        torch.testing.assert_close(function(real, fake), eager(real, fake))


@pytest.mark.parametrize(("decay", "error"), [(1, ValueError), (-0.1, ValueError), ("0.9", TypeError)])
def test_lecam_refuses_decays(decay, error):
    with pytest.raises(error, match="decay"):
        ganops.nn.LeCam(decay)
