"""The lease of a folder: one driver at a time writes its tables.

On a disk the lease is the operating system's lock on a file, which ends with its process however that ends. In an
object store it is a sign of life, written every 20 s. After a kill, the next driver has to wait until the last sign is
90 s old. A driver that was silent for so long (a laptop that slept) and finds another one in its stead has lost the
lease: whoever writes tables calls `confirm` before each write.
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
"""Seconds between signs of life in an object store, and seconds without one after which a driver is taken for dead."""

_SETTLING = 2.0
"""Seconds after which a driver that came at the same moment has written its sign too."""

_SIGN = f"{WRITING}/{DRIVER}.json"
"""The file that says who drives."""


class Lease:
    """The right to write in a folder."""

    def __init__(self, folder: ResultsFolder) -> None:
        self.folder = folder
        self._sign: dict[str, Any] = {}
        """This driver's sign of life in an object store, while it holds the lease; `alive` is when it was last seen."""
        self._successor: str | None = None
        """The driver that has taken over."""

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the lease; raises UserError, saying who drives, where somebody else holds it."""
        driver = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        with self._locked(driver) if self.folder.local else self._alive(driver):
            yield

    def confirm(self) -> None:
        """Raise OSError where another driver has taken over; where none is held there is nothing to lose."""
        if self._sign and time.time() - self._sign["alive"] > _SILENCE:  # asleep: somebody may have come
            self._look()
        if self._successor is not None:
            raise OSError(errno.ESTALE, f"{self._successor} has taken over after a silence of this one")

    @contextmanager
    def _locked(self, driver: dict[str, Any]) -> Generator[None]:
        self.folder.make(WRITING)
        sign = Path(self.folder.path(_SIGN))
        lock = FileLock(sign.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            with contextlib.suppress(FileNotFoundError, ValueError):
                driver = json.loads(sign.read_text())
            raise _busy(self.folder.folder, driver) from None
        try:
            sign.write_text(json.dumps(driver))
            yield
        finally:
            lock.release()

    @contextmanager
    def _alive(self, driver: dict[str, Any]) -> Generator[None]:
        driver = driver | {"token": uuid.uuid4().hex}
        other = self._read()
        if (silence := time.time() - other.get("alive", 0.0)) < _SILENCE:
            raise _busy(self.folder.folder, other, _SILENCE - silence)
        self._write(driver | {"alive": time.time()})
        time.sleep(_SETTLING)
        other = self._read()
        if other.get("token") != driver["token"]:  # another came at the same moment, and was the last to write
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
        """Note whether the sign in the folder is still this driver's."""
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
    """wait: seconds after which a driver that was killed is known to be dead."""
    killed = "" if wait is None else f"; if it was killed, the same command works in {wait:.0f} s"
    return UserError(
        f"must be of a sweep that is not running, got {folder!r}, which {_named(driver)} runs; "
        f"wait for it, end it, or give another name{killed}",
        field="results and sweep",
    )


def _named(driver: dict[str, Any]) -> str:
    return f"process {driver.get('pid')} on {driver.get('host')} since {driver.get('since')}"
