"""Trials of older versions, whose records lack the content of their data, do not run again."""

from dataclasses import replace
from pathlib import Path

from darl.data.content import DataContent
from darl.distributed.resume import past_trials, queue_of, read_state
from darl.results.rows import now
from darl.results.tables import Results
from darl.training.checkpoint_store import CheckpointStore
from tests.report.example_trials import NOISES, PAPER, SEARCH, row

CONTENT = DataContent(train=80, validation=20, classes=2, fingerprint="a" * 16)
SWEEP = replace(SEARCH, contents={"digits": CONTENT})
BEGUN = NOISES["a=3, b=1"]


def results_with(path: Path, **values: object) -> Results:
    results = Results(str(path), "s")
    results.prepare()
    results.add_trial(row(SEARCH.experiment(PAPER), 0.5, started_at=now(), **values))
    return results


def test_a_finished_trial_of_an_older_version_is_done(tmp_path: Path) -> None:
    results = results_with(tmp_path)
    state = read_state(SWEEP, results)
    assert state.done == {SWEEP.experiment(PAPER).trial_id} != {SEARCH.experiment(PAPER).trial_id}
    (past,) = past_trials(SWEEP, state, results)
    assert (past.trial_id, past.point) == (SWEEP.experiment(PAPER).trial_id, PAPER)
    assert queue_of(SWEEP, state) == []


def test_attempts_of_both_versions_are_counted_together(tmp_path: Path) -> None:
    results = results_with(tmp_path, status="failed", attempt=1)
    for attempt in (2, 3):
        results.add_trial(row(SWEEP.experiment(PAPER), None, status="failed", attempt=attempt, started_at=now()))
    state = read_state(SWEEP, results)
    assert state.attempts == {SWEEP.experiment(PAPER).trial_id: 3}
    assert state.done == {SWEEP.experiment(PAPER).trial_id}


def test_an_unfinished_trial_of_an_older_version_continues(tmp_path: Path) -> None:
    results = results_with(tmp_path)
    older, now_called = SEARCH.experiment(BEGUN), SWEEP.experiment(BEGUN)
    CheckpointStore(results.path).begin(older)
    checkpoints = Path(results.path, "checkpoints")
    step = checkpoints / older.trial_id / "step-00000004" / "trainer.pt"
    step.parent.mkdir()
    step.write_text("progress")
    state = read_state(SWEEP, results)
    assert state.unfinished == [now_called]
    assert queue_of(SWEEP, state) == [BEGUN]
    assert [folder.name for folder in checkpoints.iterdir()] == [now_called.trial_id]
    assert (checkpoints / now_called.trial_id / "step-00000004" / "trainer.pt").read_text() == "progress"


def test_a_trial_on_changed_data_is_not_done(tmp_path: Path) -> None:
    results = results_with(tmp_path)
    changed = replace(SWEEP, contents={"digits": replace(CONTENT, train=81)})
    results.add_trial(row(SWEEP.experiment(BEGUN), 0.5, started_at=now()))
    assert changed.experiment(BEGUN).trial_id not in read_state(changed, results).done
