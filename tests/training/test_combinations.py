"""Every recipe and every pair of options: trained for two tiny steps, or refused with the reason.

Pairs are validated without training; sets of options that contain every pair between them are trained.
"""

import itertools

import pytest
import torch

from ganops import data
from ganops.training import RECIPES, Trainer, TrainingConfig, build_trainer, settings
from ganops.training.kinds import undecided_logit

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
    "filtered": {"upsample": "filtered"},
    "gradient": {"penalty": 1.0, "penalty_kind": "gradient"},
    "one-sided": {"penalty": 1.0, "penalty_kind": "one-sided", "penalty_target": 1e-4},  # tiny critics are flat
    "r1": {"penalty": 1.0, "penalty_kind": "r1"},
    "r2": {"penalty": 1.0, "penalty_kind": "r2"},
    "lazy dragan": {"penalty": 1.0, "penalty_kind": "dragan", "penalty_every": 2},
    "difference": {"penalty": 1.0, "penalty_kind": "gradient", "penalty_difference": 0.01, "lr_decay": 0.5},
    "approximate": {"penalty": 1.0, "penalty_kind": "approximate-r1", "penalty_sigma": 0.1},
    "clip": {"clip": 0.1},
    "rmsprop": {"optimizer": "rmsprop"},
    "sgd": {"optimizer": "sgd", "generator_lr": 0.01, "discriminator_lr": 0.01},
    "batch norm": {"discriminator_norm": "batch"},
    "layer norm": {"discriminator_norm": "layer"},
    "bf16": {"amp": "bf16"},
}
PENALTIES = {"gradient", "one-sided", "r1", "r2", "lazy dragan", "difference", "approximate"}


def recipes(condition):
    """The recipes whose settings on their own data meet the condition."""
    return {name for name in RECIPES if condition(settings(name, RECIPES[name].data))}


PENALISED = recipes(lambda c: c.penalty)
UNETS = recipes(lambda c: c.model == "unet")

#: Which pairs are refused, of options or of a recipe or kind of data and an option, and what the reason says.
REFUSED = (
    ({"points"}, {"augment", "augment-target"}, "augment changes images"),
    ({"points"}, {"resize", "filtered"}, "its layers are dense"),
    ({"unroll"} | recipes(lambda c: c.unroll), {"batch norm"}, "keeps running statistics"),
    ({"unroll"} | recipes(lambda c: c.unroll), {"difference"}, "can be differentiated once"),
    ({"spectral-norm"} | recipes(lambda c: c.spectral_norm), {"clip"}, "leave one of them out"),
    (recipes(lambda c: c.clip), {"spectral-norm"}, "leave one of them out"),
    (PENALTIES | PENALISED, {"batch norm"}, "a gradient penalty is per sample"),
    (
        {"minibatch-discrimination"} | recipes(lambda c: c.minibatch_discrimination),
        PENALTIES,
        "a gradient penalty is per sample",
    ),
    (PENALISED, {"minibatch-discrimination"}, "a gradient penalty is per sample"),
    (
        recipes(lambda c: undecided_logit(c.loss) is None),
        {"augment-target"},
        "compares the discriminator's real logits with its decision threshold",
    ),
    (UNETS, {"pack"}, "packs would mix them"),
    (UNETS, {"augment", "augment-target"}, "augment moves the image"),
    (UNETS, {"minibatch-discrimination", "minibatch-stddev"}, "sees patches"),
)


def reasons(*names):
    """Why what these names stand for is refused, if it is."""
    return [text for a, b, text in REFUSED for x, y in itertools.permutations(names, 2) if x in a and y in b]


def two_steps(recipe, source, changes):
    """Train for two steps, which move both networks."""
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


def refused(recipe, source, changes, expected):
    """Check that the settings are refused with one of the expected reasons, or taken if there are none."""
    if not expected:
        settings(recipe, source, **{**TINY, **changes})
        return False
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the text is compared below
        settings(recipe, source, **{**TINY, **changes})
    assert any(reason in str(refusal.value) for reason in expected)
    return True


KINDS = {"points": "ring8?size=400", "images": "digits"}


def conflict(a, b):
    """Whether two options set one field to different values."""
    return any(OPTIONS[a][name] != OPTIONS[b][name] for name in OPTIONS[a].keys() & OPTIONS[b].keys())


def pairs():
    for kind, (a, b) in itertools.product(KINDS, itertools.combinations(OPTIONS, 2)):
        if not conflict(a, b):
            yield kind, a, b


def recipes_and_options():
    for recipe, option in itertools.product(RECIPES, OPTIONS):
        for kind in RECIPES[recipe].kinds:
            yield recipe, kind, option


def test_every_pair_of_options_is_taken_or_refused_with_its_reason():
    taken = [
        not refused("nsgan", KINDS[kind], {**OPTIONS[a], **OPTIONS[b]}, reasons(kind, a, b)) for kind, a, b in pairs()
    ]
    assert 250 < sum(taken) < len(taken)


def test_every_recipe_takes_every_option_or_gives_the_reason():
    for recipe, kind, option in recipes_and_options():
        source = "mnist_outline" if recipe in UNETS else KINDS[kind]
        refused(recipe, source, OPTIONS[option], reasons(recipe, kind, option))


def bundles(kind):
    """Sets of options such that every pair that is taken on this kind of data is in at least one of them."""
    missing = {frozenset(p) for k, *p in pairs() if k == kind and not reasons(k, *p)}
    single = [name for name in OPTIONS if not reasons(kind, name)]
    while missing:
        chosen = sorted(min(missing, key=sorted))
        for name in single:
            fits = all(name != c and not conflict(name, c) and not reasons(kind, name, c) for c in chosen)
            if fits and any(frozenset((name, c)) in missing for c in chosen):
                chosen.append(name)
        missing -= {frozenset(pair) for pair in itertools.combinations(chosen, 2)}
        yield pytest.param(kind, chosen, id=f"{kind}-{'+'.join(chosen)}")


@pytest.mark.parametrize(("kind", "options"), [bundle for kind in KINDS for bundle in bundles(kind)])
def test_options_train_together(kind, options):
    changes = {}
    for option in options:
        changes |= OPTIONS[option]
    two_steps("nsgan", KINDS[kind], changes)


@pytest.mark.parametrize(("recipe", "kind"), [(name, kind) for name in RECIPES for kind in RECIPES[name].kinds])
def test_every_recipe_trains(recipe, kind):
    two_steps(recipe, "mnist_outline" if recipe in UNETS else KINDS[kind], {})


# `emoji` needs a font, and differs from `patches` only in the pictures.
@pytest.mark.parametrize("source", ["mnist_half", *(n for n in data.SOURCES if "mnist_" not in n and n != "emoji")])
def test_every_data_set_is_trained_on_or_refused(source):
    two_steps("hinge", source, {})
    if data.source(source).kind == "points":
        with pytest.raises(ValueError, match=f"is for images, and data '{source}' holds points"):
            settings("dcgan", source)
    elif source != "mnist_half":
        with pytest.raises(ValueError, match="has no pairs; choose mnist_outline or mnist_half"):
            build_trainer(settings("pix2pix", source, **TINY))
    if source == "gaussian1d":
        with pytest.raises(ValueError, match="data 'gaussian1d' has none"):
            build_trainer(settings("cgan", source, **TINY))


def test_the_table_of_refusals_has_no_idle_row():
    """Each row of `REFUSED` meets at least one of the pairs above."""
    tried = [set(names) for names in (*pairs(), *recipes_and_options())]
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
        ("nsgan", {"model": "maxout", "discriminator_norm": "layer"}, "discriminator_norm must be none, got 'layer'"),
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


@pytest.mark.parametrize("norm", [torch.nn.BatchNorm1d(4), torch.nn.InstanceNorm1d(4, track_running_stats=True)])
def test_unrolling_sees_running_statistics_in_anybodys_discriminator(norm):
    critic = torch.nn.Sequential(torch.nn.Linear(2, 4), norm, torch.nn.Linear(4, 1))
    with pytest.raises(ValueError, match="normalisation keeps running statistics"):
        Trainer(torch.nn.Linear(3, 2), critic, torch.randn(8, 2), TrainingConfig(latent_dim=3, batch_size=8, unroll=1))
