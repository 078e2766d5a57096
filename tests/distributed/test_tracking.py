"""Tune's callbacks become runs of a tracker."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from darl.distributed.tracking import TrackerCallback
from darl.distributed.trainer import report_of
from darl.distributed.trial import Job
from darl.training.parallel import Workers
from darl.training.trackers.base import Tracking
from tests.report.example_trials import ORDERS
from tests.training.example_trackers import evaluated, notebook

TRIAL = SimpleNamespace(trial_id="x", config={"trial": ({"order": "hilbert"}, 2)})
"""A trial as Tune has it: a cell on its third seed."""


def report(epoch: int) -> dict[str, Any]:
    """A report, with the fields that Tune adds."""
    return report_of(evaluated(epoch)) | {"training_iteration": 17, "pid": 3}


def shown(*results: dict[str, Any], end: str = "complete") -> list[tuple[Any, ...]]:
    """The calls to a tracker for a trial that starts, restarts after its first report, and ends."""
    tracker, notes = notebook()
    callback = TrackerCallback(Job(sweep=ORDERS, workers=Workers(), root="."), Tracking(tracker, "orders", Path()))
    callback.on_trial_start(0, [], TRIAL)
    for result in results:
        callback.on_trial_result(0, [], TRIAL, result)
        callback.on_trial_start(0, [], TRIAL)
    for _ in range(2):  # Tune may call twice
        getattr(callback, f"on_trial_{end}")(0, [], TRIAL)
    callback.on_experiment_end([])
    return notes


def test_a_run_has_the_cells_name_the_records_columns_and_epochs() -> None:
    again = [report(0), report(3)]  # as a trial reports that starts again
    start, *results, end = shown(report(0), {"at_epoch": 0.5, "loss": 1.0}, *again, report(5))
    assert start == ("hilbert, seed 2", "hilbert", 2, "orders", Path())
    assert [(name, step, metrics["epoch"]) for name, step, metrics in results] == [
        ("hilbert, seed 2", 0, 0), ("hilbert, seed 2", 3, 3), ("hilbert, seed 2", 5, 5),
    ]  # fmt: skip
    metrics = results[1][2]
    assert (metrics["probe_top1"], metrics["training_iteration"]) == (0.5, 3)
    assert not {"val_loss", "pid", "event", "images_per_second"} & set(metrics)
    assert end == ("hilbert, seed 2", False)


def test_a_failure_is_shown_whether_it_was_reported_or_raised() -> None:
    assert shown(report(0), {"error": "diverged"})[-1] == ("hilbert, seed 2", True)
    assert shown(report(0), end="error")[-1] == ("hilbert, seed 2", True)
