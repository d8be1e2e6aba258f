"""Images from a user's own folder, and from torchvision."""

import errno
import os
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from ganops import _memory, data
from ganops.data import files, image_files, memory


def picture(path, size=(12, 10), mode="RGB", colour=(255, 0, 0), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    for i, name in enumerate(("b/two.png", "a/one.jpg", "three.PNG")):
        picture(tmp_path / name, colour=(255 * (i == 0), 255 * (i == 1), 255 * (i == 2)))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_is_read_recursively_in_the_order_of_names(photos):
    images = data.load(f"folder:{photos}")
    assert images.samples.shape == (3, 3, 10, 12)
    assert images.samples.dtype == torch.float32
    assert images.labels is None
    # a/one.jpg is green (JPEG rounds), b/two.png red, three.PNG blue.
    expected = torch.tensor([[-1.0, 1, -1], [1, -1, -1], [-1, -1, 1]])
    torch.testing.assert_close(images.samples[:, :, 5, 6], expected, atol=0.02, rtol=0)
    assert (data.source(f"folder:{photos}").kind, data.base_name(f"folder:{photos}")) == ("images", "folder")


def test_pixels_are_in_their_places(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png")
    expected = torch.from_numpy(values).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(data.folder(str(tmp_path)).in_memory().samples[0], expected)


def test_size_scales_the_short_side_and_cuts_the_middle(tmp_path):
    # Thirds of red, green and blue, 30 wide and 10 high: the middle square is green.
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    for i in range(3):
        wide[:, 10 * i : 10 * i + 10, i] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    picture(tmp_path / "high.png", size=(8, 80))
    images = data.load(f"folder:{tmp_path}?size=5")
    assert images.shape == (3, 5, 5)
    torch.testing.assert_close(images.samples[1, :, 2, 2], torch.tensor([-1.0, 1, -1]), atol=0.05, rtol=0)
    assert images.name == f"folder:{tmp_path}"


def test_a_tree_of_other_files_is_refused_before_it_is_looked_through(photos, monkeypatch):
    """As with ``folder:/``; beside as many images such files are part of a data set."""
    monkeypatch.setattr(image_files, "_MOST_OTHERS", 4)
    for i in range(3):
        (photos / f"{i}.xml").write_text("")
    with pytest.raises(ValueError, match=r"holds more than 4 files and folders that are no images.*give the folder"):
        data.folder(str(photos))
    for i in range(7):
        picture(photos / f"{i}.png", size=(12, 10))
    assert len(data.folder(str(photos))) == 10


def test_grey_images_have_one_channel_and_mixed_ones_three(tmp_path):
    picture(tmp_path / "a.png", mode="L", colour=128)
    assert data.folder(str(tmp_path)).in_memory().samples.shape == (1, 1, 10, 12)
    picture(tmp_path / "b.png")
    samples = data.folder(str(tmp_path)).in_memory().samples
    assert samples.shape == (2, 3, 10, 12)
    torch.testing.assert_close(samples[0], torch.full((3, 10, 12), 128 / 127.5 - 1))


def test_deep_grey_transparent_palette_and_turned_images(tmp_path):
    Image.fromarray(np.full((4, 4), 65_535, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert (data.folder(str(tmp_path)).in_memory().samples == 1).all()
    (tmp_path / "deep.png").unlink()
    picture(tmp_path / "clear.png", (4, 4), "RGBA", (200, 0, 0, 0))  # invisible red
    assert (data.folder(str(tmp_path)).in_memory().samples == 1).all()
    (tmp_path / "clear.png").unlink()
    picture(tmp_path / "palette.gif", (4, 4), "P", 0)
    assert data.folder(str(tmp_path)).in_memory().samples.shape == (1, 3, 4, 4)
    (tmp_path / "palette.gif").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by a quarter to see it upright
    picture(tmp_path / "turned.jpg", (12, 10), exif=exif)
    assert data.folder(str(tmp_path)).shape == (3, 12, 10)


def test_labels_are_the_folders(photos):
    (photos / "three.PNG").unlink()
    images = data.load(f"folder:{photos}?labels=folders")
    assert images.labels.tolist() == [0, 1]
    assert images.classes == 2


def test_bad_files_are_named_or_left_out_and_counted(photos):
    (photos / "a" / "broken.png").write_bytes(b"not a picture")
    whole = (photos / "b" / "two.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) - 20])
    with pytest.raises(ValueError, match=r"2 of the 5 images .*broken\.png.*cut\.png.*on_bad=skip"):
        data.load(f"folder:{photos}")
    with pytest.warns(UserWarning, match=r"left out of .* 2 of the 5 images .*broken\.png"):
        images = data.load(f"folder:{photos}?on_bad=skip")
    assert len(images) == 3


@pytest.mark.parametrize("on_bad", ["skip", "error"])
def test_nothing_but_bad_files(tmp_path, on_bad):
    (tmp_path / "broken.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 of the 1 images .*broken\.jpg"):
        data.folder(str(tmp_path), on_bad=on_bad)


def test_different_sizes_name_two_files(photos):
    picture(photos / "zebra.png", (40, 30))
    with pytest.raises(ValueError, match=r"one\.jpg is 12x10 and .*zebra\.png is 40x30 .*folder:.*\?size=64"):
        data.load(f"folder:{photos}")


def test_folders_without_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist"):
        data.load(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(ValueError, match=r"has no images .*; it is empty"):
        data.load(f"folder:{tmp_path}")
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(ValueError, match=r"1 other files: readme\.txt"):
        data.load(f"folder:{tmp_path}")
    with pytest.raises(FileNotFoundError, match=r"readme\.txt is a file"):
        data.load(f"folder:{tmp_path / 'readme.txt'}")


def test_images_above_the_limit_are_decoded_when_they_are_used(photos, monkeypatch):
    need = 3 * 3 * 8 * 8  # three colour images of 8x8 as uint8
    kept = data.folder(str(photos), size=8, memory=need / 2**30)
    assert kept.kept
    decoded = []
    read = image_files.read
    monkeypatch.setattr(image_files, "read", lambda file, *rest: decoded.append(file) or read(file, *rest))
    streamed = data.folder(str(photos), size=8, memory=(need - 1) / 2**30)
    assert not streamed.kept
    assert not decoded
    for i in range(3):
        assert torch.equal(streamed[i], kept[i])
    assert len(decoded) == 3
    # Never more than half of what this process may use.
    monkeypatch.setattr(files, "available_memory", lambda: 2 * need)
    assert data.folder(str(photos), size=8).kept
    monkeypatch.setattr(files, "available_memory", lambda: 2 * need - 2)
    assert not data.folder(str(photos), size=8).kept


def test_more_than_memory_is_refused_before_anything_is_decoded(photos, monkeypatch):
    images = data.folder(str(photos), memory=0)
    need = (1 + 4) * 3 * 3 * 120  # three colour images of 12x10 as uint8 and float32
    monkeypatch.setattr(memory, "available_memory", lambda: need)
    assert len(images.in_memory()) == 3
    monkeypatch.setattr(memory, "available_memory", lambda: need - 1)
    monkeypatch.setattr(image_files, "read", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="choose a smaller size"):
        images.in_memory()


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory error when reading image file")])
def test_lack_of_memory_is_no_bad_image(photos, monkeypatch, error):
    monkeypatch.setattr(image_files, "pixels", Raises(error))
    with pytest.raises(MemoryError, match=r"out of memory while decoding .*\.(png|jpg)"):
        data.folder(str(photos), on_bad="skip")


def test_too_many_open_files_are_no_bad_image(photos, monkeypatch):
    monkeypatch.setattr(image_files, "pixels", Raises(OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(OSError, match="Too many open files"):
        data.folder(str(photos), on_bad="skip")


class Raises:
    def __init__(self, error):
        self.error = error

    def __call__(self, *_, **__):
        raise self.error


def group(root, line, file, text):
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(line)
    (root / "sys/fs/cgroup" / file).parent.mkdir(parents=True, exist_ok=True)
    (root / "sys/fs/cgroup" / file).write_text(text)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("0::/a/b\n", "a/b/memory.max"),
        ("0::/a/b\n", "a/memory.max"),  # of the group above
        ("0::/host/c\n", "memory.max"),  # in a container that sees its own group alone
        ("5:devices:/\n4:cpu,memory:/a/b\n0::/\n", "memory/a/b/memory.limit_in_bytes"),
    ],
)
def test_the_limit_of_a_control_group_counts(tmp_path, line, file):
    group(tmp_path, line, file, "1000000\n")
    assert _memory.available_memory(tmp_path) == 1_000_000
    group(tmp_path, line, file, "max\n")
    assert _memory.available_memory(tmp_path) == _memory.available_memory(tmp_path / "no such system") > 1e8


def test_an_image_above_pillows_limit_is_bad_and_filters_stay(photos, monkeypatch):
    picture(photos / "bomb.png", (40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        before = list(warnings.filters)
        with pytest.raises(ValueError, match=r"bomb\.png \(40x40 is more than the 1,000 pixels that PIL"):
            data.folder(str(photos), size=8)
        assert warnings.filters == before


def test_links_are_followed_once(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    picture(elsewhere / "x.png")
    picture(root / "cats" / "y.png")
    (root / "dogs").symlink_to(elsewhere)
    (root / "a loop").symlink_to(root)
    (root / "cats" / "z.png").symlink_to(elsewhere / "x.png")
    with pytest.warns(UserWarning, match=r"links to folders that are read already: a loop$"):
        images = data.folder(str(root), labels="folders")
    assert images.labels.tolist() == [0, 0, 1]


def test_a_linked_folder_does_not_take_the_place_of_the_folder_itself(tmp_path):
    picture(tmp_path / "z" / "x.png")
    (tmp_path / "a").mkdir()
    picture(tmp_path / "a" / "x.png")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "z")
    with pytest.warns(UserWarning, match="read already: a/link"):
        assert data.folder(str(tmp_path), labels="folders").labels.tolist() == [0, 1]


def test_only_regular_files_of_known_formats_are_read(photos):
    os.mkfifo(photos / "pipe.png")
    (photos / "device.png").symlink_to("/dev/zero")
    picture(photos / ".git" / "x.png")
    (photos / "._x.png").write_bytes(b"resource fork")
    (photos / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0")
    (photos / "drawing.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )  # not by its content either
    with pytest.warns(UserWarning, match="left out") as caught:
        assert len(data.folder(str(photos), on_bad="skip")) == 3
    text = str(caught[0].message)
    for part in (r"hidden: \._x\.png; \.git", r"not regular files: device\.png; pipe\.png"):
        assert re.search(part, text)
    assert re.search(r"formats that are not read \(PNG, .*\): drawing\.eps", text)
    assert re.search(r"1 of the 4 images .* drawing\.png \(cannot identify", text)


@pytest.mark.parametrize("name", ["gone.png", "gone"])
def test_what_cannot_be_opened_is_bad(photos, name):
    (photos / name).symlink_to(photos / "nowhere")
    with pytest.raises(ValueError, match=rf"1 of the 4 images and folders .*: {name} \(No such file.*on_bad=skip"):
        data.folder(str(photos))
    with pytest.warns(UserWarning, match=rf"1 of the 4 images and folders, which cannot be read: {name}"):
        assert len(data.folder(str(photos), on_bad="skip")) == 3


def test_a_folder_that_cannot_be_read_is_bad(photos, monkeypatch):
    scan = os.scandir

    def denied(path):
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ValueError, match=r"cannot be read: b \(Permission denied\)"):
        data.folder(str(photos))
    with pytest.warns(UserWarning, match=r"which cannot be read: b \(Permission denied\)"):
        assert len(data.folder(str(photos), on_bad="skip")) == 2


def test_names_that_are_no_text_are_shown_escaped(photos):
    (photos / os.fsdecode(b"\xff\n.png")).write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape(r"\udcff\n.png (cannot identify image file")):
        data.folder(str(photos))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("folder:", "has no place; write folder:PATH"),
        ("folder:x?size=0", "size must be at least 1"),
        ("folder:x?on_bad=ignore", "on_bad 'ignore' is unknown; choose one of error, skip"),
        ("folder:x?labels=yes", "labels 'yes' is unknown"),
        ("folder:x?path=y", "option 'path' is unknown"),
        ("folder:x?crop=random", "crop=random needs the side of the crop; add the option size"),
        ("folder:x?resize=9", "resize needs the side of the crop"),
        ("folder:x?size=8&resize=7", "resize must be at least size, 8, got 7"),
        ("folder:x?size=8&crop=left", "crop 'left' is unknown; choose one of center, random"),
        ("folder:x?memory=-1", "memory must be .*, got -1"),
        ("folders:x", "'folders:x' is unknown .did you mean 'folder:'"),
        ("torchvision:CIFAR10?download=perhaps", "download must be yes or no"),
    ],
)
def test_wrong_names_say_what_is_wanted(name, text):
    with pytest.raises(ValueError, match=text):
        data.load(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist", "mnist"),
        ("ring8?size=500&seed=3", "ring8-size-500-seed-3"),
        ("folder:/data/my cats/?size=64", "folder-my-cats-size-64"),
        ("torchvision:CIFAR10?root=/data", "torchvision-CIFAR10"),
    ],
)
def test_a_name_makes_a_file_name(name, expected):
    assert data.file_name(name) == expected


class Without:
    """A finder that comes before all others and knows that a package is not installed."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, *_):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {self.package!r}", name=self.package)


@pytest.mark.parametrize(
    ("package", "name"),
    [("torchvision", "torchvision:MNIST"), ("datasets", "hf:{}"), ("webdataset", "wds:{}"), ("braceexpand", "wds:{}")],
)
def test_a_missing_package_is_said_with_the_command(tmp_path, monkeypatch, package, name):
    for known in [key for key in sys.modules if key.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setattr(sys, "meta_path", [Without(package), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=rf"data '{name.partition(':')[0]}.*'{package}'.*ganops\[data\]"):
        data.load(name.format(tmp_path))


class Numbers:
    """What torchvision's sets have in common: root, train, download, a length, pairs of picture and target."""

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        if download:
            raise AssertionError("fetched without being asked")
        if not (Path(root) / "numbers").is_dir():
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.count = 5 if train else 2

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        return Image.new("L", (6, 4), 50 * i), i


@pytest.fixture
def torchvision(monkeypatch):
    sets = ModuleType("torchvision.datasets")
    sets.Numbers, sets.__all__ = Numbers, ("Numbers",)
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", sets)


def test_torchvision_sets_are_read_where_they_lie(tmp_path, torchvision):
    (tmp_path / "numbers").mkdir()
    images = data.load(f"torchvision:Numbers?root={tmp_path}")
    assert images.shape == (1, 4, 6)
    torch.testing.assert_close(images.samples[:, 0, 0, 0], 50 * torch.arange(5) / 127.5 - 1)
    assert images.labels.tolist() == [0, 1, 2, 3, 4]
    assert len(data.load(f"torchvision:Numbers?root={tmp_path}&split=test")) == 2
    assert data.load(f"torchvision:Numbers?root={tmp_path}&size=8").shape == (1, 8, 8)


def test_torchvision_sets_that_are_not_there(tmp_path, torchvision):
    with pytest.raises(ValueError, match=r"Dataset not found.*have it fetched with &download=yes"):
        data.load(f"torchvision:Numbers?root={tmp_path}")
    with pytest.raises(ValueError, match=r"'Number' is unknown .did you mean 'Numbers'"):
        data.load(f"torchvision:Number?root={tmp_path}")
    with pytest.raises(ValueError, match=r"split 'valid' is unknown; choose one of test, train"):
        data.load(f"torchvision:Numbers?root={tmp_path}&split=valid")


def idx(array):
    """The format of MNIST's files: a magic number with the rank, the sizes, the bytes."""
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return b"\x00\x00\x08" + bytes([array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def test_torchvision_itself(tmp_path):
    pytest.importorskip("torchvision", exc_type=Exception)  # one built for another torch raises RuntimeError
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    for part, count in (("train", 5), ("t10k", 2)):
        for kind, array in (("images-idx3", pixels[:count]), ("labels-idx1", np.arange(count))):
            (raw / f"{part}-{kind}-ubyte").write_bytes(idx(array))
    images = data.load(f"torchvision:MNIST?root={tmp_path}")
    torch.testing.assert_close(images.samples[:, 0], torch.from_numpy(pixels) / 127.5 - 1)
    assert images.labels.tolist() == [0, 1, 2, 3, 4]
    assert len(data.load(f"torchvision:MNIST?root={tmp_path}&split=test")) == 2
    with pytest.raises(ValueError, match="have it fetched with &download=yes"):
        data.load(f"torchvision:CIFAR10?root={tmp_path}")
