"""Data with a test split and no validation split: images held out of train decide, the test split is for the end."""

from pathlib import Path

import numpy as np
import pytest

from darl.data import DataContent, Dataset, content_of, load
from darl.data.content import require_unchanged
from darl.errors import UserError
from tests.data.example_images import pngs, write_folder, write_parquet


def loaded(place: Path, **options: int) -> Dataset:
    return load(str(place), image_size=8, channels=1, **options)


def write(root: Path, *, test: bool = True) -> Path:
    files = pngs(30)
    write_parquet(root / "train.parquet", files[:20], [i % 2 for i in range(20)])
    if test:
        write_parquet(root / "test.parquet", files[20:], [i % 3 for i in range(10)])
    return root


@pytest.mark.parametrize("limit", [2**30, 0], ids=["in memory", "streamed"])
def test_a_fifth_of_train_decides_and_the_test_split_stays_apart(tmp_path: Path, limit: int) -> None:
    data = loaded(write(tmp_path), memory_limit=limit)
    assert (len(data.train), len(data.validation), len(data.test or ())) == (16, 4, 10)
    assert (data.split, data.classes) == ("held out of train", ("0", "1", "2"))
    assert data.test is not None
    assert data.test.labels.tolist() == [i % 3 for i in range(10)]  # type: ignore[union-attr]
    assert sorted(data.validation.labels.tolist()) == [0, 0, 1, 1]  # type: ignore[union-attr]
    content = DataContent(train=16, validation=4, classes=3, fingerprint=data.content.fingerprint, test=10)  # type: ignore[union-attr]
    assert data.content == content
    assert str(content).startswith("16 + 4 images and 10 test images, 3 classes")


def test_the_held_out_images_are_those_of_train_alone(tmp_path: Path) -> None:
    both, alone = (loaded(write(tmp_path / str(test), test=test)) for test in (True, False))
    for split in ("train", "validation"):
        np.testing.assert_array_equal(getattr(both, split).pixels, getattr(alone, split).pixels)
    assert (alone.test, alone.split) == (None, "held out of train")


def test_a_validation_split_decides_and_the_test_split_is_not_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "validation.parquet", pngs(3), [0, 1, 0])
    data = loaded(write(tmp_path))
    assert (len(data.train), len(data.validation), data.test, data.split) == (20, 3, None, "validation")
    assert data.content is not None
    assert data.content.test is None


def test_folders_have_the_same_rule(tmp_path: Path) -> None:
    write_folder(
        tmp_path, [f"{split}/{label}/{i}.png" for split in ("train", "test") for label in "ab" for i in range(5)]
    )
    data = loaded(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test or ())) == (8, 2, 10)


def test_what_decides_never_holds_the_test_split(tmp_path: Path) -> None:
    data = loaded(write(tmp_path))
    assert data.deciding.test is None
    assert data.deciding.validation is data.validation
    assert data.deciding is data.deciding
    assert data.deciding.deciding is data.deciding


def test_a_folder_begun_when_the_test_split_decided_is_not_continued(tmp_path: Path) -> None:
    now = content_of(str(write(tmp_path)))
    before = {"train": 20, "validation": 10, "classes": 3, "fingerprint": "0" * 16}
    message = r"with 20 \+ 10 images before, 16 \+ 4 and 10 test images now: give another name"
    with pytest.raises(UserError, match=message):
        require_unchanged([{"data": "here", "content": before}], {"here": now})
