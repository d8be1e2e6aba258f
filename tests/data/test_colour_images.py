"""Emoji from the installed font, and crops of two photographs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganops import data
from ganops.data import colour_images


@pytest.fixture(scope="module")
def emoji():
    if not Path(colour_images._FONT).is_file():
        pytest.skip("fonts-noto-color-emoji is missing")
    return data.load("emoji?size=32")


def test_emoji_are_colour_pictures_on_white(emoji):
    assert emoji.shape == (3, 32, 32)
    assert 1300 < len(emoji) < 2000
    assert emoji.labels is None
    assert (emoji.samples.amin(), emoji.samples.amax()) == (-1, 1)
    edges = torch.cat([emoji.samples[:, :, [0, -1]].flatten(1), emoji.samples[:, :, :, [0, -1]].flatten(1)], dim=1)
    assert edges.median() == 1  # white around the pictures, which few of them touch
    ink = (emoji.samples < 0.9).any(dim=1).flatten(1).double().mean(dim=1)
    assert ink.min() > 0.02  # none is blank
    grey = (emoji.samples.amax(dim=1) - emoji.samples.amin(dim=1)).flatten(1).amax(dim=1) < 0.1
    assert grey.double().mean() < 0.2
    assert len({picture.numpy().tobytes() for picture in emoji.samples}) > 0.95 * len(emoji)


def test_an_emoji_is_in_its_place(emoji):
    points, _ = colour_images._code_points(Path(colour_images._FONT))
    # A red apple. These code points before it draw nothing.
    blank = len({0x0, 0xD, 0x20, 0x200D} & set(points))
    red, green, blue = emoji.samples[points.index(0x1F34E) - blank, :, 16, 16]
    assert red > 0.5 > -0.2 > max(green, blue)


def test_a_missing_font_is_named_with_the_command():
    with pytest.raises(
        FileNotFoundError, match=r"not at /nowhere\.ttf; install it with: sudo apt-get install fonts-noto"
    ):
        data.load("emoji?font=/nowhere.ttf")


def test_other_fonts_are_refused(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    plain = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    with pytest.raises(ValueError, match=r"DejaVuSans\.ttf is a font without colour bitmaps"):
        data.emoji(font=str(plain))
    (tmp_path / "x.ttf").write_bytes(b"no font at all")
    with pytest.raises(ValueError, match=r"x\.ttf is not a font"):
        data.emoji(font=str(tmp_path / "x.ttf"))


def test_patches_are_crops_of_the_photographs():
    from sklearn.datasets import load_sample_images

    photos = [torch.from_numpy(np.array(photo)).permute(2, 0, 1) for photo in load_sample_images().images]
    images = data.load("patches?size=16&count=20&seed=5")
    assert (images.shape, len(images), images.labels) == ((3, 16, 16), 20, None)
    pixels = ((images.samples + 1) * 127.5).round().to(torch.uint8)
    found = []
    for patch in pixels:
        # Where its corners occur, the whole patch must be.
        corners = patch[:, [0, 0, 15, 15], [0, 15, 0, 15]].T.flatten()
        for number, photo in enumerate(photos):
            places = torch.cat([photo[:, i : i + 412, j : j + 625] for i in (0, 15) for j in (0, 15)])
            for y, x in (places == corners[:, None, None]).all(dim=0).nonzero().tolist():
                if torch.equal(photo[:, y : y + 16, x : x + 16], patch):
                    found.append((number, y, x))
                    break
            else:
                continue
            break
    assert len(found) == 20
    assert {number for number, _, _ in found} == {0, 1}
    assert len(set(found)) > 17


def test_patches_follow_the_seed_and_reach_every_place():
    assert torch.equal(data.patches(8, 20, seed=1).samples, data.patches(8, 20, seed=1).samples)
    assert not torch.equal(data.patches(8, 20, seed=1).samples, data.patches(8, 20, seed=2).samples)
    whole = data.patches(427, 3)
    assert whole.shape == (3, 427, 427)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("emoji?size=7", "size must be at least 8, got 7"),
        ("emoji?size=129", "size must be 8 to 128, got 129"),
        ("patches?size=428", "size must be at most 427, got 428"),
        ("patches?count=0", "count must be at least 1, got 0"),
        ("patches?count=1000000000000", "choose a smaller count or size"),
        ("patches?seed=-1", "seed must be at least 0, got -1"),
    ],
)
def test_wrong_options_are_named(name, text):
    with pytest.raises(ValueError, match=text):
        data.load(name)
