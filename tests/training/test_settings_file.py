"""--config: settings in a file."""

import json

import pytest

from ganops.cli import main
from ganops.training import settings
from ganops.training.options import parse_train
from ganops.training.settings_file import read_settings

YAML = """
# a comment
recipe: wgan-gp
data: ring8
batch-size: 16
generator_lr: 1e-3
amp: off
width: null
spectral_norm: false
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="run.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_a_file_replaces_defaults_and_the_command_line_replaces_the_file(write):
    path = write(YAML)
    found = parse_train(["--config", path, "--batch-size", "8"]).settings
    assert found == settings("wgan-gp", "ring8", batch_size=8, generator_lr=1e-3, width=None)
    assert parse_train(["hinge", f"--config={path}", "--data", "grid25"]).settings == settings(
        "hinge", "grid25", batch_size=16, generator_lr=1e-3, width=None
    )


def test_a_setting_in_the_file_changes_dependent_defaults_as_an_option_does(write):
    path = write("penalty: 10\n")
    assert parse_train(["dcgan", "--config", path]).settings == parse_train(["dcgan", "--penalty", "10"]).settings
    assert parse_train(["dcgan", "--config", path]).settings.discriminator_norm == "layer"


def test_a_run_s_own_settings_read_back(tmp_path, capsys):
    small = ["--data", "ring8", "--width", "6", "--steps", "2", "--beta1", "0.25", "--lr-g", "1e-5"]
    assert main(["train", "wgan-gp", *small, "--out", str(tmp_path / "a")]) == 0
    for config in (tmp_path / "a", tmp_path / "a" / "config.json"):
        assert main(["train", "--config", str(config), "--out", str(tmp_path / "b"), "--overwrite"]) == 0
        a, b = (json.loads((tmp_path / name / "config.json").read_text()) for name in "ab")
        assert a == b
    capsys.readouterr()
    resumed = ["train", "--config", str(tmp_path / "a"), "--resume", "--out", str(tmp_path / "a"), "--steps", "3"]
    assert main(resumed) == 0
    assert "finished 3 steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_sise: 3", "setting 'batch_sise' is unknown (did you mean 'batch_size'?)"),
        ("batch_size: many", "batch_size must be a number, got str 'many'"),
        ("batch_size: 2.5", "batch_size must be a whole number, got 2.5"),
        ("amp: false", "amp must be text, got bool False"),
        ("batch_size: 3\nbatch-size: 4", "holds batch_size twice"),
        ("batch_size: 3\nbatch_size: 4", "'batch_size' is there twice"),
        ("recipe: hing", "recipe 'hing' is unknown (did you mean 'hinge'?)"),
        ("[1, 2", "is not valid YAML"),
        ("- 1", "must hold settings such as 'batch_size: 64', got list [1]"),
        ("", "must hold settings"),
        ("steps: !!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("steps: 0", "steps must be at least 1, got 0"),
        ("\x00", "is not valid YAML"),
    ],
)
def test_bad_files(write, tmp_path, capsys, text, message):
    assert main(["train", "hinge", "--config", write(text), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_file(tmp_path, capsys):
    assert main(["train", "hinge", "--config", str(tmp_path / "no.yaml")]) == 2
    assert "no.yaml does not exist; give a YAML or JSON file, or a run's folder" in capsys.readouterr().err


def test_scalars_are_those_of_json(write):
    text = '{"generator_lr": 1E-3, "latent_dim": 010, "amp": "off", "augment": "", "width": null, "penalty": .5}'
    assert read_settings(write(text)) == {
        "generator_lr": 1e-3,
        "latent_dim": 10,
        "amp": "off",
        "augment": "",
        "width": None,
        "penalty": 0.5,
    }
