"""Images in Parquet files: in Hugging Face's layout (a struct of `bytes` and `path`) or as a plain binary column.

A row group is the smallest unit that can be read. So each loader worker keeps a few in memory, and streams are shuffled
by row groups (`darl.data.shuffle.epoch_order`).
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from darl.data.content import hash_parts
from darl.data.formats.base import FileFormat
from darl.data.formats.listing import Cache, Listing, by_split
from darl.data.sources.base import WINDOW, Groups, RawLabels, Source, Splits
from darl.errors import UserError, reason
from darl.variants import require

if TYPE_CHECKING:
    from jaxtyping import Int64

__all__ = ["ParquetFiles", "ParquetImages"]

FILES_AT_ONCE = 16


class ParquetImages(Source):
    """A split whose images are rows of Parquet files."""

    def __init__(self, files: Listing, paths: list[str], column: str, label: str | None) -> None:
        self._files = files
        self._paths = paths
        self._column = column
        self.remote = files.storage.remote
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            parts = list(pool.map(lambda path: _read_footer(files, path, column, label), paths))
        self._groups: Int64[np.ndarray, "groups 2"] = np.array(
            [(file, group) for file, (rows, _, _) in enumerate(parts) for group in range(len(rows))], np.int64
        ).reshape(-1, 2)
        rows = np.array([count for counts, _, _ in parts for count in counts], np.int64)
        self._length = int(rows.sum())
        self._file_starts = np.cumsum([0, *(sum(counts) for counts, _, _ in parts)])
        sizes = np.array([size for _, group_sizes, _ in parts for size in group_sizes], np.int64)
        self.groups = Groups((np.cumsum(rows) - rows)[rows > 0], sizes[rows > 0])
        self._groups = self._groups[rows > 0]
        self.labels: RawLabels = None if label is None else [value for _, _, values in parts for value in values]
        self._cache = Cache(2 * WINDOW)

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> bytes:
        """The bytes in the image column."""
        assert self.groups is not None
        group = int(np.searchsorted(self.groups.starts, index, side="right")) - 1
        values = self._cache.get(group, lambda: self._read_group(group), int(self.groups.sizes[group]))
        encoded = values[index - int(self.groups.starts[group])].as_py()
        if encoded is None:
            raise ValueError("the row holds no bytes")
        return encoded

    def name(self, index: int) -> str:
        """`file#row`."""
        file = int(np.searchsorted(self._file_starts, index, side="right")) - 1
        return f"{self._files.full(self._paths[file])}#{index - self._file_starts[file]}"

    def fingerprint(self) -> str:
        """Hash of the files' names below the data's folder, the row groups' rows and stored bytes, and the labels."""
        assert self.groups is not None
        groups = np.column_stack([self._groups, self.groups.starts, self.groups.sizes])
        return hash_parts([*self._paths, self._length, *groups.tolist(), *(self.labels or ())])

    def _read_group(self, group: int) -> pa.Array:
        file_number, number = (int(value) for value in self._groups[group])
        path = self._files.full(self._paths[file_number])
        try:
            with self._files.storage.filesystem.open_input_file(path) as file:
                column = pq.ParquetFile(file).read_row_group(number, columns=[self._column]).column(self._column)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from None
        values = column.combine_chunks()
        return values.field("bytes") if pa.types.is_struct(values.type) else values


def _read_footer(files: Listing, path: str, column: str, label: str | None) -> tuple[list[int], list[int], list[Any]]:
    """Rows and stored bytes of every row group, and the labels of all rows; raises UserError."""
    full = files.full(path)
    try:
        with files.storage.filesystem.open_input_file(full) as file:
            parquet = pq.ParquetFile(file)
            missing = [name for name in (column, label) if name is not None and name not in parquet.schema_arrow.names]
            require(not missing, "data", f"have the columns {', '.join(missing)} in all of its files", full)
            groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
            labels = [] if label is None else parquet.read([label]).column(label).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(full, error) from None
    sizes = [
        sum(
            chunk.total_compressed_size
            for chunk in map(group.column, range(group.num_columns))
            if chunk.path_in_schema.split(".")[0] == column
        )
        for group in groups
    ]
    return [group.num_rows for group in groups], sizes, labels


def _unreadable(path: str, error: Exception) -> UserError:
    return UserError(
        f"must hold Parquet files that can be read, got {path!r} ({reason(error)}): download or write it again",
        field="data",
    )


class ParquetFiles(FileFormat):
    """Parquet files, as on Hugging Face's Hub."""

    kind: ClassVar[str] = "parquet"
    endings: ClassVar[tuple[str, ...]] = (".parquet",)
    form: ClassVar[str] = "*.parquet"

    @classmethod
    def open(cls, files: Listing) -> Splits:
        """Splits by the files' names; columns by their types; class names from Hugging Face's features."""
        first = files.full(files.paths[0])
        try:
            with files.storage.filesystem.open_input_file(first) as file:
                schema = pq.read_schema(file)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(first, error) from None
        column, features = image_column(schema, first), _features(schema)
        label = label_column(schema, features, first)
        names = features.get(label, {}).get("names") if label else None
        train, validation, test = by_split(files.paths)
        others = [ParquetImages(files, paths, column, label) if paths else None for paths in (validation, test)]
        return Splits(
            ParquetImages(files, train, column, label),
            validation=others[0],
            test=others[1],
            classes=None if names is None else tuple(map(str, names)),
        )


def image_column(schema: pa.Schema, path: str) -> str:
    """The column with images, by its type; raises UserError, naming the columns, where there is none."""

    def holds_images(field: pa.Field) -> bool:
        if pa.types.is_struct(field.type):
            position = field.type.get_field_index("bytes")
            return position >= 0 and _is_binary(field.type.field(position).type)
        return field.name in ("image", "img") and _is_binary(field.type)

    columns = [field.name for field in schema if holds_images(field)]
    if not columns:
        raise UserError(
            "must have an image column (a struct of bytes and path, or binary named image or img), got "
            f"{path!r} with the columns {', '.join(schema.names)}",
            field="data",
        )
    return next((name for name in ("image", "img") if name in columns), columns[0])


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Hugging Face's description of the columns, from the schema's metadata."""
    text = (schema.metadata or {}).get(b"huggingface")
    return json.loads(text).get("info", {}).get("features", {}) if text else {}


def label_column(schema: pa.Schema, features: dict[str, Any], path: str) -> str | None:
    """`label`, else the first column of Hugging Face's type ClassLabel, else None; raises UserError."""
    classes = [name for name, feature in features.items() if "ClassLabel" in str(feature) and name in schema.names]
    name = "label" if "label" in schema.names else next(iter(classes), None)
    if name is None:
        return None
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    usable = pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not usable:
        raise UserError(
            f"must have labels that are whole numbers or text, got {path!r} with {name} of type {kind}: "
            "convert the column or rename it",
            field="data",
        )
    return name
