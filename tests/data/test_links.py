"""Links, names of any encoding and other oddities of disks."""

import os
from pathlib import Path

import pytest

from darl.data import load
from darl.data.formats.walk import Walk
from darl.errors import UserError
from tests.data.example_images import pngs, write_parquet
from tests.data.example_layouts import by_class, fill, labels, opened, picture, said


def test_each_real_file_once(tmp_path: Path) -> None:
    root = fill(tmp_path / "D", ["cat", "dog"])
    (root / "cat" / "again.png").symlink_to(root / "cat" / "0.png")
    assert by_class(root) == {"train": {"cat": 3, "dog": 3}}
    assert "1 link to images that are taken already left out: cat/again.png" in said(root)


def test_class_folders_of_links(tmp_path: Path) -> None:
    """Links to files elsewhere, as for a part of a data set, are the images."""
    pool, root = fill(tmp_path / "pool", ["."], each=4), tmp_path / "D"
    for index in range(4):
        link = root / ("cat", "dog")[index % 2] / f"{index}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(pool / f"{index}.png")
    (root / "eel").symlink_to(fill(tmp_path / "eels", ["."]))
    assert by_class(root) == {"train": {"cat": 2, "dog": 2, "eel": 3}}
    assert "link" not in said(root)


@pytest.mark.parametrize(
    ("own", "link", "what"), [("cat/0.png", "dog/x.png", "class"), ("train/cat/0.png", "val/cat/x.png", "split")]
)
def test_a_file_in_two_classes_or_splits_is_an_error(own: str, link: str, what: str, tmp_path: Path) -> None:
    for folder in [tmp_path] if what == "class" else [tmp_path / "train", tmp_path / "val"]:
        fill(folder, ["cat", "dog"])
    (tmp_path / link).symlink_to(tmp_path / own)
    with pytest.raises(UserError) as mistake:
        opened(tmp_path)
    assert str(mistake.value) == (
        f"data must have each image in one {what}, got '{own}' and '{link}', which are one file: remove one of them"
    )


def test_circles_of_links_end(tmp_path: Path) -> None:
    root = fill(tmp_path / "D", ["cat", "dog"])
    (root / "cat" / "up").symlink_to(root)
    (root / "dog" / "self").symlink_to(root / "dog" / "self")
    (root / "gone.png").symlink_to(root / "no such file")
    assert by_class(root) == {"train": {"cat": 3, "dog": 3}}
    assert "3 links to nothing or in a circle left out: cat/up, dog/self, gone.png" in said(root)


def test_many_folders_that_lead_to_one_another_are_read_a_few_times(tmp_path: Path) -> None:
    """Every path without a circle through them would be one of 10! paths."""
    names = "abcdefghij"
    fill(tmp_path, names, each=1)
    for name in names:
        for other in names:
            if other != name:
                (tmp_path / name / other).symlink_to(tmp_path / other)
    walk = Walk(str(tmp_path))
    own = [f"{name}/0.png" for name in names]
    assert set(own) <= set(walk.files)
    assert len(walk.files) <= 4 * len(names)
    assert {walk.same[path] for path in walk.files} == set(own)


def test_names_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    try:
        (tmp_path / "cat" / "0.png").rename(tmp_path / "cat" / os.fsdecode(b"\xff.png"))
        (tmp_path / "cat").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    except OSError as error:
        pytest.skip(f"this file system has no such names: {error}")
    assert labels(tmp_path)["train"] == {
        "caf\\xe9/1.png": "caf\\xe9", "caf\\xe9/2.png": "caf\\xe9", "caf\\xe9/\\xff.png": "caf\\xe9",
        **{f"dog/{i}.png": "dog" for i in range(3)},
    }  # fmt: skip
    said(tmp_path).encode()
    data = load(str(tmp_path), image_size=8, channels=1)
    assert (len(data.train) + len(data.validation), data.skipped, data.classes) == (6, (), ("caf\\xe9", "dog"))


def test_parquet_files_are_read_once(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", pngs(5))
    (tmp_path / "b.parquet").symlink_to(file)
    assert len(opened(tmp_path).sources["train"]) == 4
    assert "1 of *.parquet left out, links to others: b.parquet" in said(tmp_path)
    assert len(opened(tmp_path / "b*.parquet").sources["train"]) == 4


def test_hard_links_are_files_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog"])
    os.link(tmp_path / "cat" / "0.png", tmp_path / "cat" / "copy.png")
    assert by_class(tmp_path) == {"train": {"cat": 4, "dog": 3}}


def test_hidden_files_and_folders_are_no_data(tmp_path: Path) -> None:
    fill(tmp_path, ["cat", "dog", ".cache", "__MACOSX"])
    picture(0).save(tmp_path / "cat" / "._0.png")
    assert by_class(tmp_path) == {"train": {"cat": 3, "dog": 3}}
    assert "left out" not in said(tmp_path)
