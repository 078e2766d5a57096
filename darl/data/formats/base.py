"""The interface of file formats.

A format is one class in one module of this package: its files' endings, and how they are opened. The files of a data
set are listed by `darl.data.sources.files`, which opens them in the format that has most of the bytes.
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
    """A file format. Formats are classes with class methods only; they have no instances."""

    package: ClassVar[str] = "darl.data.formats"
    kind: ClassVar[str]
    endings: ClassVar[tuple[str, ...]]
    """Endings of its files' names, in lower case."""
    form: ClassVar[str]
    """Its files in an error's words: `*.parquet`."""

    @classmethod
    def kinds(cls) -> list[type[FileFormat]]:
        """Every format that is defined so far, by name."""
        return sorted(members(cls), key=lambda member: member.kind)

    @classmethod
    @abstractmethod
    def open(cls, files: Listing) -> Splits:
        """The splits that files of this format hold; raises UserError."""
