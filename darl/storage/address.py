"""Paths and addresses (`s3://`, `gs://`, `file://`): one way to open and to extend them."""

import os
from pathlib import Path

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import fs  # pyright: ignore[reportMissingTypeStubs]
from pyarrow.fs import FileSystem

from darl.errors import UserError, reason

__all__ = ["SCHEMES", "below", "normalized"]


def below(address: str, name: str) -> str:
    """The path or address of what lies below another; a query (`s3://bucket/results?region=…`) stays at its end."""
    place, mark, query = address.partition("?") if "://" in address else (address, "", "")
    return f"{place.rstrip('/')}/{name}{mark}{query}"


def filesystem_of(place: str, field: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or address, and the path in it."""
    try:
        if "://" in place:
            filesystem, path = open_address(place)
            return filesystem, path.rstrip("/")
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(place))  # noqa: PTH100, PTH111
    except (OSError, pa.ArrowException) as error:
        remedy = "be a folder, or an address at s3:// or gs://"
        raise UserError(f"{field} must {remedy}, got {place!r} ({reason(error)})") from None


SCHEMES = ("s3://", "gs://", "gcs://", "file://", "hdfs://", "abfs://", "abfss://")
"""Addresses that `pyarrow.fs` opens."""


def normalized(address: str, start: Path | None = None) -> str:
    """The one spelling of a path or address; equal results mean the same folder.

    start: where a relative path starts, if not in the working directory. A `file://` address that leads nowhere stays
    as it is, and is refused when it is opened.
    """
    if address.startswith("file://"):
        try:
            address = FileSystem.from_uri(address)[1]
        except (OSError, pa.ArrowException):
            return address
    if "://" not in address:
        return os.path.abspath(os.path.join(start or "", os.path.expanduser(address)))  # noqa: PTH100, PTH111, PTH118
    location, mark, query = address.partition("?")
    scheme, _, path = location.partition("://")
    return f"{'gs' if scheme == 'gcs' else scheme}://{path.rstrip('/')}{mark}{query}"


def open_address(address: str) -> tuple[FileSystem, str]:
    """The file system of an absolute path or an address at file://, s3:// or gs://, and the path in it.

    Raises OSError for another address. Google's client would try for a quarter of an hour to reach what is not there.
    """
    scheme, mark, _ = address.partition("://")
    if mark and scheme not in ("file", "s3", "gs", "gcs"):
        raise OSError(f"{scheme}:// is not known")
    if scheme in ("gs", "gcs") and "retry_limit_seconds=" not in address:
        address += f"{'&' if '?' in address else '?'}retry_limit_seconds=60"
    return FileSystem.from_uri(address)
