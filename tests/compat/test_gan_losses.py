"""The adversarial losses of other repositories: defaults and quirks, against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, relu, softplus

from ganops.compat import basicsr, pix2pix, spade

X = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(3, 1, 2, 2)
NAN = torch.full((2, 2), torch.nan)


def bce(x, label):
    return binary_cross_entropy_with_logits(x, torch.full_like(x, label))


def square(x, label):
    return mse_loss(x, torch.full_like(x, label))


def signed(x, target):
    return -x.mean() if target else x.mean()


def check(found, wanted):
    for function in (found, wanted):
        assert callable(function)
    results = []
    for function in (found, wanted):
        x = X.clone().requires_grad_()
        value = function(x)
        results.append((value.detach(), torch.autograd.grad(value.sum(), x)[0]))
    torch.testing.assert_close(*results)


BOTH = pytest.mark.parametrize("target", [True, False])


@BOTH
@pytest.mark.parametrize("labels", [(), (0.9, 0.2)])
def test_pix2pix(target, labels):
    label = (labels or (1.0, 0.0))[not target]
    for mode, formula in (("lsgan", square), ("vanilla", bce)):
        loss = pix2pix.GANLoss(mode, *labels)
        check(lambda x, loss=loss: loss(x, target), lambda x, formula=formula: formula(x, label))
    check(lambda x: pix2pix.GANLoss("wgangp", *labels)(x, target), lambda x: signed(x, target))


def test_pix2pix_of_an_unknown_mode():
    with pytest.raises(NotImplementedError, match="gan_mode 'wgan' is unknown; choose one of lsgan, vanilla, wgangp"):
        pix2pix.GANLoss("wgan")


@BOTH
@pytest.mark.parametrize("labels", [(), (0.9, 0.2)])
def test_spade(target, labels):
    label = (labels or (1.0, 0.0))[not target]
    for mode, formula in (("ls", square), ("original", bce)):
        for whose in ((), (True,), (False,)):
            loss = spade.GANLoss(mode, *labels)
            check(lambda x, loss=loss, whose=whose: loss(x, target, *whose), lambda x, f=formula: f(x, label))
    check(lambda x: spade.GANLoss("w")(x, target), lambda x: signed(x, target))
    check(
        lambda x: spade.GANLoss("hinge", tensor=torch.FloatTensor, opt=None)(x, target),
        lambda x: relu(1 - x if target else 1 + x).mean(),
    )


def test_spade_of_the_generator_and_of_lists():
    loss = spade.GANLoss("hinge")
    check(lambda x: loss(x, True, for_discriminator=False), lambda x: -x.mean())
    with pytest.raises(AssertionError, match="target_is_real"):
        loss(X, False, for_discriminator=False)
    found = loss([[NAN, X], [NAN, NAN, 2 * X[:1]], X], False)
    assert found.shape == (1,)
    torch.testing.assert_close(found[0], sum(relu(1 + x).mean() for x in (X, 2 * X[:1], X)) / 3)
    with pytest.raises(ValueError, match="gan_mode 'lsgan' is unknown"):
        spade.GANLoss("lsgan")


@BOTH
@pytest.mark.parametrize("is_disc", [True, False])
@pytest.mark.parametrize("labels", [(), (0.9, 0.2)])
def test_basicsr(target, is_disc, labels):
    label = (labels or (1.0, 0.0))[not target]
    hinge = (lambda x: relu(1 - x if target else 1 + x).mean()) if is_disc else (lambda x: -x.mean())
    formulas = {
        "vanilla": lambda x: bce(x, label),
        "lsgan": lambda x: square(x, label),
        "wgan": lambda x: signed(x, target),
        "wgan_softplus": lambda x: softplus(-x if target else x).mean(),
        "hinge": hinge,
    }
    given = dict(zip(("real_label_val", "fake_label_val"), labels, strict=False))
    for kind, formula in formulas.items():
        loss = basicsr.GANLoss(kind, loss_weight=0.1, **given)
        weight = 1 if is_disc else 0.1
        check(lambda x, loss=loss: loss(x, target, is_disc=is_disc), lambda x, f=formula, w=weight: w * f(x))
        scales = basicsr.MultiScaleGANLoss(kind, loss_weight=0.1, **given)
        check(
            lambda x, loss=scales: loss([[NAN, x], x[:1]], target, is_disc=is_disc),
            lambda x, f=formula, w=weight: w * (f(x) + f(x[:1])) / 2,
        )
        check(lambda x, loss=scales: loss(x, target, is_disc=is_disc), lambda x, f=formula, w=weight: w * f(x))


def test_basicsr_is_of_the_generator_by_default():
    assert basicsr.GANLoss("hinge", loss_weight=2.0)(X + 1, True) == -2
    with pytest.raises(NotImplementedError, match="gan_type 'lsgan2' is unknown"):
        basicsr.GANLoss("lsgan2")
