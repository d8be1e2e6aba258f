"""Every picture is drawn, with few steps, and its numbers are what the theory says."""

import math

import pytest
import torch
from PIL import Image

from ganops import data
from ganops.cli import main
from ganops.figures import FIGURES
from ganops.figures.runs import _slerp
from ganops.training import build_trainer, settings


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw(name, **options):
    return FIGURES[name].draw(**options).numbers


def test_gradients_at_a_rejected_sample():
    numbers = draw("generator-losses")
    assert numbers["minimax_gradient_at_0.01"] == pytest.approx(0.01, rel=0.01)
    assert numbers["non_saturating_gradient_at_0.01"] == pytest.approx(0.99, rel=0.01)
    assert numbers["kl_gradient_at_0.01"] == 1
    assert numbers["mle_gradient_at_0.01"] == pytest.approx(0.01 / 0.99, rel=0.01)


def test_jsd_saturates_and_wasserstein_does_not():
    numbers = draw("jsd-wasserstein")
    assert numbers["jsd_at_10"] == pytest.approx(math.log(2), abs=1e-4)
    assert abs(numbers["jsd_slope_at_10"]) < 1e-4
    assert numbers["wasserstein_slope_at_10"] == pytest.approx(1)


def test_a_trained_discriminator_approaches_the_optimal_one():
    short, longer = draw("optimal-discriminator", steps=5), draw("optimal-discriminator", steps=150)
    assert longer["mean_error"] < 0.03 < short["mean_error"]
    assert short["value"] < longer["value"] <= longer["optimal_value"] + 1e-6
    assert longer["optimal_value"] == pytest.approx(-math.log(4) + 2 * longer["jsd"], abs=1e-6)


def test_a_trained_critic_approaches_the_distance():
    numbers = draw("critic-wasserstein", steps=80)
    assert numbers["mean_error"] < 0.2
    assert numbers["mean_error"] <= numbers["largest_error"]


@pytest.mark.parametrize(("name", "options"), [("optimal-discriminator", {"steps": 3}), ("checkerboard", {})])
def test_pictures_do_not_depend_on_torchs_defaults(name, options, request):
    usual = draw(name, **options)
    request.getfixturevalue("other_defaults")
    assert draw(name, **options) == usual


def test_value_surfaces_are_drawn():
    numbers = draw("value-surface", steps=30)
    assert len(numbers) == 6
    assert all(math.isfinite(value) for value in numbers.values())
    assert numbers["ring8_penalised"] > 0


def test_only_uneven_overlap_draws_a_checkerboard():
    numbers = draw("checkerboard")
    assert max(numbers["resize_3"], numbers["filtered_3"]) < 1e-6
    assert numbers["transposed_4"] < 0.15 < 0.5 < numbers["transposed_3"]


def test_only_a_filter_leaves_no_copies_of_the_spectrum():
    numbers = draw("checkerboard")
    copies = [numbers[f"{way}_copies"] for way in ("filtered_3", "resize_3", "transposed_4")]
    assert copies[0] < 0.01 < 0.1 < copies[1] < 0.3 < 0.7 < copies[2]


def test_densities_and_unrolling_count_modes():
    densities = draw("mode-densities", steps=2)
    assert {name.partition("_")[0] for name in densities} == {"GAN", "PacGAN2", "WGAN-GP"}
    assert all(0 <= value <= 25 for value in densities.values())
    numbers = draw("unrolled", steps=5)
    assert len(numbers) == 15
    assert all(0 <= value <= 8 for value in numbers.values())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    tiny = {"width": 4, "batch_size": 16, "steps": 2}
    for name, config in {
        "plain": settings("hinge", "digits", **tiny),
        "classes": settings("cgan", "digits", **tiny),
        "pairs": settings("pix2pix", "mnist_half", **tiny),
        "other-pairs": settings("pix2pix", "mnist_outline", **tiny),
        "points": settings("hinge", "ring8", **tiny),
    }.items():
        trainer = build_trainer(config, folder / name)
        trainer.step()
        trainer.save()
    return folder


@pytest.mark.parametrize("run", ["plain", "classes"])
def test_what_a_run_has_learnt(runs, run):
    numbers = draw("latent-interpolation", run=runs / run)
    assert 0 < numbers["mean_step"] <= numbers["largest_step"]
    numbers = draw("nearest-neighbours", run=runs / run)
    assert numbers["exact_copies"] == 0
    # An untrained generator is farther from the data than the data from itself.
    assert numbers["median_distance"] > numbers["median_distance_of_real"] > 0


def test_classes_are_asked_for_row_by_row(runs):
    numbers = draw("class-grid", run=runs / "classes")
    assert 0 <= numbers["label_accuracy"] < 0.5  # it has learnt nothing yet
    assert numbers["judge_accuracy"] > 0.95


def test_arithmetic_needs_the_classes_it_works_on(runs):
    with pytest.raises(ValueError, match=r"makes \d samples of class \d among 4,000"):
        draw("latent-arithmetic", run=runs / "plain")


class Ideal:
    """A generator whose first ten coordinates say which digit, and whose last one says how bold."""

    dataset = data.digits()
    classes = None

    def noise(self, count, seed):
        return torch.randn(count, 20, generator=torch.Generator().manual_seed(seed))

    def samples(self, z, labels=None):
        means = torch.stack([self.dataset.samples[self.dataset.labels == k].mean(dim=0) for k in range(10)])
        return (means[z[:, :10].argmax(dim=1)] + 0.1 * z[:, 19].clamp(-1, 1)[:, None, None, None]).clamp(-1, 1)


def test_arithmetic_in_an_ideal_latent_space_works_out(monkeypatch):
    monkeypatch.setattr("ganops.figures.runs._unpaired", lambda run, figure: Ideal())
    assert draw("latent-arithmetic", run="ideal") == {"bolder_than_thin_b": 1, "still_of_class_b": 1}


def test_triples_of_an_image_to_image_run(runs):
    alone = draw("image-to-image", run=runs / "pairs")
    assert 0 < alone["l1"] < 2
    assert draw("image-to-image", run=runs / "pairs", twin=runs / "pairs") == alone | {"twin_l1": alone["l1"]}


def test_a_twin_on_other_data_is_refused(runs):
    with pytest.raises(ValueError, match="both must have the same data"):
        draw("image-to-image", run=runs / "pairs", twin=runs / "other-pairs")


@pytest.mark.parametrize(
    ("name", "run", "text"),
    [
        ("class-grid", "plain", "is not conditional; train a run with: ganops train cgan"),
        ("class-grid", "points", "are points; give a run on images"),
        ("image-to-image", "plain", "makes images from noise; train a run with: ganops train pix2pix"),
        ("latent-interpolation", "pairs", "makes images from images"),
    ],
)
def test_a_run_of_the_wrong_kind_is_refused(runs, name, run, text):
    with pytest.raises(ValueError, match=text):
        draw(name, run=runs / run)


def test_slerp_keeps_to_the_sphere():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    way = _slerp(a, b, 3)
    torch.testing.assert_close(way, torch.tensor([[2.0, 0.0], [2**0.5, 2**0.5], [0.0, 2.0]]))


def test_the_command_draws_and_prints(tmp_path, capsys):
    out = tmp_path / "new" / "losses.png"
    assert main(["figure", "generator-losses", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    with Image.open(out) as image:
        assert image.width > 900
    assert out.stat().st_size < 150_000
    assert main(["figure"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in FIGURES)


def test_a_file_of_that_name_is_kept(tmp_path, capsys):
    out = tmp_path / "mine.png"
    out.write_bytes(b"mine")
    assert main(["figure", "generator-losses", "--out", str(out)]) == 2
    assert "already exists; add --overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert main(["figure", "generator-losses", "--out", str(out), "--overwrite"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["generator-loses"], "did you mean 'generator-losses'"),
        (["generator-losses", "--steps", "3"], "takes no --steps; its options are --out"),
        (["class-grid"], "--run is missing"),
        (["unrolled", "--steps", "0"], "steps must be at least 1"),
        (["checkerboard", "--out", "x.pdf"], "out must end in .png"),
        (["class-grid", "--run", "nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, text, capsys):
    assert main(["figure", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error
