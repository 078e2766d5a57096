"""The tables: their schema, and what is stored."""

import math
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darl.experiment import columns
from darl.results.schema import SCHEMA_VERSION, curves_schema, trials_schema
from darl.results.tables import Results
from tests.results.example_tables import readers, row


class TestSchema:
    def test_has_the_documented_columns_and_those_of_the_record(self):
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
    def test_has_its_version_and_only_nullable_columns(self, schema: pa.Schema):
        assert schema.metadata == {b"darl_schema_version": b"2"}
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
    def test_nan_and_infinity_are_null(self, results: Results, value: float | None):
        results.add_trial(row(probe_top1=value))
        column = pq.read_table(results.trials_path)["probe_top1"]
        assert column.null_count == 1
        for name, frame in readers(results.trials_path).items():
            assert frame["probe_top1"].dtype == "float64", name

    def test_text_that_is_not_unicode_is_written_out(self, results: Results):
        results.add_trial(row(error="OSError: caf\udce9.png"))
        assert results.trials()["error"].tolist() == [r"OSError: caf\udce9.png"]

    @pytest.mark.parametrize("name", ["probe_top_1", "noise_c"])
    def test_an_unknown_column_is_a_key_error(self, results: Results, name: str):
        with pytest.raises(KeyError, match=name):
            results.add_trial(row(**{name: 1.0}))
        with pytest.raises(KeyError, match=name):
            results.add_curve("aa", 0, [{name: 1.0}])
        assert results.trials().empty

    def test_an_attempt_has_one_row(self, results: Results):
        results.add_trial(row("aa", 0, probe_top1=0.1))
        part = Path(results.trials_path, "aa-0.parquet")
        before = part.stat()
        results.add_trial(row("aa", 0, probe_top1=0.9))
        after = part.stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        assert results.trials()["probe_top1"].tolist() == [0.1]

    def test_every_attempt_at_a_trial_has_a_row(self, results: Results):
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

    def test_parts_have_the_usual_file_permissions(self, results: Results):
        results.add_trial(row())
        umask = os.umask(0)
        os.umask(umask)
        assert Path(results.trials_path, "aa-0.parquet").stat().st_mode & 0o777 == 0o666 & ~umask


VALUES = {
    str: st.none() | st.text(),
    int: st.none() | st.integers(-(2**63), 2**63 - 1),
    float: st.none() | st.floats(),
    bool: st.none() | st.booleans(),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(values=st.fixed_dictionaries({}, optional={name: VALUES[kind] for name, kind in columns().items()}))
def test_any_record_is_read_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]):
    results = Results(str(tmp_path_factory.mktemp("results")), "noise")
    results.prepare()
    results.add_trial({"trial_id": "aa", "attempt": 0} | values)
    (stored,) = pq.read_table(results.trials_path).to_pylist()
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            assert stored[name] is None
        else:
            assert stored[name] == value
