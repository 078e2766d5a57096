"""Names of data sets, their defaults, and the errors for data that cannot be used."""

import sys

import pytest

from darl.data import Augment, Defaults, defaults, load, locate
from darl.data.sources.kind import DataKind
from darl.errors import UserError
from tests.data.example_images import encoded, picture, pngs, write, write_folder, write_parquet, write_tar


def error_of(data, **sizes) -> str:
    with pytest.raises(UserError) as caught:
        load(str(data), **{"image_size": 12, "channels": 3, **sizes})
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(("data must ", "image_size must ", "channels must "))
    return message


@pytest.mark.parametrize("name", ["digits", "torchvision:CIFAR10", "hub:owner/name", "s3://bucket/x/*.tar", "/no/such"])
def test_canonical_names_stay(name):
    assert locate(name) == name


def test_short_names_become_canonical(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "images", ["a.png", "b.png"])
    write_folder(tmp_path / "MNIST", ["a.png"])
    assert locate("CIFAR10") == "torchvision:CIFAR10"
    assert locate("owner/name") == "hub:owner/name"
    assert locate("images") == locate("./images/") == str(tmp_path / "images")
    assert locate("images/*.png") == str(tmp_path / "images" / "*.png")
    assert locate("MNIST") == str(tmp_path / "MNIST")  # what exists here is meant


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("s3://bucket/x/", "s3://bucket/x"),
        ("s3://bucket/x/?region=eu", "s3://bucket/x?region=eu"),
        ("gcs://bucket/x", "gs://bucket/x"),
        ("file:///no/such/", "/no/such"),
        ("/no/./such/", "/no/such"),
    ],
)
def test_every_spelling_of_an_address_is_one_name(spelling, name):
    assert locate(spelling) == name


@pytest.mark.parametrize("name", ["", "nonsense", "a/b/c/d", "ImageFolder", "./gone", "~nobody-here/x", "hdfs2://x"])
def test_unknown_data(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        locate(name)
    own = [kind.form for kind in DataKind.kinds() if not kind.__module__.startswith("darl.")]  # other tests' kinds
    *first, last = ["a torchvision data set (torchvision:NAME)", "one on the Hub (hub:OWNER/NAME)", *own]
    assert str(caught.value) == (
        "data must be digits, a folder of images, Parquet files or tar shards (a path, or an address such as s3:// or "
        f"gs://), {', '.join(first)} or {last}, got {name!r}"
    )


def test_unknown_torchvision_set():
    with pytest.raises(UserError, match=r"data must name a data set of torchvision\.datasets, got 'torchvision:Nope'"):
        locate("torchvision:Nope")


def test_defaults(tmp_path):
    rich = Augment(crop_min=0.2, flip=True)
    assert defaults("digits") == Defaults(8, 1, 2, Augment())
    write_folder(tmp_path / "small", ["a.png", "b.png"], size=40)
    write_folder(tmp_path / "large", ["a.png", "b.png"], size=41)
    write(tmp_path / "grey" / "broken.png", b"")
    write(tmp_path / "grey" / "x.png", encoded(picture(0, mode="L")))
    assert defaults(str(tmp_path / "small")) == Defaults(32, 3, 4, rich)
    assert defaults(str(tmp_path / "large")) == Defaults(224, 3, 16, rich)
    assert defaults(str(tmp_path / "grey")) == Defaults(32, 1, 4, rich)


def test_a_missing_path_is_refused():
    assert "data must be readable, got '/no/such' (there is no such file or folder)" in error_of("/no/such")
    assert "got '/no/such' (there is no such file or folder)" in error_of("file:///no/such")


def test_path_that_may_not_be_read(tmp_path, monkeypatch):
    write_folder(tmp_path, ["a.png", "b.png"])

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("darl.data.formats.listing._files", refuse)
    assert "data must be readable" in error_of(tmp_path)
    assert "Permission denied" in error_of(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    write(tmp_path / "notes.txt", b"")
    assert "data must hold images (.png, .jpg" in error_of(tmp_path)
    assert str(tmp_path) in error_of(tmp_path)


def test_no_readable_image(tmp_path):
    for name in ("a.png", "b.png"):
        write(tmp_path / "train" / name, b"broken")
    write(tmp_path / "val" / "a.png", b"broken")
    message = error_of(tmp_path)
    assert message.startswith(f"data must hold an image that can be read, got '{tmp_path}' where none can (first: ")
    assert "train/a.png: UnidentifiedImageError" in message
    with pytest.raises(UserError, match="data must hold an image that can be read"):
        defaults(str(tmp_path))
    assert "data must hold an image that can be read" in error_of(tmp_path, image_size=10000)


def test_single_image(tmp_path):
    write_folder(tmp_path, ["a.png"])
    assert "data must hold at least two images, one to validate on, and holds 1, got" in error_of(tmp_path)


def test_truncated_parquet(tmp_path):
    path = write_parquet(tmp_path / "train.parquet", pngs(20))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    message = error_of(tmp_path)
    assert message.startswith(f"data must hold Parquet files that can be read, got '{path}' (")
    assert message.endswith("): download or write it again")


def test_parquet_without_images(tmp_path):
    import pandas

    path = tmp_path / "x.parquet"
    pandas.DataFrame({"pixels": [1, 2], "label": [0, 1]}).to_parquet(path)
    assert error_of(path).endswith(f"got '{path}' with the columns pixels, label")
    assert "must have an image column (a struct of bytes and path, or binary named image or img)" in error_of(path)


def test_parquet_files_that_differ(tmp_path):
    write_parquet(tmp_path / "train-0.parquet", pngs(3), [0, 1, 2])
    write_parquet(tmp_path / "train-1.parquet", pngs(3))
    assert "data must have the columns label in all of its files, got" in error_of(tmp_path)
    assert "train-1.parquet" in error_of(tmp_path)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([0, None, 1, None], "a label for every image or for none, got 'DATA' with 2 of 4 labels null in train"),
        ([0, -1, 1, 2], "have labels from 0 up (1 in train are negative), got 'DATA'"),
        ([0.5, 1.0, 2.0, 0.0], "labels that are whole numbers or text, got 'DATA' with label of type double"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path, labels, text):
    path = write_parquet(tmp_path / "x.parquet", pngs(4), labels)
    assert text.replace("DATA", str(path)) in error_of(path)


def test_labels_beyond_the_named_classes(tmp_path):
    write_parquet(tmp_path / "x.parquet", pngs(4), [0, 1, 2, 3], names=["a", "b"])
    assert "data must have labels below its 2 named classes (one is 3)" in error_of(tmp_path)


def test_broken_shards(tmp_path):
    shard = write_tar(tmp_path / "x.tar", {"a.png": pngs(1)[0]})
    shard.write_bytes(b"x" * 700)
    assert "data must hold tar shards that can be read to their end, got" in error_of(tmp_path)
    write_tar(shard, {"a.txt": b"x"})
    assert "data must hold images (.png" in error_of(tmp_path)


def test_invalid_sizes_are_refused():
    assert error_of("digits", image_size=0) == "image_size must be at least 1, got 0"
    with pytest.raises(UserError, match="channels must be 1 or 3, got 2"):
        load("digits", image_size=8, channels=2)


def test_hub_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = error_of("hub:owner/name")
    assert message.endswith("got 'hub:owner/name': correct the path or pip install 'darl[hub]'")


def test_torchvision_without_a_network(tmp_path, monkeypatch):
    def offline(*_):
        raise OSError("no\nnetwork")

    monkeypatch.setenv("DARL_DATA_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr("torchvision.datasets.CIFAR10.download", offline)
    assert error_of("CIFAR10") == (
        "data must be a torchvision data set that is in or can be downloaded to "
        f"DARL_DATA_ROOT={tmp_path}/root, got 'torchvision:CIFAR10' (no network)"
    )


def test_truncated_shard(tmp_path):
    shard = write_tar(tmp_path / "x.tar", {f"{i}.png": png for i, png in enumerate(pngs(4))})
    shard.write_bytes(shard.read_bytes()[:700])  # in the first image
    assert error_of(tmp_path).endswith(f"got '{shard}' (unexpected end of data): download or write it again")
