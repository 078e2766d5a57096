"""The lease of a folder: one driver (the process of a sweep or a pretraining) at a time writes its tables.

On a disk the lease is the operating system's lock on a file, which is released when the process ends for any reason.
In an object store it is a sign of life: a file that the driver rewrites every 20 s. After a kill, the next driver has
to wait until that file is 90 s old. A driver that was silent for so long (a sleeping laptop) and then finds the sign of
another driver has lost the lease. So code that writes tables calls `confirm` before each write.
"""

import contextlib
import errno
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from darl.errors import UserError
from darl.storage.folder import DRIVER, WRITING, ResultsFolder

__all__ = ["Lease"]

_HEARTBEAT, _SILENCE = 20.0, 90.0
"""Seconds between signs of life in an object store, and seconds without one after which a driver counts as dead."""

_SETTLING = 2.0
"""Seconds to wait before the sign is read back: a driver that starts at the same moment has then written its own."""

_SIGN = f"{WRITING}/{DRIVER}.json"
"""The file with the driver's host, process id, start time and, in an object store, sign of life."""


class Lease:
    """The right of one driver to write in a folder."""

    def __init__(self, folder: ResultsFolder) -> None:
        self.folder = folder
        self._sign: dict[str, Any] = {}
        """This driver's sign of life in an object store, while it holds the lease; `alive` is its Unix time in s."""
        self._successor: str | None = None
        """The driver that has taken over, in words; None where none has."""

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the lease; raises UserError, naming the other driver, where another one holds it."""
        driver = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with self._locked(driver) if self.folder.local else self._alive(driver):
            yield

    def confirm(self) -> None:
        """Raise OSError where another driver has taken over. Does nothing where the lease was not taken."""
        if self._sign and time.time() - self._sign["alive"] > _SILENCE:  # it slept: another driver may have come
            self._look()
        if self._successor is not None:
            raise OSError(errno.ESTALE, f"{self._successor} has taken over after a silence of this one")

    @contextmanager
    def _locked(self, driver: dict[str, Any]) -> Generator[None]:
        """The lease on a disk."""
        self.folder.make(WRITING)
        sign = Path(self.folder.path(_SIGN))
        lock = FileLock(sign.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            holder = dict[str, Any]()
            with contextlib.suppress(FileNotFoundError, ValueError):  # it has not been written yet
                holder = json.loads(sign.read_text())
            raise _busy(self.folder.folder, holder) from None
        try:
            sign.write_text(json.dumps(driver))
            yield
        finally:
            lock.release()

    @contextmanager
    def _alive(self, driver: dict[str, Any]) -> Generator[None]:
        """The lease in an object store."""
        driver = driver | {"token": uuid.uuid4().hex}
        other = self._read()
        if (silence := time.time() - other.get("alive", 0.0)) < _SILENCE:
            raise _busy(self.folder.folder, other, _SILENCE - silence)
        self._write(driver | {"alive": time.time()})
        time.sleep(_SETTLING)
        other = self._read()
        if other.get("token") != driver["token"]:  # another driver started at the same moment and wrote last
            raise _busy(self.folder.folder, other)
        self._sign = driver | {"alive": time.time()}
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._sign = {}
            if self._read().get("token") == driver["token"]:
                self.folder.delete(_SIGN)

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(_HEARTBEAT):
            with contextlib.suppress(OSError):  # the next one may succeed
                self._look()
                if self._successor is not None:
                    return
                self._write(self._sign)

    def _look(self) -> None:
        """Read the sign in the folder, and note whether it is still this driver's."""
        sign = self._read()
        if sign.get("token") == self._sign["token"]:
            self._sign["alive"] = time.time()
        else:
            self._successor = _named(sign) if sign else "another process, which has ended since,"

    def _read(self) -> dict[str, Any]:
        return json.loads(self.folder.get(_SIGN) or "{}")

    def _write(self, sign: dict[str, Any]) -> None:
        self.folder.put(_SIGN, json.dumps(sign).encode())


def _busy(folder: str, driver: dict[str, Any], wait: float | None = None) -> UserError:
    """The error where `driver` holds the lease. wait: seconds until it counts as dead if it was killed."""
    killed = "" if wait is None else f"; if it was killed, the same command works in {wait:.0f} s"
    return UserError(
        f"must be a folder that no other process is writing to, got {folder!r} (held by {_named(driver)}); "
        f"wait for it to end, stop it, or choose another name{killed}",
        field="results and sweep",
    )


def _named(driver: dict[str, Any]) -> str:
    """A driver in words. driver: its sign; empty where that could not be read."""
    if not driver:
        return "another process"
    return f"process {driver.get('pid')} on {driver.get('host')} since {driver.get('since')}"
