"""Labels from tables, and how the user's word on labels and splits travels in the data's name."""

from pathlib import Path

import pytest

from darl.data import content_of, locate
from darl.data.locate import read_as
from darl.data.reading import Reading
from darl.errors import UserError
from tests.data.example_images import pngs, write, write_parquet
from tests.data.example_layouts import by_class, fill, labels, opened, picture, said


def tiny_imagenet(root: Path) -> None:
    fill(root / "train" / "n01", ["images"], each=4)
    fill(root / "train" / "n02", ["images"], each=4)
    lines = []
    for index in range(6):
        (root / "val" / "images").mkdir(parents=True, exist_ok=True)
        picture(index % 2).save(root / "val" / "images" / f"val_{index}.png")
        lines.append(f"val_{index}.png\tn0{index % 2 + 1}\t0\t0\t23\t23")
    write(root / "val" / "val_annotations.txt", "\n".join(lines).encode())


def test_tiny_imagenet(tmp_path: Path) -> None:
    tiny_imagenet(tmp_path)
    own = labels(tmp_path)
    assert by_class(tmp_path) == {"train": {"n01": 4, "n02": 4}, "validation": {"n01": 3, "n02": 3}}
    assert own["validation"] == {f"val/images/val_{i}.png": f"n0{i % 2 + 1}" for i in range(6)}
    assert f"labels from {tmp_path}/val/val_annotations.txt" in said(tmp_path)
    assert "not images" not in said(tmp_path)


def test_another_label_in_the_table_is_other_data(tmp_path: Path) -> None:
    tiny_imagenet(tmp_path)
    before, table = content_of(str(tmp_path)), tmp_path / "val" / "val_annotations.txt"
    table.write_text(table.read_text().replace("val_0.png\tn01", "val_0.png\tn02"))
    assert content_of(str(tmp_path)) != before


TABLES = {
    "file,label\ncat/0.png,x\ncat/1.png,y\ndog/0.png,z\n": "file, label",
    "id;breed\ncat/0;x\ncat/1;y\ndog/0;z\n": "id, breed",
    "Label\tImage_ID\nx\t./cat/0.png\ny\tcat\\1.png\nz\tdog/0.png\n": "Image_ID, Label",
    "cat/0.png,x\ncat/1.png,y\ndog/0.png,z\n": "",
    "n,filename,class\n0,D/cat/0.png,x\n1,D/cat/1.png,y\n2,D/dog/0.png,z\n": "filename, class",
    "\ufeffimage,label,more\n/cat/0.png,x,1\n/cat/1.png,y,\n/dog/0.png,z\n": "image, label",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_with_file_and_label_columns(table: str, tmp_path: Path) -> None:
    root = fill(tmp_path / "D", ["cat"], each=2)
    fill(root, ["dog"], each=1)
    write(root / "labels.csv", table.encode())
    file = str(root / "labels.csv")
    assert labels(root, labels=file) == {"train": {"cat/0.png": "x", "cat/1.png": "y", "dog/0.png": "z"}}
    columns = f" (columns {TABLES[table]})" if TABLES[table] else ""
    assert f"labels from {file}{columns}; " in said(root, labels=file)
    assert "1 file not images" in said(root)
    assert "1 file not images" not in said(root, labels=file)


def test_columns_by_name_and_labels_that_are_numbers(tmp_path: Path) -> None:
    fill(tmp_path, ["."], each=12)
    rows = "".join(f"{i},{i % 4},{i % 3 + 9}\n" for i in range(12))
    table = write(tmp_path / "labels.csv", f"which,colour,kind\n{rows}".encode())
    own = opened(tmp_path, labels=f"{table}:which,kind")
    assert own.classes == ("9", "10", "11")
    with pytest.raises(UserError) as mistake:
        opened(tmp_path, labels=str(table))
    assert str(mistake.value) == (
        f"data_labels must have a file and a label column, got '{table}' with the columns which, colour, kind: "
        f"say which, as {table}:FILE_COLUMN,LABEL_COLUMN"
    )


def test_images_without_a_row_and_rows_without_an_image_are_named(tmp_path: Path) -> None:
    root = fill(tmp_path / "D", ["."], each=5)
    table = write(tmp_path / "labels.csv", b"file,label\n0,a\n1,b\n2,a\n3,b\n7,a\n")
    assert by_class(root, labels=str(table)) == {"train": {"a": 2, "b": 2}}
    line = said(root, labels=str(table))
    assert "1 image without a row in that table left out: 4.png" in line
    assert "1 row of that table about no image that was found: 7" in line


def test_the_table_of_training_images_whose_names_the_test_images_have_too(tmp_path: Path) -> None:
    root = tmp_path / "D"
    fill(root / "train", ["."], each=4)
    fill(root / "test", ["."], each=6)
    table = write(root / "trainLabels.csv", b"id,label\n0,a\n1,b\n2,a\n3,b\n")
    assert by_class(root, labels=str(table)) == {"train": {"a": 2, "b": 2}, "test": 6}
    assert "no labels: there are no two class folders; 1 table not read, in case of labels: trainLabels.csv" in said(
        root
    )
    (root / "test" / "4.png").unlink()
    (root / "test" / "5.png").unlink()
    with pytest.raises(UserError, match=r"got '0' for 'test/0\.png' and 'train/0\.png'"):
        opened(root, labels=str(table))


def test_a_name_that_fits_two_images_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, ["a", "b"], each=1)
    table = write(tmp_path / "labels.csv", b"file,label\n0.png,x\n")
    with pytest.raises(UserError, match=r"data_labels must name each image by its path, got '0.png' for 'a/0.png' and"):
        opened(tmp_path, labels=str(table))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"file,label\n0.png,x\n0.png,y\n", "must have one label for each image, got"),
        (b"file,label\n0.png,\n", "must have a label for some image, got"),
        (b"file,label\nelsewhere.png,x\n", "must be a table that names images of"),
    ],
)
def test_tables_that_cannot_be_used(table: bytes, message: str, tmp_path: Path) -> None:
    fill(tmp_path, ["a", "b"], each=1)
    file = write(tmp_path / "labels.csv", table)
    with pytest.raises(UserError, match=f"data_labels {message}"):
        opened(tmp_path, labels=str(file))


def test_tables_are_for_image_files(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", pngs(4))
    with pytest.raises(UserError, match=r"data_labels must be left out: it is for image files, not for \*.parquet"):
        opened(tmp_path, labels="none")


def test_files_of_other_kinds_are_named_beside_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", pngs(4))
    write(tmp_path / "notes.txt", b"x")
    assert "1 file not *.parquet: notes.txt" in said(tmp_path)


def test_the_name_says_how_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "a#b", ["cat", "dog"])
    monkeypatch.chdir(tmp_path)
    name = read_as(locate("a#b"), Reading(labels="la bels&1%.csv", splits="train=cat"))
    assert name == f"{tmp_path}/a#b#labels={tmp_path}/la bels%261%25.csv&splits=train=cat"
    assert locate(name) == name
    address, reading = Reading.of(name)
    assert (address, reading) == (f"{tmp_path}/a#b", Reading(labels=f"{tmp_path}/la bels&1%.csv", splits="train=cat"))
    assert read_as(name, Reading(labels="none")) == f"{tmp_path}/a#b#labels=none&splits=train=cat"
    assert locate("s3://b/x/?region=eu#labels=none") == "s3://b/x?region=eu#labels=none"
    with pytest.raises(UserError, match=r"data must say labels= or splits= after #, got"):
        locate("/x#labels=none&label=top")
