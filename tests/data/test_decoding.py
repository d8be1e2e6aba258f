"""Images that are decoded when they are used: framing, and images that turn bad."""

import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ganops import data
from ganops.data.framing import Framing
from ganops.data.images import reference_count

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def picture(path, size=(12, 10), mode="RGB", colour=RED, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    """Eight images of their own colours in two classes."""
    for i in range(8):
        picture(tmp_path / "photos" / "ab"[i % 2] / f"{i}.png", colour=(30 * i, 0, 255))
    return tmp_path / "photos"


def colours(drawn):
    """The red values, which number the images."""
    return (drawn.samples[:, 0, 0, 0].int() // 30).tolist()


# -- framing ---------------------------------------------------------------------------------------------------------


def coordinates(height, width):
    """An image whose red and green values are the row and the column."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return np.stack([rows, columns, 0 * rows], axis=2).astype(np.uint8)


def test_random_crops_reach_every_place_evenly():
    framing, image = Framing(size=4, crop="random"), coordinates(6, 9)
    numbers = torch.randint(2**63 - 1, (6000,), dtype=torch.int64).tolist()
    corners = [tuple(framing.vary(image, number)[0, 0, :2].tolist()) for number in numbers]
    counts = np.array([corners.count((row, column)) for row in range(3) for column in range(6)])
    assert counts.sum() == 6000
    assert (np.abs(counts - 6000 / 18) < 5 * (6000 / 18) ** 0.5).all()
    cut = framing.vary(image, 2**63 - 1)  # the last place
    assert cut.shape == (4, 4, 3)
    assert cut[-1, -1, :2].tolist() == [5, 8]


def test_half_of_the_images_are_mirrored():
    framing, image = Framing(size=4, flip=True), coordinates(4, 4)
    flipped = [framing.vary(image, number)[0, 0, 1] == 3 for number in range(100)]
    assert sum(flipped) == 50
    assert np.array_equal(framing.vary(image, 1), image[:, ::-1])
    assert np.array_equal(Framing(size=4).vary(image, 1), image)
    grey = coordinates(4, 5)[:, :, 1]
    assert np.array_equal(framing.vary(grey, 1), grey[:, ::-1])
    cut = coordinates(6, 9)[1:5, 2:6]  # a view, as a crop is
    assert np.array_equal(framing.vary(cut, 1), cut[:, ::-1])


def test_resize_is_followed_by_the_crop():
    wide = Image.fromarray(np.repeat(np.repeat(coordinates(10, 20), 4, 0), 4, 1))  # 80x40
    middle = Framing(size=8, resize=10).decode(wide)
    assert middle.shape == (8, 8, 3)
    assert np.abs(middle[:, :, :2].astype(int) - coordinates(10, 20)[1:9, 6:14, :2]).max() <= 1
    assert Framing(size=8, resize=10, crop="random").decode(wide).shape == (10, 20, 3)
    assert Framing(size=8).decode(wide).shape == (8, 8, 3)


@pytest.mark.parametrize("framing", [Framing(), Framing(9), Framing(9, 11), Framing(9, crop="random")])
@pytest.mark.parametrize("size", [(31, 40), (40, 31), (31, 31)])
def test_the_number_of_pixels_is_known_in_advance(framing, size):
    assert framing.pixels(*size) == framing.decode(Image.new("L", size)).size


# -- images ----------------------------------------------------------------------------------------------------------


def test_images_are_a_torch_data_set(photos):
    images = data.folder(str(photos), labels="folders", memory=0)
    assert isinstance(images, torch.utils.data.Dataset)
    sample, label = images[3]
    assert (sample.shape, sample.dtype, label) == ((3, 10, 12), torch.uint8, 0)  # a/0, a/2, a/4, a/6, b/1, …
    assert torch.equal(images[-1][0], images[7][0])
    with pytest.raises(IndexError):
        images[8]
    loader = torch.utils.data.DataLoader(images, batch_size=4)
    batch, labels = next(iter(loader))
    assert batch.shape == (4, 3, 10, 12)
    assert labels.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("memory", [0, 1])
def test_images_in_memory_are_all_or_a_sample(photos, memory):
    images = data.folder(str(photos), labels="folders", memory=memory)
    whole = images.in_memory()
    assert (len(whole), whole.classes, whole.labels.tolist()) == (8, 2, [0, 0, 0, 0, 1, 1, 1, 1])
    assert whole.samples.dtype == torch.float32
    assert whole.samples.amax() == 1
    assert whole.samples.amin() == -1
    some = images.in_memory(3)
    assert len(some) == 3
    assert torch.equal(some.samples, images.in_memory(3).samples)
    reds = whole.samples[:, 0, 0, 0].tolist()
    assert [whole.labels[reds.index(red)] for red in some.samples[:, 0, 0, 0].tolist()] == some.labels.tolist()
    assert data.reference(images).samples.shape == whole.samples.shape
    assert data.reference(whole) is whole


def test_metrics_see_a_bounded_number_of_images():
    assert reference_count((3, 64, 64), labelled=True) == 5000
    assert reference_count((3, 64, 64), labelled=False) == 1000
    assert reference_count((3, 256, 256), labelled=False) == 2**28 // (4 * 3 * 256**2) == 341
    assert reference_count((3, 4096, 4096), labelled=True) == 64


def test_mixed_kinds_of_images_have_three_channels(tmp_path):
    Image.fromarray(np.full((4, 4), 65_535, dtype=np.uint16)).save(tmp_path / "deep.png")
    picture(tmp_path / "grey.png", (4, 4), "L", 255)
    picture(tmp_path / "print.jpg", (4, 4), "CMYK", (0, 0, 0, 0))
    picture(tmp_path / "red.png", (4, 4))
    images = data.folder(str(tmp_path), memory=0)
    assert images.shape == (3, 4, 4)
    assert [images[i].amin().item() for i in range(4)] == [255, 255, 255, 0]


def test_small_images_are_scaled_up_and_named(photos):
    picture(photos / "a" / "tiny.png", (5, 30))
    with pytest.warns(UserWarning, match=r"1 of the 9 images .* have a side below 9 and are scaled up: a/tiny\.png"):
        images = data.folder(str(photos), size=9, memory=0)
    assert images[4].shape == (3, 9, 9)


# -- images that turn bad --------------------------------------------------------------------------------------------


def remove(path):
    path.unlink()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def grow(path):
    picture(path, (12, 10), colour=GREEN)
    path.write_bytes(path.read_bytes() + b" " * 100)


def become_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def become_a_folder(path):
    path.unlink()
    path.mkdir()


def become_eps(path):
    length = path.stat().st_size
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    path.write_bytes(text[:length].ljust(length))


CHANGES = [
    (remove, "No such file"),
    (truncate, r"it had \d+ bytes when it was found and has \d+"),
    (grow, r"it had \d+ bytes when it was found and has \d+"),
    (become_a_pipe, "it is not a regular file"),
    (become_a_folder, "it is not a regular file"),
    (become_eps, "cannot identify image file"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_a_file_that_turns_bad_is_named_or_replaced(photos, change, reason):
    strict = data.folder(str(photos), memory=0)
    loose = data.folder(str(photos), memory=0, on_bad="skip", labels="folders")
    change(photos / "a" / "4.png")  # number 2
    numbers = [7, 2**62 + 5, 123_456_789]
    drawn = strict.draw([1, 2, 3], numbers)
    assert drawn.samples is None
    with pytest.raises(data.DataError, match=rf"folder:.*: a/4\.png cannot be read \({reason}.*on_bad=skip"):
        strict[2]
    drawn = loose.draw([1, 2, 3], numbers)
    assert {name for name, _ in drawn.bad} == {"a/4.png"}  # a replacement may be the same image: another follows
    first, replacement, last = colours(drawn)
    assert (first, last) == (2, 6)
    assert replacement != 4
    assert drawn.labels.tolist() == [0, replacement % 2, 0]
    assert torch.equal(loose.draw([2], numbers[1:2]).samples[0], drawn.samples[1])  # a function of the number alone


def test_replacements_are_spread_over_the_others(photos):
    images = data.folder(str(photos), memory=0, on_bad="skip")
    (photos / "a" / "4.png").unlink()
    numbers = torch.randint(2**63 - 1, (700,), dtype=torch.int64).tolist()
    found = colours(images.draw([2] * 700, numbers))
    assert {i: found.count(i) > 60 for i in range(8)} == {i: i != 4 for i in range(8)}


def test_a_folder_that_vanishes_is_an_error_even_with_skip(photos):
    images = data.folder(str(photos), memory=0, on_bad="skip")
    photos.rename(photos.parent / "elsewhere")
    with pytest.raises(data.DataError, match=r"No such file .*, nor can 10 others .* are the data still there\?"):
        images[0]
    assert data.folder(str(photos.parent / "elsewhere")).fingerprint() == images.fingerprint()


def test_other_sizes_and_colours_that_the_headers_do_not_show(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by a quarter to see it upright
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg", exif=exif)
    with pytest.raises(ValueError, match=r"a\.jpg is 12x10 and b\.jpg is 10x12"):
        data.folder(str(tmp_path))
    images = data.folder(str(tmp_path), memory=0)
    with pytest.raises(data.DataError, match=r"b\.jpg cannot be read \(it is 10x12 and the others are 12x10"):
        images[1]


def test_no_file_is_opened_for_writing_or_waited_for(photos):
    """A pipe in the place of an image would block a worker for ever."""
    images = data.folder(str(photos), memory=0)
    become_a_pipe(photos / "a" / "0.png")
    result = []
    thread = threading.Thread(target=lambda: result.append(images.draw([0], [1])), daemon=True)
    thread.start()
    thread.join(20)
    assert result
    assert result[0].samples is None


@pytest.mark.parametrize("change", ["content", "name", "one less"])
def test_the_fingerprint_is_of_paths_and_lengths(photos, change):
    before = data.folder(str(photos)).fingerprint()
    assert data.folder(str(photos), memory=0).fingerprint() == before
    if change == "content":
        picture(photos / "a" / "0.png", (40, 30), colour=GREEN)
    elif change == "name":
        (photos / "a" / "0.png").rename(photos / "b" / "0.png")
    else:
        (photos / "a" / "0.png").unlink()
    assert data.folder(str(photos), size=8).fingerprint() != before
