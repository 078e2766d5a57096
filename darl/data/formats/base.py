"""The interface of file formats.

A format is one class in one module of this package: its files' endings, and how they are opened. The files of a data
set are listed by `darl.data.sources.files`, which opens them in the format that has most of the bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from darl.data.found import Decision
from darl.data.reading import Reading
from darl.data.sources.base import Splits
from darl.variants import members, require

if TYPE_CHECKING:
    from darl.data.formats.listing import Listing

__all__ = ["FileFormat", "left_out"]


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

    @classmethod
    def read(cls, files: Listing, every: Listing, reading: Reading) -> Splits:
        """As `open`, as the user says that files are to be read; with what was decided. Raises UserError.

        every: all files of the data set, those of other formats, too. A format that has no use for `reading` refuses
        one that says something.
        """
        for field, value in (("data_labels", reading.labels), ("data_splits", reading.splits)):
            require(value is None, field, f"be left out: it is for image files, not for {cls.form}", value)
        once = files.once()
        own, read = set(files.paths), set(once.paths)
        links = [path for path in files.paths if path not in read]
        found = left_out(every.where(lambda path: path not in own), cls.form)
        if links:
            found.append(Decision.about(links, f"{len(links):,} of {cls.form} left out, links to others"))
        splits = cls.open(once)
        return replace(splits, found=(*splits.found, *found))


def left_out(others: Listing, form: str) -> list[Decision]:
    """What is said of the files of a data set that are not read, and of links that lead nowhere."""
    found: list[Decision] = []
    if others.paths:
        count = f"{len(others.paths):,} file{'s' if len(others.paths) > 1 else ''}"
        found.append(Decision.about(others.paths, f"{count} not {form}"))
    if others.dead:
        links = f"{len(others.dead):,} link{'s' if len(others.dead) > 1 else ''}"
        found.append(Decision.about(others.dead, f"{links} to nothing or in a circle left out"))
    return found
