"""Data in files: a folder, a single file, a pattern with `*`, or an address at s3:// or gs://."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import ClassVar

from darl.data.reading import Reading
from darl.data.sources.base import Splits
from darl.data.sources.kind import DataKind
from darl.storage.address import SCHEMES, normalized
from darl.variants import require

__all__ = ["Files"]


class Files(DataKind):
    """Files of one of the formats in `darl.data.formats`. A canonical name is an absolute path or an address."""

    kind: ClassVar[str] = "files"
    order: ClassVar[int] = 1
    form: ClassVar[str] = (
        "a folder of images, Parquet files or tar shards (a path, or an address such as s3:// or gs://)"
    )

    @classmethod
    def named(cls, text: str) -> str | None:
        """An absolute path or an address, normalised, whether it exists or not."""
        text, reading = Reading.of(text)
        if "://" in text:
            return reading.named(normalized(text)) if text.startswith(SCHEMES) else None
        # os.path leaves the `~` of an unknown user as it is, where pathlib raises RuntimeError
        return reading.named(normalized(text)) if os.path.isabs(os.path.expanduser(text)) else None  # noqa: PTH111, PTH117

    @classmethod
    def guessed(cls, text: str) -> str | None:
        """A relative path or pattern, if it exists: paths take precedence over other meanings of the text."""
        text, reading = Reading.of(text)
        if not text or "://" in text:
            return None
        path = normalized(text)
        return reading.named(path) if Path(path).exists() or _matches(path) else None

    @classmethod
    def open(cls, name: str) -> Splits:
        """The splits that the files hold; raises UserError where there are none."""
        from darl.data.formats.base import FileFormat
        from darl.data.formats.listing import listing

        address, reading = Reading.of(name)
        files, formats = listing(address), FileFormat.kinds()
        chosen = [(files.only(kind.endings), kind) for kind in formats]
        # a folder of images may also hold a table, and one of Parquet files a picture: most bytes decide
        own, kind = max(chosen, key=lambda choice: (sum(choice[0].sizes), len(choice[0].paths)))
        *first, last = [kind.form for kind in formats]
        require(len(own.paths) > 0, "data", f"hold {', '.join(first)} or {last} and holds none", address)
        return kind.read(own, files, reading)


def _matches(path: str) -> bool:
    # pathlib's glob takes no absolute patterns
    return glob.has_magic(path) and next(glob.iglob(path, recursive=True), None) is not None  # noqa: PTH207
