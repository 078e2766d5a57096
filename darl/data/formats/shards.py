"""Tar shards in WebDataset's layout."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from darl.data.content import hash_parts
from darl.data.formats.base import FileFormat
from darl.data.formats.folder import IMAGES
from darl.data.formats.listing import Listing, by_split
from darl.data.sources.base import Source, Splits
from darl.errors import UserError
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Int64

__all__ = ["Shards", "TarShards"]


class Shards(Source):
    """A split of tar shards: an image and its label are members that differ in their endings (`0001.jpg`, `0001.cls`).

    A shard's headers are read once; after that an image is read as a range of bytes.
    """

    def __init__(self, files: Listing, paths: list[str]) -> None:
        self._files = files
        self._shards = paths
        self.remote = files.storage.remote
        members = [(shard, *member) for shard, path in enumerate(paths) for member in _index(files, path)]
        self._names = pa.array([name for _, name, *_ in members], pa.string())
        self._ranges: Int64[np.ndarray, "images 3"] = np.array(
            [(shard, offset, size) for shard, _, offset, size, _ in members], np.int64
        ).reshape(-1, 3)
        labels = [label for *_, label in members]
        if any(label is not None for label in labels):
            numbers = all(label is None or label.isdecimal() for label in labels)
            self.labels = [int(label) if label is not None and numbers else label for label in labels]

    def __len__(self) -> int:
        return len(self._ranges)

    def read(self, index: int) -> bytes:
        """The member's bytes."""
        shard, offset, size = (int(value) for value in self._ranges[index])
        return self._files.storage.read_at(self._files.full(self._shards[shard]), offset, size)

    def name(self, index: int) -> str:
        """`shard#member`."""
        shard = self._files.full(self._shards[int(self._ranges[index][0])])
        return f"{shard}#{self._names[index].as_py()}"

    def fingerprint(self) -> str:
        """Hash of the shards' names below the data's folder, the members' names and sizes, and the labels."""
        members = zip(self._names.to_pylist(), self._ranges[:, [0, 2]].tolist(), strict=True)
        return hash_parts([*self._shards, *members, *(self.labels or ())])


Member = tuple[str, int, int, str | None]  # name, offset, size, label


def _index(files: Listing, path: str) -> list[Member]:
    """The images of a shard with their labels, in the order of the shard; raises UserError."""
    images: list[tuple[str, str, int, int]] = []
    labels: dict[str, str] = {}
    # over a network, large reads instead of one request per header
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
            f"must hold tar shards that can be read to their end, got {files.full(path)!r} ({error}): "
            "download or write it again",
            field="data",
        ) from None
    return [(name, offset, size, labels.get(key)) for key, name, offset, size in images]


class TarShards(FileFormat):
    """WebDataset's tar files."""

    kind: ClassVar[str] = "shards"
    endings: ClassVar[tuple[str, ...]] = (".tar",)
    form: ClassVar[str] = "*.tar"

    @classmethod
    def open(cls, files: Listing) -> Splits:
        """Splits by the shards' names."""
        train, validation, test = by_split(files.paths)
        others = [Shards(files, paths) if paths else None for paths in (validation, test)]
        splits = Splits(Shards(files, train), validation=others[0], test=others[1])
        require(len(splits.train) > 0, "data", f"hold images ({', '.join(IMAGES)}) in its tar shards", files.root)
        return splits
