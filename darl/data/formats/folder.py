"""Image files in folders."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from darl.data.content import hash_parts
from darl.data.formats.base import FileFormat
from darl.data.formats.listing import Listing, by_split, split_of
from darl.data.sources.base import Source, Splits

__all__ = ["IMAGES", "Folder", "ImageFiles"]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2", ".avif")
"""Endings of image files."""


class Folder(Source):
    """A split of image files. The label is the folder directly below the split's own folder."""

    def __init__(self, files: Listing, depth: int) -> None:
        paths = list(files.paths)
        self._files = replace(files, paths=(), sizes=())
        self._sizes = np.array(files.sizes, np.int64)
        self._paths = pa.array(paths, pa.string())  # compact and fast to pickle, unlike millions of str
        self.remote = files.storage.remote
        folders = [path.split("/")[depth] if path.count("/") > depth else None for path in paths]
        # no labels where some images lie outside the class folders, or where there is one folder only
        self.labels = folders if None not in folders and len(set(folders)) > 1 else None

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> bytes:
        """The file."""
        return self._files.storage.read(self.name(index))

    def name(self, index: int) -> str:
        """The file's path."""
        return self._files.full(self._paths[index].as_py())

    def fingerprint(self) -> str:
        """Hash of the paths below the data's folder, which give the labels, and of the files' sizes."""
        return hash_parts([*self._paths.to_pylist(), *self._sizes])


class ImageFiles(FileFormat):
    """Folders of image files."""

    kind: ClassVar[str] = "folder"
    endings: ClassVar[tuple[str, ...]] = IMAGES
    form: ClassVar[str] = f"images ({', '.join(IMAGES)})"

    @classmethod
    def open(cls, files: Listing) -> Splits:
        """`train/`, alone or next to `val/`, `validation/` or `test/`, is a split; other folders are classes."""
        tops = sorted({path.split("/")[0] for path in files.paths if "/" in path})
        named = {split_of(top) for top in tops}
        # a class may be called `train` too: CIFAR-100 has one
        if "train" not in named or (len(tops) > 1 and not named & {"validation", "test"}):
            return Splits(Folder(files, depth=0))

        def split(chosen: list[str]) -> Folder:
            return Folder(files.where(lambda path: "/" in path and path.split("/")[0] in chosen), depth=1)

        train, validation, test = by_split(tuple(tops))
        others = [split(folders) if folders else None for folders in (validation, test)]
        return Splits(split(train), validation=others[0], test=others[1])
