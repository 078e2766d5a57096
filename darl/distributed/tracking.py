"""Tune's trials in the trackers of `darl.training.trackers`, with the names and columns of the tables.

Tune names trials at random, knows only point and repeat as their parameters, and counts every report as a step. In a
tracker, a trial is named by its cell and seed and has all columns of its configuration; its steps are epochs.
"""

from dataclasses import dataclass
from typing import Any

from ray.tune import Callback

from darl.distributed.trial import Job
from darl.distributed.unpickled import Unpickled
from darl.training.events import Evaluated
from darl.training.trackers.base import Tracking, metrics_of, parameters_of

__all__ = ["TrackerCallback"]


class TrackerCallback(Unpickled, Callback):
    """Shows the trials of a run of a sweep in one tracker."""

    def __init__(self, job: Job, tracking: Tracking):
        self.job, self.tracking = job, tracking
        self.trials: dict[str, _State] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Start the tracker's run of a trial; a trial that restarts after a fault keeps its run."""
        if trial.trial_id not in self.trials:
            self.trials[trial.trial_id] = _State()
            experiment = self.job.experiment(trial.config)
            name = f"{self.job.sweep.label(experiment)}, seed {experiment.seed}".replace("/", "-")
            self.tracking.start(trial.trial_id, name, parameters_of(experiment))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Log an evaluation, once: a restarted trial repeats its earlier reports."""
        state = self.trials[trial.trial_id]
        state.failed |= bool(result.get("error"))
        if "event" in result and result["epoch"] > state.epoch:
            state.epoch = result["epoch"]
            self.tracking.log(trial.trial_id, state.epoch, metrics_of(Evaluated(**result["event"])))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the run of a trial that returned or was stopped."""
        self._end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the run of a trial that failed and is not started again."""
        self._end(trial, failed=True)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Wait until all has been sent."""
        self.tracking.close()

    def _end(self, trial: Any, *, failed: bool) -> None:
        if (state := self.trials.pop(trial.trial_id, None)) is not None:  # Tune may call twice
            self.tracking.finish(trial.trial_id, failed=failed or state.failed)


@dataclass
class _State:
    """The last epoch of a trial that the tracker has, and whether the trial has failed."""

    epoch: int = -1
    failed: bool = False
