"""Paths and addresses (`s3://`, `gs://`, `file://`): how they are normalised, joined, split and opened.

A local path has one spelling (absolute, without `~`, `..` or a slash at the end), and so has an address: `file:///x` is
the path `/x`, `s3://b/x/` is `s3://b/x`, `gcs://` is `gs://`. A query (`s3://b/x?region=…`) stays at the end.

pyarrow is imported by the functions that open: it takes a third of a second, and the texts do without it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from darl.errors import UserError, reason

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem  # pyright: ignore[reportMissingTypeStubs]

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
"""Prefixes that mark a text as an address, not a path. `open_address` opens s3, gs, gcs and file only."""


def normalized(address: str, start: Path | None = None) -> str:
    """The one spelling of a path or address; equal results mean the same folder.

    start: the folder that a relative path starts from; by default the working directory. A `file://` address that is
    not valid is returned unchanged, and is refused when it is opened.
    """
    if address.startswith("file://"):
        from pyarrow import ArrowException  # pyright: ignore[reportMissingTypeStubs]
        from pyarrow.fs import FileSystem  # pyright: ignore[reportMissingTypeStubs]

        try:
            address = FileSystem.from_uri(address)[1]
        except (OSError, ArrowException):
            return address
    if "://" not in address:
        return os.path.abspath(os.path.join(start or "", os.path.expanduser(address)))  # noqa: PTH100, PTH111, PTH118
    location, mark, query = address.partition("?")
    scheme, _, path = location.partition("://")
    return f"{'gs' if scheme == 'gcs' else scheme}://{path.rstrip('/')}{mark}{query}"


def is_remote(address: str) -> bool:
    """Whether an address leads to an object store, not to a path of this machine."""
    return "://" in address and not address.startswith("file://")


def below(address: str, name: str) -> str:
    """The path or address of `name` in the folder `address`; a query (`s3://bucket/results?region=…`) stays last."""
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

    field: the argument's name in the UserError that is raised where `address` cannot be opened.
    """
    from pyarrow import ArrowException  # pyright: ignore[reportMissingTypeStubs]
    from pyarrow.fs import LocalFileSystem  # pyright: ignore[reportMissingTypeStubs]

    try:
        spelled = normalized(address)
        if "://" not in spelled:
            return LocalFileSystem(), spelled
        filesystem, path = open_address(spelled)
        return filesystem, path.rstrip("/")
    except (OSError, ArrowException) as error:
        remedy = "be a folder, or an address at s3:// or gs://"
        raise UserError(f"must {remedy}, got {address!r} ({reason(error)})", field=field) from None


def open_address(address: str) -> tuple[FileSystem, str]:
    """The file system of an absolute path or an address at file://, s3:// or gs://, and the path in it.

    Raises OSError for other addresses. For gs:// a retry limit of 60 s is set: Google's client would otherwise try for
    a quarter of an hour to reach a bucket that does not exist.
    """
    from pyarrow.fs import FileSystem  # pyright: ignore[reportMissingTypeStubs]

    scheme, mark, _ = address.partition("://")
    if mark and scheme not in ("file", "s3", "gs", "gcs"):
        raise OSError(f"{scheme}:// is not known")
    if scheme in ("gs", "gcs") and "retry_limit_seconds=" not in address:
        address += f"{'&' if '?' in address else '?'}retry_limit_seconds=60"
    return FileSystem.from_uri(address)


def require_name(name: str, field: str) -> None:
    """Raise UserError where a folder of results cannot have this name, on a disk or in an object store."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is None:
        remedy = "start with a letter or digit and hold only letters, digits, '.', '-' and '_'"
        raise UserError(f"must {remedy}, got {name!r}", field=field)
