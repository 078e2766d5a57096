"""A folder of files that appear whole, on a disk or in an object store; and who may write there.

On a disk a file is written beside, fsynced and renamed; an object store shows an object once it is whole. The
unfinished file lies in `.writing`, since polars and duckdb read hidden files of a table's folder.
"""

import contextlib
import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
from filelock import FileLock, Timeout
from pyarrow import fs  # pyright: ignore[reportMissingTypeStubs]

from darl.errors import UserError
from darl.storage.address import filesystem_of

__all__ = ["WRITING", "ResultsFolder"]

WRITING = ".writing"

_STALE = 600.0
"""Seconds after which an unfinished file is a crash's: a write takes milliseconds."""

_DRIVER = "driver"
"""Of the files that say who writes here."""

_HEARTBEAT, _SILENCE = 20.0, 90.0
"""Seconds between signs of life of who writes to an object store, and without one after which it is taken for dead."""

_SETTLING = 2.0
"""Seconds after which who came in the same moment has written too."""


class ResultsFolder:
    """A folder.

    Args:
        address: a local path, `file://`, `s3://` or `gs://`.
        field: what the user calls it, for errors.

    Raises UserError where it is no such address.

    """

    def __init__(self, address: str, field: str) -> None:
        self.files, self.folder = filesystem_of(address, field)
        self.local = isinstance(self.files, fs.LocalFileSystem)
        self._me: dict[str, Any] = {}
        """Who writes in an object store, by which token, and when that was last seen to be so."""
        self._lost: str | None = None
        """Who writes there instead by now."""

    def prepare(self, *folders: str) -> None:
        """Make the folders below, clear what a crash has left, and prove that files can be written; OSError if not."""
        if self.local:
            for name in (WRITING, *folders):
                folder = Path(self.folder, name)
                folder.mkdir(parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(f"{folder} is read-only")
            for file in Path(self.folder, WRITING).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if file.stem != _DRIVER and time.time() - file.stat().st_mtime > _STALE:
                        file.unlink()
        probe = f"{WRITING}/{uuid.uuid4().hex}"
        self.put(probe, b"can this be written?")
        self.files.delete_file(f"{self.folder}/{probe}")

    def put(self, name: str, data: "bytes | pa.Buffer") -> None:
        """Make the file `name` hold `data`, at one instant; raises OSError."""
        if self._me and time.time() - self._me["alive"] > _SILENCE:  # asleep: somebody may have come
            self._look()
        if self._lost is not None:
            raise OSError(errno.ESTALE, f"{self._lost} has taken over after a silence of this one")
        path = f"{self.folder}/{name}"
        if self.local:
            _replace(Path(path), data, Path(self.folder, WRITING, f"{Path(path).name}.{uuid.uuid4().hex}"))
        else:
            with self.files.open_output_stream(path) as stream:
                stream.write(data)

    def get(self, name: str) -> bytes | None:
        """What the file holds; None where there is none."""
        try:
            with self.files.open_input_stream(f"{self.folder}/{name}") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only one who writes here; raises UserError, saying who does, where somebody else already is.

        On a disk the operating system's lock, which ends with its process however that ends. In an object store a sign
        of life every 20 s: after a kill the next one has to wait until it is 90 s old, and one that has been silent for
        so long, and finds another in its place, can write no more.
        """
        me = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with self._locked(me) if self.local else self._alive(me):
            yield

    @contextmanager
    def _locked(self, me: dict[str, Any]) -> Iterator[None]:
        folder = Path(self.folder, WRITING)
        folder.mkdir(parents=True, exist_ok=True)
        who, lock = folder / f"{_DRIVER}.json", FileLock(folder / f"{_DRIVER}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            with contextlib.suppress(FileNotFoundError, ValueError):
                me = json.loads(who.read_text())
            raise _busy(self.folder, me) from None
        try:
            who.write_text(json.dumps(me))
            yield
        finally:
            lock.release()

    @contextmanager
    def _alive(self, me: dict[str, Any]) -> Iterator[None]:
        name, me = f"{WRITING}/{_DRIVER}.json", me | {"token": uuid.uuid4().hex}
        found = json.loads(self.get(name) or "{}")
        if (silence := time.time() - found.get("alive", 0.0)) < _SILENCE:
            raise _busy(self.folder, found, _SILENCE - silence)
        self.put(name, json.dumps(me | {"alive": time.time()}).encode())
        time.sleep(_SETTLING)
        found = json.loads(self.get(name) or "{}")
        if found.get("token") != me["token"]:  # somebody else came in the same moment, and was the last to write
            raise _busy(self.folder, found)
        ended = threading.Event()
        self._me = me | {"alive": time.time()}

        def beat() -> None:
            while not ended.wait(_HEARTBEAT):
                with contextlib.suppress(OSError):  # the next one may succeed
                    self._look()
                    if self._lost is not None:
                        return
                    self.put(name, json.dumps(self._me).encode())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._me = {}
            if json.loads(self.get(name) or "{}").get("token") == me["token"]:
                self.files.delete_file(f"{self.folder}/{name}")

    def _look(self) -> None:
        """Whether this is still the one who writes here."""
        found = json.loads(self.get(f"{WRITING}/{_DRIVER}.json") or "{}")
        if found.get("token") == self._me["token"]:
            self._me["alive"] = time.time()
        else:
            self._lost = _named(found) if found else "another process, which has ended since,"


def _busy(folder: str, who: dict[str, Any], wait: float | None = None) -> UserError:
    """wait: seconds after which one that was killed is known to be dead."""
    killed = "" if wait is None else f"; if it was killed, the same command works in {wait:.0f} s"
    return UserError(
        f"--results and --name must be of a sweep that is not running, got {folder!r}, which {_named(who)} runs; wait "
        f"for it, end it, or give another --name{killed}"
    )


def _named(who: dict[str, Any]) -> str:
    return f"process {who.get('pid')} on {who.get('host')} since {who.get('since')}"


def _replace(path: Path, data: "bytes | pa.Buffer", temporary: Path) -> None:
    """Make `path` hold `data` at one instant, also after a crash of the machine."""
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
        # Some network file systems cannot sync a folder; the part is there all the same.
        with contextlib.suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)
