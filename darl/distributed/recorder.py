"""From Tune's callbacks to the tables: the driver alone writes rows, one when a trial ends."""

from collections import Counter
from datetime import datetime
from typing import Any

from ray.tune import Callback

from darl.distributed.storage import CheckpointStore
from darl.distributed.trial import Job
from darl.results import Results
from darl.rows import curve_row, now, provenance, trial_row

__all__ = ["Recorder"]


class Recorder(Callback):
    """Writes each trial's start, and at its end its curve and then its row."""

    def __init__(self, job: Job, results: Results, store: CheckpointStore, attempts: Counter[str]):
        self.job, self.results, self.store, self.attempts = job, results, store, attempts
        self.provenance = provenance()
        self.flops = job.sweep.base.build().flops()
        self.started: dict[str, datetime] = {}
        self.events: dict[str, dict[int, dict[str, Any]]] = {}
        self.errors: dict[str, str] = {}
        self.written: set[str] = set()
        self.at_epoch: dict[str, float] = {}
        """How far each trial is said to be."""
        self.rows: list[dict[str, Any]] = []
        """Written so far by this driver."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks for a restore that is never made: the tables are the memory

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note the start, so that a run that is killed knows what was unfinished."""
        self.started.setdefault(trial.trial_id, now())
        self.events.setdefault(trial.trial_id, {})
        self.store.begin(self.job.experiment(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep an evaluation; one that is told again takes the place of the first."""
        if result.get("error"):
            self.errors[trial.trial_id] = result["error"]
        elif "at_epoch" in result:
            self.at_epoch[trial.trial_id] = result["at_epoch"]
        elif "event" in result:
            self.at_epoch[trial.trial_id] = result["epoch"]
            self.events[trial.trial_id][result["epoch"]] = result["event"]

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the rows of a trial that returned or was stopped."""
        self._write(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Write the rows of a trial whose process died."""
        lines = str(trial.get_error() or "the trial's process died").strip().splitlines()
        self.errors.setdefault(trial.trial_id, lines[-1].strip())
        self._write(trial)

    def _write(self, trial: Any) -> None:
        if trial.trial_id in self.written:  # Tune calls on_trial_error where another callback raises
            return
        self.written.add(trial.trial_id)
        experiment = self.job.experiment(trial.config)
        evaluations = [event for _, event in sorted(self.events.get(trial.trial_id, {}).items())]
        error = self.errors.get(trial.trial_id)
        whole = bool(evaluations) and evaluations[-1]["epoch"] >= experiment.epochs
        status = "failed" if error or not evaluations else "finished" if whole else "stopped"
        key = experiment.trial_id
        self.attempts[key] += 1
        row = trial_row(
            experiment,
            evaluations,
            status=status,
            attempt=self.attempts[key],
            started_at=self.started.get(trial.trial_id, now()),
            workers=self.job.workers.count,
            device=self.job.workers.device,
            flops=self.flops,
            error=error or (None if evaluations else "the trial reported nothing"),
        )
        row |= {**self.provenance, "host": trial.node_ip or self.provenance["host"]}
        self.results.add_curve(key, self.attempts[key], [curve_row(event) for event in evaluations])
        self.results.add_trial(row)
        self.rows.append(row)
        if status != "failed":  # a failed trial is tried again, from its last checkpoint
            self.store.finish(key, keep_weights=status == "finished")
