"""One contract for every kind of data and every file format: a class that is defined is in the lists by itself.

`Stripes` shows that a new kind is one class. It stays defined in any process that collects this file.
"""

import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from darl.data import content_of, load, locate
from darl.data.formats.base import FileFormat
from darl.data.locate import kind_of, open_splits
from darl.data.sources.base import Source, Splits
from darl.data.sources.kind import DataKind
from tests.data.example_images import HubSplit, hub_of, pngs, write_folder, write_mnist, write_parquet, write_tar


class StripedImages(Source):
    """So many grey images, each darker than the one before."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.labels = [index % 2 for index in range(count)]

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(np.full((8, 8), 255 - index, np.uint8))

    def name(self, index: int) -> str:
        return f"stripes#{index}"


class Stripes(DataKind):
    """A new kind of data is one class."""

    kind: ClassVar[str] = "stripes"
    form: ClassVar[str] = "stripes:COUNT"

    @classmethod
    def open(cls, name: str) -> Splits:
        return Splits(StripedImages(int(name.partition(":")[2])), None)


Make = Callable[[Path, pytest.MonkeyPatch], str]


def parquet(folder: Path, _: pytest.MonkeyPatch) -> str:
    write_parquet(folder / "train.parquet", pngs(10), [0, 1] * 5, rows_per_group=4)
    return str(write_parquet(folder / "test.parquet", pngs(3), [0, 1, 0]).parent)


def image_files(folder: Path, _: pytest.MonkeyPatch) -> str:
    return str(
        write_folder(
            folder, [f"{split}/{label}/{i}.png" for split in ("train", "val") for label in "ab" for i in range(3)]
        )
    )


def shards(folder: Path, _: pytest.MonkeyPatch) -> str:
    members = {f"{i}.png": png for i, png in enumerate(pngs(5))} | {f"{i}.cls": b"1" for i in range(5)}
    return str(write_tar(folder / "train.tar", members).parent)


def torchvision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DARL_DATA_ROOT", str(folder))
    write_mnist(folder)
    return "MNIST"


def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    rows = [{"picture": {"bytes": png, "path": None}, "kind": i % 2} for i, png in enumerate(pngs(6))]
    monkeypatch.setitem(sys.modules, "datasets", hub_of(lambda name: {"train": HubSplit(rows)}))
    return "owner/name"


EXAMPLES: dict[str, Make] = {
    "digits": lambda *_: "digits:0-2",
    "files": image_files,
    "torchvision": torchvision,
    "hub": hub,
    "stripes": lambda *_: "stripes:20",
}
FORMATS: dict[str, Make] = {"folder": image_files, "parquet": parquet, "shards": shards}
EVERY = {**{f"{kind} by name": make for kind, make in EXAMPLES.items()}, **FORMATS}


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def text(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a user calls the data."""
    return request.param(tmp_path / "data", monkeypatch)


def splits_of(text: str) -> list[Source]:
    splits = open_splits(locate(text))
    return [split for split in (splits.train, splits.validation) if split is not None]


def test_every_kind_and_format_has_an_example():
    assert {kind.kind for kind in DataKind.kinds()} == EXAMPLES.keys()
    assert {kind.kind for kind in FileFormat.kinds()} == FORMATS.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_name_is_canonical_once_it_is_located(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = locate(EXAMPLES[kind](tmp_path / "data", monkeypatch))
    assert locate(name) == name
    assert kind_of(name).kind == kind
    assert [other.kind for other in DataKind.kinds() if other.named(name) is not None] == [kind]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_takes_the_files_with_its_endings(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = Path(FORMATS[kind](tmp_path / "data", monkeypatch))
    (own,) = [format for format in FileFormat.kinds() if format.kind == kind]
    assert all(path.name.endswith(own.endings) for path in folder.rglob("*") if path.is_file())


def test_a_split_gives_images_names_and_labels(text: str):
    for split in splits_of(text):
        assert len(split) > 0
        assert isinstance(split.read(len(split) - 1), bytes | Image.Image)
        names = [split.name(index) for index in range(len(split))]
        assert len(set(names)) == len(names)
        assert split.labels is None or len(split.labels) == len(split)


def test_groups_cover_a_split(text: str):
    for split in splits_of(text):
        if split.groups is not None:
            starts, sizes = split.groups.starts, split.groups.sizes
            assert starts[0] == 0
            assert (np.diff(np.append(starts, len(split))) > 0).all()
            assert len(starts) == len(sizes)
            assert (sizes > 0).all()


def test_a_split_survives_pickling(text: str):
    for split in splits_of(text):
        copy = pickle.loads(pickle.dumps(split))
        last = len(split) - 1
        assert (len(copy), copy.name(last), copy.labels) == (len(split), split.name(last), split.labels)
        assert copy.read(last) == split.read(last)
        assert copy.fingerprint() == split.fingerprint()


def test_the_content_is_known_without_decoding_and_stays(text: str, monkeypatch: pytest.MonkeyPatch):
    data = load(text, image_size=8, channels=1)
    monkeypatch.setattr("darl.data.decode.open_image", None)
    content = content_of(text)
    assert data.content == content == content_of(locate(text))
    assert (content.train, content.validation) == (len(data.train), len(data.validation))
    assert content.classes == (None if data.classes is None else len(data.classes))
    assert re.fullmatch("[0-9a-f]{16}", content.fingerprint)


def test_a_new_kind_of_data_is_loaded_like_any_other():
    data = load("stripes:20", image_size=8, channels=1)
    assert (data.name, len(data.train), len(data.validation), data.classes) == ("stripes:20", 16, 4, ("0", "1"))
    assert data.content != load("stripes:30", image_size=8, channels=1).content
