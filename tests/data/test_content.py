"""Contents of data sets: independent of the address, and different for other names, sizes or labels."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from darl.data import DataContent, content_of, load
from darl.data.content import require_unchanged
from darl.errors import UserError
from tests.data.example_images import pngs, write, write_folder, write_parquet, write_tar

Make = Callable[[Path], object]


def folder(root: Path) -> None:
    write_folder(root, [f"{split}/{label}/{i}.png" for split in ("train", "val") for label in "ab" for i in range(3)])


def train(root: Path, first: int = 0) -> None:
    write_parquet(root / "train.parquet", pngs(15)[first : first + 12], [0, 1, 2] * 4, rows_per_group=5)


def validation(root: Path, labels: list[int], names: list[str] | None = None) -> None:
    """First by name, so that the classes' names are read here."""
    write_parquet(root / "test.parquet", pngs(3), labels, names)


def parquet(root: Path) -> None:
    train(root)
    validation(root, [0, 1, 2])


def shards(root: Path, last: bytes = b"1") -> None:
    labels = {f"{i}.cls": b"1" for i in range(5)} | {"5.cls": last}
    write_tar(root / "0.tar", {f"{i}.png": png for i, png in enumerate(pngs(6))} | labels)


@pytest.mark.parametrize("make", [folder, parquet, shards])
def test_moved_data_and_other_spellings_of_its_address_have_the_same_content(make: Make, tmp_path: Path):
    make(tmp_path / "here")
    make(tmp_path / "there" / "deep")
    contents = [
        content_of(text)
        for text in (f"{tmp_path}/here", f"{tmp_path}/here/", f"file://{tmp_path}/here", f"{tmp_path}/there/deep")
    ]
    assert contents == contents[:1] * 4


CHANGES: dict[str, tuple[Make, Make]] = {
    "an image more": (folder, lambda root: write(root / "train/a/9.png", pngs(1)[0])),
    "an image renamed": (folder, lambda root: (root / "train/a/0.png").rename(root / "train/a/7.png")),
    "an image of another size": (folder, lambda root: write(root / "val/a/0.png", b"shorter")),
    "another class": (
        folder,
        lambda root: [(root / part / "b").rename(root / part / "c") for part in ("train", "val")],
    ),
    "other labels": (parquet, lambda root: validation(root, [2, 1, 0])),
    "other class names": (parquet, lambda root: validation(root, [0, 1, 2], ["a", "b", "c"])),
    "other rows": (parquet, lambda root: train(root, first=3)),
    "a file renamed": (parquet, lambda root: (root / "train.parquet").rename(root / "train-0.parquet")),
    "another label in a shard": (shards, lambda root: shards(root, last=b"2")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_has_another_content(change: str, tmp_path: Path):
    make, alter = CHANGES[change]
    make(tmp_path)
    before = content_of(str(tmp_path))
    alter(tmp_path)
    assert content_of(str(tmp_path)) != before


def test_the_content_does_not_depend_on_how_data_is_loaded(tmp_path: Path):
    folder(tmp_path)
    small = load(str(tmp_path), image_size=8, channels=1, memory_limit=0)
    assert small.content == load(str(tmp_path), image_size=12, channels=3).content


def test_broken_images_are_counted(tmp_path: Path):
    folder(tmp_path)
    write(tmp_path / "train/a/9.png", b"broken")
    assert content_of(str(tmp_path)).train == 7
    assert load(str(tmp_path), image_size=8, channels=1).content == content_of(str(tmp_path))


def test_a_selection_of_digits_has_another_content():
    assert len({content_of(name) for name in ("digits", "digits:0-4", "digits:5-9")}) == 3
    assert str(content_of("digits")).startswith("1,438 + 359 images, 10 classes, fingerprint ")


BEFORE = DataContent(train=1000, validation=200, classes=10, fingerprint="a" * 16)


@pytest.mark.parametrize(
    ("train", "classes", "change"),
    [
        (1001, 10, "1,000 + 200 images before, 1,001 + 200 now"),
        (1000, 9, "10 classes before, 9 now"),
        (1000, None, "10 classes before, none now"),
        (1000, 10, "the same numbers of images and classes as before, but other names, sizes or labels"),
    ],
)
def test_a_change_under_an_address_is_an_error_of_one_line(train: int, classes: int | None, change: str):
    now = DataContent(train=train, validation=200, classes=classes, fingerprint="b" * 16)
    with pytest.raises(UserError) as mistake:
        require_unchanged([record("/x", BEFORE)], {"/x": now})
    assert str(mistake.value) == (
        f"data must be what earlier trials of this folder were trained on, got '/x' with {change}: "
        "give another name, or put the earlier data back"
    )


def test_other_addresses_and_older_records_are_no_change():
    now = DataContent(train=1, validation=1, classes=None, fingerprint="b" * 16)
    require_unchanged([record("/x", BEFORE), {"data": "/y"}], {"/y": now, "/z": now})
    require_unchanged([record("/x", BEFORE)], {"/x": BEFORE})


def record(data: str, content: DataContent) -> dict[str, object]:
    return {"data": data, "content": vars(content)}


def test_locating_digits_imports_no_image_library():
    """`darl.data` alone is tested: a stand-in replaces the package `darl`, which imports more."""
    script = (
        "import sys, types; package = types.ModuleType('darl'); package.__path__ = ['darl']; "
        "sys.modules['darl'] = package; from darl.data import Augment, locate; Augment(); locate('digits'); "
        "print([name for name in 'PIL pyarrow torchvision sklearn scipy pandas timm datasets'.split() "
        "if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert process.stdout == "[]\n"
