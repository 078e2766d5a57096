"""The family of file formats: what the files of a folder, a pattern or an address hold.

A format is one class in one module of this package: its files' endings, and how they are opened. The files of a data
set are listed by `darl.data.sources.files`, which asks the format that most of the bytes belong to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from darl.data.sources.base import Splits
from darl.variants import members

if TYPE_CHECKING:
    from darl.data.formats.listing import Listing

__all__ = ["FileFormat"]


class FileFormat(ABC):
    """One way in which files hold images. Its classes are used as they are, never made into objects."""

    package: ClassVar[str] = "darl.data.formats"
    kind: ClassVar[str]
    endings: ClassVar[tuple[str, ...]]
    """Of its files' names, in lower case."""
    form: ClassVar[str]
    """What the user is told that data may hold: `*.parquet`."""

    @classmethod
    def kinds(cls) -> list[type[FileFormat]]:
        """Every format that is defined so far, by name."""
        return sorted(members(cls), key=lambda member: member.kind)

    @classmethod
    @abstractmethod
    def open(cls, files: Listing) -> Splits:
        """The splits that files of this format hold; raises UserError."""
