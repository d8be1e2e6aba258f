"""Local data sets of Hugging Face's library, as it writes them."""

import io

import pytest
import torch
from PIL import Image

from ganops import data

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.full


def encoded(i, mode="RGB", size=(8, 6), kind="PNG"):
    file = io.BytesIO()
    colour = (20 * i, 0, 255) if mode == "RGB" else 20 * i
    Image.new(mode, size, colour).save(file, kind)
    return {"bytes": file.getvalue(), "path": f"{i}.png"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def table(count=10, **columns):
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["even", "odd", "none"])}
    rows = {"image": [encoded(i) for i in range(count)], "label": [i % 2 for i in range(count)]}
    for name, values in columns.items():
        rows[name], features[name] = values, datasets.Image() if name.startswith("im") else datasets.Value("int64")
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def written(place, form, rows):
    if form == "disk":
        rows.save_to_disk(str(place))
    elif form == "splits":
        datasets.DatasetDict({"train": rows, "test": rows.select(range(2))}).save_to_disk(str(place))
    else:
        (place / "data").mkdir(parents=True)
        for shard in range(2):
            rows.shard(2, shard, contiguous=True).to_parquet(
                str(place / "data" / f"train-0000{shard}-of-00002.parquet")
            )
        rows.select(range(2)).to_parquet(str(place / "data" / "test-00000-of-00001.parquet"))
    return place


@pytest.mark.parametrize("memory", ["0", "1"])
@pytest.mark.parametrize("form", ["disk", "splits", "parquet"])
def test_every_form_is_read(tmp_path, form, memory):
    place = written(tmp_path / "set", form, table())
    images = data.open(f"hf:{place}?memory={memory}")
    assert (len(images), images.shape, images.classes) == (10, (3, 6, 8), 3)
    assert images.labels.tolist() == [i % 2 for i in range(10)]
    assert images.kept == (memory == "1")
    assert [images[i][0][0, 0, 0].item() for i in range(10)] == [20 * i for i in range(10)]
    assert data.open(f"hf:{place}?size=4&memory={memory}").shape == (3, 4, 4)
    if form != "disk":
        assert len(data.open(f"hf:{place}?split=test")) == 2


def test_one_file_and_columns_by_name(tmp_path):
    rows = table(4, imitation=[encoded(i, "L") for i in range(4)], age=[3, 1, 0, 2])
    rows.to_parquet(str(tmp_path / "x.parquet"))
    with pytest.raises(ValueError, match=r"which column has the images.*image, label, imitation, age"):
        data.open(f"hf:{tmp_path / 'x.parquet'}")
    images = data.open(f"hf:{tmp_path / 'x.parquet'}?image=imitation&label=age")
    assert (images.shape, images.classes, images.labels.tolist()) == ((1, 6, 8), 4, [3, 1, 0, 2])
    with pytest.raises(ValueError, match=r"'imagine' is unknown .did you mean 'image'"):
        data.open(f"hf:{tmp_path / 'x.parquet'}?image=imagine")


@pytest.mark.parametrize("memory", ["0", "1"])
def test_bad_rows_are_named_or_left_out(tmp_path, memory):
    rows = [encoded(i) for i in range(6)]
    rows[3] = {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n", "path": "3.png"}  # Ghostscript would run it
    rows[4] = None
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": rows}, features=features).save_to_disk(str(tmp_path / "set"))
    if memory == "1":
        with pytest.raises(ValueError, match=r"2 of the 6 images cannot be read, the first is row 3 \(cannot identify"):
            data.open(f"hf:{tmp_path / 'set'}")
        with pytest.warns(UserWarning, match="left out 2 of the 6 images"):
            images = data.open(f"hf:{tmp_path / 'set'}?on_bad=skip")
        assert len(images) == 4
        return
    images = data.open(f"hf:{tmp_path / 'set'}?memory=0")
    with pytest.raises(data.DataError, match=r"row 4 cannot be read \(the row has no image\)"):
        images[4]
    images = data.open(f"hf:{tmp_path / 'set'}?memory=0&on_bad=skip")
    assert images[3].shape == (3, 6, 8)


def test_grey_sets_have_one_channel_and_colour_among_them_is_bad(tmp_path):
    rows = [encoded(i % 12, "L") for i in range(2500)]
    rows[1] = encoded(1)  # not among the thousand that are looked at
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": rows}, features=features).save_to_disk(str(tmp_path / "set"))
    images = data.open(f"hf:{tmp_path / 'set'}?memory=0")
    assert images.shape == (1, 6, 8)
    with pytest.raises(data.DataError, match=r"row 1 cannot be read \(it has colour and the images .* are grey"):
        images[1]


def test_the_fingerprint_is_of_the_files(tmp_path):
    one, two = (written(tmp_path / name, "disk", table(count)) for name, count in (("a", 10), ("b", 9)))
    first, second = (data.open(f"hf:{place}").fingerprint() for place in (one, two))
    assert first != second
    assert data.open(f"hf:{one}?memory=0").fingerprint() == first


@pytest.mark.parametrize(
    ("name", "text"), [("nowhere", "does not exist; give a folder"), ("empty", "got no .parquet or .arrow files")]
)
def test_what_is_no_data_set_is_said(tmp_path, name, text):
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        data.open(f"hf:{tmp_path / name}")


def test_rows_are_read_in_worker_processes(tmp_path):
    from ganops.training.streams import StreamBatches

    place = written(tmp_path / "set", "parquet", table())
    images = data.open(f"hf:{place}?memory=0&flip=yes")
    found = []
    for workers in (0, 2):
        batches = StreamBatches(images, 4, 0, torch.device("cpu"), conditional=True, workers=workers)
        found.append([batches.next() for _ in range(6)])
        batches.close()
    assert all(
        torch.equal(one.samples, other.samples) and torch.equal(one.condition, other.condition)
        for one, other in zip(*found, strict=True)
    )
    reds = torch.cat([batch.samples[:, 0, 0, 0] for batch in found[0]])
    assert set(((reds + 1) * 127.5 / 20).round().int().tolist()) <= set(range(10))
