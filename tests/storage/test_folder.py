"""Files that appear whole, and one writer at a time."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyarrow import fs

from darl.errors import UserError
from darl.storage import address as address_module
from darl.storage.address import open_address
from darl.storage.folder import ResultsFolder


def hold(folder: str, ready: Any) -> None:
    with ResultsFolder(folder, "--results").claimed():
        ready.set()
        time.sleep(60)


def test_a_file_is_read_as_it_was_put(tmp_path: Path) -> None:
    place = ResultsFolder(str(tmp_path / "new"), "--results")
    place.prepare("figures")
    assert place.get("a.txt") is None
    for text in (b"one", b"two"):
        place.put("a.txt", text)
        assert place.get("a.txt") == text
    place.put("figures/b.png", b"picture")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".writing", "a.txt", "figures"]


@pytest.mark.parametrize("address", ["hf://datasets/x", "ftp://x/y", "abfs://x/y"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    scheme = address.partition(":")[0]
    with pytest.raises(
        UserError, match=rf"^--results must be .* s3:// or gs://, got '{address}' \({scheme}:// is not known\)$"
    ):
        ResultsFolder(address, "--results")


def test_a_gs_bucket_that_is_not_there_is_not_asked_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    opener = SimpleNamespace(from_uri=lambda uri: asked.append(uri) or (None, "x"))
    monkeypatch.setattr(address_module, "FileSystem", opener)
    for address in (
        "gs://bucket/x",
        "gs://bucket/x?scheme=http",
        "gs://bucket/x?retry_limit_seconds=5",
        "s3://bucket/x",
    ):
        open_address(address)
    assert asked == [
        "gs://bucket/x?retry_limit_seconds=60",
        "gs://bucket/x?scheme=http&retry_limit_seconds=60",
        "gs://bucket/x?retry_limit_seconds=5",
        "s3://bucket/x",
    ]


def test_the_second_writer_is_told_who_the_first_one_is_until_that_one_is_killed(tmp_path: Path) -> None:
    place = ResultsFolder(str(tmp_path), "--results")
    place.prepare()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=hold, args=(str(tmp_path), ready))
    other.start()
    assert ready.wait(60)
    old = time.time() - 10_000
    for name in ("driver.lock", "driver.json"):
        os.utime(tmp_path / ".writing" / name, (old, old))
    place.prepare()  # clears what a crash has left, not this
    with pytest.raises(UserError, match=f"--name must be of a sweep that is not running, .* process {other.pid} on"):
        place.claimed().__enter__()
    os.kill(other.pid or 0, signal.SIGKILL)
    other.join()
    with place.claimed():
        pass


def test_on_an_object_store_a_sign_of_life_keeps_others_away(tmp_path: Path) -> None:
    place = ResultsFolder(str(tmp_path), "--results")
    place.prepare()
    place.local = False  # a store that keeps its objects on this disk
    place.files = fs.LocalFileSystem()
    with place.claimed(), pytest.raises(UserError, match=f"process {os.getpid()} on"):
        place.claimed().__enter__()
    assert not (tmp_path / ".writing" / "driver.json").exists()
    with place.claimed(), pytest.raises(UserError, match=r"if it was killed, the same command works in \d+ s$"):
        place.claimed().__enter__()
    silent = {"host": "gone", "pid": 1, "alive": time.time() - 1000}
    (tmp_path / ".writing" / "driver.json").write_text(json.dumps(silent))
    with place.claimed():
        pass


def test_on_an_object_store_one_that_was_silent_too_long_writes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darl.storage.folder._HEARTBEAT", 0.05)
    monkeypatch.setattr("darl.storage.folder._SETTLING", 0.0)
    place = ResultsFolder(str(tmp_path), "--results")
    place.prepare()
    place.local = False
    sign = tmp_path / ".writing" / "driver.json"
    with place.claimed():
        place.put("one", b"1")
        sign.write_text(json.dumps({"host": "other", "pid": 7, "since": "noon", "token": "x", "alive": time.time()}))
        deadline = time.monotonic() + 30
        while place._lost is None and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(OSError, match="process 7 on other since noon has taken over"):
            place.put("two", b"2")
    assert json.loads(sign.read_text())["token"] == "x"


def test_nor_does_one_that_slept_while_another_came_and_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darl.storage.folder._SETTLING", 0.0)
    place = ResultsFolder(str(tmp_path), "--results")
    place.prepare()
    place.local = False
    with place.claimed():
        place.put("one", b"1")
        (tmp_path / ".writing" / "driver.json").unlink()
        monkeypatch.setattr("darl.storage.folder._SILENCE", -1.0)  # it has slept for longer
        with pytest.raises(OSError, match="another process, which has ended since, has taken over"):
            place.put("one", b"2")
    assert (tmp_path / "one").read_bytes() == b"1"
