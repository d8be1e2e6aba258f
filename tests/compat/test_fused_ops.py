"""The operations of StyleGAN's repositories in their own calling conventions, against formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

import ganops
from ganops import reference
from ganops.compat import basicsr, rosinality, stylegan

X = torch.randn(2, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
KERNEL = torch.tensor([1.0, 3.0, 3.0, 1.0]).outer(torch.tensor([1.0, 2.0, 0.5])) / 28


def resampled(x, kernel, up, down, left, right, top, bottom):
    """Zeros after each pixel, padding (negative: crops), a convolution with the kernel, every down-th pixel."""
    n, c, h, w = x.shape
    grown = x.new_zeros(n, c, h * up, w * up)
    grown[:, :, ::up, ::up] = x
    grown = functional.pad(grown, (left, right, top, bottom))  # negative padding crops
    kernel = kernel.to(x.dtype).flip((0, 1)).expand(c, 1, *kernel.shape)
    return functional.conv2d(grown, kernel, groups=c)[:, :, ::down, ::down]


def both(found, wanted, *tensors):
    """Values and gradients agree."""
    results = []
    for function in (found, wanted):
        leaves = [t.clone().requires_grad_() for t in tensors]
        value = function(*leaves)
        weights = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
        results.append((value.detach(), *torch.autograd.grad((value * weights).sum(), leaves)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("module", [rosinality, basicsr], ids=["rosinality", "basicsr"])
@pytest.mark.parametrize(("up", "down", "pad"), [(1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 1, (-1, 3))])
def test_upfirdn2d_of_stylegan2_in_pytorch(module, up, down, pad):
    """The kernel is float32 beside images of any dtype, and two numbers of padding are (before, after)."""
    both(
        lambda x: module.upfirdn2d(x, KERNEL, up=up, down=down, pad=pad),
        lambda x: resampled(x, KERNEL, up, down, *pad, *pad),
        X,
    )
    half = module.upfirdn2d(X.half(), KERNEL, up, down, pad)
    torch.testing.assert_close(half, module.upfirdn2d(X, KERNEL, up, down, pad).half(), rtol=2e-3, atol=2e-3)
    both(
        lambda x: module.upfirdn2d(x, KERNEL, (up, up), (down, down), (3, 1, 2, 4)),
        lambda x: resampled(x, KERNEL, up, down, 3, 1, 2, 4),
        X,
    )


@pytest.mark.parametrize("module", [rosinality, basicsr], ids=["rosinality", "basicsr"])
def test_fused_leaky_relu(module):
    bias = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)
    for x in (X, X[:, :, 0, 0], X[:, :, 0]):
        shape = (1, 3, *(1 for _ in x.shape[2:]))
        both(
            module.fused_leaky_relu,
            lambda x, b, shape=shape: 2**0.5 * functional.leaky_relu(x + b.reshape(shape), 0.2),
            x, bias,
        )  # fmt: skip
        both(
            lambda x, b: module.fused_leaky_relu(x, b, 0.1, 1.5),
            lambda x, b, shape=shape: 1.5 * functional.leaky_relu(x + b.reshape(shape), 0.1),
            x, bias,
        )  # fmt: skip
    both(module.fused_leaky_relu, lambda x: 2**0.5 * functional.leaky_relu(x, 0.2), X)


def test_checkpoints_of_fused_leaky_relu_load():
    """The bias is the module's only parameter, and the arguments are in each repository's order."""
    state = {"bias": torch.tensor([1.0, -2.0, 0.5])}
    modules = (
        (rosinality.FusedLeakyReLU(3), 0.2, 2**0.5),
        (rosinality.FusedLeakyReLU(3, True, 0.1, 1.0), 0.1, 1.0),
        (basicsr.FusedLeakyReLU(3), 0.2, 2**0.5),
        (basicsr.FusedLeakyReLU(3, 0.1, 1.0), 0.1, 1.0),
    )
    for module, slope, scale in modules:
        module.load_state_dict(state)
        wanted = scale * functional.leaky_relu(X.float() + state["bias"][:, None, None], slope)
        torch.testing.assert_close(module(X.float()), wanted)
    assert not rosinality.FusedLeakyReLU(3, bias=False).state_dict()


def test_rosinalitys_convolutions():
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    x = X.clone().requires_grad_()
    out = rosinality.conv2d_gradfix.conv2d(x, weight, padding=1)
    with rosinality.conv2d_gradfix.no_weight_gradients():
        (gradient,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert weight.grad is not None
    assert rosinality.conv2d_gradfix.conv_transpose2d(out, weight).shape == (2, 3, 8, 7)


@pytest.mark.parametrize("impl", ["cuda", "ref"])
def test_upfirdn2d_of_stylegan(impl):
    """Two numbers of padding are (x, y), and helpers centre the filter."""
    module = stylegan.upfirdn2d
    f = module.setup_filter([1, 3, 3, 1])
    assert f.shape == (4, 4)
    assert f.dtype == torch.float32
    both(
        lambda x: module.upfirdn2d(x, f, up=2, padding=(2, 1), gain=4, impl=impl),
        lambda x: 4 * resampled(x, f, 2, 1, 2, 2, 1, 1),
        X,
    )
    both(lambda x: module.upsample2d(x, f, impl=impl), lambda x: 4 * resampled(x, f, 2, 1, 2, 1, 2, 1), X)
    both(lambda x: module.downsample2d(x, f, impl=impl), lambda x: resampled(x, f, 1, 2, 1, 1, 1, 1), X)
    both(lambda x: module.filter2d(x, f, impl=impl), lambda x: resampled(x, f, 1, 1, 2, 1, 2, 1), X)
    both(
        lambda x: module.filter2d(x, KERNEL, flip_filter=True, impl=impl),
        lambda x: resampled(x, KERNEL.flip((0, 1)), 1, 1, 1, 1, 2, 1),
        X,
    )
    assert torch.equal(module.upfirdn2d(X, None, down=2, impl=impl), X[:, :, ::2, ::2])


def test_what_other_files_of_stylegan_import():
    """conv2d_resample.py takes these from upfirdn2d.py, networks the default gain from bias_act.py."""
    module = stylegan.upfirdn2d
    assert module._get_filter_size(KERNEL) == (3, 4)
    assert module._get_filter_size(KERNEL[0]) == (3, 3)
    assert module._get_filter_size(None) == (1, 1)
    assert module._parse_padding(1) == (1, 1, 1, 1)
    assert module._parse_padding([1, 2]) == (1, 1, 2, 2)
    assert module._parse_padding([1, 2, 3, 4]) == (1, 2, 3, 4)
    assert module._parse_scaling(2) == (2, 2)
    functions = stylegan.bias_act.activation_funcs
    assert functions["lrelu"].def_gain == math.sqrt(2)
    assert functions["lrelu"].def_alpha == 0.2
    assert functions["linear"].def_gain == 1
    torch.testing.assert_close(functions["lrelu"].func(X, alpha=0.1), functional.leaky_relu(X, 0.1))
    torch.testing.assert_close(functions["selu"].func(X), functional.selu(X))


@pytest.mark.parametrize("impl", ["cuda", "ref"])
def test_bias_act_of_stylegan(impl):
    module = stylegan.bias_act
    bias = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)
    both(
        lambda x, b: module.bias_act(x, b, act="lrelu", gain=0.5, clamp=0.4, impl=impl),
        lambda x, b: (0.5 * functional.leaky_relu(x + b[:, None, None], 0.2)).clamp(-0.4, 0.4),
        X, bias,
    )  # fmt: skip
    for act in stylegan.bias_act.activation_funcs:
        found = module.bias_act(X, bias.float(), act=act, alpha=0.2, impl=impl)  # alpha means nothing to most
        torch.testing.assert_close(found, reference.bias_act(X, bias.float().double(), act=act))
    assert module.bias_act(X, dim=0, impl=impl).equal(X)


@pytest.mark.parametrize("impl", ["cuda", "ref"])
def test_filtered_lrelu_of_stylegan3(impl):
    """Filters are float32 beside images of any dtype; the default gain is √2."""
    f = stylegan.upfirdn2d.setup_filter([1, 3, 3, 1], separable=True)
    bias = torch.tensor([0.5, -1.0, 0.25])

    def formula(x):
        u = stylegan.upfirdn2d.upfirdn2d(x + bias.to(x.dtype)[:, None, None], f, up=2, padding=(3, 2), gain=4)
        u = (functional.leaky_relu(u, 0.2) * math.sqrt(2)).clamp(-0.75, 0.75)
        return stylegan.upfirdn2d.upfirdn2d(u, f, down=2)

    def found(x):
        call = stylegan.filtered_lrelu.filtered_lrelu
        return call(x, f, f, bias, up=2, down=2, padding=(3, 2), clamp=0.75, impl=impl)

    both(found, formula, X)
    torch.testing.assert_close(found(X.half()), formula(X).half(), rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(
        stylegan.filtered_lrelu.filtered_lrelu(X, impl=impl), math.sqrt(2) * functional.leaky_relu(X, 0.2)
    )


def test_an_impl_that_there_is_not():
    with pytest.raises(ValueError, match="filtered_lrelu: impl 'slow' is unknown"):
        stylegan.filtered_lrelu.filtered_lrelu(X, X[0, 0], impl="slow")
    with pytest.raises(ValueError, match="impl 'cpu' is unknown; choose one of cuda, ref"):
        stylegan.bias_act.bias_act(X, impl="cpu")
    with pytest.raises(ValueError, match="upfirdn2d: impl 'slow' is unknown"):
        stylegan.upfirdn2d.upfirdn2d(X, None, impl="slow")


# ------------------------------------------------------------------------------------ a block of StyleGAN2's, trained


class Block(torch.nn.Module):
    """Upsampling by a filter, a convolution, bias and activation, and the image beside it: fused or step by step."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.convolutions = torch.nn.ModuleList(torch.nn.Conv2d(8, out, 3, padding=1, bias=False) for out in (8, 8, 3))
        self.biases = torch.nn.ParameterList(torch.zeros(out) for out in (8, 8, 3))
        self.register_buffer("filter", ganops.setup_filter([1, 3, 3, 1]))

    def forward(self, x, image):
        ops = ganops if self.fused else reference
        x = ops.upsample2d(x, self.filter)
        for convolution, bias in zip(self.convolutions[:2], self.biases[:2], strict=True):
            x = ops.bias_act(convolution(x), bias, act="lrelu", clamp=8.0)
        drawn = ops.bias_act(self.convolutions[2](x), self.biases[2], clamp=8.0)
        return drawn + ops.upsample2d(image, self.filter)


def test_a_block_of_stylegan2_trains_alike():
    """200 steps, with a second derivative in each: the losses of the fused and of the plain block are the same."""
    losses = []
    for fused in (True, False):
        torch.manual_seed(1)
        block = Block(fused).double()
        optimizer = torch.optim.Adam(block.parameters(), lr=3e-3)
        x, image = torch.randn(4, 8, 4, 4, dtype=torch.float64), torch.randn(4, 3, 4, 4, dtype=torch.float64)
        target = torch.randn(4, 3, 8, 8, dtype=torch.float64)
        found = []
        for _ in range(200):
            given = x.clone().requires_grad_()
            loss = (block(given, image) - target).square().mean()
            (slope,) = torch.autograd.grad(loss, given, create_graph=True)
            loss = loss + 10 * slope.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.detach())
        losses.append(torch.stack(found))
    assert losses[0][-1] < 0.7 * losses[0][0]
    torch.testing.assert_close(*losses, rtol=1e-7, atol=1e-9)
