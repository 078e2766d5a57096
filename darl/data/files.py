"""Images that are files: in folders, and in WebDataset's tar shards."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from darl.data.sources import Source, Splits
from darl.data.storage import Listing, by_split, split_of
from darl.errors import UserError
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Int64

__all__ = ["IMAGES", "Folder", "Shards", "open_folder", "open_shards"]

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2", ".avif")
"""Endings of image files."""


class Folder(Source):
    """One file an image. The folder directly below the split's own is the label."""

    def __init__(self, files: Listing, paths: list[str], depth: int) -> None:
        self._files = replace(files, paths=(), sizes=())
        self._paths = pa.array(paths, pa.string())  # compact, and pickled at once, where millions of str are neither
        self.remote = files.storage.remote
        folders = [path.split("/")[depth] if path.count("/") > depth else None for path in paths]
        # images beside the class folders have no class, and a single folder tells nothing apart
        self.labels = folders if None not in folders and len(set(folders)) > 1 else None

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> bytes:
        """The file."""
        return self._files.storage.read(self.name(index))

    def name(self, index: int) -> str:
        """The file's path."""
        return self._files.full(self._paths[index].as_py())


def open_folder(files: Listing) -> Splits:
    """`train/`, alone or beside `val/`, `validation/` or `test/`, is a split; other folders are classes of one set."""
    tops = sorted({path.split("/")[0] for path in files.paths if "/" in path})
    named = {split_of(top) for top in tops}
    # a class may be called `train` too: CIFAR-100 has one
    if "train" not in named or (len(tops) > 1 and not named & {"validation", "test"}):
        return Splits(Folder(files, list(files.paths), depth=0), None)

    def split(chosen: list[str]) -> Folder:
        return Folder(files, [path for path in files.paths if path.split("/")[0] in chosen and "/" in path], depth=1)

    train, validation = by_split(tuple(tops))
    return Splits(split(train), split(validation) if validation else None)


class Shards(Source):
    """Tar files: an image and its label are members of one name that end differently (`0001.jpg`, `0001.cls`).

    A shard's headers are read once; then every image is a range of bytes.
    """

    def __init__(self, files: Listing, paths: list[str]) -> None:
        self._files = files
        self._shards = paths
        self.remote = files.storage.remote
        members = [(shard, *member) for shard, path in enumerate(paths) for member in _index(files, path)]
        self._names = pa.array([name for _, name, *_ in members], pa.string())
        self._places: Int64[np.ndarray, "images 3"] = np.array(
            [(shard, offset, size) for shard, _, offset, size, _ in members], np.int64
        ).reshape(-1, 3)
        labels = [label for *_, label in members]
        if any(label is not None for label in labels):
            numbers = all(label is None or label.isdecimal() for label in labels)
            self.labels = [int(label) if label is not None and numbers else label for label in labels]

    def __len__(self) -> int:
        return len(self._places)

    def read(self, index: int) -> bytes:
        """The member's bytes."""
        shard, offset, size = (int(value) for value in self._places[index])
        return self._files.storage.read_at(self._files.full(self._shards[shard]), offset, size)

    def name(self, index: int) -> str:
        """`shard#member`."""
        shard = self._files.full(self._shards[int(self._places[index][0])])
        return f"{shard}#{self._names[index].as_py()}"


Member = tuple[str, int, int, str | None]  # name, offset, size, label


def _index(files: Listing, path: str) -> list[Member]:
    """The images of a shard with their labels, in the order of the shard; raises UserError."""
    images: list[tuple[str, str, int, int]] = []
    labels: dict[str, str] = {}
    # a far shard is read through in large steps rather than with one request a header
    buffer = 8 * 2**20 if files.storage.remote else 2**16
    try:
        with (
            io.BufferedReader(files.storage.filesystem.open_input_file(files.full(path)), buffer) as file,
            tarfile.open(fileobj=file, mode="r:") as shard,
        ):
            for member in shard:
                folder, _, name = member.name.rpartition("/")
                key, _, ending = name.partition(".")
                key = f"{folder}/{key}"
                if not member.isreg() or name.startswith("."):
                    continue
                if f".{ending.lower()}".endswith(IMAGES):
                    images.append((key, member.name, member.offset_data, member.size))
                elif ending == "cls":
                    content = shard.extractfile(member)
                    labels[key] = content.read().decode().strip() if content else ""
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--data must hold tar shards that can be read to their end, got {files.full(path)!r} ({error}): "
            "download or write it again"
        ) from None
    return [(name, offset, size, labels.get(key)) for key, name, offset, size in images]


def open_shards(files: Listing) -> Splits:
    """Splits by the shards' names."""
    train, validation = by_split(files.paths)
    splits = Splits(Shards(files, train), Shards(files, validation) if validation else None)
    require(len(splits.train) > 0, "--data", f"hold images ({', '.join(IMAGES)}) in its tar shards", files.root)
    return splits
