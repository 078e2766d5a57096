"""Image files in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from darl.data.content import hash_parts
from darl.data.formats.base import FileFormat, left_out
from darl.data.formats.folders import Folders, joined, parts_of
from darl.data.formats.label_file import ANNOTATIONS, LabelFile, looks_like_labels, read_annotations, read_labels
from darl.data.formats.layout import LABELS, Layout, Place, layout_of
from darl.data.formats.listing import Listing
from darl.data.formats.placing import by_folder, by_table, each_once, empty_folders
from darl.data.found import Decision, printable
from darl.data.reading import INNERMOST, NONE, TOP, Reading
from darl.data.sources.base import RawLabels, Source, Splits
from darl.variants import require

__all__ = ["IMAGES", "Folder", "ImageFiles"]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2", ".avif")
"""Endings of image files."""


class Folder(Source):
    """A split of image files."""

    def __init__(self, files: Listing, labels: RawLabels = None, *, in_paths: bool = True) -> None:
        """labels: one for each file. in_paths: whether they are parts of the paths, so that these tell them."""
        paths = list(map(files.storage.spelled, files.paths))
        self._files = replace(files, paths=(), sizes=(), folders=frozenset(), dead=(), same={})
        self._sizes = np.array(files.sizes, np.int64)
        # compact and fast to pickle, unlike millions of str
        self._paths = pa.array(paths, pa.string() if files.storage.remote else pa.binary())
        self._in_paths = in_paths
        self.remote = files.storage.remote
        self.labels = None if labels is None else list(labels)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> bytes:
        """The file."""
        return self._files.storage.read(self._files.full(self._path(index)))

    def name(self, index: int) -> str:
        """The file's path, as it can be printed."""
        return printable(self._files.full(self._path(index)))

    def fingerprint(self) -> str:
        """Hash of the paths below the data's folder, of the files' sizes, and of labels that the paths do not tell."""
        labels = [] if self._in_paths else self.labels or []
        return hash_parts([*map(os.fsdecode, self._paths.to_pylist()), *self._sizes, *labels])

    def _path(self, index: int) -> str:
        return os.fsdecode(self._paths[index].as_py())


class ImageFiles(FileFormat):
    """Folders of image files."""

    kind: ClassVar[str] = "folder"
    endings: ClassVar[tuple[str, ...]] = IMAGES
    form: ClassVar[str] = f"images ({', '.join(IMAGES)})"

    @classmethod
    def open(cls, files: Listing) -> Splits:
        """Splits and labels by the folders' names."""
        return cls.read(files, files, Reading())

    @classmethod
    def read(cls, files: Listing, every: Listing, reading: Reading) -> Splits:
        """Splits and labels as the user says, else by the folders' names and Tiny-ImageNet's table."""
        folders = Folders(path.rpartition("/")[0] for path in files.paths)
        layout = layout_of(folders, reading)
        places, found = by_folder(files, layout)
        found = [*layout.found, *found]
        tables = _tables(every, folders, layout, reading)
        for table, splits in tables:
            places, more = by_table(files, places, table, splits)
            found += more
        places, more = each_once(files, places)
        found += [*more, *empty_folders(every, folders, layout)]
        if all(place is None or place.label is None for place in places) and reading.labels is None:
            found += _hint(every)
        used = {table.path for table, _ in tables} | {reading.labels}
        others = every.where(lambda path: not path.lower().endswith(IMAGES) and every.full(path) not in used)
        in_paths = reading.labels != INNERMOST and not tables
        return _splits(files, places, in_paths, (*found, *left_out(others, "images")))


def _splits(files: Listing, places: Sequence[Place | None], in_paths: bool, found: tuple[Decision, ...]) -> Splits:
    numbers: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for number, place in enumerate(places):
        if place is not None:
            numbers[place.split].append(number)
    require(len(numbers["train"]) > 0, "data", "hold images to train on", files.root)

    def source(split: str) -> Folder | None:
        labels = [place.label for number in numbers[split] if (place := places[number]) is not None]
        known = any(label is not None for label in labels)
        chosen = files.take(numbers[split])
        return Folder(chosen, labels if known else None, in_paths=in_paths) if numbers[split] else None

    train = source("train")
    assert train is not None
    return Splits(train, validation=source("validation"), test=source("test"), found=found)


def _tables(
    every: Listing, folders: Folders, layout: Layout, reading: Reading
) -> list[tuple[LabelFile, tuple[str, ...]]]:
    """The tables with labels, and the splits that each is about."""
    if reading.labels is not None:
        named = reading.labels not in (TOP, INNERMOST, NONE)
        return [(read_labels(reading.labels), ("train", "validation", "test"))] if named else []
    tables: list[tuple[LabelFile, tuple[str, ...]]] = []
    for root, level in layout.levels.items():
        names = [f"{joined(each)}{ANNOTATIONS}" for each in folders.wrappers(root)] if level is None and root else []
        for name in set(names) & set(every.paths):
            split = next(
                place.split for folder, place in layout.places.items() if parts_of(folder)[: len(root)] == root
            )
            tables.append((read_annotations(every.storage, every.full(name)), (split,)))
    return tables


def _hint(every: Listing) -> list[Decision]:
    """Tables that may have the labels which no folder tells."""
    tables = looks_like_labels(every.paths)
    count = "1 table" if len(tables) == 1 else f"{len(tables):,} tables"
    return [Decision.about(tables, f"{count} not read, in case of labels", LABELS)] if tables else []
