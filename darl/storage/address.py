"""Paths and addresses (`s3://`, `gs://`, `file://`): one way to normalise, extend, take apart and open them.

A local path has one spelling (absolute, without `~`, `..` or a slash at the end), and so has an address: `file:///x` is
the path `/x`, `s3://b/x/` is `s3://b/x`, `gcs://` is `gs://`. A query (`s3://b/x?region=…`) stays at the end.
"""

import os
import re
from pathlib import Path

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
from pyarrow.fs import FileSystem, LocalFileSystem  # pyright: ignore[reportMissingTypeStubs]

from darl.errors import UserError, reason

__all__ = [
    "SCHEMES",
    "below",
    "is_remote",
    "normalized",
    "open_address",
    "open_folder",
    "parent_and_name",
    "require_name",
]

SCHEMES = ("s3://", "gs://", "gcs://", "file://", "hdfs://", "abfs://", "abfss://")
"""Beginnings that make a text an address and not a path. `open_address` opens s3, gs, gcs and file."""


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


def is_remote(address: str) -> bool:
    """Whether it leads to an object store, and not to a path of this machine."""
    return "://" in address and not address.startswith("file://")


def below(address: str, name: str) -> str:
    """The path or address of what lies below another; a query (`s3://bucket/results?region=…`) stays at its end."""
    location, mark, query = address.partition("?") if "://" in address else (address, "", "")
    return f"{location.rstrip('/')}/{name}{mark}{query}"


def parent_and_name(address: str) -> tuple[str, str]:
    """The folder that a path or address lies in, normalised, and its last name: the inverse of `below`."""
    address = normalized(address)
    location, mark, query = address.partition("?") if "://" in address else (address, "", "")
    parent, _, name = location.rpartition("/")
    return f"{parent or '/'}{mark}{query}", name


def open_folder(address: str, field: str) -> tuple[FileSystem, str]:
    """The file system of a folder's path or address, and the path in it without a slash at the end.

    field: what the user calls it, for the UserError where it is no such address.
    """
    try:
        spelled = normalized(address)
        if "://" not in spelled:
            return LocalFileSystem(), spelled
        filesystem, path = open_address(spelled)
        return filesystem, path.rstrip("/")
    except (OSError, pa.ArrowException) as error:
        remedy = "be a folder, or an address at s3:// or gs://"
        raise UserError(f"must {remedy}, got {address!r} ({reason(error)})", field=field) from None


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
