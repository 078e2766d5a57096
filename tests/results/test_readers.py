"""Four readers agree, also on parts of several versions."""

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darl.errors import UserError
from darl.experiment import columns
from darl.results.schema import curves_schema, trials_schema
from darl.results.tables import Results, load
from tests.results.example_tables import readers, row

NUMBERS = {"int64", "float64", "Int64", "boolean"}


class TestReaders:
    def test_agree(self, results: Results):
        results.add_trial(row("aa", knn_top1=0.25, images_seen=128, causal=True))
        results.add_trial(row("bb", 1, probe_top1=None, noise_a=None, causal=None, seed=None))
        results.add_trial({"trial_id": "cc", "attempt": 0, "status": "failed"})
        frames = readers(results.trials_path)
        expected = frames.pop("darl")
        for name, frame in frames.items():
            assert list(frame.columns) == list(expected.columns), name
            for column in expected.columns:
                given, wanted = frame[column], expected[column]
                assert given.isna().tolist() == wanted.isna().tolist(), (name, column)
                assert given.dropna().tolist() == wanted.dropna().tolist(), (name, column)

    def test_agree_on_lists(self, results: Results):
        """A list is null where it was not measured, and so is a number in it that is not finite."""
        parts = [0.5, 0.25, float("nan")]
        results.add_curve("aa", 0, [{"epoch": 0}, {"epoch": 1, "val_loss_by_step": parts}])
        results.add_curve("bb", 0, [{"epoch": 0}])
        for name, frame in readers(results.curves_path).items():
            assert frame["val_loss_by_step"].isna().tolist() == [True, False, True], name
            numbers = list(frame["val_loss_by_step"].iloc[1])
            assert numbers[:2] == [0.5, 0.25], name
            assert pd.isna(numbers[2]), name
        assert pq.read_table(results.curves_path)["val_loss_by_step"].to_pylist()[1] == [0.5, 0.25, None]

    def test_give_numbers_where_some_parts_have_only_nulls(self, results: Results):
        results.add_trial({"trial_id": "aa", "attempt": 0})
        results.add_trial(row("bb"))
        for name, frame in readers(results.trials_path).items():
            assert frame["noise_a"].dtype == "float64", name
            assert pd.api.types.is_numeric_dtype(frame["seed"]), name
        schema = pl.scan_parquet(f"{results.trials_path}/*.parquet").collect_schema()
        assert (schema["noise_a"], schema["seed"], schema["causal"]) == (pl.Float64, pl.Int64, pl.Boolean)

    @pytest.mark.parametrize("rows", [0, 1, 3])
    def test_load_gives_the_same_types_whatever_is_null(self, results: Results, rows: int):
        for index in range(rows):
            results.add_trial({"trial_id": f"{index}", "attempt": 0} if index else row("0"))
        trials = results.trials()
        assert len(trials) == rows
        assert list(trials.columns) == trials_schema().names
        assert str(trials["seed"].dtype) == "Int64"
        assert str(trials["causal"].dtype) == "boolean"
        assert str(trials["probe_top1"].dtype) == "float64"
        assert str(trials["started_at"].dtype) == "datetime64[us, UTC]"

    def test_an_empty_folder_is_an_empty_table(self, results: Results):
        assert list(load(results.trials_path).columns) == trials_schema().names
        assert list(load(results.curves_path).columns) == curves_schema().names

    def test_folders_of_other_things_are_refused(self, results: Results, tmp_path: Path):
        for path in (str(tmp_path / "nowhere"), results.path):
            with pytest.raises(
                UserError, match=r"^path must be a table's folder, RESULTS/SWEEP/trials or .*, got '/.*'$"
            ):
                load(path)

    def test_a_damaged_part_is_named(self, results: Results):
        results.add_trial(row())
        part = Path(results.trials_path, "aa-0.parquet")
        part.write_bytes(part.read_bytes()[:-40])
        with pytest.raises(
            UserError, match=r"^/.*aa-0\.parquet must be a complete Parquet file \(.*\); move it out of the folder$"
        ):
            results.trials()


class TestVersions:
    def older(self, results: Results, name: str = "aa-0") -> None:
        """A part as a version of darl wrote it that did not know `noise_b`, and knew `retired`."""
        table = pa.Table.from_pylist([row()], trials_schema()).drop_columns(["noise_b"])
        table = table.append_column("retired", pa.array([7]))
        pq.write_table(table, Path(results.trials_path, f"{name}.parquet"))

    def test_load_joins_them(self, results: Results):
        self.older(results)
        results.add_trial(row("bb"))
        trials = results.trials()
        assert trials["noise_b"].isna().tolist() == [True, False]
        assert trials["retired"].isna().tolist() == [False, True]
        assert {str(trials[name].dtype) for name in ("noise_b", "retired", "seed")} <= NUMBERS

    def test_pandas_loses_no_column(self, results: Results):
        self.older(results)
        again = Results(str(Path(results.path).parent), "noise")
        again.prepare()
        again.add_trial(row("00"))
        again.add_trial(row("bb"))
        whole = {*trials_schema().names, "retired"}
        assert set(pd.read_parquet(again.trials_path).columns) == whole
        assert len(pd.read_parquet(again.trials_path)) == len(again.trials()) == 3
        folder = f"{again.trials_path}/*.parquet"
        assert set(pl.scan_parquet(folder, missing_columns="insert").collect_schema()) == whole
        assert set(duckdb.sql(f"select * from read_parquet('{folder}', union_by_name=true)").columns) == whole

    def test_a_users_schedule_makes_columns(self, results: Results, monkeypatch: pytest.MonkeyPatch):
        results.add_trial(row("aa"))
        monkeypatch.setattr("darl.results.schema.columns", lambda: columns() | {"noise_slope": float})
        again = Results(str(Path(results.path).parent), "noise")
        again.prepare()
        again.add_trial(row("bb", noise="steep", noise_slope=3.0))
        for frame in (pd.read_parquet(again.trials_path), load(again.trials_path)):
            assert frame["noise_slope"].dropna().tolist() == [3.0]
            assert len(frame) == 2

    def test_no_part_without_rows_is_written_for_equal_columns(self, results: Results):
        results.add_trial(row())
        results.prepare()
        assert [part.name for part in Path(results.trials_path).iterdir()] == ["aa-0.parquet"]

    @pytest.mark.parametrize("where", ["metadata", "column"])
    def test_a_newer_one_is_refused(self, results: Results, where: str):
        table = pa.Table.from_pylist([row(schema_version=3)], trials_schema())
        newer = {"metadata": {b"darl_schema_version": b"3"}, "column": None}[where]
        part = Path(results.trials_path, "aa-0.parquet")
        pq.write_table(table.replace_schema_metadata(newer), part)
        text = f"{part} must be of schema version 2 or older (pip install --upgrade darl reads newer ones), got 3"
        for read in (results.trials, results.prepare, lambda: load(results.trials_path)):
            with pytest.raises(UserError) as caught:
                read()
            assert str(caught.value) == text

    def test_two_types_of_one_column_are_refused(self, results: Results):
        table = pa.Table.from_pylist([row()], trials_schema()).drop_columns(["noise_b"])
        pq.write_table(table.append_column("noise_b", pa.array(["x"])), Path(results.trials_path, "aa-0.parquet"))
        with pytest.raises(
            UserError, match=r"trials must hold one type per column \(.*noise_b.*\); give another name$"
        ):
            results.prepare()
