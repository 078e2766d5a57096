"""Each kind of source gives its images, labels and splits."""

import sys

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_digits

from darl.data import Stream, load
from darl.data.sources.digits import read_digits
from tests.data.example_images import (
    HubSplit,
    channels_first,
    encoded,
    hub_of,
    picture,
    pngs,
    write,
    write_folder,
    write_mnist,
    write_parquet,
    write_tar,
)


def loaded(data, size=12, channels=3, **options):
    return load(str(data), image_size=size, channels=channels, **options)


def numbers(split) -> list[int]:
    """Which `picture(i)` each image of a split is."""
    known = {channels_first(picture(i)).tobytes(): i for i in range(200)}
    return [known[np.ascontiguousarray(pixels).tobytes()] for pixels in split.pixels]


def test_digits():
    data = loaded("digits", 8, 1)
    assert (len(data.train), len(data.validation)) == (1438, 359)
    assert data.classes == tuple("0123456789")
    truth = {np.round(image * 255 / 16).astype(np.uint8).tobytes(): k for image, k in zip(*digits_truth(), strict=True)}
    assert all(
        truth[image.tobytes()] == label
        for split in (data.train, data.validation)
        for image, label in zip(split.pixels, split.labels, strict=True)
    )
    assert loaded("digits", 16, 3).train.pixels.shape == (1438, 3, 16, 16)


def test_digits_are_those_of_scikit_learn():
    digits = load_digits()
    try:
        images, labels = read_digits()
    except OSError as error:
        pytest.fail(f"scikit-learn has moved the file of its digits, which darl.data.sources.digits reads: {error}")
    np.testing.assert_array_equal(images, digits.images, strict=True)
    np.testing.assert_array_equal(labels, digits.target, strict=True)


def digits_truth():
    digits = load_digits()
    return digits.images, digits.target


def test_held_out_fifth_is_stratified_and_fixed():
    one, two = loaded("digits", 8, 1), loaded("digits", 8, 1)
    np.testing.assert_array_equal(one.validation.pixels, two.validation.pixels)
    share = np.bincount(one.validation.labels) / np.bincount(load_digits().target)
    assert (np.abs(share - 0.2) < 0.01).all()


def test_folder_of_classes(tmp_path):
    write_folder(tmp_path, [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(10)])
    data = loaded(tmp_path)
    assert data.classes == ("cat", "dog")
    assert sorted(numbers(data.train) + numbers(data.validation)) == list(range(20))
    assert [i // 10 for i in numbers(data.train)] == data.train.labels.tolist()
    assert np.bincount(data.validation.labels).tolist() == [2, 2]


def test_folder_with_splits_prefers_validation_to_test(tmp_path):
    names = ["train/a/0.png", "train/b/deep/1.png", "test/a/2.png", "val/b/3.png", "extra/4.png"]
    data = loaded(write_folder(tmp_path, names))
    assert (numbers(data.train), data.train.labels.tolist()) == ([0, 1], [0, 1])
    assert (numbers(data.validation), data.classes) == ([3], ("a", "b"))


def test_class_called_train_is_a_class(tmp_path):
    data = loaded(write_folder(tmp_path, [f"{kind}/{i}.png" for kind in ("car", "train") for i in range(5)]))
    assert data.classes == ("car", "train")


@pytest.mark.parametrize("names", [["0.png", "1.png", "2.png"], ["only/0.png", "only/1.png"], ["a/0.png", "1.png"]])
def test_folders_without_labels(tmp_path, names):
    data = loaded(write_folder(tmp_path, names))
    assert data.train.labels is data.validation.labels is data.classes is None
    assert sorted(numbers(data.train) + numbers(data.validation)) == list(range(len(names)))


def test_hidden_files_are_no_images(tmp_path):
    write_folder(tmp_path, ["0.png", "1.png"])
    for name in ("._0.png", ".hidden/x.png", "__MACOSX/0.png", ".DS_Store"):
        write(tmp_path / name, b"no image")
    data = loaded(tmp_path)
    assert len(data.train) + len(data.validation) == 2
    assert data.skipped == ()


def test_broken_images_are_skipped_with_their_labels(tmp_path):
    write_folder(tmp_path, [f"train/{kind}/{i}.png" for kind in "ab" for i in range(5)])
    write_folder(tmp_path / "val", ["a/0.png", "b/1.png"])
    write(tmp_path / "train" / "a" / "2.png", b"broken")
    whole = encoded(picture(9))
    write(tmp_path / "train" / "b" / "4.png", whole[: len(whole) // 2])
    data = loaded(tmp_path)
    assert numbers(data.train) == [0, 1, 3, 4, 5, 6, 7, 8]
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4
    assert [line.split(": ")[0] for line in data.skipped] == [f"{tmp_path}/train/a/2.png", f"{tmp_path}/train/b/4.png"]
    assert "UnidentifiedImageError" in data.skipped[0]


@pytest.mark.parametrize("kind", ["folder", "file", "pattern", "uri"])
def test_parquet(tmp_path, kind):
    files = pngs(25)
    path = write_parquet(tmp_path / "sub dir" / "images.parquet", files, [i % 3 for i in range(25)])
    place = {
        "folder": tmp_path,
        "file": path,
        "pattern": path.parent / "im*.parquet",
        "uri": "file://" + str(tmp_path),
    }[kind]
    data = loaded(place)
    assert sorted(numbers(data.train) + numbers(data.validation)) == list(range(25))
    assert [i % 3 for i in numbers(data.train)] == data.train.labels.tolist()
    assert data.classes == ("0", "1", "2")
    assert data.train.labels.dtype == np.int64


def test_parquet_splits_names_and_broken_rows(tmp_path):
    files = pngs(30)
    broken = [*files[:7], b"broken", None, *files[9:12]]
    write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", broken, [1] * 12, ["cat", "dog"], "img", 5)
    write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", files[12:20], [0] * 8, ["cat", "dog"], "img")
    write_parquet(tmp_path / "data" / "validation-00000.parquet", files[20:22], [0, 1], ["cat", "dog"], "img")
    write_parquet(tmp_path / "data" / "test-00000.parquet", files[22:], [-1] * 8, ["cat", "dog"], "img")
    data = loaded(tmp_path)
    assert numbers(data.train) == [*range(7), *range(9, 20)]
    assert data.train.labels.tolist() == [1] * 10 + [0] * 8
    assert (numbers(data.validation), data.classes) == ([20, 21], ("cat", "dog"))
    first = f"{tmp_path}/data/train-00000-of-00002.parquet"
    assert [line.split(": ")[0] for line in data.skipped] == [f"{first}#7", f"{first}#8"]


def test_hidden_test_labels_are_none(tmp_path):
    write_parquet(tmp_path / "train.parquet", pngs(4), [0, 1, 0, 1])
    write_parquet(tmp_path / "test.parquet", pngs(4), [-1] * 4)
    data = loaded(tmp_path)
    assert sorted([*data.train.labels, *data.validation.labels]) == [0, 0, 1, 1]
    assert (len(data.test), data.test.labels) == (4, None)


def test_parquet_of_plain_bytes_and_text_labels(tmp_path):
    kinds = pandas.Categorical(["b", "a", "b", "a", "c", "c"])
    pandas.DataFrame({"note": range(6), "image": pngs(6), "label": kinds}).to_parquet(tmp_path / "x.parquet")
    data = loaded(tmp_path)
    labels = dict(zip(numbers(data.train), data.train.labels.tolist(), strict=True))
    assert all(label == [1, 0, 1, 0, 2, 2][i] for i, label in labels.items())
    assert data.classes == ("a", "b", "c")


def test_larger_kind_of_file_is_the_data(tmp_path):
    write_folder(tmp_path, [f"{i}.png" for i in range(30)])
    write_parquet(tmp_path / "about.parquet", [b"x"])
    assert len(loaded(tmp_path).train) == 24


def test_shards(tmp_path):
    files = pngs(12)
    for shard in range(2):
        members = {}
        for i in range(shard * 5, shard * 5 + 5):
            members |= {f"./{i:03}.cls": str(i % 2).encode(), f"./{i:03}.png": files[i], f"./{i:03}.json": b"{}"}
        write_tar(tmp_path / f"train-{shard}.tar", {**members, f"._{shard}.png": b"AppleDouble"})
    write_tar(tmp_path / "val.tar", {"a.seg.png": files[10], "a.cls": b"1", "b.png": b"broken", "b.cls": b"0"})
    data = loaded(tmp_path)
    assert numbers(data.train) == list(range(10))
    assert data.train.labels.tolist() == [0, 1] * 5
    assert (numbers(data.validation), data.validation.labels.tolist()) == ([10], [1])
    assert data.skipped[0].startswith(f"{tmp_path}/val.tar#b.png: UnidentifiedImageError")


def test_shards_without_or_with_text_labels(tmp_path):
    write_tar(tmp_path / "plain" / "0.tar", {f"{i}.png": png for i, png in enumerate(pngs(5))})
    assert loaded(tmp_path / "plain").train.labels is None
    members = {f"{i}.png": png for i, png in enumerate(pngs(4))}
    write_tar(tmp_path / "text" / "0.tar", members | {f"{i}.cls": b"dog" if i % 2 else b"cat" for i in range(4)})
    assert loaded(tmp_path / "text").classes == ("cat", "dog")


def test_statistics_are_the_training_pixels(tmp_path):
    data = loaded(write_folder(tmp_path, [f"{i}.png" for i in range(10)]))
    pixels = data.train.pixels / 255
    np.testing.assert_allclose(data.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_constant_images_can_be_normalised(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", encoded(picture(0).point(lambda _: 7)))
    data = loaded(tmp_path)
    assert data.std == (1 / 255,) * 3
    assert data.mean == pytest.approx((7 / 255,) * 3)


def test_memory_limit_makes_streams(tmp_path):
    write_folder(tmp_path / "train", [f"{i}.png" for i in range(10)])
    write_folder(tmp_path / "val", ["a.png", "b.png"])
    one = 12 * 12 * 3
    kinds = {
        limit: [isinstance(split, Stream) for split in (data.train, data.validation)]
        for limit in (12 * one, 12 * one - 1, 2 * one, 2 * one - 1)
        for data in [loaded(tmp_path, memory_limit=limit)]
    }
    assert list(kinds.values()) == [[False, False], [False, True], [True, False], [True, True]]


def test_torchvision(tmp_path, monkeypatch):
    monkeypatch.setenv("DARL_DATA_ROOT", str(tmp_path))
    truth = write_mnist(tmp_path)
    data = loaded("MNIST", 28, 1)
    assert data.name == "torchvision:MNIST"
    pixels = np.concatenate([data.train.pixels, data.validation.pixels])[:, 0]
    assert sorted(map(bytes, pixels)) == sorted(map(bytes, truth["train"].astype(np.uint8)))
    np.testing.assert_array_equal(data.test.pixels[:, 0], truth["t10k"])
    assert (data.test.labels.tolist(), data.split) == ([0, 1, 2, 3], "held out of train")
    assert data.classes[:2] == ("0 - zero", "1 - one")


def test_hub(tmp_path, monkeypatch):
    files = pngs(8)
    outside = write(tmp_path / "outside.png", files[7])
    rows = [{"picture": {"bytes": file, "path": None}, "kind": i % 2} for i, file in enumerate(files[:7])]
    rows.append({"picture": {"bytes": None, "path": str(outside)}, "kind": 1})
    hub = hub_of(lambda name: {"test": HubSplit(rows[5:]), "train": HubSplit(rows[:5])} if name == "o/n" else {})
    monkeypatch.setitem(sys.modules, "datasets", hub)
    data = loaded("o/n")
    assert (data.name, data.classes) == ("hub:o/n", ("cat", "dog"))
    assert sorted(numbers(data.train) + numbers(data.validation)) == [0, 1, 2, 3, 4]
    assert (numbers(data.test), data.test.labels.tolist()) == ([5, 6, 7], [1, 0, 1])
