"""nn.FilteredSnake and BigVGAN's Activation1d: against its steps in plain PyTorch, its names, a block trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

import ganops
from ganops.compat import bigvgan


class Plain(nn.Module):
    """The steps as BigVGAN takes them, around its activation."""

    def __init__(self, act: nn.Module, ratio: int = 2, taps: int = 12) -> None:
        super().__init__()
        self.act, self.ratio, self.taps = act, ratio, taps
        self.upsample, self.downsample = nn.Module(), nn.Module()
        self.downsample.lowpass = nn.Module()
        for owner in (self.upsample, self.downsample.lowpass):
            owner.register_buffer("filter", torch.rand(1, 1, taps) / taps)

    def forward(self, x):
        channels, taps, ratio = x.shape[1], self.taps, self.ratio
        pad = taps // ratio - 1
        left, right = pad * ratio + (taps - ratio) // 2, pad * ratio + (taps - ratio + 1) // 2
        x = functional.pad(x, (pad, pad), mode="replicate")
        weight = self.upsample.filter.expand(channels, -1, -1)
        x = ratio * functional.conv_transpose1d(x, weight, stride=ratio, groups=channels)
        x = self.act(x[..., left:-right])
        x = functional.pad(x, (taps // 2 - (taps % 2 == 0), taps // 2), mode="replicate")
        weight = self.downsample.lowpass.filter.expand(channels, -1, -1)
        return functional.conv1d(x, weight, stride=ratio, groups=channels)


@pytest.mark.parametrize(("ratio", "taps"), [(2, 12), (2, 11), (3, 18), (4, 8)])
@pytest.mark.parametrize("logscale", [False, True])
@pytest.mark.parametrize("kind", [bigvgan.Snake, bigvgan.SnakeBeta])
def test_it_is_a_drop_in(kind, logscale, ratio, taps, device):
    """A checkpoint of the plain form loads into both modules; outputs and gradients are the same."""
    plain = Plain(kind(5, alpha_logscale=logscale), ratio, taps).double().to(device)
    for parameter in plain.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    beta = kind is bigvgan.SnakeBeta
    modules = [
        ganops.nn.FilteredSnake(5, ratio, beta=beta, logscale=logscale, up_taps=taps, down_taps=taps),
        bigvgan.Activation1d(kind(5, alpha_logscale=logscale), ratio, ratio, taps, taps),
    ]
    x = torch.randn(2, 5, 33, dtype=torch.float64, device=device, requires_grad=True)
    wanted = plain(x)
    upstream = torch.randn_like(wanted)
    leaves = [x, *plain.parameters()]
    slopes = torch.autograd.grad(wanted, leaves, upstream)
    for module in modules:
        module = module.double().to(device)
        module.load_state_dict(plain.state_dict())
        found = module(x)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(torch.autograd.grad(found, [x, *module.parameters()], upstream), slopes)


def test_the_state_has_the_names_of_the_original():
    names = {"act.alpha", "act.beta", "upsample.filter", "downsample.lowpass.filter"}
    for module in (ganops.nn.FilteredSnake(3), bigvgan.Activation1d(activation=bigvgan.SnakeBeta(3))):
        state = module.state_dict()
        assert set(state) == names
        assert state["upsample.filter"].shape == state["downsample.lowpass.filter"].shape == (1, 1, 12)
        assert state["act.alpha"].shape == (3,)
    assert set(ganops.nn.FilteredSnake(3, beta=False).state_dict()) == names - {"act.beta"}


def test_half_precision_under_autocast(device):
    module = ganops.nn.FilteredSnake(3).to(device)
    x = torch.randn(2, 3, 20, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        found = module(x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), module(x), rtol=0.05, atol=0.05)


class Block(nn.Module):
    """A residual block as BigVGAN's, of one dilation."""

    def __init__(self, channels: int, activation) -> None:
        super().__init__()
        self.first, self.second = activation(channels), activation(channels)
        self.wide = nn.Conv1d(channels, channels, 3, dilation=3, padding=3)
        self.narrow = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.narrow(self.second(self.wide(self.first(x))))


def test_a_block_trains_as_with_the_plain_form():
    """200 steps of Adam from the same weights: the same losses."""
    torch.manual_seed(0)
    blocks = [
        Block(4, lambda channels: Plain(bigvgan.SnakeBeta(channels, alpha_logscale=True))).double(),
        Block(4, lambda channels: bigvgan.Activation1d(bigvgan.SnakeBeta(channels, alpha_logscale=True))).double(),
    ]
    blocks[1].load_state_dict(blocks[0].state_dict())
    x = torch.randn(2, 4, 40, dtype=torch.float64)
    target = (2 * x).sin()
    losses = []
    for block in blocks:
        optimizer = torch.optim.Adam(block.parameters(), 1e-2)
        losses.append([])
        for _ in range(200):
            optimizer.zero_grad()
            loss = functional.mse_loss(block(x), target)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-7, atol=0)
    assert losses[0][-1] < 0.8 * losses[0][0]


def test_wrong_input_is_named():
    with pytest.raises(TypeError, match=r"activation must be a Snake or a SnakeBeta, .* got ReLU"):
        bigvgan.Activation1d(nn.ReLU())
    with pytest.raises(ValueError, match="up_ratio and down_ratio must be equal, got 2 and 3"):
        bigvgan.Activation1d(bigvgan.Snake(3), 2, 3)
    with pytest.raises(ValueError, match="FilteredSnake: channels must be at least 1, got 0"):
        ganops.nn.FilteredSnake(0)
    with pytest.raises(ValueError, match="ratio must be at least 1, got 0"):
        ganops.nn.FilteredSnake(3, 0)
