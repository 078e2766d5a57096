"""From Tune's callbacks to the tables: the driver alone writes rows, one whenever a trial ends or fails."""

import contextlib
import re
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.tune import Callback

from darl.distributed.budget import Budget
from darl.distributed.trainer import failure
from darl.distributed.trial import Job
from darl.distributed.unpickled import Unpickled
from darl.errors import reason
from darl.results.recorder import TrialRecorder
from darl.results.rows import now
from darl.results.tables import Results, TableWriteError
from darl.storage.address import below
from darl.sweep.base import ATTEMPTS
from darl.training.checkpoint_store import CHECKPOINTS, CheckpointStore

__all__ = ["RecorderCallback"]


class RecorderCallback(Unpickled, Callback):
    """Writes each trial's start and, at its end, first its curve and then its row.

    An error in writing is not raised, since Tune would count it as the trial's failure: it ends the sweep (`Budget`).
    """

    def __init__(self, job: Job, results: Results, store: CheckpointStore, attempts: Counter[str], budget: Budget):
        self.job, self.store, self.attempts, self.budget = job, store, attempts, budget
        self.recorder = TrialRecorder(results, job.workers, attempts)
        self.started: dict[str, datetime] = {}
        self.events: dict[str, dict[int, dict[str, Any]]] = {}
        self.errors: dict[str, str] = {}
        self.failures: Counter[str] = Counter()
        self.written: set[str] = set()
        self.at_epoch: dict[str, float] = {}
        """The fractional epoch that each trial has reported last."""
        self.rows: list[dict[str, Any]] = []
        """The rows that this driver has written so far."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the start, so that the next run after a kill knows which trials were unfinished."""
        if trial.trial_id not in self.started:
            earlier = self.attempts[self.job.experiment(trial.config).trial_id]
            trial.max_failures = max(0, ATTEMPTS - 1 - earlier)  # retries in this run
        self.started.setdefault(trial.trial_id, now())
        self.events.setdefault(trial.trial_id, {})
        with self._kept_from_tune():
            self.store.begin(self.job.experiment(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep an evaluation; a repeated one replaces the first."""
        if result.get("error"):
            self.errors[trial.trial_id] = result["error"]
        elif "at_epoch" in result:
            self.at_epoch[trial.trial_id] = result["at_epoch"]
        elif "event" in result:
            self.at_epoch[trial.trial_id] = result["epoch"]
            self.events[trial.trial_id][result["epoch"]] = result["event"]

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the rows of a trial that returned or was stopped."""
        error = self.errors.get(trial.trial_id)
        whole = self._epochs(trial) >= self.job.experiment(trial.config).epochs
        if self.budget.used_up and not whole and not error:
            return  # cut off: it continues from its checkpoint when the sweep runs again
        nothing = "the trial reported nothing" if self._epochs(trial) < 0 else None
        self._write(trial, "finished" if whole else "stopped", error or nothing)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the rows of a trial that failed and is not started again."""
        self._write(trial, "failed", self.errors.get(trial.trial_id) or _reason(trial))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the row of a failure after which the trial starts again; losing a preempted machine is no failure."""
        if trial.num_failures > self.failures[trial.trial_id]:
            self.failures[trial.trial_id] = trial.num_failures
            with self._kept_from_tune():
                self._row(trial, "failed", _reason(trial))
            self.started[trial.trial_id] = now()

    def _epochs(self, trial: Any) -> int:
        return max(self.events.get(trial.trial_id, {}), default=-1)

    def _write(self, trial: Any, status: str, error: str | None) -> None:
        if trial.trial_id in self.written or self.budget.broken:  # Tune may call twice
            return
        self.written.add(trial.trial_id)
        status = "failed" if error else status
        with self._kept_from_tune():
            self._row(trial, status, error)
            if status != "failed":  # a failed trial may be tried again, from its last checkpoint
                experiment = self.job.experiment(trial.config)
                self.store.finish(experiment.trial_id, keep_weights=status == "finished")

    @contextmanager
    def _kept_from_tune(self) -> Generator[None]:
        """Turn errors in writing, which would fail the trial, into the end of the sweep."""
        try:
            yield
        except TableWriteError as error:
            self.budget.broken = self.budget.broken or error
        except OSError as error:
            broken = TableWriteError(f"{below(self.job.root, CHECKPOINTS)} could not be written ({reason(error)})")
            self.budget.broken = self.budget.broken or broken

    def _row(self, trial: Any, status: str, error: str | None) -> None:
        evaluations = [event for _, event in sorted(self.events.get(trial.trial_id, {}).items())]
        row = self.recorder.record(
            self.job.experiment(trial.config),
            evaluations,
            status=status,
            started_at=self.started.get(trial.trial_id, now()),
            error=error,
            host=trial.node_ip or None,
        )
        self.rows.append(row)


def _reason(trial: Any) -> str:
    """Type and message of a failed trial's last error, in one line. Tune keeps them in files of the driver."""
    pickled, text = (Path(name or "") for name in (trial.pickled_error_file, trial.error_file))
    if pickled.is_file():
        with contextlib.suppress(Exception):  # a class that cannot be imported here
            return failure(cloudpickle.loads(pickled.read_bytes()))
    said = text.read_text(errors="replace").rpartition("Failure # ")[2] if text.is_file() else ""
    lines = [line for line in said.splitlines()[1:] if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    return " ".join((named[-1:] or lines[:1] or ["the trial's process died"])[0].split())[:300]
