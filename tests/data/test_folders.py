"""How folders of image files are understood, row by row of what people bring."""

from pathlib import Path

import pytest

from darl.data import content_of, defaults, load
from darl.data.locate import read_as
from darl.data.reading import Reading
from darl.errors import UserError
from tests.data.example_images import write
from tests.data.example_layouts import EARLIER, by_class, fill, labels, opened, picture, said


@pytest.mark.parametrize("layout", EARLIER)
def test_layouts_that_were_understood_have_the_content_that_their_records_hold(layout: str, tmp_path: Path) -> None:
    paths, content = EARLIER[layout]
    for number, path in enumerate(paths):
        write(tmp_path / path, b"x" * (number + 1))
    own = content_of(str(tmp_path))
    assert (own.train, own.validation, own.classes, own.fingerprint, own.test) == content


SPLIT_NAMES = {
    ("training", "testing"): ("train", "test"),
    ("Train", "VAL"): ("train", "validation"),
    ("train", "valid"): ("train", "validation"),
    ("imagenet_train", "imagenet_val"): ("train", "validation"),
    ("train2017", "val2017"): ("train", "validation"),
    ("train", "evaluation"): ("train", "validation"),
    ("train", "dev", "eval"): ("train", "validation", "test"),
    ("train", "validation", "test"): ("train", "validation", "test"),
    ("val", "test"): ("train", "test"),
}


@pytest.mark.parametrize("names", SPLIT_NAMES)
def test_the_usual_names_of_splits(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        fill(tmp_path / name, "012", each=1)
    every = dict.fromkeys("012", 1)
    assert by_class(tmp_path) == dict.fromkeys(SPLIT_NAMES[names], every)
    assert f"splits from folders {names[0]}/" in said(tmp_path)


@pytest.mark.parametrize("names", [("train", "car"), ("train_interior", "train_station"), ("test", "car"), ("a", "b")])
def test_classes_may_be_called_like_splits(names: tuple[str, ...], tmp_path: Path) -> None:
    assert by_class(fill(tmp_path, names)) == {"train": dict.fromkeys(names, 3)}


def test_folders_beside_the_splits_are_named(tmp_path: Path) -> None:
    for name in ("train", "val"):
        fill(tmp_path / name, "ab", each=2)
    fill(tmp_path, ["extra"], each=1)
    assert by_class(tmp_path) == {"train": {"a": 2, "b": 2}, "validation": {"a": 2, "b": 2}}
    assert "1 image outside of the splits left out: extra/0.png" in said(tmp_path)


def test_splits_in_class_folders(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        fill(tmp_path / name, ["train", "test"], each=2)
    each = {"cat": 2, "dog": 2}
    assert by_class(tmp_path) == {"train": each, "test": each}
    assert "splits from folders train/ and test/ in the class folders" in said(tmp_path)


WRAPPERS = {
    "imagenette2/{split}/{label}": "splits from folders imagenette2/train/ and imagenette2/val/",
    "a/b/{split}/{label}": "splits from folders a/b/train/ and a/b/val/",
    "{split}/images/{label}": "labels from folders cat/ and dog/ in train/images/",
    "train/{split}/{label}": "splits from folders train/train/ and train/val/",
    "data/{split}/{label}/images": "splits from folders data/train/ and data/val/",
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_of_splits(wrapper: str, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for label in ("cat", "dog"):
            fill(tmp_path / wrapper.format(split=split, label=label), ["."], each=2)
    each = {"cat": 2, "dog": 2}
    assert by_class(tmp_path) == {"train": each, "validation": each}
    assert WRAPPERS[wrapper] in said(tmp_path)


@pytest.mark.parametrize("wrapper", ["images", "data", "a/b/c"])
def test_wrappers_of_classes(wrapper: str, tmp_path: Path) -> None:
    fill(tmp_path / wrapper, ["cat", "dog"])
    assert by_class(tmp_path) == {"train": {"cat": 3, "dog": 3}}
    assert f"labels from folders cat/ and dog/ in {wrapper}/" in said(tmp_path)


def test_images_beside_annotations(tmp_path: Path) -> None:
    fill(tmp_path / "images", ["cat", "dog"])
    fill(tmp_path / "annotations", ["trimaps"], each=4)
    assert by_class(tmp_path) == {"train": {"cat": 3, "dog": 3}}
    line = said(tmp_path)
    assert "4 images outside of the class folders left out; " in line
    assert line.endswith(f"; names: darl doctor --data {tmp_path}")


def test_two_levels_of_folders_are_said_and_either_can_be_taken(tmp_path: Path) -> None:
    for group, classes in {"animal": ["cat", "dog"], "vehicle": ["bus", "car"]}.items():
        fill(tmp_path / group, classes)
    assert by_class(tmp_path) == {"train": {"animal": 6, "vehicle": 6}}
    assert "labels from the outermost folders animal/ and vehicle/ (they hold folders, too)" in said(tmp_path)
    inner = dict.fromkeys(("bus", "car", "cat", "dog"), 3)
    assert by_class(tmp_path, labels="innermost") == {"train": dict(sorted(inner.items()))} == {"train": inner}
    assert "labels from the innermost 4 folders" in said(tmp_path, labels="innermost")


def test_strays_are_named_and_left_out(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    picture(0).save(tmp_path / "overview.png")
    write(tmp_path / "README.txt", b"about")
    assert by_class(tmp_path) == {"train": {"cat": 3, "dog": 3}}
    assert "1 image outside of the class folders left out: overview.png" in said(tmp_path)
    assert "1 file not images: README.txt" in said(tmp_path)
    assert by_class(tmp_path, labels="none") == {"train": 7}


def test_most_images_are_no_strays(tmp_path: Path) -> None:
    fill(tmp_path, ["."], each=7)
    fill(tmp_path, ["cat", "dog"])
    assert by_class(tmp_path) == {"train": 13}
    assert "no labels: 7 of 13 images lie beside the class folders" in said(tmp_path)
    assert by_class(tmp_path, labels="top") == {"train": {"cat": 3, "dog": 3}}


def test_an_unlabelled_test_split_beside_labelled_training_images(tmp_path: Path) -> None:
    fill(tmp_path / "train", ["cat", "dog"], each=10)
    fill(tmp_path / "test", ["."], each=4)
    own = opened(tmp_path)
    assert [own.labels[split] is None for split in ("train", "validation", "test")] == [False, False, True]
    line = said(tmp_path)
    assert line.startswith("data: 16 + 4 images and 4 test images of 2 classes; splits from folders train/ and test/; ")
    assert "a fifth of train held out to decide; 4 images of test have no labels: without figures at the end" in line


def test_an_unlabelled_validation_split_cannot_decide(tmp_path: Path) -> None:
    fill(tmp_path / "train", ["cat", "dog"], each=10)
    fill(tmp_path / "val", ["."], each=2)
    assert said(tmp_path).startswith("data: 16 + 4 images of 2 classes; ")
    names = f"{tmp_path}/val/0.png, {tmp_path}/val/1.png"
    assert f"2 images of validation have no labels: left out: {names}" in said(tmp_path)
    assert said(tmp_path, labels="none").startswith("data: 20 + 2 images; ")


def test_a_validation_split_of_one_class_keeps_its_label(tmp_path: Path) -> None:
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path / "val", ["dog"])
    assert by_class(tmp_path)["validation"] == {"dog": 3}
    assert "1 class without validation images: cat" in said(tmp_path)


@pytest.mark.parametrize("names", [("Cat", "Dog"), ("Cat",), ("cat", "dog", "eel")])
def test_classes_that_differ_between_the_splits_are_an_error(names: tuple[str, ...], tmp_path: Path) -> None:
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path / "val", names)
    with pytest.raises(UserError) as mistake:
        opened(tmp_path)
    only = [name for name in names if name not in ("cat", "dog")]
    assert f"got {str(tmp_path)!r} with {' and '.join(only)} only in validation" in str(mistake.value)
    assert ("and cat and dog only in train" in str(mistake.value)) == (len(only) == len(names))


def test_the_held_out_images_may_have_classes_that_the_others_lack(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog", "eel"], each=1)
    assert len(opened(tmp_path).sources["validation"]) == 1


@pytest.mark.parametrize("first", [{"mode": "L"}, {"size": (20, 20)}], ids=["grey", "small"])
def test_channels_and_size_are_of_images_all_over_the_set(first: dict[str, object], tmp_path: Path) -> None:
    fill(tmp_path, ["a"], each=20, **{"size": (60, 50), **first})  # type: ignore[arg-type]
    fill(tmp_path, ["b", "c"], each=20, size=(60, 50))
    usual = defaults(str(tmp_path))
    assert (usual.image_size, usual.channels) == (224, 3)
    grey = "3 channels (16 of 48 images are grey), 60 × 50 pixels (read at 224 × 224)"
    small = "3 channels, 20 × 20 to 60 × 50 pixels (read at 224 × 224)"
    assert (grey if "mode" in first else small) in said(tmp_path)


def test_other_channels_and_another_size_are_said(tmp_path: Path) -> None:
    fill(tmp_path, ["a", "b"])
    decision = load(str(tmp_path), image_size=24, channels=1).found[-1]
    assert decision.text == "1 channel (0 of 5 images are grey), 24 × 24 pixels"
    assert decision.field == "channels and image_size"


def test_empty_class_folders_are_named(tmp_path: Path) -> None:
    for split in ("train", "val"):
        fill(tmp_path / split, ["cat", "dog"])
        (tmp_path / split / "eel").mkdir()
    (tmp_path / "test").mkdir()
    assert "3 folders empty of images: test/, train/eel/, val/eel/" in said(tmp_path)
    assert by_class(tmp_path)["train"] == {"cat": 3, "dog": 3}


def test_splits_as_the_user_says(tmp_path: Path) -> None:
    fill(tmp_path, ["one", "two"])
    fill(tmp_path / "more", ["cat", "dog"], each=2)
    two = {"train": 3, "validation": 3}
    assert by_class(tmp_path, splits="train=one,val=./two/") == two
    assert "4 images outside of the splits left out" in said(tmp_path, splits="train=one,val=two")
    for name in ("train", "val"):
        fill(tmp_path / "splits" / name, "ab")
    assert by_class(tmp_path / "splits", splits="none") == {"train": {"train": 6, "val": 6}}
    deep = by_class(tmp_path, splits="train=splits/train,test=splits/val")
    assert deep == {"train": {"a": 3, "b": 3}, "test": {"a": 3, "b": 3}}


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"splits": "train"}, "data_splits must be none or the splits' folders below the data's, each once, as"),
        ({"splits": "validation=cat"}, "data_splits must name a folder to train on: train=FOLDER, got"),
        ({"splits": "train=eel"}, "data_splits must name folders that hold images, got 'eel/' (there are cat/, dog/)"),
        ({"labels": "/no/such.csv"}, "data_labels must be top, innermost, none or a table of files and labels that"),
    ],
)
def test_what_the_user_says_must_fit(reading: dict[str, str], message: str, tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], each=1)
    with pytest.raises(UserError) as mistake:
        opened(tmp_path, **reading)
    assert str(mistake.value).startswith(message)


def test_digits_and_tables_have_labels_of_their_own() -> None:
    with pytest.raises(UserError, match="data_labels must be left out: digits has its own, got 'none'"):
        read_as("digits", Reading(labels="none"))


def test_labels_helper_names_every_image(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"], each=1)
    assert labels(tmp_path) == {"train": {"cat/0.png": "cat", "dog/0.png": "dog"}}
