"""Labels of images from a table: CSV with a file and a label column, or Tiny-ImageNet's `val_annotations.txt`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darl.data.formats.listing import Storage, listing
from darl.data.found import printable
from darl.errors import UserError

__all__ = ["ANNOTATIONS", "LabelFile", "looks_like_labels", "read_annotations", "read_labels"]

ANNOTATIONS = "val_annotations.txt"
"""Tiny-ImageNet's: lines of file name, class and box, with tabs between; no header."""

FILE_COLUMNS = ("file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_path", "image_name",
                "image_id", "img", "id", "name")  # fmt: skip
LABEL_COLUMNS = ("label", "class", "class_name", "category", "target")

_COLUMNS = re.compile(r"(?P<file>.+):(?P<columns>[^:,/]+,[^:,/]+)")


@dataclass(frozen=True)
class LabelFile:
    """The labels of images, by their names in a table."""

    path: str
    """As it is said; with the columns that were read."""
    labels: dict[str, str]

    def name_of(self, path: str, folder: str) -> str | None:
        """The name under which the table has an image; None where it does not.

        path: below the data's folder, whose own name is `folder`. A table may name it whole or by its last parts, with
        or without the file's ending (`train/cat/0.png`, `0.png`, `0`).
        """
        parts = [folder, *path.split("/")]
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            stem = name.rpartition(".")[0]
            for each in (name, stem):
                if each in self.labels:
                    return each
        return None


def looks_like_labels(paths: Iterable[str]) -> list[str]:
    """Those files that may be tables with labels."""
    return [path for path in paths if path.lower().endswith((".csv", ".tsv"))]


def read_labels(address: str) -> LabelFile:
    """The table at a path or address: `labels.csv`, or `labels.csv:id,breed` with the names of the two columns.

    Without these, columns called as such columns usually are, or the two of a table that has no others. Raises
    UserError, naming the columns, where it is not clear which are meant.
    """
    match = _COLUMNS.fullmatch(address)
    file, asked = (address, None) if match is None else (match["file"], match["columns"].split(","))
    try:
        files = listing(file)
        path = files.full(files.paths[0])
        rows = _rows(files.storage, path, None)
    except (UserError, IndexError):
        raise UserError(
            f"must be top, innermost, none or a table of files and labels that can be read, got {file!r}",
            field="data_labels",
        ) from None
    header, rows = (rows[0], rows[1:]) if rows else ([], [])
    names, columns = _columns(header, asked, file)
    if names is None:
        rows = [header, *rows]
    said = f"{file} (columns {', '.join(names)})" if names else file
    return _checked(said, [(row[columns[0]], row[columns[1]]) for row in rows if len(row) > max(columns)])


def read_annotations(storage: Storage, path: str) -> LabelFile:
    """Tiny-ImageNet's table of its validation images; raises UserError."""
    return _checked(path, [(row[0], row[1]) for row in _rows(storage, path, "\t") if len(row) > 1])


def _rows(storage: Storage, path: str, delimiter: str | None) -> list[list[str]]:
    """The table's lines; without `delimiter`, that of comma, semicolon and tab which the first line has most of."""
    text = storage.read(path).decode("utf-8-sig", errors="surrogateescape")
    first = text.partition("\n")[0]
    delimiter = delimiter or max(",;\t", key=first.count)
    return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]


def _columns(header: list[str], asked: list[str] | None, file: str) -> tuple[list[str] | None, tuple[int, int]]:
    """The names of the file's and the label's column, and their positions; no names where the table has no header."""
    known = [name.strip().lower() for name in header]
    if asked is not None:
        own = [column.strip().lower() for column in asked]
    else:
        own = [next((name for name in usual if name in known), "") for usual in (FILE_COLUMNS, LABEL_COLUMNS)]
        if len(known) == 2 and not all(own):
            # of two columns, the label's is the other one; where neither has a usual name, the first line is no header
            other = [known[1 - known.index(name)] if name else "" for name in reversed(own)]
            own = [name or instead for name, instead in zip(own, other, strict=True)]
            if not any(own):
                return None, (0, 1)
    if not all(name in known for name in own):
        raise UserError(
            f"must have a file and a label column, got {file!r} with the columns {', '.join(header)}: "
            f"say which, as {file}:FILE_COLUMN,LABEL_COLUMN",
            field="data_labels",
        )
    positions = known.index(own[0]), known.index(own[1])
    return [header[position].strip() for position in positions], positions


def _checked(path: str, pairs: Sequence[tuple[str, str]]) -> LabelFile:
    labels: dict[str, str] = {}
    for name, label in pairs:
        name, label = name.strip().replace("\\", "/").removeprefix("./").lstrip("/"), label.strip()
        if labels.get(name, label) != label:
            raise UserError(
                f"must have one label for each image, got {path!r} with {labels[name]!r} and {label!r} for "
                f"{printable(name)!r}",
                field="data_labels",
            )
        if label:
            labels[name] = label
    if not labels:
        raise UserError(f"must have a label for some image, got {path!r} with none", field="data_labels")
    return LabelFile(path, labels)
