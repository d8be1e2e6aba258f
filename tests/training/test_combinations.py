"""Every recipe and every pair of options: trained for two tiny steps, or refused with the reason."""

import itertools

import pytest
import torch

from ganops import data
from ganops.training import RECIPES, Trainer, TrainingConfig, build_trainer, settings

TINY = {"width": 4, "batch_size": 8, "latent_dim": 3}

#: The options that combine with any recipe: the one table from which all pairs are made.
OPTIONS = {
    "pack": {"pack": 2},
    "unroll": {"unroll": 1},
    "conditional": {"conditional": True},
    "spectral-norm": {"spectral_norm": True, "lipschitz": 3.0},
    "augment": {"augment": "color,translation,cutout"},
    "augment-target": {"augment": "color,translation,cutout", "augment_target": 0.6},
    "minibatch-discrimination": {"minibatch_discrimination": True},
    "minibatch-stddev": {"minibatch_stddev": True},
    "no ema": {"ema": 0.0},
    "n-critic": {"n_critic": 2},
    "learning rates": {"generator_lr": 1e-3, "discriminator_lr": 1e-4},
    "resize": {"upsample": "resize"},
    "gradient": {"penalty": 1.0, "penalty_kind": "gradient"},
    "one-sided": {"penalty": 1.0, "penalty_kind": "one-sided", "penalty_target": 1e-4},  # tiny critics are flat
    "r1": {"penalty": 1.0, "penalty_kind": "r1"},
    "r2": {"penalty": 1.0, "penalty_kind": "r2"},
    "lazy dragan": {"penalty": 1.0, "penalty_kind": "dragan", "penalty_every": 2},
    "difference": {"penalty": 1.0, "penalty_kind": "gradient", "penalty_difference": 0.01, "lr_decay": 0.5},
    "clip": {"clip": 0.1},
    "rmsprop": {"optimizer": "rmsprop"},
    "sgd": {"optimizer": "sgd", "generator_lr": 0.1, "discriminator_lr": 0.1},
    "batch norm": {"discriminator_norm": "batch"},
    "layer norm": {"discriminator_norm": "layer"},
    "bf16": {"amp": "bf16"},
}
PENALTIES = {"gradient", "one-sided", "r1", "r2", "lazy dragan", "difference"}

#: Which pairs are refused, of options or of a recipe or kind of data and an option, and what the reason says.
REFUSED = (
    ({"points"}, {"augment", "augment-target"}, "augment changes images"),
    ({"points"}, {"resize"}, "its dense layers enlarge nothing"),
    ({"unroll", "unrolled"}, {"batch norm"}, "keeps running statistics"),
    ({"unroll", "unrolled"}, {"difference"}, "can be differentiated once"),
    ({"spectral-norm", "sngan"}, {"clip"}, "leave one of them out"),
    ({"wgan"}, {"spectral-norm"}, "leave one of them out"),
    (PENALTIES | {"cgan", "mlegan", "r1gan", "r3gan", "wgan-gp"}, {"batch norm"}, "a gradient penalty is per sample"),
    ({"minibatch-discrimination", "minibatch"}, PENALTIES, "a gradient penalty is per sample"),
    ({"cgan", "mlegan", "r1gan", "r3gan", "wgan-gp"}, {"minibatch-discrimination"}, "a gradient penalty is per sample"),
    ({"wgan", "wgan-gp", "r3gan"}, {"augment-target"}, "compares the discriminator's real logits with its decision threshold"),
    ({"pix2pix"}, {"pack"}, "packs would mix them"),
    ({"pix2pix"}, {"augment", "augment-target"}, "augment would move the image"),
    ({"pix2pix"}, {"minibatch-discrimination", "minibatch-stddev"}, "judges patches"),
)


def reasons(*names):
    """Why what these names stand for is refused, if it is."""
    return [text for a, b, text in REFUSED for x, y in itertools.permutations(names, 2) if x in a and y in b]


def attempt(recipe, source, changes, expected):
    """Two steps that move both networks; or, where reasons are expected, one of them as the error."""
    if expected:
        with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the text is compared below
            build_trainer(settings(recipe, source, **{**TINY, **changes}))
        assert any(reason in str(refusal.value) for reason in expected)
        return
    config = settings(recipe, source, **{**TINY, **changes})
    assert all(getattr(config, name) == value for name, value in changes.items())
    trainer = build_trainer(config)
    networks = trainer.generator, trainer.discriminator
    before = [[p.detach().clone() for p in network.parameters()] for network in networks]
    losses = torch.stack([trainer.step() for _ in range(2)])
    assert losses.isfinite().all()
    n, k = config.n_critic, config.penalty_every
    due = [any(step % k == 0 for step in range(i * n, i * n + n)) for i in range(2)]
    assert (losses[:, 1] != 0).tolist() == [bool(config.penalty) and d for d in due]
    for network, old in zip(networks, before, strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(network.parameters(), old, strict=True))
    assert trainer.sample(5).shape == (5, *trainer.examples.dataset.shape)


KINDS = {"points": "ring8?size=400", "images": "digits"}


def pairs():
    for kind, (a, b) in itertools.product(KINDS, itertools.combinations(OPTIONS, 2)):
        shared = OPTIONS[a].keys() & OPTIONS[b].keys()
        if all(OPTIONS[a][name] == OPTIONS[b][name] for name in shared):
            yield pytest.param(kind, a, b, id=f"{kind}-{a}+{b}")


@pytest.mark.parametrize(("kind", "a", "b"), list(pairs()))
def test_every_pair_of_options(kind, a, b):
    attempt("nsgan", KINDS[kind], {**OPTIONS[a], **OPTIONS[b]}, reasons(kind, a, b))


def recipe_and_option():
    for recipe, option in itertools.product(RECIPES, OPTIONS):
        for kind in RECIPES[recipe].kinds:
            yield pytest.param(recipe, kind, option, id=f"{recipe}-{kind}-{option}")


@pytest.mark.parametrize(("recipe", "kind", "option"), list(recipe_and_option()))
def test_every_recipe_with_every_option(recipe, kind, option):
    source = "mnist_outline" if recipe == "pix2pix" else KINDS[kind]
    attempt(recipe, source, OPTIONS[option], reasons(recipe, kind, option))


@pytest.mark.parametrize("source", ["mnist_half", *(n for n in data.SOURCES if "mnist_" not in n)])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_on_every_data_set(recipe, source):
    kind = data.source(source).kind
    expected = []
    if kind not in RECIPES[recipe].kinds:
        expected = [f"is for images, and data '{source}' holds points"]
    elif recipe == "pix2pix" and source != "mnist_half":
        expected = ["has no pairs; choose mnist_outline or mnist_half"]
    elif recipe == "cgan" and source == "gaussian1d":
        expected = ["data 'gaussian1d' has none"]
    attempt(recipe, source, {}, expected)


def test_the_table_of_refusals_has_no_idle_row():
    """Each row of `REFUSED` meets at least one of the pairs above."""
    tried = [{*p.values, *KINDS} - (KINDS.keys() - {p.values[0]}) for p in pairs()]
    tried += [{*p.values} for p in recipe_and_option()]
    for a, b, text in REFUSED:
        assert any(t & a and t & b for t in tried), text


@pytest.mark.parametrize(
    ("recipe", "changes", "text"),
    [
        ("nsgan", {"pack": 3}, "batch_size 8 cannot be divided into packs of 3; choose a multiple of 3"),
        ("r1gan", {"penalty_target": 2.0}, "penalty_target 2.0 has no meaning for penalty_kind 'r1'"),
        ("nsgan", {"augment_target": 0.6}, "augment_target adapts an augmentation and augment is empty"),
        ("nsgan", {"augment": "colour"}, "augment 'colour' is unknown .did you mean 'color'"),
        ("nsgan", {"l1_weight": 1.0}, "l1_weight compares with the target that belongs to a condition"),
        ("cgan", {"l1_weight": 1.0}, "model 'dcgan' does not have; choose model unet"),
        ("cgan", {"adversarial_weight": 0.0}, "leave the generator no loss"),
        ("pix2pix", {"adversarial_weight": 0.0, "unroll": 1}, "unroll looks ahead in the adversarial loss"),
        ("pix2pix", {"conditional": False, "l1_weight": 0.0}, "makes images from images; add conditional"),
        ("nsgan", {"minibatch_stddev": True, "batch_size": 10}, "batch_size 10 in packs of 1 cannot be divided"),
        ("nsgan", {"model": "maxout", "discriminator_norm": "layer"}, "has no normalisation, got 'layer'"),
        ("nsgan", {"upsample": "bilinear"}, "upsample 'bilinear' is unknown"),
        ("nsgan", {"penalty_kind": "r3"}, "penalty_kind 'r3' is unknown"),
        ("wgan-gp", {"penalty_every": 0}, "penalty_every must be at least 1, got 0"),
        ("wgan-gp", {"penalty_difference": -0.1}, "penalty_difference must be at least 0, got -0.1"),
        ("hinge", {"lipschitz": 30.0}, "lipschitz 30.0 bounds the slope of a spectrally normalised discriminator"),
        ("sngan", {"lipschitz": 0.0}, "lipschitz must be above 0, got 0.0"),
        ("nsgan", {"lr_decay": 1.5}, r"lr_decay must be in \[0, 1\], got 1.5"),
    ],
)
def test_further_refusals(recipe, changes, text):
    with pytest.raises(ValueError, match=text):
        build_trainer(settings(recipe, **{**TINY, **changes}))


def test_defaults_give_way_to_what_is_asked_for():
    assert settings("hinge", "digits").discriminator_norm == "batch"
    assert settings("hinge", "digits", penalty=10.0).discriminator_norm == "layer"
    assert settings("hinge", "digits", unroll=2).discriminator_norm == "layer"
    with pytest.raises(ValueError, match="running statistics"):
        settings("hinge", "digits", unroll=2, discriminator_norm="batch")
    assert settings("hinge", "digits", model="mlp").width is None
    assert settings("hinge", "ring8", model="maxout").discriminator_norm == "none"


def test_unrolling_sees_batch_norm_in_anybodys_discriminator():
    critic = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    with pytest.raises(ValueError, match="batch norm keeps running statistics"):
        Trainer(torch.nn.Linear(3, 2), critic, torch.randn(8, 2), TrainingConfig(latent_dim=3, batch_size=8, unroll=1))
