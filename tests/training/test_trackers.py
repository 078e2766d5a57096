"""What each tracker shows of runs, and what happens where one cannot be used. No Ray."""

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from darl.errors import UserError
from darl.experiment import Experiment
from darl.training.trackers.base import (
    TrackedPretraining,
    TrackedRun,
    Tracker,
    Tracking,
    check,
    metrics_of,
    parameters_of,
    track,
)
from tests.training.example_trackers import Unlisted, evaluated, install_mlflow, install_wandb, notebook, scalars

SHOWN = {"epoch": 5, "step": 50, "images_seen": 1600, "train_loss": 0.9, "learning_rate": 1e-3, "seconds": 10.0,
         "probe_top1": 0.5, "knn_top1": 0.25, "training_iteration": 5, "timesteps_total": 5}  # fmt: skip


def show_one_run(kind: str, folder: Path | None, *, failed: bool = False) -> None:
    """One run with two evaluations, in the group `orders`."""
    (tracking,) = track([kind], "orders", "s3://x/orders" if folder is None else str(folder))
    tracking.start("key", "hilbert, seed 2", {"order": "hilbert", "noise_a": None})
    for epoch in (0, 5):
        tracking.log("key", epoch, metrics_of(evaluated(epoch)))
    tracking.finish("key", failed=failed)
    tracking.close()


def test_an_evaluation_logs_what_was_measured() -> None:
    assert metrics_of(evaluated(5)) == SHOWN
    event = evaluated(5)
    event.metrics["val_loss_by_step"] = [0.5, 0.25]  # trackers take numbers
    assert metrics_of(event) == SHOWN


def test_tensorboard_has_a_folder_a_run_with_its_metrics_and_parameters(tmp_path: Path) -> None:
    show_one_run("tensorboard", tmp_path)
    shown = scalars(tmp_path / "tensorboard" / "hilbert, seed 2")
    assert ("ray/tune/probe_top1", 0, 0.5) in shown
    assert ("ray/tune/probe_top1", 5, 0.5) in shown
    assert {tag for tag, step, _ in shown if step == 5} == {f"ray/tune/{name}" for name in SHOWN}
    assert [tag for tag, _, _ in shown[-3:]] == [
        "_hparams_/experiment",
        "_hparams_/session_start_info",
        "_hparams_/session_end_info",
    ]


def test_wandb_has_a_run_of_the_project_in_the_sweeps_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    journal = install_wandb(monkeypatch)
    show_one_run("wandb", tmp_path)
    login, (_, settings), first, second, finish = journal
    assert login == ("login",)
    assert settings == {
        "project": "darl",
        "group": "orders",
        "name": "hilbert, seed 2",
        "config": {"order": "hilbert", "noise_a": None},
        "dir": str(tmp_path),
        "reinit": "create_new",
    }
    assert first[:3] == ("log", "hilbert, seed 2", 0)
    assert second == ("log", "hilbert, seed 2", 5, SHOWN)
    assert finish == ("finish", "hilbert, seed 2", 0)


def test_wandb_writes_into_the_current_folder_where_results_are_not_on_a_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = install_wandb(monkeypatch)
    show_one_run("wandb", None, failed=True)
    assert journal[1][1]["dir"] == str(tmp_path)
    assert journal[-1] == ("finish", "hilbert, seed 2", 1)


def test_mlflow_has_a_run_of_the_sweeps_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = install_mlflow(monkeypatch)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    show_one_run("mlflow", None, failed=True)
    run = "id of hilbert, seed 2"
    assert journal[:4] == [
        ("create_experiment", "orders"),
        ("create_run", "7", "hilbert, seed 2", {"trial_name": "hilbert, seed 2"}),
        ("log_param", run, "order", "hilbert"),
        ("log_param", run, "noise_a", None),
    ]
    assert ("log_metric", run, "probe_top1", 0.5, {"step": 5}) in journal
    assert journal[-1] == ("set_terminated", run, "FAILED")


def test_mlflow_takes_the_experiment_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = install_mlflow(monkeypatch)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "42")
    show_one_run("mlflow", None)
    assert journal[0][:2] == ("create_run", "42")


def test_a_broken_tracker_prints_one_error_and_is_not_called_again(capsys: pytest.CaptureFixture[str]) -> None:
    tracker, notes = notebook(breaks=True)
    tracking = Tracking(tracker, "orders", None)
    for key in ("a", "b"):
        tracking.start(key, key, {"order": "hilbert", "seed": 0})
        tracking.log(key, 0, {})
        tracking.close()
    assert notes == [("a", "hilbert", 0, "orders", None)]
    assert capsys.readouterr().err == "logging to book ends here: no route to the server\n"


def test_a_slow_tracker_delays_no_training_and_is_waited_for_at_the_end() -> None:
    free, ends = threading.Event(), list[bool]()

    class Slow(TrackedRun):
        def log(self, step: int, metrics: Mapping[str, float]) -> None:
            assert free.wait(60)

        def finish(self, *, failed: bool) -> None:
            ends.append(failed)

    class Server(Unlisted, Tracker):
        def start(self, name: str, parameters: Mapping[str, Any], *, group: str, folder: Path | None) -> TrackedRun:
            return Slow()

    tracking = Tracking(Server(), "orders", None)
    tracking.start("a", "a", {})
    tracking.log("a", 0, {})  # returns, though the server does not answer
    tracking.finish("a", failed=False)
    free.set()
    tracking.close()
    assert ends == [False]


def test_runs_that_have_not_ended_end_as_failed() -> None:
    tracker, notes = notebook()
    tracking = Tracking(tracker, "orders", None)
    tracking.start("a", "a", {"order": "hilbert", "seed": 0})
    tracking.close()
    assert notes[-1] == ("a", True)


def test_a_pretraining_is_logged_from_its_first_evaluation_on() -> None:
    tracker, notes = notebook()
    experiment = Experiment(seed=4)
    shown = TrackedPretraining([Tracking(tracker, "pretrain", None)], experiment)
    assert notes == []
    shown.log(evaluated(0))
    shown.log(evaluated(5))
    shown.finish(failed=False)
    name = experiment.trial_id
    assert notes[0] == (name, "raster", 4, "pretrain", None)
    assert notes[1:] == [(name, 0, metrics_of(evaluated(0))), (name, 5, SHOWN), (name, False)]


def test_a_refused_pretraining_logs_nothing() -> None:
    tracker, notes = notebook()
    TrackedPretraining([Tracking(tracker, "pretrain", None)], Experiment()).finish(failed=True)
    assert notes == []


def test_parameters_are_the_columns_of_the_tables() -> None:
    assert parameters_of(Experiment(seed=3))["model_width"] == Experiment().model.width
    assert parameters_of(Experiment(seed=3))["seed"] == 3


def test_unusable_trackers_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=r"^results must be on a disk for the tracker tensorboard, got 's3://x/orders'; choose"
    ):
        check(["tensorboard"], "s3://x/orders")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="log must be an installed tracker, got 'wandb'; pip install wandb"):
        check(["wandb"], "x/orders")


def test_an_unreachable_tracker_is_an_error_of_one_line() -> None:
    class Away(Unlisted, Tracker):
        def connect(self, group: str) -> None:
            raise ConnectionError("no route\nto it")

        def start(self, name: str, parameters: Mapping[str, Any], *, group: str, folder: Path | None) -> TrackedRun:
            raise AssertionError

    with pytest.raises(UserError, match=r"^log book could not start: no route$"):
        Tracking(Away(), "orders", None)


def test_a_users_own_tracker_is_one_class() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Printed(Tracker):
        kind: ClassVar[str] = "printed"
        library: ClassVar[str] = "json"

        def start(self, name: str, parameters: Mapping[str, Any], *, group: str, folder: Path | None) -> TrackedRun:
            raise AssertionError

    assert Tracker.of("printed") is Printed
