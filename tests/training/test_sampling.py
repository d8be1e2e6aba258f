"""ganops sample: the formats."""

import numpy as np
import pytest
from PIL import Image

from ganops.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for recipe, data in (("cgan", "digits"), ("nsgan", "ring8")):
        small = ["--data", data, "--width", "6", "--steps", "1", "--batch-size", "8"]
        assert main(["train", recipe, *small, "--out", str(folder / data)]) == 0
    return folder


def sample(run, out, *options):
    return main(["sample", str(run), "--out", str(out), "--count", "12", *options])


def test_every_format_holds_the_same_images(runs, tmp_path):
    for out in ("s.npy", "s.npz", "images", "s.png"):
        assert sample(runs / "digits", tmp_path / out) == 0
    floats = np.load(tmp_path / "s.npy")
    wanted = np.round(floats.clip(-1, 1) * 127.5 + 127.5).transpose(0, 2, 3, 1)
    with np.load(tmp_path / "s.npz") as arrays:
        assert set(arrays) == {"arr_0", "arr_1"}
        assert arrays["arr_0"].dtype == np.uint8
        assert (arrays["arr_0"] == wanted).all()
        assert arrays["arr_1"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    files = sorted((tmp_path / "images").iterdir())
    assert [file.name for file in files] == [f"{i:06}.png" for i in range(12)]
    for file, image in zip(files, wanted, strict=True):
        with Image.open(file) as found:
            assert (np.asarray(found) == image[..., 0]).all()


def test_the_animation_walks_in_a_closed_path_that_begins_with_the_samples(runs, tmp_path):
    assert sample(runs / "digits", tmp_path / "walk.gif", "--frames", "8") == 0
    assert sample(runs / "digits", tmp_path / "start.png") == 0
    with Image.open(tmp_path / "walk.gif") as walk, Image.open(tmp_path / "start.png") as start:
        assert walk.n_frames == 8
        assert walk.info["loop"] == 0
        frames = []
        for i in range(8):
            walk.seek(i)
            frames.append(np.asarray(walk.convert("RGB"), dtype=float))
        first = np.asarray(start.convert("RGB"), dtype=float)
    assert abs(frames[0] - first).max() <= 2
    steps = [abs(a - b).mean() for a, b in zip(frames, frames[1:] + frames[:1], strict=True)]
    assert max(steps) < 2 * min(steps)  # also from the last to the first


def test_points_have_no_image_formats(runs, tmp_path, capsys):
    for out in ("points", "points.gif"):
        assert sample(runs / "ring8", tmp_path / out) == 2
        assert "is for images with 1 or 3 channels, and these samples are (2,)" in capsys.readouterr().err
        assert not (tmp_path / out).exists()
    assert sample(runs / "ring8", tmp_path / "points.npz") == 0
    with np.load(tmp_path / "points.npz") as arrays:
        assert {name: (a.shape, a.dtype) for name, a in arrays.items()} == {"arr_0": ((12, 2), np.float32)}


def test_a_folder_of_images_replaces_only_such_images(runs, tmp_path, capsys):
    out = tmp_path / "images"
    assert sample(runs / "digits", out) == 0
    assert sample(runs / "digits", out) == 2
    assert "is not empty" in capsys.readouterr().err
    assert sample(runs / "digits", out, "--count", "5", "--overwrite") == 0
    assert len(list(out.iterdir())) == 5
    (out / "notes.txt").write_text("mine")
    assert sample(runs / "digits", out, "--overwrite") == 2
    assert "notes.txt" in capsys.readouterr().err
    assert len(list(out.iterdir())) == 6
    (tmp_path / "file").write_text("mine")
    assert sample(runs / "digits", tmp_path / "file", "--overwrite") == 2
    assert "is no folder" in capsys.readouterr().err


def test_unknown_endings(runs, tmp_path, capsys):
    assert sample(runs / "digits", tmp_path / "s.txt") == 2
    assert "out must end in .png, .npy, .npz, .gif or be a folder" in capsys.readouterr().err
    assert sample(runs / "digits", tmp_path / "s.txt", "--format", "npy") == 0
    assert sample(runs / "digits", tmp_path / "s.gif", "--frames", "1") == 2
    assert "frames must be at least 2, got 1" in capsys.readouterr().err
