"""A folder of results on a disk or in an object store, in which files appear complete or not at all.

On a disk a file is written to the subfolder `.writing`, fsynced and renamed; an object store shows an object only when
it is complete. Unfinished files need a subfolder because polars and duckdb also read hidden files of a table's folder.
"""

import contextlib
import os
import time
import uuid
from pathlib import Path

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import fs  # pyright: ignore[reportMissingTypeStubs]

from darl.storage.address import normalized, open_folder

__all__ = ["DRIVER", "WRITING", "ResultsFolder"]

WRITING = ".writing"
"""The folder of unfinished files."""

DRIVER = "driver"
"""Stem of the files in `.writing` that say which driver writes here (`darl.storage.lease`)."""

_STALE = 600.0
"""Age in seconds above which an unfinished file is left over from a crash: a write takes milliseconds."""


class ResultsFolder:
    """A folder on a disk or in an object store. Methods take names: paths relative to it, separated by `/`.

    Args:
        address: a local path, `file://`, `s3://` or `gs://`.
        field: the argument's name in errors.

    Raises UserError where `address` cannot be opened. Methods raise OSError.

    """

    def __init__(self, address: str, field: str) -> None:
        self.files, self.folder = open_folder(address, field)
        self.local = isinstance(self.files, fs.LocalFileSystem)
        self.address = normalized(address)
        """The path or address, normalised."""

    def path(self, name: str) -> str:
        """The path of `name` in the file system `files`; that of the folder itself where `name` is empty."""
        return f"{self.folder}/{name}" if name else self.folder

    def prepare(self, *folders: str) -> None:
        """Create subfolders, delete the leftovers of a crash, and check that files can be written."""
        if self.local:
            for name in (WRITING, *folders):
                self.make(name)
                if not os.access(self.path(name), os.W_OK | os.X_OK):
                    raise PermissionError(f"{self.path(name)} is read-only")
            for file in Path(self.path(WRITING)).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if file.stem != DRIVER and time.time() - file.stat().st_mtime > _STALE:
                        file.unlink()
        probe = f"{WRITING}/{uuid.uuid4().hex}"
        self.put(probe, b"can this be written?")
        self.delete(probe)

    def make(self, name: str) -> None:
        """Create a folder where there is none. An object store needs no folders."""
        if self.local:
            Path(self.path(name)).mkdir(parents=True, exist_ok=True)

    def put(self, name: str, data: "bytes | pa.Buffer") -> None:
        """Write a file atomically. On a disk its folder and `.writing` must exist."""
        if self.local:
            path = Path(self.path(name))
            _replace(path, data, Path(self.path(WRITING), f"{path.name}.{uuid.uuid4().hex}"))
        else:
            with self.files.open_output_stream(self.path(name)) as stream:
                stream.write(data)

    def get(self, name: str) -> bytes | None:
        """The content of a file; None where there is no such file."""
        try:
            with self.files.open_input_stream(self.path(name)) as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def open(self, name: str) -> pa.NativeFile:
        """A file for reading at any position: an object store is asked for the parts that are read only."""
        return self.files.open_input_file(self.path(name))

    def is_file(self, name: str = "") -> bool:
        """Whether there is a file of that name."""
        return self.files.get_file_info(self.path(name)).type == fs.FileType.File

    def is_folder(self, name: str = "") -> bool:
        """Whether there is a folder of that name."""
        return self.files.get_file_info(self.path(name)).type == fs.FileType.Directory

    def files_in(self, name: str = "") -> list[str]:
        """Names of the files that lie in a folder, sorted; none where there is no such folder."""
        return sorted(info.base_name for info in self._inside(name) if info.is_file)

    def folders_in(self, name: str = "") -> list[str]:
        """Names of the folders that lie in a folder, sorted; none where there is no such folder."""
        return sorted(info.base_name for info in self._inside(name) if not info.is_file)

    def delete(self, name: str) -> None:
        """Delete a file."""
        self.files.delete_file(self.path(name))

    def delete_folder(self, name: str) -> None:
        """Delete a folder with its content."""
        self.files.delete_dir(self.path(name))

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file or a folder to a path of this machine."""
        if not self.is_file(name):
            target.mkdir(parents=True, exist_ok=True)
        fs.copy_files(self.path(name), str(target), self.files, fs.LocalFileSystem())

    def store(self, source: Path, name: str) -> None:
        """Copy a file or a folder of this machine to `name`; in an object store its files appear one after another."""
        if source.is_dir():
            self.make(name)
        fs.copy_files(str(source), self.path(name), fs.LocalFileSystem(), self.files)

    def copy_folder(self, name: str, target: str) -> None:
        """Copy a folder to the name `target`, since an object store cannot rename a folder."""
        self.make(target)
        fs.copy_files(self.path(name), self.path(target), self.files, self.files)

    def _inside(self, name: str) -> list[fs.FileInfo]:
        return self.files.get_file_info(fs.FileSelector(self.path(name), allow_not_found=True))


def _replace(path: Path, data: "bytes | pa.Buffer", temporary: Path) -> None:
    """Write a file atomically, by renaming `temporary`, so that it survives a crash of the machine."""
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # Some network file systems cannot sync a folder; the file is there all the same.
        with contextlib.suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)
