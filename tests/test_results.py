"""The tables: their schema, what is stored, that a part appears whole, and that four readers agree."""

import datetime
import math
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darl.config import Experiment, columns, flatten
from darl.errors import UserError
from darl.model import ModelSize
from darl.results import SCHEMA_VERSION, Results, TableWriteError, curves_schema, load, trials_schema

EXPERIMENT = Experiment(image_size=32, model=ModelSize(patch_size=8))
NUMBERS = {"int64", "float64", "Int64", "boolean"}


def row(trial: str = "aa", attempt: int = 0, **values: object) -> dict[str, object]:
    record = flatten(EXPERIMENT.to_record())
    started = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
    own = {"trial_id": trial, "attempt": attempt, "status": "finished", "started_at": started, "probe_top1": 0.5}
    return record | {"config": EXPERIMENT.to_json()} | own | values


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(str(tmp_path / "results"), "noise")
    results.prepare()
    return results


def readers(folder: str) -> dict[str, pd.DataFrame]:
    """The same table by everything that reads Parquet, without our help."""
    return {
        "pandas": pd.read_parquet(folder),
        "polars": pl.scan_parquet(f"{folder}/*.parquet").collect().to_pandas(),
        "polars folder": pl.read_parquet(folder).to_pandas(),
        "duckdb": duckdb.sql(f"select * from read_parquet('{folder}/*.parquet')").to_arrow_table().to_pandas(),
        "darl": load(folder),
    }


class TestSchema:
    def test_holds_the_contract_and_the_record(self):
        names = trials_schema().names
        contract = (
            "sweep trial_id attempt status seed epochs images_seen noise noise_a noise_b order position causal "
            "objective model_width learning_rate config probe_top1 knn_top1 val_loss train_loss init_probe_top1 "
            "init_knn_top1 val_loss_gamma_0_0 val_loss_gamma_0_9 seconds images_per_second device workers flops "
            "git_commit darl_version torch_version started_at host error schema_version"
        )
        assert set(contract.split()) <= set(names)
        assert set(columns()) <= set(names)
        assert len(names) == len(set(names))
        assert names[:4] == ["sweep", "trial_id", "attempt", "status"]

    def test_is_typed(self):
        types = {field.name: field.type for field in trials_schema()}
        assert types["started_at"] == pa.timestamp("us", "UTC")
        assert types["noise_a"] == types["flops"] == pa.float64()
        assert types["attempt"] == types["model_width"] == types["schema_version"] == pa.int64()
        assert types["causal"] == pa.bool_()
        assert types["noise"] == types["config"] == types["error"] == pa.string()

    @pytest.mark.parametrize("schema", [trials_schema(), curves_schema()], ids=["trials", "curves"])
    def test_tells_its_version_and_lets_everything_be_null(self, schema: pa.Schema):
        assert schema.metadata == {b"darl_schema_version": b"1"}
        assert all(field.nullable for field in schema)

    def test_every_part_carries_all_of_it(self, results: Results):
        results.add_trial(row("aa"))
        results.add_trial({"trial_id": "bb", "attempt": 0, "status": "failed", "error": "RuntimeError: no"})
        parts = sorted(Path(results.trials_path).iterdir())
        assert [part.name for part in parts] == ["aa-0.parquet", "bb-0.parquet"]
        assert all(pq.read_schema(part).equals(trials_schema(), check_metadata=True) for part in parts)


class TestRows:
    def test_epochs_are_those_that_ran(self, results: Results):
        results.add_trial(row(epochs=3))
        assert results.trials()["epochs"].tolist() == [3]
        assert '"epochs":30' in results.trials()["config"][0]

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
    def test_what_is_no_number_is_null(self, results: Results, value: float | None):
        results.add_trial(row(probe_top1=value))
        column = pq.read_table(results.trials_path)["probe_top1"]
        assert column.null_count == 1
        for name, frame in readers(results.trials_path).items():
            assert frame["probe_top1"].dtype == "float64", name

    def test_text_that_is_not_unicode_is_written_out(self, results: Results):
        results.add_trial(row(error="OSError: caf\udce9.png"))
        assert results.trials()["error"].tolist() == [r"OSError: caf\udce9.png"]

    @pytest.mark.parametrize("name", ["probe_top_1", "noise_c"])
    def test_an_unknown_column_is_a_bug(self, results: Results, name: str):
        with pytest.raises(KeyError, match=name):
            results.add_trial(row(**{name: 1.0}))
        with pytest.raises(KeyError, match=name):
            results.add_curve("aa", 0, [{name: 1.0}])
        assert results.trials().empty

    def test_the_same_attempt_is_there_once(self, results: Results):
        results.add_trial(row("aa", 0, probe_top1=0.1))
        part = Path(results.trials_path, "aa-0.parquet")
        before = part.stat()
        results.add_trial(row("aa", 0, probe_top1=0.9))
        after = part.stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        assert results.trials()["probe_top1"].tolist() == [0.1]

    def test_a_trial_that_is_tried_again_gets_another_row(self, results: Results):
        results.add_trial(row("aa", 0, status="failed"))
        results.add_trial(row("aa", 1))
        assert results.trials()["status"].tolist() == ["failed", "finished"]

    def test_a_curve_grows(self, results: Results):
        report = {"epoch": 0, "step": 0, "images_seen": 0, "train_loss": None, "val_loss_gamma_0_1": 0.3}
        results.add_curve("aa", 0, [report])
        results.add_curve("aa", 0, [report, report | {"epoch": 1, "train_loss": 0.5}])
        curves = results.curves()
        assert curves["epoch"].tolist() == [0, 1]
        assert curves["train_loss"].isna().tolist() == [True, False]
        assert set(curves["sweep"]) == {"noise"}
        assert set(curves["trial_id"]) == {"aa"}
        assert set(curves["schema_version"]) == {SCHEMA_VERSION}
        assert list(curves.columns) == curves_schema().names

    def test_rows_may_be_seen_by_everyone(self, results: Results):
        results.add_trial(row())
        umask = os.umask(0)
        os.umask(umask)
        assert Path(results.trials_path, "aa-0.parquet").stat().st_mode & 0o777 == 0o666 & ~umask


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

    def test_keep_numbers_numbers_where_parts_are_all_null(self, results: Results):
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

    def test_a_folder_that_is_not_there(self, tmp_path: Path):
        with pytest.raises(UserError, match=r"^path must be a folder of Parquet parts, such as .*, got '.*/nowhere'$"):
            load(str(tmp_path / "nowhere"))

    def test_a_damaged_part_is_named(self, results: Results):
        results.add_trial(row())
        part = Path(results.trials_path, "aa-0.parquet")
        part.write_bytes(part.read_bytes()[:-40])
        with pytest.raises(UserError, match=r"^/.*aa-0\.parquet must be whole \(.*\); move it away$"):
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
        monkeypatch.setattr("darl.results.columns", lambda: columns() | {"noise_slope": float})
        again = Results(str(Path(results.path).parent), "noise")
        again.prepare()
        again.add_trial(row("bb", noise="steep", noise_slope=3.0))
        for frame in (pd.read_parquet(again.trials_path), load(again.trials_path)):
            assert frame["noise_slope"].dropna().tolist() == [3.0]
            assert len(frame) == 2

    def test_equal_columns_need_no_part_for_them(self, results: Results):
        results.add_trial(row())
        results.prepare()
        assert [part.name for part in Path(results.trials_path).iterdir()] == ["aa-0.parquet"]

    @pytest.mark.parametrize("where", ["metadata", "column"])
    def test_a_newer_one_is_refused(self, results: Results, where: str):
        table = pa.Table.from_pylist([row(schema_version=2)], trials_schema())
        newer = {"metadata": {b"darl_schema_version": b"2"}, "column": None}[where]
        part = Path(results.trials_path, "aa-0.parquet")
        pq.write_table(table.replace_schema_metadata(newer), part)
        text = f"{part} must be of schema version 1 or older (pip install --upgrade darl reads newer ones), got 2"
        for read in (results.trials, results.prepare, lambda: load(results.trials_path)):
            with pytest.raises(UserError) as caught:
                read()
            assert str(caught.value) == text

    def test_two_types_of_one_column_are_refused(self, results: Results):
        table = pa.Table.from_pylist([row()], trials_schema()).drop_columns(["noise_b"])
        pq.write_table(table.append_column("noise_b", pa.array(["x"])), Path(results.trials_path, "aa-0.parquet"))
        with pytest.raises(
            UserError, match=r"trials must hold one type per column \(.*noise_b.*\); give another --name$"
        ):
            results.prepare()


class TestPlaces:
    def test_local_paths_are_made_absolute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        results = Results("some/results", "noise")
        assert results.path == f"{tmp_path}/some/results/noise"
        assert results.trials_path == f"{tmp_path}/some/results/noise/trials"
        assert results.curves_path == f"{tmp_path}/some/results/noise/curves"
        assert Results(f"file://{tmp_path}/r", "noise").path == f"{tmp_path}/r/noise"
        assert Results("~/r", "noise").path == str(Path.home() / "r" / "noise")

    def test_nothing_is_made_before_prepare(self, tmp_path: Path):
        Results(str(tmp_path / "r"), "noise")
        assert list(tmp_path.iterdir()) == []

    def test_an_address_keeps_its_query_last(self):
        results = Results("s3://bucket/results/?region=eu-west-1", "noise")
        assert results.path == "s3://bucket/results/noise?region=eu-west-1"
        assert results.trials_path == "s3://bucket/results/noise/trials?region=eu-west-1"

    def test_travels_to_workers(self, results: Results):
        pickle.loads(pickle.dumps(results)).add_trial(row())
        assert len(results.trials()) == 1

    @pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "lr=1", "two words"])
    def test_names_that_are_no_folder(self, tmp_path: Path, name: str):
        with pytest.raises(UserError, match=r"^--name must be letters, digits, dots, dashes and underscores, got "):
            Results(str(tmp_path), name)

    def test_addresses_that_are_none(self):
        with pytest.raises(
            UserError, match=r"^--results must be a folder, or an address at s3:// or gs://, got 'ftp://"
        ):
            Results("ftp://host/results", "noise")

    @pytest.mark.parametrize("place", ["file/below", "/proc/results", "/dev/null/results"])
    def test_places_that_cannot_be_written(self, tmp_path: Path, place: str):
        (tmp_path / "file").write_text("")
        root = str(tmp_path / place)
        for begin in (Results(root, "noise").prepare, Results(root, "noise").claimed().__enter__):
            with pytest.raises(UserError) as caught:
                begin()
            text = str(caught.value)
            assert text.startswith(f"--results must be a place that can be written, got '{root}/noise' (")
            assert text.endswith("); give another one or mend its permissions")
            assert "\n" not in text

    def test_a_read_only_table(self, results: Results, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("curves"))  # root may write anything
        with pytest.raises(UserError, match=r"curves is read-only\); give another one"):
            results.prepare()

    def test_pictures_that_are_no_longer_made_are_dropped(self, results: Results):
        results.prepare()
        for name in ("figures/old.png", "figures/new.png"):
            results.keep(name, b"x")
        results.keep_only("figures", {"new.png"})
        assert [path.name for path in Path(results.path, "figures").iterdir()] == ["new.png"]


class TestWholeness:
    def test_leftovers_of_a_crash(self, results: Results):
        old, new = (Path(results.path, ".writing", name) for name in ("old", "new"))
        for file in (old, new):
            file.write_bytes(b"PAR1 half a ro")
        os.utime(old, (time.time() - 3600,) * 2)
        results.add_trial(row())
        assert {len(frame) for frame in readers(results.trials_path).values()} == {1}
        results.prepare()
        assert not old.exists()
        assert new.exists(), "another process may be writing it"

    def test_a_full_disk_leaves_the_table_as_it_was(self, results: Results, monkeypatch: pytest.MonkeyPatch):
        results.add_trial(row("aa"))

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(TableWriteError) as caught:
            results.add_trial(row("bb"))
        part = f"{results.trials_path}/bb-0.parquet"
        assert str(caught.value) == f"{part} could not be written (No space left on device)"
        assert isinstance(caught.value, OSError)
        assert results.trials()["trial_id"].tolist() == ["aa"]
        assert list(Path(results.path, ".writing").iterdir()) == []

    def test_a_vanished_folder(self, results: Results):
        Path(results.trials_path).rmdir()
        with pytest.raises(TableWriteError, match=r"trials/aa-0\.parquet could not be written \(No such file"):
            results.add_trial(row())

    @pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.chaos)])
    def test_a_killed_writer_tears_nothing(self, results: Results, kills: int):
        code = (
            "import itertools, os, sys; from darl.results import Results\n"
            "results = Results(sys.argv[1], 'noise'); print('ready', flush=True)\n"
            "for i in itertools.count():\n"
            "    results.add_trial({'trial_id': f'{os.getpid()}x{i}', 'attempt': 0, 'error': 'x' * 1_000_000})\n"
            "    results.add_curve('aa', 0, [{'epoch': epoch} for epoch in range(i + 1)])\n"
        )
        root = str(Path(results.path).parent)
        count = 0
        for kill in range(kills):
            writer = subprocess.Popen([sys.executable, "-c", code, root], stdout=subprocess.PIPE)
            try:
                assert writer.stdout is not None
                writer.stdout.readline()
                until = time.monotonic() + random.Random(kill).uniform(0.2, 0.4)
                while results.trials().empty or time.monotonic() < until:
                    count = len(results.trials())
            finally:
                writer.kill()
                writer.communicate()
            for frame in readers(results.trials_path).values():
                assert len(frame) >= max(count, 1)
                assert set(frame["error"].str.len()) <= {1_000_000}
            epochs = load(results.curves_path)["epoch"].tolist()
            assert epochs == list(range(len(epochs)))


VALUES = {
    str: st.none() | st.text(),
    int: st.none() | st.integers(-(2**63), 2**63 - 1),
    float: st.none() | st.floats(),
    bool: st.none() | st.booleans(),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(values=st.fixed_dictionaries({}, optional={name: VALUES[kind] for name, kind in columns().items()}))
def test_any_record_comes_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]):
    results = Results(str(tmp_path_factory.mktemp("results")), "noise")
    results.prepare()
    results.add_trial({"trial_id": "aa", "attempt": 0} | values)
    (stored,) = pq.read_table(results.trials_path).to_pylist()
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            assert stored[name] is None
        else:
            assert stored[name] == value
