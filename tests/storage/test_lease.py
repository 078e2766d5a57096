"""One driver at a time."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from darl.errors import UserError
from darl.results.tables import Results, TableWriteError
from darl.storage.folder import ResultsFolder
from darl.storage.lease import Lease


def hold(folder: str, ready: Any) -> None:
    with Lease(ResultsFolder(folder, "results")).held():
        ready.set()
        time.sleep(60)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultsFolder:
    """A folder of an object store that keeps its objects on this disk."""
    monkeypatch.setattr("darl.storage.lease._SETTLING", 0.0)
    folder = ResultsFolder(str(tmp_path), "results")
    folder.prepare()
    folder.local = False
    folder.files = fs.LocalFileSystem()
    return folder


def sign_of(folder: ResultsFolder) -> Path:
    return Path(folder.path(".writing/driver.json"))


def test_a_second_driver_is_refused_naming_the_first_until_that_is_killed(tmp_path: Path) -> None:
    folder = ResultsFolder(str(tmp_path), "results")
    folder.prepare()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=hold, args=(str(tmp_path), ready))
    other.start()
    assert ready.wait(60)
    old = time.time() - 10_000
    for name in ("driver.lock", "driver.json"):
        os.utime(tmp_path / ".writing" / name, (old, old))
    folder.prepare()  # clears what a crash has left, not this
    lease = Lease(folder)
    with pytest.raises(
        UserError, match=rf"sweep must be a folder that no other process .* \(held by process {other.pid} on"
    ):
        lease.held().__enter__()
    os.kill(other.pid or 0, signal.SIGKILL)
    other.join()
    with lease.held():
        pass


def test_a_holder_that_has_not_signed_yet_is_another_process(tmp_path: Path) -> None:
    folder = ResultsFolder(str(tmp_path), "results")
    with Lease(folder).held():
        sign_of(folder).write_text("")
        with pytest.raises(UserError, match=r"got '.*' \(held by another process\); wait for it to end, stop it, or"):
            Lease(folder).held().__enter__()


def test_in_an_object_store_a_sign_of_life_keeps_others_away(bucket: ResultsFolder) -> None:
    lease, other = Lease(bucket), Lease(bucket)
    with lease.held(), pytest.raises(UserError, match=f"process {os.getpid()} on"):
        other.held().__enter__()
    assert not sign_of(bucket).exists()
    with lease.held(), pytest.raises(UserError, match=r"if it was killed, the same command works in \d+ s$"):
        other.held().__enter__()
    sign_of(bucket).write_text(json.dumps({"host": "gone", "pid": 1, "alive": time.time() - 1000}))
    with lease.held():
        pass


def test_a_driver_that_was_silent_too_long_has_lost_the_lease(
    bucket: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darl.storage.lease._HEARTBEAT", 0.05)
    lease, sign = Lease(bucket), sign_of(bucket)
    with lease.held():
        lease.confirm()
        sign.write_text(json.dumps({"host": "other", "pid": 7, "since": "noon", "token": "x", "alive": time.time()}))
        deadline = time.monotonic() + 30
        while lease._successor is None and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(OSError, match="process 7 on other since noon has taken over"):
            lease.confirm()
    assert json.loads(sign.read_text())["token"] == "x"


def test_a_driver_loses_the_lease_also_to_one_that_has_ended_since(
    bucket: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(bucket)
    with lease.held():
        lease.confirm()
        sign_of(bucket).unlink()
        monkeypatch.setattr("darl.storage.lease._SILENCE", -1.0)  # it has slept for longer
        with pytest.raises(OSError, match="another process, which has ended since, has taken over"):
            lease.confirm()


def test_tables_are_not_written_after_the_lease_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darl.storage.lease._SETTLING", 0.0)
    results = Results(str(tmp_path), "noise")
    results.prepare()
    results._folder.local = False
    with results.claimed():
        results.write_file("one", b"1")
        sign_of(results._folder).unlink()
        monkeypatch.setattr("darl.storage.lease._SILENCE", -1.0)
        with pytest.raises(TableWriteError, match="another process, which has ended since, has taken over"):
            results.write_file("one", b"2")
    assert (tmp_path / "noise" / "one").read_bytes() == b"1"
