import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from ganops import models


@pytest.mark.parametrize("norm", models.NORMS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 48), (1, 8, 8), (2, 13, 27), (3, 4, 4)], ids=str)
def test_dcgan_serves_any_image_and_every_norm(shape, norm):
    generator, discriminator = models.build(
        "dcgan", shape, latent_dim=6, width=4, generator_norm=norm, discriminator_norm=norm
    )
    images = generator(torch.randn(3, 6))
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (3, 1)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)], ids=str)
@pytest.mark.parametrize("norm", ["none", "batch", "layer", "spectral"])
def test_mlp_serves_points_and_images(shape, norm):
    generator, discriminator = models.build(
        "mlp", shape, latent_dim=3, width=5, generator_norm=norm, discriminator_norm=norm
    )
    samples = generator(100 * torch.randn(4, 3))
    assert samples.shape == (4, *shape)
    assert discriminator(samples).shape == (4, 1)
    if shape == (2,):
        assert isinstance(generator[-1], nn.Linear)  # points are not bounded to [-1, 1]
    else:
        assert samples.abs().max() <= 1


@pytest.mark.parametrize("norm", ["none", "layer", "instance", "spectral"])
def test_critics_without_batch_norm_judge_each_sample_alone(norm):
    _, critic = models.build("dcgan", (1, 8, 8), latent_dim=3, width=4, discriminator_norm=norm)
    critic.eval()  # spectral norm's power iteration moves with each training forward
    images = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(critic(images)[:1], critic(images[:1]))


def test_batch_norm_does_tie_samples_together():
    _, critic = models.build("dcgan", (1, 8, 8), latent_dim=3, width=4, discriminator_norm="batch")
    images = torch.randn(5, 1, 8, 8)
    assert not torch.allclose(critic(images)[:2], critic(images[:2]), rtol=1e-3)


@pytest.mark.parametrize("name", ["mlp", "maxout", "shallow", "dcgan", "unet"])
def test_a_discriminator_of_another_width(name):
    """D's own width changes D and leaves G alone; without it both have the model's."""
    given = {"latent_dim": 3, "width": 8, **({"condition_shape": (1, 8, 8)} if name == "unet" else {})}

    def shapes(**options):
        networks = models.build(name, (1, 8, 8), **given, **options)
        return [[tuple(p.shape) for p in network.parameters()] for network in networks]

    usual, narrow = shapes(), shapes(discriminator_width=2)
    assert narrow[0] == usual[0]
    assert sum(map(math.prod, narrow[1])) < sum(map(math.prod, usual[1])) / 2
    assert shapes(discriminator_width=8) == usual
    condition = (torch.randn(2, 1, 8, 8),) if name == "unet" else ()
    _, critic = models.build(name, (1, 8, 8), **given, discriminator_width=2)
    assert critic(torch.randn(2, 1, 8, 8), *condition).shape[0] == 2


def test_dcgan_weights_start_at_002():
    torch.manual_seed(0)
    generator, discriminator = models.build("dcgan", (1, 28, 28), latent_dim=64)
    for network in (generator, discriminator):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.weight.numel() > 10_000:
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("dcgna", (1, 8, 8)), "did you mean 'dcgan'"),
        (("dcgan", (2,)), "use model 'mlp' for points"),
        (("dcgan", (1, 3, 8)), "at least 4, got 3x8"),
    ],
)
def test_wrong_input_is_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        models.build(*arguments, latent_dim=4)


def test_wrong_norms_and_widths_are_named():
    with pytest.raises(ValueError, match="did you mean 'batch'"):
        models.build("mlp", (2,), latent_dim=2, generator_norm="bacth")
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        models.build("mlp", (2,), latent_dim=2, width=0)
    with pytest.raises(ValueError, match="dense layers take none"):
        models.build("mlp", (2,), latent_dim=2, discriminator_norm="instance")


@pytest.mark.parametrize("upsample", models.UPSAMPLINGS)
@pytest.mark.parametrize("norm", ["none", "batch", "instance", "spectral"])
@pytest.mark.parametrize(("condition", "shape"), [(1, (1, 28, 28)), (2, (3, 32, 48)), (1, (1, 64, 64)), (3, (1, 9, 8))])
def test_unet_serves_images_of_many_sizes(condition, shape, norm, upsample):
    generator, discriminator = models.build(
        "unet", shape, condition_shape=(condition, *shape[1:]), latent_dim=5, width=4, generator_norm=norm,
        discriminator_norm=norm, upsample=upsample,
    )  # fmt: skip
    given = torch.randn(2, condition, *shape[1:])
    made = generator(torch.randn(2, 5), given)
    assert made.shape == (2, *shape)
    assert made.abs().max() <= 1
    logits = discriminator(made, given)
    assert logits.shape[:2] == (2, 1)
    assert logits.shape[2] > 1  # patches, not one verdict


def test_unet_keeps_pixels_in_place_and_listens_to_the_noise():
    torch.manual_seed(0)
    generator, _ = models.build("unet", (1, 32, 32), condition_shape=(1, 32, 32), latent_dim=5, width=4)
    generator.eval()
    z, image = torch.randn(1, 5), torch.randn(1, 1, 32, 32).requires_grad_()
    pixel = generator(z, image)[0, 0, 9, 20]
    (slope,) = torch.autograd.grad(pixel, image)
    near = slope[0, 0, 7:12, 18:23].abs().mean()
    assert near > 3 * slope.abs().mean()  # through the joins, past the bottleneck
    assert not torch.equal(generator(z, image), generator(z + 1, image))


def test_patches_see_as_much_as_they_should():
    critic = models.PatchDiscriminator(2, 2, 4, "none")
    x = torch.randn(1, 1, 64, 64, requires_grad=True)
    logit = critic(x, torch.randn(1, 1, 64, 64))[0, 0, 8, 8]
    (slope,) = torch.autograd.grad(logit, x)
    seen = (slope[0, 0] != 0).nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [18, 18]


@pytest.mark.parametrize("model", ["mlp", "dcgan", "maxout", "shallow"])
@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize("minibatch", [False, True])
def test_labels_packs_and_minibatch_layers_in_one(model, pack, minibatch):
    generator, discriminator = models.build(
        model, (1, 8, 8), latent_dim=3, width=4, classes=10, pack=pack, minibatch_discrimination=minibatch,
        minibatch_stddev=minibatch,
    )  # fmt: skip
    labels = torch.arange(8)
    images = generator(torch.randn(8, 3), labels)
    assert images.shape == (8, 1, 8, 8)
    packed, packed_labels = images.reshape(8 // pack, pack, 8, 8), labels.reshape(-1, pack)
    logits = discriminator(packed, packed_labels)
    assert logits.shape == (8 // pack, 1)
    other = discriminator(packed, (packed_labels + 1) % 10)
    assert not torch.allclose(logits, other)
    if pack == 2 and not minibatch:  # each place in the pack has vectors of its own
        swapped = discriminator(packed, packed_labels.flip(1))
        assert not torch.allclose(logits, swapped)


def test_lipschitz_bounds_the_slope_of_a_spectrally_normalised_discriminator():
    torch.manual_seed(0)
    _, critic = models.build("mlp", (2,), latent_dim=2, width=16, discriminator_norm="spectral", lipschitz=30.0)
    for _ in range(50):  # power iterations
        critic(torch.zeros(2, 2))
    critic.eval()
    x = torch.randn(64, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(critic(x).sum(), x)
    assert 1 < slope.norm(dim=1).max() <= 30 * (1 + 1e-3)
    torch.testing.assert_close(critic(x), 30 * critic.network(x))
    with pytest.raises(ValueError, match=r"lipschitz must be finite and above 0, got -1\.0"):
        models.build("mlp", (2,), latent_dim=2, lipschitz=-1.0)


def test_the_shallow_ring_networks_are_the_papers():
    """Metz et al. 2017, appendix A: 256-128-128-2 and 2-128-1, orthogonal weights times 0.8, D's input over 4."""
    generator, critic = models.build("shallow", (2,), latent_dim=256)
    layers = [[m for m in network.modules() if isinstance(m, nn.Linear)] for network in (generator, critic)]
    assert [[tuple(m.weight.shape) for m in part] for part in layers] == [
        [(128, 256), (128, 128), (2, 128)],
        [(128, 2), (1, 128)],
    ]
    for module in itertools.chain(*layers):
        assert module.bias.count_nonzero() == 0
        torch.testing.assert_close(torch.linalg.svdvals(module.weight), torch.full((min(module.weight.shape),), 0.8))
    x = torch.randn(5, 2)
    first, last = layers[1]
    torch.testing.assert_close(critic(x), last(torch.relu(first(x / 4))))


def test_resize_convolution_makes_no_checkerboard():
    """Of a constant map transposed convolution with any weights makes a pattern of period 2; others make none."""
    from ganops.models.layers import upsampling

    torch.manual_seed(0)
    flat = torch.ones(1, 3, 8, 8)
    patterns = {}
    for kind in models.UPSAMPLINGS:
        (out,) = [nn.Sequential(*upsampling(3, 1, (8, 8), (16, 16), "none", kind))(flat)]
        inside = out[0, 0, 3:-3, 3:-3]
        patterns[kind] = (inside - inside.mean()).abs().max().item()
    assert max(patterns["resize"], patterns["filtered"]) < 1e-6
    assert patterns["transposed"] > 1e-2


def keys(network):
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


@pytest.mark.parametrize("model", ["dcgan", "unet"])
def test_filtered_networks_have_the_weights_of_the_others(model):
    """The filters are no part of the state dict; layers keep their shapes, and other modes their keys."""
    given = {"condition_shape": (1, 28, 28)} if model == "unet" else {}
    built = {
        kind: models.build(model, (1, 28, 28), latent_dim=5, width=4, upsample=kind, **given)
        for kind in models.UPSAMPLINGS
    }
    assert keys(built["filtered"][0]) == keys(built["resize"][0])
    assert keys(built["transposed"][1]) == keys(built["resize"][1])
    filtered, plain = keys(built["filtered"][1]), keys(built["transposed"][1])
    assert list(filtered.values()) == list(plain.values())


@pytest.mark.parametrize("norm", ["none", "spectral", "layer"])
def test_a_bias_in_the_activations_pass_is_a_bias(norm):
    """The discriminator is that of a convolution with its bias and a LeakyReLU: keys, logits, gradients."""
    from torch.nn.utils.parametrizations import spectral_norm

    torch.manual_seed(0)
    _, critic = models.build("dcgan", (3, 16, 16), latent_dim=5, width=4, discriminator_norm=norm)
    wrap = spectral_norm if norm == "spectral" else lambda layer: layer
    plain = []
    for i, (a, b) in enumerate(((3, 4), (4, 8))):
        between = [nn.GroupNorm(1, b)] if norm == "layer" and i else []
        plain += [wrap(nn.Conv2d(a, b, 4, stride=2, padding=1)), *between, nn.LeakyReLU(0.2)]
    plain = nn.Sequential(*plain, nn.Flatten(), wrap(nn.Linear(8 * 16, 1)))
    assert keys(plain) == keys(critic)
    plain.load_state_dict(critic.state_dict())
    plain.eval(), critic.eval()
    x = torch.randn(4, 3, 16, 16)
    found = []
    for network in (critic, plain):
        given = x.clone().requires_grad_()
        logits = network(given)
        (slope,) = torch.autograd.grad(logits.sum(), given, create_graph=True)
        loss = logits.square().sum() + slope.square().sum()
        found.append((logits, slope, *torch.autograd.grad(loss, list(network.parameters()))))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_a_filtered_discriminator_hardly_minds_a_shift():
    """A strided convolution folds a checkerboard to whatever phase it meets; low-passed, next to nothing is left."""
    torch.manual_seed(0)
    board = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).mul(2.0).sub(1).expand(1, 1, 32, 32)
    shifts = {}
    for kind in ("transposed", "filtered"):
        _, critic = models.build("dcgan", (1, 32, 32), latent_dim=5, width=8, upsample=kind)
        layers = list(critic.children())
        first = nn.Sequential(*layers[: 1 if kind == "transposed" else 2])
        inside = (first(board) - first(board.roll(1, 3)))[..., 2:-2, 2:-2]
        shifts[kind] = inside.abs().max().item()
    assert shifts["filtered"] < 1e-6 < 1e-3 < shifts["transposed"]


def test_maxout_takes_the_largest_piece():
    from ganops.models.mlp import Maxout

    layer = Maxout(3, 4, pieces=5)
    x = torch.randn(6, 3)
    assert torch.equal(layer(x), layer.linear(x).reshape(6, 4, 5).max(2).values)


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        ("mlp", {"upsample": "resize"}, "its layers are dense"),
        ("unet", {"pack": 2, "condition_shape": (1, 8, 8)}, "packs would mix them"),
        ("unet", {}, "needs condition_shape"),
        ("unet", {"condition_shape": (1, 9, 9)}, "must have the same height and width"),
        ("unet", {"condition_shape": (1, 8, 8), "classes": 3}, "its condition is an image"),
        ("dcgan", {"condition_shape": (1, 8, 8)}, "takes no condition_shape"),
        ("maxout", {"discriminator_norm": "batch"}, "discriminator_norm must be none"),
        ("dcgan", {"upsample": "bilinear"}, "upsample 'bilinear' is unknown"),
    ],
)
def test_what_a_model_cannot_have_is_refused_with_the_reason(model, options, text):
    with pytest.raises(ValueError, match=text):
        models.build(model, (1, 8, 8), latent_dim=3, **options)


def test_numpy_scalars_are_numbers():
    generator, discriminator = models.build(
        "dcgan", tuple(np.array([1, 8, 8])), latent_dim=np.int64(4), width=np.int32(4), lipschitz=np.float32(2)
    )
    assert generator(torch.zeros(3, 4)).shape == (3, 1, 8, 8)
    assert (discriminator.factor, type(discriminator.factor)) == (2.0, float)
    with pytest.raises(TypeError, match=r"width must be a whole number, got float 4\.0"):
        models.build("mlp", (2,), latent_dim=2, width=4.0)


@pytest.mark.parametrize("name", [name for name in models.MODELS if name != "unet"])
def test_networks_follow_torchs_defaults(name, request):
    request.getfixturevalue("other_defaults")
    for network in models.build(name, (1, 8, 8), latent_dim=4, classes=3, discriminator_norm="none"):
        for tensor in (*network.parameters(), *network.buffers()):
            assert tensor.device.type == "meta"
            assert tensor.dtype in (torch.float64, torch.int64)
