"""Which splits the names of files and folders mean."""

import pytest

from darl.data.formats.listing import by_split
from darl.data.formats.split_names import split_folders


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        (["train-0.tar", "val-0.tar", "test-0.tar"], (["train-0.tar"], ["val-0.tar"], ["test-0.tar"])),
        (["imagenet_train-0.tar", "imagenet_val-0.tar"], (["imagenet_train-0.tar"], ["imagenet_val-0.tar"], [])),
        (["data/train-0.parquet", "data/eval-0.parquet"], (["data/train-0.parquet"], ["data/eval-0.parquet"], [])),
        (["training/0.tar", "testing/0.tar"], (["training/0.tar"], [], ["testing/0.tar"])),
        (["my_test-0.tar", "my_other-0.tar"], (["my_test-0.tar", "my_other-0.tar"], [], [])),
        (["a.tar", "test.tar"], (["a.tar"], [], ["test.tar"])),
        (["val-0.tar", "val-1.tar"], (["val-0.tar", "val-1.tar"], [], [])),
    ],
)
def test_files(paths: list[str], splits: tuple[list[str], list[str], list[str]]) -> None:
    assert by_split(tuple(paths)) == splits


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("train test", "train test"),
        ("TRAINING Testing", "train test"),
        ("a-train a-dev a-eval", "train validation test"),
        ("train", "train"),
        ("val test", "train test"),
        ("val", ""),
        ("a_val b_test", ""),
        ("train training", ""),
        ("train car", ""),
        ("train test car", "train test"),
        ("cat dog", ""),
    ],
)
def test_folders(names: str, splits: str) -> None:
    expected = dict(zip(names.split(), splits.split(), strict=False))
    assert split_folders(names.split()) == expected
