"""The adversarial losses of several discriminators, and with their parts."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

import ganops
from ganops import reference

from .conformance.table import KINDS

SHAPES = [(4, 1), (4, 1, 5, 3), (2, 7), (1,), (3, 1, 70)]


def _lists(device, dtype=torch.float64, count=5, graph=True):
    """The outputs of several discriminators for real and for generated samples."""
    return [
        [torch.randn(*shape, dtype=dtype, device=device).requires_grad_(graph) for shape in (SHAPES * 80)[:count]]
        for _ in range(2)
    ]


def _in_turn(losses):
    return sum(losses[1:], losses[0])


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_list_is_the_sum_or_mean_or_vector_of_its_tensors(kind, module, device):
    real, fake = _lists(device)
    functions = {
        "discriminator_loss": (
            lambda **s: module.discriminator_loss(real, tuple(fake), kind, **s),
            [reference.discriminator_loss(r, f, kind) for r, f in zip(real, fake, strict=True)],
        ),
        "generator_loss": (
            lambda **s: module.generator_loss(fake, kind, **s),
            [reference.generator_loss(f, kind) for f in fake],
        ),
        "gan_loss": (
            lambda **s: module.gan_loss(real, True, kind, **s) + module.gan_loss(fake, False, kind, **s),
            [reference.discriminator_loss(r, f, kind) for r, f in zip(real, fake, strict=True)],
        ),
    }
    for function, each in functions.values():
        total, wanted = function(), _in_turn(each)
        torch.testing.assert_close(total, wanted)
        torch.testing.assert_close(function(scale_reduction="mean"), wanted / 5)
        values = function(scale_reduction="none")
        torch.testing.assert_close(values, torch.stack(each))
        weights = torch.arange(1.0, 6.0, dtype=torch.float64, device=device)
        for found, expected in (
            (total, wanted),
            (3 * function(scale_reduction="mean"), 3 * wanted / 5),
            ((weights * values).sum(), (weights * torch.stack(each)).sum()),
        ):
            of_lists = torch.autograd.grad(found, real + fake, allow_unused=True, retain_graph=True)
            one_by_one = torch.autograd.grad(expected, real + fake, allow_unused=True, retain_graph=True)
            torch.testing.assert_close(of_lists, one_by_one)


def test_a_list_of_one_has_the_bits_of_its_tensor(device):
    (real,), (fake,) = _lists(device, torch.float32, 1)
    for alone, listed in (
        (ganops.discriminator_loss(real, fake), ganops.discriminator_loss([real], [fake])),
        (ganops.discriminator_loss(real, fake), ganops.discriminator_loss(real, fake, return_parts=True)[0]),
        (ganops.gan_loss(real, True), ganops.discriminator_loss(real, fake, return_parts=True)[1]),
        (ganops.gan_loss(fake, False), ganops.discriminator_loss(real, fake, return_parts=True)[2]),
    ):
        assert torch.equal(alone, listed)
        found = [torch.autograd.grad(x, (real, fake), allow_unused=True, retain_graph=True) for x in (alone, listed)]
        for one, other in zip(*found, strict=True):
            assert (one is None and (other is None or not other.any())) or torch.equal(one, other)


@pytest.mark.parametrize("scale_reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
def test_parts(module, scale_reduction, device):
    real, fake = _lists(device)
    settings = {"kind": "lsgan", "scale_reduction": scale_reduction, "real_target": 0.9}
    loss, *parts = module.discriminator_loss(real, fake, return_parts=True, **settings)
    for part, x, is_real in zip(parts, (real, fake), (True, False), strict=True):
        torch.testing.assert_close(part, module.gan_loss(x, is_real, **settings))
        found = torch.autograd.grad(2 * part.sum(), x, retain_graph=True)
        torch.testing.assert_close(found, torch.autograd.grad(2 * module.gan_loss(x, is_real, **settings).sum(), x))
    torch.testing.assert_close(loss, parts[0] + parts[1])
    # Each may be used beside the others.
    found = torch.autograd.grad((loss + 2 * parts[0] - parts[1]).sum(), real + fake)
    wanted = torch.autograd.grad(
        3 * module.gan_loss(real, True, **settings).sum() + 0 * module.gan_loss(fake, False, **settings).sum(),
        real + fake,
    )
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
def test_lists_without_a_reduction_are_lists_of_losses(module, device):
    real, fake = _lists(device)
    on_real, on_fake = module.discriminator_loss(real, fake, "hinge", reduction="none", scale_reduction="none")
    paired = module.discriminator_loss(real, fake, "rpgan", reduction="none", scale_reduction="none")
    generated = module.generator_loss(fake, "ns", reduction="none", scale_reduction="none")
    for k, (r, f) in enumerate(zip(real, fake, strict=True)):
        torch.testing.assert_close(on_real[k], F.relu(1 - r))
        torch.testing.assert_close(on_fake[k], F.relu(1 + f))
        torch.testing.assert_close(paired[k], F.softplus(f - r))
        torch.testing.assert_close(generated[k], F.softplus(-f))
    used = on_real[1].sum() + (on_fake[2] * fake[2].detach()).sum()
    found = torch.autograd.grad(used, [real[1], fake[2], real[0]], allow_unused=True)
    torch.testing.assert_close(found[0], -(real[1] < 1).double())
    torch.testing.assert_close(found[1], fake[2].detach() * (fake[2] > -1))
    assert found[2] is None or not found[2].any()


def test_a_list_longer_than_a_launch_takes(device):
    """And layouts, rests and tensors of several chunks in it."""
    real, fake = _lists(device, torch.float32, 333)
    real[7] = torch.randn(9, 1001, device=device).t().requires_grad_()
    fake[7] = torch.randn(5, 8, 3, 99, device=device).to(memory_format=torch.channels_last).requires_grad_()
    values = ganops.discriminator_loss(real, fake, scale_reduction="none")
    each = torch.stack([ganops.discriminator_loss(r, f) for r, f in zip(real, fake, strict=True)])
    torch.testing.assert_close(values, each, rtol=1e-6, atol=1e-6)
    weights = torch.linspace(-1, 1, 333, device=device)
    found, wanted = (torch.autograd.grad((weights * x).sum(), real + fake) for x in (values, each))
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)
    total = ganops.discriminator_loss(real, fake)
    torch.testing.assert_close(total, each.sum(), rtol=1e-5, atol=0)
    assert torch.equal(total, ganops.discriminator_loss(real, fake)), "to the bit"


@pytest.mark.parametrize("side", [0, 1])
def test_only_the_side_that_needs_it_has_a_gradient(side, device):
    lists = _lists(device)
    lists[1 - side] = [x.detach() for x in lists[1 - side]]
    for reduction, scale_reduction in (("mean", "sum"), ("none", "none")):
        found = ganops.discriminator_loss(*lists, reduction=reduction, scale_reduction=scale_reduction)
        total = found if reduction == "mean" else sum(x.sum() for losses in found for x in losses)
        wanted = reference.gan_loss(
            lists[side], side == 0, reduction="sum" if reduction == "none" else reduction, scale_reduction="sum"
        )
        torch.testing.assert_close(*(torch.autograd.grad(x, lists[side]) for x in (total, wanted)))
    loss, on_real, on_fake = ganops.discriminator_loss(*lists, return_parts=True)
    assert loss.requires_grad
    found = torch.autograd.grad(loss + 2 * (on_real, on_fake)[side] + (on_real, on_fake)[1 - side], lists[side])
    wanted = torch.autograd.grad(3 * reference.gan_loss(lists[side], side == 0), lists[side])
    torch.testing.assert_close(found, wanted)


def test_real_logits_of_inference_mode_beside_fake_ones_with_a_gradient(device):
    with torch.inference_mode():
        real = [torch.randn(3, device=device) for _ in range(2)]
    fake = [torch.randn(3, device=device, requires_grad=True) for _ in range(2)]
    ganops.generator_loss(fake, "relativistic", real_logits=real).backward()
    ganops.discriminator_loss(real, fake, "hinge").backward()
    assert all(f.grad is not None for f in fake)


def test_modules_take_lists(device):
    real, fake = _lists(device)
    d = ganops.nn.DiscriminatorLoss("hinge", scale_reduction="mean")
    assert torch.equal(d(real, fake), ganops.discriminator_loss(real, fake, "hinge", scale_reduction="mean"))
    g = ganops.nn.GeneratorLoss("relativistic", scale_reduction="none")
    wanted = ganops.generator_loss(fake, "relativistic", real_logits=real, scale_reduction="none")
    assert torch.equal(g(fake, real), wanted)


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda m, x: m.discriminator_loss([x, x], [x]),
            ValueError,
            "discriminator_loss: real_logits has 2 entries and fake_logits has 1; both must have one for each",
        ),
        (lambda m, x: m.discriminator_loss([], []), ValueError, "discriminator_loss: real_logits is an empty list"),
        (lambda m, x: m.generator_loss([]), ValueError, "generator_loss: fake_logits is an empty list"),
        (lambda m, x: m.gan_loss((), True), ValueError, "gan_loss: logits is an empty list"),
        (
            lambda m, x: m.discriminator_loss([x], x),
            TypeError,
            "discriminator_loss: real_logits is a list and fake_logits is a Tensor; pass both as tensors, or both as",
        ),
        (
            lambda m, x: m.generator_loss(x, "rpgan", real_logits=[x]),
            TypeError,
            "generator_loss: real_logits is a list and fake_logits is a Tensor",
        ),
        (
            lambda m, x: m.discriminator_loss([x, x], [x, x.double()]),
            TypeError,
            r"real_logits\[0\] \(torch.float32\) and fake_logits\[1\] \(torch.float64\) must have the same dtype",
        ),
        (
            lambda m, x: m.generator_loss([x, x.to("meta")]),
            ValueError,
            r"fake_logits\[0\] \(cpu\) and fake_logits\[1\] \(meta\) must be on the same device",
        ),
        (lambda m, x: m.gan_loss([x, 1.0], True), TypeError, r"gan_loss: logits\[1\] must be a tensor, got float"),
        (lambda m, x: m.gan_loss([x, [x]], True), TypeError, r"gan_loss: logits\[1\] must be a tensor, got list"),
        (lambda m, x: m.gan_loss([x, x.int()], True), TypeError, r"logits\[1\] must be a floating-point tensor"),
        (
            lambda m, x: m.discriminator_loss([x, x], [x, x[:2]], "relativistic"),
            ValueError,
            r"real_logits\[1\] \(3,\) and fake_logits\[1\] \(2,\) must have the same shape",
        ),
        (
            lambda m, x: m.generator_loss([x], "hinge", real_logits=[x]),
            TypeError,
            "kind 'hinge' takes no real_logits",
        ),
        (
            lambda m, x: m.gan_loss([x], True, reduction="none"),
            ValueError,
            "gan_loss: reduction 'none' keeps every logit of a list; pass scale_reduction='none' with it, got 'sum'",
        ),
        (
            lambda m, x: m.gan_loss(x, True, scale_reduction="average"),
            ValueError,
            "gan_loss: scale_reduction 'average' is unknown.*; choose one of mean, none, sum",
        ),
        (
            lambda m, x: m.discriminator_loss(x, x, "relativistic", return_parts=True),
            ValueError,
            "kind 'relativistic' compares real with generated logits, its loss has no parts",
        ),
        (
            lambda m, x: m.discriminator_loss(x, x, reduction="none", return_parts=True),
            ValueError,
            "reduction 'none' gives the losses of real and of generated logits already",
        ),
        (
            lambda m, x: m.discriminator_loss(x, x, return_parts=1),
            TypeError,
            "discriminator_loss: return_parts must be True or False, got 1",
        ),
    ],
)
def test_bad_lists(module, call, error, text):
    with pytest.raises(error, match=text):
        call(module, torch.zeros(3))


# ------------------------------------------------------------------------------------------------ weights of samples


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_is_that_of_its_sample(kind, reduction, module, device):
    """The loss of each sample alone, times its weight; the mean divides by the number of logits."""
    x = torch.randn(5, 2, 3, dtype=torch.float64, device=device)
    weight = torch.tensor([0.5, 0.0, 2.0, -1.0, 1.0], dtype=torch.float64, device=device)
    for loss in (partial(module.gan_loss, is_real=True, kind=kind), partial(module.generator_loss, kind=kind)):
        by_sample = [w * loss(sample[None], reduction=reduction) for sample, w in zip(x, weight, strict=True)]
        found = loss(x, reduction=reduction, sample_weight=weight)
        if reduction == "none":
            torch.testing.assert_close(found, torch.cat(by_sample))
        else:
            torch.testing.assert_close(found, sum(by_sample) / (len(x) if reduction == "mean" else 1))


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize("scale_reduction", ["sum", "mean", "none"])
def test_weights_of_lists(scale_reduction, module, device):
    """One weight for the sample of every discriminator; any layout, and channels last."""
    logits = [
        torch.randn(4, 1, device=device),
        torch.randn(4, 3, 2, 2, device=device).to(memory_format=torch.channels_last),
        torch.randn(6, 4, device=device).t(),
    ]
    logits = [x.requires_grad_() for x in logits]
    weight = torch.tensor([1.0, 0.25, 0.0, 3.0], device=device)
    loss = partial(module.gan_loss, is_real=False, kind="bce", fake_target=0.1, sample_weight=weight)
    found = loss(logits, scale_reduction=scale_reduction)
    each = [loss(x) for x in logits]
    stacked = torch.stack(each)
    expected = stacked if scale_reduction == "none" else getattr(stacked, scale_reduction)()
    torch.testing.assert_close(found, expected)
    of_lists, one_by_one = (torch.autograd.grad(y.square().sum(), logits) for y in (found, expected))
    torch.testing.assert_close(of_lists, one_by_one)
    assert not any(x[2].any() for x in of_lists)


def test_weights_may_be_masks_and_ones_are_no_weights(device):
    x = torch.randn(7, 3, device=device)
    mask = torch.tensor([1, 0, 1, 1, 0, 0, 1], device=device, dtype=torch.bool)
    masked = ganops.generator_loss(x, "hinge", reduction="sum", sample_weight=mask)
    torch.testing.assert_close(masked, ganops.generator_loss(x[mask], "hinge", reduction="sum"))
    ones = ganops.gan_loss(x, True, sample_weight=torch.ones(7, device=device))
    torch.testing.assert_close(ones, ganops.gan_loss(x, True))
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert ganops.gan_loss(x.bfloat16(), True, sample_weight=mask).dtype == torch.float32
    nothing = x[:0]
    assert ganops.gan_loss(nothing, True, sample_weight=nothing[:, 0]).isnan()


@pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])
@pytest.mark.parametrize(
    ("weight", "error", "text"),
    [
        (
            torch.ones(3),
            ValueError,
            r"sample_weight must have the shape \(N,\).* got \(3,\)",
        ),
        (torch.ones(4, 1), ValueError, r"got \(4, 1\)"),
        ([1.0] * 4, TypeError, "sample_weight must be a tensor of real numbers, got list"),
        (torch.ones(4, dtype=torch.complex64), TypeError, "got torch.complex64"),
        (torch.ones(4, requires_grad=True), ValueError, r"gets no gradient; pass sample_weight.detach\(\)"),
        (torch.ones(4, device="meta"), ValueError, "must be on the same device"),
    ],
)
def test_bad_weights(weight, error, text, module):
    with pytest.raises(error, match=text):
        module.gan_loss(torch.zeros(4, 2), True, sample_weight=weight)
    with pytest.raises(error, match=text):
        module.generator_loss(torch.zeros(4, 2), sample_weight=weight)
