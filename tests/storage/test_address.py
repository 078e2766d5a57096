"""Paths and addresses: one spelling for one folder."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from darl.errors import UserError
from darl.storage.address import (
    below,
    is_remote,
    normalized,
    open_address,
    open_folder,
    parent_and_name,
    require_name,
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://b/x", "s3://b/x"),
        ("s3://b/x/", "s3://b/x"),
        ("s3://b/x/?region=eu", "s3://b/x?region=eu"),
        ("gcs://b/x", "gs://b/x"),
        ("file:///x", "/x"),
        ("file:///x/", "/x"),
        ("file:///with%20blank", "/with blank"),
        ("/x/../y/", "/y"),
        ("~/x", f"{Path.home()}/x"),
        ("file://elsewhere/x", "file://elsewhere/x"),
    ],
)
def test_a_folder_has_one_spelling(address: str, expected: str) -> None:
    assert normalized(address) == expected
    assert normalized(expected) == expected


def test_a_relative_path_starts_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert normalized("x") == f"{tmp_path}/x"
    assert normalized("x", Path("/elsewhere")) == "/elsewhere/x"
    assert normalized("/x", Path("/elsewhere")) == "/x"


@pytest.mark.parametrize("folder", ["/a/b", "s3://bucket/a", "s3://bucket/a?region=eu", "/"])
def test_parent_and_name_inverts_below(folder: str) -> None:
    assert parent_and_name(below(folder, "name")) == (folder, "name")


def test_only_object_stores_are_remote() -> None:
    addresses = ("s3://b/x", "gs://b", "/x", "x", "file:///x")
    assert [is_remote(address) for address in addresses] == [True, True, False, False, False]


@pytest.mark.parametrize("address", ["hf://datasets/x", "ftp://x/y", "abfs://x/y"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    scheme = address.partition(":")[0]
    with pytest.raises(
        UserError, match=rf"^results must be .* s3:// or gs://, got '{address}' \({scheme}:// is not known\)$"
    ):
        open_folder(address, "results")


def test_a_file_address_of_another_host_is_refused() -> None:
    with pytest.raises(UserError, match=r"^results must be a folder, .* got 'file://elsewhere/x'"):
        open_folder("file://elsewhere/x", "results")


def test_a_missing_gs_bucket_is_retried_for_a_minute_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    opener = SimpleNamespace(from_uri=lambda uri: asked.append(uri) or (None, "x"))
    monkeypatch.setattr("pyarrow.fs.FileSystem", opener)
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


@pytest.mark.parametrize("name", ["_x", ".x", "-x", "a/b", "", "ä"])
def test_a_refused_name_is_told_the_rule_that_it_breaks(name: str) -> None:
    require_name("0x._-", "name")
    rule = "name must start with a letter or digit and hold only letters, digits, '.', '-' and '_', got"
    with pytest.raises(UserError, match=f"^{re.escape(rule)}"):
        require_name(name, "name")
