"""Paths and addresses (`s3://`, `gs://`, `file://`): one way to open and to extend them."""

import os
import re
from pathlib import Path

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import fs  # pyright: ignore[reportMissingTypeStubs]
from pyarrow.fs import FileSystem

from darl.errors import UserError, reason

__all__ = ["SCHEMES", "below", "parent_and_name", "require_name"]


def below(address: str, name: str) -> str:
    """The path or address of what lies below another; a query (`s3://bucket/results?region=…`) stays at its end."""
    place, mark, query = address.partition("?") if "://" in address else (address, "", "")
    return f"{place.rstrip('/')}/{name}{mark}{query}"


def parent_and_name(address: str) -> tuple[str, str]:
    """The folder that a path or address lies in, and its name there; `below` puts them together again.

    A local path becomes absolute, from the home folder where it begins with `~`.
    """
    place, mark, query = address.partition("?") if "://" in address else (address, "", "")
    if "://" not in place:
        path = Path(place).expanduser()
        place = str(path.resolve() if path.name in ("", "..") else path.absolute())
    root, _, name = place.rstrip("/").rpartition("/")
    return f"{root or '/'}{mark}{query}", name


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


def require_name(name: str, field: str) -> None:
    """Raise UserError where a folder of results cannot have this name, on a disk or in an object store."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is None:
        raise UserError(f"must be letters, digits, dots, dashes and underscores, got {name!r}", field=field)
