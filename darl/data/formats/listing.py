"""Lists, opens and groups the files of a data set, locally and at s3:// or gs://.

All access goes through `pyarrow.fs`, whose file systems can be pickled and so travel to loader workers. Open files
and row groups are kept in a `Cache` that every process fills for itself.
"""

import fnmatch
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from darl.data.formats.split_names import splits_of
from darl.data.formats.walk import HIDDEN, Walk
from darl.data.found import printable
from darl.errors import UserError, reason
from darl.storage.address import open_address

__all__ = ["Cache", "Listing", "Storage", "by_split", "listing"]

OPEN_FILES = 64


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

    def spelled(self, path: str) -> str | bytes:
        """The path as the file system takes it: names on a disk are bytes, which need not be UTF-8."""
        return path if self.remote else os.fsencode(path)

    def read(self, path: str) -> bytes:
        """A whole file; raises UserError."""
        with _readable(path), self.filesystem.open_input_file(self.spelled(path)) as file:
            return file.read()

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """A range of a file that stays open for the next range; raises UserError."""
        with _readable(path):
            return self.opened.get(path, lambda: self.filesystem.open_input_file(self.spelled(path))).read_at(
                size, offset
            )


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Within, an OSError stops the run as a UserError: skipping a file would make the data depend on the network."""
    try:
        yield
    except (OSError, ArrowException) as error:
        shown = printable(path)
        raise UserError(f"must be readable, got {shown!r} ({reason(error)})", field="data") from None


@dataclass(frozen=True)
class Listing:
    """The files of a data set: paths below `root` (sorted, hidden ones left out) and their sizes in bytes.

    A byte of a path that is no UTF-8 is a lone surrogate, as in `os.fsdecode`.
    """

    storage: Storage
    root: str
    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    folders: frozenset[str] = frozenset()
    """All folders below `root`, also those without files."""
    dead: tuple[str, ...] = ()
    """Links that lead nowhere or in a circle."""
    same: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where links give a file several paths: each of them → the one without links, or else the first."""

    def full(self, path: str) -> str:
        """The path that the file system takes."""
        return f"{self.root.rstrip('/')}/{path}"

    def only(self, endings: tuple[str, ...]) -> "Listing":
        """The files with one of these endings."""
        return self.where(lambda path: path.lower().endswith(endings))

    def where(self, holds: Callable[[str], bool]) -> "Listing":
        """The files whose paths `holds` is true for."""
        return self.take([number for number, path in enumerate(self.paths) if holds(path)])

    def take(self, numbers: list[int]) -> "Listing":
        """The files of these numbers."""
        paths, sizes = (tuple(values[number] for number in numbers) for values in (self.paths, self.sizes))
        return replace(self, paths=paths, sizes=sizes)

    def once(self) -> "Listing":
        """Each file under one of its paths: see `same`."""
        own = {self.same[path]: path for path in reversed(self.paths) if path in self.same}
        own |= {path: path for path in own.keys() & set(self.paths)}
        return self.where(lambda path: path not in self.same or own[self.same[path]] == path) if own else self


def listing(data: str) -> Listing:
    """All files of a folder, of a single file, or of a pattern with `*`; raises UserError."""
    with _readable(data):
        filesystem, path = open_address(data)
        return _listing(Storage(filesystem), path.rstrip("/") or "/")


def _listing(storage: Storage, path: str) -> Listing:
    info = storage.filesystem.get_file_info(storage.spelled(path))
    if info.type == FileType.File:
        root, _, name = path.rpartition("/")
        return Listing(storage, root, (name,), (info.size or 0,))
    if info.type == FileType.Directory:
        return _files(storage, path)
    pattern = re.search(r"[*?\[]", path)
    if pattern is None:
        raise FileNotFoundError("there is no such file or folder")
    root = path[: pattern.start()].rpartition("/")[0]
    files = _files(storage, root or "/")

    # fnmatch lets `*` cross folders; only `**` should
    def matches(below: str) -> bool:
        full = f"{root}/{below}"
        return fnmatch.fnmatchcase(full, path) and ("**" in path or full.count("/") == path.count("/"))

    # folders that the pattern does not match are no part of the data
    return replace(files.where(matches), root=root, folders=frozenset(), dead=())


def _files(storage: Storage, folder: str) -> Listing:
    """All files below a folder. `.DS_Store`, AppleDouble's `._name` and `__MACOSX` folders in archives are left out."""
    if not storage.remote:
        walk = Walk(folder)
        below, dead, same = dict(zip(walk.files, walk.sizes, strict=True)), tuple(sorted(walk.dead)), walk.same
        folders = frozenset(walk.folders)
    else:
        infos = storage.filesystem.get_file_info(FileSelector(folder, recursive=True))
        seen = [(info.path[len(folder) :].lstrip("/"), info) for info in infos]
        seen = [(path, info) for path, info in seen if not any(part.startswith(HIDDEN) for part in path.split("/"))]
        below = {path: info.size or 0 for path, info in seen if info.type == FileType.File}
        folders, dead, same = frozenset(path for path, info in seen if info.type == FileType.Directory), (), {}
    paths = tuple(sorted(below))
    return Listing(storage, folder, paths, tuple(below[path] for path in paths), folders, dead, same)


def by_split(paths: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """Training, validation and test files, by the names of files and folders (`train-00000.parquet`, `test/0.tar`).

    Where no file says `train`, those that name no split are the training set; where every file names another split, all
    of them are.
    """
    named: dict[str, list[str]] = {"train": [], "validation": [], "test": [], "": []}
    for path, split in zip(paths, splits_of(paths), strict=True):
        named[split].append(path)
    train = named["train"] or named[""]
    return (train, named["validation"], named["test"]) if train else (list(paths), [], [])
