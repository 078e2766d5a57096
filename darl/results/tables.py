"""The result tables: the one writer of a sweep's Parquet files, and their reader.

    RESULTS/SWEEP/trials/TRIAL-ATTEMPT.parquet    one row: the experiment, its metrics, its cost
    RESULTS/SWEEP/curves/TRIAL-ATTEMPT.parquet    one row per evaluation in that attempt

Any reader reads such a folder as one table, at any moment. Three things make that so:

- A part appears whole (`darl.storage.folder`).
- Every part carries the same full schema, since pandas and duckdb take the first part's columns for the whole.
- A value that is absent or not finite is null: pandas, polars and duckdb average a NaN differently.

A sweep that is continued with other columns (a new noise schedule with a field of its own, a newer darl) writes the
union of both sets from then on, and adds a part without rows, first by name, from which pandas takes the columns. To
read such a folder polars needs `missing_columns="insert"` and duckdb `union_by_name=true`; `load` needs no option.
"""

# pyarrow and pandas have no types: reports about the unknown types of what they return are switched off, no others.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeStubs=false

import math
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from darl.errors import TableWriteError, UserError, reason
from darl.results.schema import CURVES, SCHEMA_VERSION, TRIALS, VERSION_KEY, curves_schema, trials_schema
from darl.storage.address import below, require_name
from darl.storage.folder import ResultsFolder
from darl.storage.lease import Lease
from darl.variants import require

__all__ = ["FIGURES", "Results", "TableWriteError", "load", "require_sweep"]

FIGURES = "figures"
"""The folder of figures next to the tables."""

_COLUMNS_PART = "0-columns"
"""Name of the part without rows; sorts before every trial's part."""

_PANDAS = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
"""Types that pandas would otherwise turn into float64 and object where a value is null."""


class Results:
    """The tables of one sweep.

    Args:
        root: a local path, `file://`, `s3://` or `gs://`.
        sweep: the name of the sweep, a folder in `root`.

    """

    def __init__(self, root: str, sweep: str) -> None:
        require_name(sweep, "sweep")
        self.sweep = sweep
        self._folder = ResultsFolder(below(root, sweep), "results")
        self._lease = Lease(self._folder)
        self.path = self._folder.address
        self.trials_path, self.curves_path = below(self.path, TRIALS), below(self.path, CURVES)
        self._schemas = {TRIALS: trials_schema(), CURVES: curves_schema()}

    def prepare(self) -> None:
        """Create the folders, and check that the tables can be written and continued; raises UserError otherwise."""
        with self._writable():
            self._lease.confirm()
            self._folder.prepare(*self._schemas, FIGURES)
        for table, schema in self._schemas.items():
            parts = _read(self._folder, table)
            whole = self._schemas[table] = _union(self._folder.path(table), schema, parts)
            if parts and not set(whole.names) <= set(parts[0].column_names):
                self._write(table, _COLUMNS_PART, whole.empty_table())

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Hold the lease of the folder; raises UserError where another driver holds it or it cannot be written."""
        with ExitStack() as stack:
            with self._writable():
                stack.enter_context(self._lease.held())
            yield

    @contextmanager
    def _writable(self) -> Generator[None]:
        """Within, an OSError is raised as the UserError for a folder that cannot be written."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"must be a writable folder, got {self.path!r} ({reason(error)}); "
                "choose another folder or change its permissions",
                field="results",
            ) from None

    def write_file(self, name: str, data: bytes) -> None:
        """Write a file next to the tables. Raises TableWriteError."""
        self._put(name, data)

    def has_file(self, name: str) -> bool:
        """Whether there is a file of this name next to the tables."""
        return self._folder.is_file(name)

    def delete_files(self, folder: str, is_old: Callable[[str], bool]) -> None:
        """Delete the files in a folder next to the tables whose names `is_old` holds for."""
        for name in self._folder.files_in(folder):
            if is_old(name):
                self._folder.delete(f"{folder}/{name}")

    def read_text(self, name: str) -> str | None:
        """The text of a file next to the tables; None where there is no such file."""
        with _readable(self.path):
            data = self._folder.get(name)
        return None if data is None else data.decode()

    def add_trial(self, row: dict[str, Any]) -> None:
        """Add the row of an attempt that has ended, unless the table has it already.

        `sweep` and `schema_version` are filled in. Raises TableWriteError, and KeyError for an unknown column.
        """
        name = f"{row['trial_id']}-{row['attempt']}"
        if not self._folder.is_file(f"{TRIALS}/{name}.parquet"):
            self._write(TRIALS, name, self._table(TRIALS, [row]))

    def add_curve(self, trial_id: str, attempt: int, rows: list[dict[str, Any]]) -> None:
        """Write all evaluations of an attempt so far, replacing earlier ones. Raises as `add_trial` does."""
        own = {"trial_id": trial_id, "attempt": attempt}
        self._write(CURVES, f"{trial_id}-{attempt}", self._table(CURVES, [row | own for row in rows]))

    def trials(self) -> pd.DataFrame:
        """Every attempt so far; see `load`."""
        return _frame(self._folder, TRIALS, self.path)

    def curves(self) -> pd.DataFrame:
        """Every evaluation so far; see `load`."""
        return _frame(self._folder, CURVES, self.path)

    def _table(self, table: str, rows: list[dict[str, Any]]) -> pa.Table:
        schema = self._schemas[table]
        for name in (name for row in rows for name in row if name not in schema.names):
            raise KeyError(f"{table} has no column {name!r}")
        filled = {"sweep": self.sweep, "schema_version": SCHEMA_VERSION}
        whole = [{name: _storable(value) for name, value in (row | filled).items()} for row in rows]
        return pa.Table.from_pylist(whole, schema)

    def _write(self, table: str, name: str, part: pa.Table) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(part, buffer)
        self._put(f"{table}/{name}.parquet", buffer.getvalue())

    def _put(self, name: str, data: "bytes | pa.Buffer") -> None:
        try:
            self._lease.confirm()
            self._folder.put(name, data)
        except OSError as error:
            raise TableWriteError(f"{self.path}/{name} could not be written ({reason(error)})") from error


def load(path: str) -> pd.DataFrame:
    """A table's folder as a frame, whatever versions of darl wrote its parts; rows in the order of file names.

    Integers are Int64 and truth values boolean, so that a null does not change a column's type. A column that a part
    does not have is null there; a folder without parts is a frame without rows. Raises UserError.
    """
    folder = ResultsFolder(path, "path")
    with _readable(path):
        exists, tables = folder.is_folder(), {TRIALS, CURVES} & set(folder.folders_in(""))
    require(exists and not tables, "path", "be a table's folder, RESULTS/SWEEP/trials or RESULTS/SWEEP/curves", path)
    return _frame(folder, "", path)


def require_sweep(path: str) -> None:
    """Raise UserError where a path is not the folder of one sweep; the error names the sweeps in it."""
    folder = ResultsFolder(path, "results")

    def folders(name: str = "") -> list[str]:
        with suppress(OSError) if name else _readable(path):  # a folder below may be another user's
            return folder.folders_in(name)
        return []

    names = folders()
    sweeps = [] if TRIALS in names else [name for name in names if TRIALS in folders(name)]
    hint = f" (in it: {', '.join(sweeps)})" if sweeps else ""
    require(TRIALS in names, "results", f"be one sweep's folder, RESULTS/SWEEP{hint}", path)


@contextmanager
def _readable(path: str) -> Generator[None]:
    """Within, an OSError is raised as the UserError for a path that cannot be read."""
    try:
        yield
    except OSError as error:
        raise UserError(f"must be readable, got {path!r} ({reason(error)})", field="results") from None


def _frame(folder: ResultsFolder, table: str, named: str) -> pd.DataFrame:
    """A table as a frame. table: its folder's name; empty where `folder` itself is the table's."""
    with _readable(named):
        parts = _read(folder, table)
    path = folder.path(table)
    is_curves = "status" not in parts[0].column_names if parts else path.endswith(CURVES)
    schema = _union(path, curves_schema() if is_curves else trials_schema(), parts)
    whole = pa.concat_tables([schema.empty_table(), *parts], promote_options="permissive")
    return whole.replace_schema_metadata(None).to_pandas(types_mapper=_PANDAS.get)


def _read(folder: ResultsFolder, table: str) -> list[pa.Table]:
    """All parts of a table by name; one request for each, since an object store answers in tens of milliseconds."""

    def read(name: str) -> pa.Table | None:
        data, path = folder.get(name), folder.path(name)
        if data is None:  # gone since the folder was listed
            return None
        try:
            part = pq.ParquetFile(pa.BufferReader(data)).read()
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{path} must be a complete Parquet file ({reason(error)}); move it out of the folder"
            ) from None
        remedy = f"be of schema version {SCHEMA_VERSION} or older (pip install --upgrade darl reads newer ones)"
        require(_version(part) <= SCHEMA_VERSION, path, remedy, _version(part))
        return part

    names = [name for name in folder.files_in(table) if name.endswith(".parquet") and not name.startswith(".")]
    with ThreadPoolExecutor(max_workers=16) as pool:
        parts = pool.map(read, [f"{table}/{name}" if table else name for name in names])
        return [part for part in parts if part is not None]


def _version(part: pa.Table) -> int:
    """A part's schema version, from its metadata, or from its column where another program has rewritten the part."""
    stamped = int((part.schema.metadata or {}).get(VERSION_KEY, 0))
    rows = part["schema_version"].drop_null().to_pylist() if "schema_version" in part.column_names else []
    return max(stamped, *rows, 0)


def _union(folder: str, schema: pa.Schema, parts: list[pa.Table]) -> pa.Schema:
    """The columns of `schema` and of all parts; raises UserError where a column has two types."""
    try:
        return pa.unify_schemas([schema, *(part.schema for part in parts)], promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise UserError(f"{folder} must hold one type per column ({reason(error)}); give another name") from None


def _storable(value: Any) -> Any:
    """A value as tables hold it: NaN and infinity become null, bytes of a path that are not Unicode are escaped."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list):
        return [_storable(part) for part in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
