"""WebDataset shards, as its own writer writes them."""

import io
import json

import pytest
import torch
from PIL import Image

from ganops import data
from ganops.cli import main
from ganops.training import load_checkpoint, report
from ganops.training.streams import IterableBatches

webdataset = pytest.importorskip("webdataset")
pytestmark = pytest.mark.full

CPU = torch.device("cpu")


def encoded(i, kind="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (5 * i, 0, 255)).save(file, kind)
    return file.getvalue()


def write(root, shards=4, each=10, change=None):
    """Shards whose images are numbered by their red value; the class is the number modulo 3."""
    root.mkdir(exist_ok=True)
    for shard in range(shards):
        with webdataset.TarWriter(str(root / f"train-{shard:03}.tar")) as writer:
            for i in range(shard * each, (shard + 1) * each):
                sample = {"__key__": f"{i:05}", "png": encoded(i), "cls": i % 3, "json": {"caption": "x"}}
                if change is not None:
                    change(i, sample)
                writer.write(sample)
    return root


def numbers(batches):
    return ((torch.cat([batch.samples[:, 0, 0, 0] for batch in batches]) + 1) * 127.5 / 5).round().int().tolist()


def take(shards, count, workers=0, seed=0, size=8, **options):
    batches = IterableBatches(shards, size, seed, CPU, workers=workers, **options)
    found = [batches.next() for _ in range(count)]
    batches.close()
    return found


@pytest.mark.parametrize("pattern", ["{root}/train-{{000..003}}.tar", "{root}/*.tar", "{root}"])
@pytest.mark.parametrize("workers", [0, 2, 9])
def test_an_epoch_has_every_image_once(tmp_path, pattern, workers):
    root = write(tmp_path / "set")
    shards = data.open(f"wds:{pattern.format(root=root)}?classes=3")
    assert (shards.shape, len(shards.files)) == ((3, 6, 8), 4)
    epochs = take(shards, 10, workers, conditional=True)
    first, second = numbers(epochs[:5]), numbers(epochs[5:])
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second != sorted(second)
    for batch in epochs:
        assert batch.condition.tolist() == [i % 3 for i in numbers([batch])]
    assert numbers(take(shards, 10, workers)) == numbers(epochs)
    assert numbers(take(shards, 10, workers, seed=1)) != numbers(epochs)


def test_workers_rests_are_put_together(tmp_path):
    shards = data.open(f"wds:{write(tmp_path / 'set', shards=3, each=5)}")
    found = numbers(take(shards, 2, workers=3, size=7))
    assert len(set(found)) == 14


def test_the_first_images_are_the_reference(tmp_path):
    shards = data.open(f"wds:{write(tmp_path / 'set')}?classes=3&size=4")
    some = shards.in_memory(7)
    assert some.samples.shape == (7, 3, 4, 4)
    assert some.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert some.classes == 3
    assert len(data.reference(shards)) == 40


def no_class(i, sample):
    if i == 13:
        del sample["cls"]


def no_image(i, sample):
    if i == 13:
        sample["txt"] = sample.pop("png")


def postscript(i, sample):
    if i == 13:
        sample["png"] = b"%!PS-Adobe-3.0 EPSF-3.0\n"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_class, r"its \.cls must be a class from 0 to 2, got ''"),
        (no_image, "it has no image"),
        (postscript, "cannot identify"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_stop_or_are_left_out(tmp_path, change, reason, workers):
    root = write(tmp_path / "set", change=change)
    with pytest.raises(data.DataError, match=rf"00013 cannot be read \({reason}.*on_bad=skip"):
        take(data.open(f"wds:{root}?classes=3"), 5, workers)
    with pytest.warns(UserWarning, match="00013 cannot be read"):
        found = take(data.open(f"wds:{root}?classes=3&on_bad=skip"), 4, workers)
    assert 13 not in numbers(found)


def test_a_shard_that_ends_too_early(tmp_path):
    root = write(tmp_path / "set")
    shard = root / "train-002.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(data.DataError, match=r"train-002\.tar cannot be read \(the shard cannot be read to its end"):
        take(data.open(f"wds:{root}"), 5)
    with pytest.warns(UserWarning, match=r"train-002\.tar cannot be read"):
        take(data.open(f"wds:{root}?on_bad=skip"), 4)


@pytest.mark.parametrize("pattern", ["pipe:cat x.tar", "https://example.com/x.tar", "-", "no-{000..003}.tar"])
def test_only_files_on_this_machine_are_opened(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no file; give tar files on this machine"):
        data.open(f"wds:{pattern}")


def test_a_run_begins_its_epoch_again_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "write_curves", lambda *_: None)
    monkeypatch.setattr(report, "write_samples", lambda *_: None)
    root = write(tmp_path / "set", each=20)
    command = ["train", "hinge", "--data", f"wds:{root}?size=8", "--out", str(tmp_path / "run"), "--width", "4",
               "--batch-size", "16", "--evaluate-every", "0", "--monitor-every", "0", "--workers", "2"]  # fmt: skip
    assert main([*command, "--steps", "7"]) == 0
    assert load_checkpoint(tmp_path / "run")["batches"] == {"epoch": 1, "used": 2}
    assert main([*command, "--steps", "9", "--resume"]) == 0
    error = capsys.readouterr().err
    assert "can only be read from the beginning, so epoch 2 begins again (2 of its batches were used)" in error
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["step"] == 9
