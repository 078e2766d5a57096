"""Lists, opens and groups the files of a data set, locally and at s3:// or gs://.

All access goes through `pyarrow.fs`, whose file systems can be pickled and so travel to loader workers. Open files
and row groups are kept in a `Cache` that every process fills for itself.
"""

import fnmatch
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pyarrow import ArrowException
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from darl.errors import UserError, reason
from darl.storage.address import open_address

__all__ = ["Cache", "Listing", "Storage", "by_split", "listing", "split_of"]

OPEN_FILES = 64

SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
          "val": "validation", "dev": "validation", "test": "test"}  # fmt: skip


class Cache:
    """A cache that drops the least recently used values when the weights exceed `capacity`; pickled without values."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._values: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], Any], weight: int = 1) -> Any:
        """The value of `key`, computed by `make` if it is missing; other threads wait meanwhile."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make(), weight
            self._values.move_to_end(key)
            while len(self._values) > 1 and sum(weight for _, weight in self._values.values()) > self.capacity:
                self._values.popitem(last=False)
            return self._values[key][0]

    def __reduce__(self) -> tuple[type["Cache"], tuple[int]]:
        return Cache, (self.capacity,)


@dataclass(frozen=True)
class Storage:
    """A file system with its open files."""

    filesystem: FileSystem
    opened: Cache = field(default_factory=lambda: Cache(OPEN_FILES), compare=False)

    @property
    def remote(self) -> bool:
        """Whether a read costs a round trip, so that many at a time are faster."""
        return not isinstance(self.filesystem, LocalFileSystem)

    def read(self, path: str) -> bytes:
        """A whole file; raises UserError."""
        with _readable(path), self.filesystem.open_input_file(path) as file:
            return file.read()

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """A range of a file that stays open for the next range; raises UserError."""
        with _readable(path):
            return self.opened.get(path, lambda: self.filesystem.open_input_file(path)).read_at(size, offset)


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Within, an OSError stops the run as a UserError: skipping a file would make the data depend on the network."""
    try:
        yield
    except (OSError, ArrowException) as error:
        raise UserError(f"must be readable, got {path!r} ({reason(error)})", field="data") from None


@dataclass(frozen=True)
class Listing:
    """The files of a data set: paths below `root` (sorted, hidden ones left out) and their sizes in bytes."""

    storage: Storage
    root: str
    paths: tuple[str, ...]
    sizes: tuple[int, ...]

    def full(self, path: str) -> str:
        """The path that the file system takes."""
        return f"{self.root.rstrip('/')}/{path}"

    def only(self, endings: tuple[str, ...]) -> "Listing":
        """The files with one of these endings."""
        return self.where(lambda path: path.lower().endswith(endings))

    def where(self, holds: Callable[[str], bool]) -> "Listing":
        """The files whose paths `holds` is true for."""
        kept = [number for number, path in enumerate(self.paths) if holds(path)]
        return Listing(self.storage, self.root, tuple(self.paths[i] for i in kept), tuple(self.sizes[i] for i in kept))


def listing(data: str) -> Listing:
    """All files of a folder, of a single file, or of a pattern with `*`; raises UserError."""
    with _readable(data):
        filesystem, path = open_address(data)
        return _listing(Storage(filesystem), path.rstrip("/") or "/")


def _listing(storage: Storage, path: str) -> Listing:
    info = storage.filesystem.get_file_info(path)
    if info.type == FileType.File:
        return _relative(storage, path.rpartition("/")[0], [info])
    if info.type == FileType.Directory:
        return _relative(storage, path, _files(storage, path))
    pattern = re.search(r"[*?\[]", path)
    if pattern is None:
        raise FileNotFoundError("there is no such file or folder")
    root = path[: pattern.start()].rpartition("/")[0]
    # fnmatch lets `*` cross folders; only `**` should
    matched = [
        info
        for info in _files(storage, root or "/")
        if fnmatch.fnmatchcase(info.path, path) and ("**" in path or info.path.count("/") == path.count("/"))
    ]
    return _relative(storage, root, matched)


def _files(storage: Storage, folder: str) -> list[FileInfo]:
    infos = storage.filesystem.get_file_info(FileSelector(folder, recursive=True))
    return [info for info in infos if info.type == FileType.File]


def _relative(storage: Storage, root: str, infos: list[FileInfo]) -> Listing:
    below = {info.path[len(root) :].lstrip("/"): info.size or 0 for info in infos}
    # `.DS_Store`, AppleDouble's `._name` and `__MACOSX` folders in archives are not data
    paths = sorted(p for p in below if not any(part.startswith((".", "__MACOSX")) for part in p.split("/")))
    return Listing(storage, root, tuple(paths), tuple(below[path] for path in paths))


def split_of(path: str) -> str:
    """The split that a path names by the first word of a file or folder: `train`, `validation`, `test`, or empty."""
    words = (re.split(r"[^a-z]", part)[0] for part in path.lower().split("/"))
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def by_split(paths: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """Training, validation and test files, by the names of files and folders (`train-00000.parquet`, `test/0.tar`).

    Validation is `validation*` or `val*`. Where no file says `train`, those that name no split are the training set;
    where every file names another split, all of them are.
    """
    named: dict[str, list[str]] = {"train": [], "validation": [], "test": [], "": []}
    for path in paths:
        named[split_of(path)].append(path)
    train = named["train"] or named[""]
    return (train, named["validation"], named["test"]) if train else (list(paths), [], [])
