"""ganops export: files that other programs load give the same samples."""

import numpy as np
import pytest
import safetensors.torch
import torch

from ganops.cli import main
from ganops.training import generator_of, load_checkpoint, load_generator

RUNS = {
    "class": ("cgan", "digits", []),
    "image": ("pix2pix", "mnist_half", []),
    "resize": ("dcgan", "digits", ["--upsample", "resize"]),
    "filtered": ("dcgan", "digits", ["--upsample", "filtered"]),
    "points": ("nsgan", "ring8", []),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, (recipe, data, options) in RUNS.items():
        small = ["--data", data, "--width", "4", "--steps", "1", "--batch-size", "4", *options]
        assert main(["train", recipe, *small, "--out", str(folder / name)]) == 0
    return folder


def wanted(run, count=5):
    """Inputs for the generator of a run, and its samples."""
    state = load_checkpoint(run)
    generator, config = generator_of(state)
    generator.eval()
    torch.manual_seed(0)
    inputs = {"z": torch.randn(count, config.latent_dim)}
    if state["extra"]["classes"]:
        inputs["label"] = torch.randint(state["extra"]["classes"], (count,))
    if state["extra"]["condition_shape"]:
        inputs["image"] = torch.randn(count, *state["extra"]["condition_shape"])
    with torch.no_grad():
        return inputs, generator(*inputs.values())


@pytest.mark.parametrize("name", RUNS)
def test_safetensors(runs, tmp_path, name):
    path = tmp_path / "g.safetensors"
    assert main(["export", str(runs / name), "--out", str(path)]) == 0
    inputs, samples = wanted(runs / name)
    generator, config = load_generator(path)
    assert not generator.training
    assert config.recipe == RUNS[name][0]
    with torch.no_grad():
        assert torch.equal(generator(*inputs.values()), samples)


@pytest.mark.parametrize("name", ["class", pytest.param("image", marks=pytest.mark.full), "filtered", "points"])
def test_torch_export(runs, tmp_path, name):
    path = tmp_path / "g.pt2"
    assert main(["export", str(runs / name), "--out", str(path)]) == 0
    inputs, samples = wanted(runs / name)
    program = torch.export.load(path).module()
    torch.testing.assert_close(program(*inputs.values()), samples)
    one = [value[:1] for value in inputs.values()]
    torch.testing.assert_close(program(*one), samples[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["class", "filtered", *(pytest.param(name, marks=pytest.mark.full) for name in ("image", "resize", "points"))],
)
def test_onnx(runs, tmp_path, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "g.onnx"
    assert main(["export", str(runs / name), "--out", str(path)]) == 0
    inputs, samples = wanted(runs / name)
    session = onnxruntime.InferenceSession(str(path))
    assert [each.name for each in session.get_inputs()] == list(inputs)
    for count in (5, 1):
        given = {key: value[:count].numpy() for key, value in inputs.items()}
        (found,) = session.run(["samples"], given)
        np.testing.assert_allclose(found, samples[:count].numpy(), rtol=1e-3, atol=1e-5)


def test_files_are_not_replaced_without_being_asked(runs, tmp_path, capsys):
    path = tmp_path / "g.safetensors"
    path.write_text("mine")
    assert main(["export", str(runs / "points"), "--out", str(path)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["export", str(runs / "points"), "--out", str(path), "--overwrite"]) == 0
    assert main(["export", str(runs / "points"), "--out", str(tmp_path / "g.bin")]) == 2
    assert "out must end in .safetensors, .pt2, .onnx" in capsys.readouterr().err


def test_load_generator_refuses_other_files(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_generator(tmp_path / "no.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="is not a valid safetensors file"):
        load_generator(damaged)
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(2)}, other)
    with pytest.raises(ValueError, match="was not written by ganops export"):
        load_generator(other)
