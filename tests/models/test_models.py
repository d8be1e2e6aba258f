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
        (("dcgan", (2,)), "model 'mlp' serves points"),
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
