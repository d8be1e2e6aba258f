"""Critics of all kinds under the penalties: attention, compiled ones, several outputs, layers that break a penalty."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import ganops
from ganops import reference
from ganops.penalties import critics

MODULES = pytest.mark.parametrize("module", [ganops, reference], ids=["fused", "reference"])

#: Every whole penalty as a function of (module, critic, samples, **settings).
PENALTIES: dict[str, Callable[..., Tensor]] = {
    "gradient": lambda m, d, x, **s: m.gradient_penalty(d, x, x, **s),
    "lp": lambda m, d, x, **s: m.lp_penalty(d, x, x, **s),
    "r1": lambda m, d, x, **s: m.r1_penalty(d, x, **s),
    "r2": lambda m, d, x, **s: m.r2_penalty(d, x, **s),
    "dragan": lambda m, d, x, **s: m.dragan_penalty(d, x, torch.ones_like(x), **s),
    "approximate-r1": lambda m, d, x, **s: m.approximate_r1_penalty(d, x, 0.1, noise=torch.ones_like(x), **s),
}
every_penalty = pytest.mark.parametrize("name", PENALTIES)

#: R1 in its three ways: which are differentiated twice.
WAYS = {
    "exact": lambda d, x: ganops.r1_penalty(d, x),
    "finite difference": lambda d, x: ganops.r1_penalty(d, x, finite_difference=0.01),
    "along noise": lambda d, x: ganops.approximate_r1_penalty(d, x, 0.1, noise=torch.ones_like(x)),
}
ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(autouse=True)
def _inspect_again() -> None:
    """As in a new process."""
    critics._inspected.clear()
    critics._warned.clear()


def mlp(device: torch.device, *middle: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), *middle, nn.Tanh(), nn.Linear(8, 1)).to(device)


def points(device: torch.device) -> Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).to(device)


def gradients(value: Tensor, critic: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(critic.parameters()), materialize_grads=True))


class Attention(nn.Module):
    """One head over the features, by torch's function or by hand; notes whether flash attention was allowed."""

    def __init__(self, device: torch.device, by_hand: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.by_hand = by_hand
        self.project, self.head = nn.Linear(1, 24, device=device), nn.Linear(8, 1, device=device)
        self.fused: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x[:, None, :, None]).chunk(3, -1)
        if not torch.compiler.is_compiling():
            self.fused.append(torch.backends.cuda.flash_sdp_enabled())
        if self.by_hand:
            found = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value
        else:
            found = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.head(found).flatten(1).sum(1)


@ways
def test_attention(way, device):
    x, fused, by_hand = points(device), Attention(device, by_hand=False), Attention(device, by_hand=True)
    values = [WAYS[way](critic, x) for critic in (fused, by_hand)]
    torch.testing.assert_close(*values, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(gradients(values[0], fused), gradients(values[1], by_hand), rtol=1e-2, atol=1e-4)
    assert set(fused.fused) == {way != "exact"}  # nothing else gives up the fused kernels
    assert torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.compile
def test_attention_under_compile(device):
    x, critic = points(device), Attention(device, by_hand=False)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: ganops.r1_penalty(critic, x), fullgraph=True, backend="aot_eager")(x)
    expected = ganops.r1_penalty(Attention(device, by_hand=True), x)
    torch.testing.assert_close(compiled, expected, rtol=1e-3, atol=1e-5)


class Wrapped(nn.Module):
    """torch does not compile its own modules in place."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@pytest.mark.compile
@ways
def test_compiled_critics(way, device):
    """A compiled module, a function of one, one compiled in place; each is as compiled as before afterwards."""
    torch._dynamo.reset()
    x, plain = points(device), mlp(device)
    expected = WAYS[way](plain, x)
    slopes = gradients(expected, plain)
    in_place = Wrapped(copy.deepcopy(plain))
    in_place.compile(backend="aot_eager")
    module = torch.compile(copy.deepcopy(plain), backend="aot_eager")
    for owner, critic in ((module, module), (module, lambda x: module(x)), (in_place, in_place)):
        for _ in range(2):  # the first call is inspected
            with warnings.catch_warnings():
                warnings.filterwarnings("error", ".*global hooks")  # torch's, of compiled modules
                value = WAYS[way](critic, x)
            torch.testing.assert_close(value, expected)
            torch.testing.assert_close(gradients(value, owner), slopes, rtol=1e-4, atol=1e-5)
        assert critic(x).grad_fn.name() == "CompiledFunctionBackward"


@pytest.mark.compile
def test_a_compiled_step_whose_critic_breaks_the_graph(device):
    torch._dynamo.reset()
    x, net = points(device), mlp(device)

    def critic(x):
        hidden = net[0](x)
        torch._dynamo.graph_break()
        return net[1:](hidden)

    value = torch.compile(lambda x: ganops.r1_penalty(critic, 1 * x), backend="aot_eager")(x)
    expected = ganops.r1_penalty(net, x)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradients(value, net), gradients(expected, net))


@pytest.mark.compile
def test_logits_of_a_compiled_critic(device):
    torch._dynamo.reset()
    x, critic = points(device).requires_grad_(), torch.compile(mlp(device), backend="aot_eager")
    logits = critic(x)
    with pytest.raises(ValueError, match=r"input_gradient_penalty: logits come from a compiled critic.*force_eager"):
        ganops.input_gradient_penalty(logits, x, target=0)
    with torch.compiler.set_stance("force_eager"):
        logits = critic(x)
    torch.testing.assert_close(ganops.input_gradient_penalty(logits, x, target=0), ganops.r1_penalty(mlp(device), x))


@MODULES
@every_penalty
def test_several_outputs(module, name, device):
    penalty, x, critic = PENALTIES[name], points(device), mlp(device)
    for output, select, text in (
        (lambda x: (x, critic(x)), lambda found: found[1], r"got tuple of length 2; choose with select="),
        (lambda x: [critic(x)], lambda found: found[0], r"got list of length 1; choose with select="),
        (lambda x: {"logits": critic(x)}, lambda found: found["logits"], r"keys \['logits'\].*output\['logits'\]"),
    ):
        torch.manual_seed(0)  # the weights between x and x do not matter, but their number does
        torch.testing.assert_close(penalty(module, output, x, select=select), penalty(module, critic, x))
        with pytest.raises(TypeError, match=f"_penalty: critic must return one .*{text}"):
            penalty(module, output, x)
    with pytest.raises(TypeError, match=r"_penalty: select must return one .*, got list of length 1"):
        penalty(module, critic, x, select=lambda found: [found])
    with pytest.raises(TypeError, match=r"_penalty: select must be a function .* got int"):
        penalty(module, critic, x, select=1)


@MODULES
@every_penalty
def test_what_is_no_critic(module, name, device):
    penalty, x = PENALTIES[name], points(device)
    with pytest.raises(TypeError, match=r"_penalty: critic must be callable, .* got Tensor; it is the first argument"):
        penalty(module, x, x)
    with pytest.raises(TypeError, match=r"_penalty: critic must return one floating-point tensor, got torch\.int64"):
        penalty(module, lambda x: x.long(), x)
    with pytest.raises(TypeError, match=r"_penalty: critic must return one floating-point tensor, got NoneType"):
        penalty(module, lambda x: None, x)
    with pytest.raises(ValueError, match=r"at least one score per sample, got one number for 4 samples"):
        penalty(module, lambda x: x.square().mean(), x)


@MODULES
def test_the_order_of_real_fake_and_critic(module, device):
    with pytest.raises(TypeError, match=r"^gradient_penalty: critic must be callable"):
        module.gradient_penalty(points(device), points(device), mlp(device))


@MODULES
@every_penalty
def test_a_critic_that_begins_in_place(module, name, device):
    x, rest = points(device), mlp(device)
    before, begins = x.clone(), nn.Sequential(nn.ReLU(inplace=True), rest)
    value = PENALTIES[name](module, begins, x)
    assert torch.equal(x, before)
    torch.testing.assert_close(value, PENALTIES[name](module, nn.Sequential(nn.ReLU(), rest), x))


@MODULES
@every_penalty
@pytest.mark.parametrize("finite_difference", [0.0, 0.01])
def test_empty_batches(module, name, finite_difference, device):
    """No penalties; their mean is NaN, as torch's is of nothing."""
    settings = {"finite_difference": finite_difference} if name != "approximate-r1" else {}
    x, critic = torch.zeros(0, 6, device=device), mlp(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of DRAGAN's standard deviation
        each, total, mean = (
            PENALTIES[name](module, critic, x, reduction=reduction, **settings) for reduction in ("none", "sum", "mean")
        )
    assert each.shape == (0,)
    assert total == 0
    assert mean.isnan()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@ways
def test_scripted_and_checkpointed_critics(way, device):
    x, critic = points(device), mlp(device)
    expected = WAYS[way](critic, x)
    slopes = gradients(expected, critic)
    scripted = torch.jit.script(critic)

    def checkpointed(x):
        return critic[1:](checkpoint(critic[0], x, use_reentrant=False))

    for found in (scripted, scripted, scripted, checkpointed):  # the third call of a script is an optimized one
        value = WAYS[way](found, x)
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(gradients(value, critic), slopes, rtol=1e-2, atol=1e-4)


# ------------------------------------------------------------------------------------------------------- warnings


def said(call: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    assert all(one.filename == __file__ for one in found)  # the line that called the penalty
    return [str(one.message) for one in found]


@ways
def test_batch_norm_is_warned_of_once(way, device):
    x, critic = points(device), mlp(device, nn.BatchNorm1d(8))
    for hidden in (critic, lambda x: critic(x), critic):
        texts = said(lambda hidden=hidden: WAYS[way](hidden, x))
        assert len(texts) == (hidden is critic and not critic[1].num_batches_tracked > 4)
        assert all("batch normalization in training mode" in text for text in texts)
        critic[1].num_batches_tracked += 4
    for harmless in (mlp(device, nn.BatchNorm1d(8)).eval(), mlp(device, nn.GroupNorm(2, 8))):
        assert not said(lambda harmless=harmless: WAYS[way](harmless, x))


@ways
def test_what_changes_between_two_calls_is_warned_of(way, device):
    x = points(device)
    for layer in (nn.Dropout(), nn.utils.spectral_norm(nn.Linear(8, 8))):
        texts = said(lambda layer=layer: WAYS[way](mlp(device, layer), x))
        assert len(texts) == (way != "exact")
        assert all("changes between two calls" in text for text in texts)
        assert not said(lambda layer=layer: WAYS[way](mlp(device, layer).eval(), x))
    parametrized = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
    assert not said(lambda: WAYS[way](mlp(device, parametrized), x))
