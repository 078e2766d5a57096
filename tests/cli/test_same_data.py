"""Data that has changed at its address since a folder's trials were trained on it is refused in one line."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darl.cli.same_data import require_same_data, with_content
from darl.data import Dataset
from darl.data.content import DataContent
from darl.errors import UserError
from darl.experiment import Experiment
from darl.results.tables import Results
from darl.training.checkpoint_store import CheckpointStore
from tests.cli.test_sweep import run
from tests.report.example_trials import row

EARLIER = DataContent(train=1000, validation=200, classes=10, fingerprint="a" * 16)
LINE = (
    "data must be what earlier trials of this folder were trained on, got 'digits' with 1,000 + 200 images before, "
    "1,438 + 359 now: give another name, or put the earlier data back"
)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(str(tmp_path), "patch_order")
    results.prepare()
    return results


def test_a_row_on_changed_data_stops_the_next_call(results: Results, digits: Dataset) -> None:
    with_content(Experiment(), digits, results)
    results.add_trial(row(Experiment(content=EARLIER), 0.5))
    with pytest.raises(UserError) as mistake:
        with_content(Experiment(), digits, results)
    assert str(mistake.value) == LINE


def test_a_checkpoint_on_changed_data_is_not_continued(results: Results, digits: Dataset) -> None:
    CheckpointStore(results.path).begin(Experiment(content=EARLIER))
    with pytest.raises(UserError) as mistake:
        with_content(Experiment(), digits, results)
    assert str(mistake.value) == LINE


def test_rows_that_an_older_version_measured_otherwise_are_not_continued(results: Results, digits: Dataset) -> None:
    """Version 1 had the accuracies of another readout: averaged with new ones they would mislead."""
    results.add_trial(row(Experiment(), 0.5))
    (part,) = Path(results.trials_path).glob("*.parquet")
    table = pq.read_table(part)
    index = table.column_names.index("schema_version")
    pq.write_table(table.set_column(index, "schema_version", pa.array([1])).replace_schema_metadata(None), part)
    with pytest.raises(UserError) as mistake:
        with_content(Experiment(), digits, results)
    assert str(mistake.value) == (
        "name must be another: the accuracies in this folder were measured in another way (schema version 1), got "
        "'patch_order'"
    )


def test_unchanged_data_and_rows_without_content_pass(results: Results, digits: Dataset) -> None:
    results.add_trial(row(Experiment(), 0.5))
    results.add_trial(row(Experiment(content=EARLIER), 0.5))
    require_same_data(results, {"digits": EARLIER, "digits:0-4": replace(EARLIER, train=1)})
    folder = Results(str(Path(results.path).parent), "another")
    assert with_content(Experiment(), digits, folder).content == digits.content


def test_a_sweep_ends_with_one_line_and_code_2(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results.add_trial(row(Experiment(content=EARLIER), 0.5))
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--dry-run", "--epochs", "2", "--results", str(tmp_path), sweep="patch_order")
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: --{LINE}\n"


def test_a_report_asked_of_the_script_finds_the_rows_of_its_data(
    results: Results,
    digits: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results.add_trial(row(Experiment(epochs=2, content=digits.content, data="/moved"), 0.5))
    results.add_trial(row(Experiment(epochs=2, seed=1), 0.7))
    run(monkeypatch, "--report", "--epochs", "2", "--results", str(tmp_path), sweep="patch_order")
    said = capsys.readouterr().out
    assert "raster has 60.0 %" in said or "raster leads with 60.0 %" in said
