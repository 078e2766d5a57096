"""The budget of one call of a sweep: hours, GPU-hours and trials. A failure to write rows ends the call, too.

Trials that the budget cuts off continue from their checkpoints when the same command runs again.
"""

import time
from dataclasses import dataclass
from typing import Any

from ray.tune import Callback, Stopper

from darl.distributed.unpickled import Unpickled
from darl.results.tables import TableWriteError

__all__ = ["Budget", "Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may use; None is no limit."""

    hours: float | None = None
    gpu_hours: float | None = None
    trials: int | None = None
    """Trials that may be started, whether or not they end within the call."""


class Budget(Unpickled, Callback, Stopper):
    """Counts trials, hours and GPU-hours (trials running × GPUs each × hours), and stops Tune when one is used up."""

    def __init__(self, limits: Limits, gpus_per_trial: float):
        self.limits, self.gpus = limits, gpus_per_trial
        self.began = self.looked = time.monotonic()
        self.gpu_seconds, self.started = 0.0, 0
        self.running: set[str] = set()
        self.short = False
        """Whether `limits.trials` is less than the number of missing trials."""
        self.broken: TableWriteError | None = None
        """The error after which no more rows can be written; it stops all trials."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stop a single trial: `stop_all` stops all of them together."""
        return False

    @property
    def trials(self) -> float:
        """Number of trials that may still be started."""
        return float("inf") if self.limits.trials is None else self.limits.trials - self.started

    @property
    def used_up(self) -> tuple[str, float] | None:
        """Field and value of the limit that ends the sweep now, such as `max_hours`, 1; None while the budget lasts."""
        hours, gpu_hours = (time.monotonic() - self.began) / 3600, self.gpu_seconds / 3600
        if self.limits.hours is not None and hours >= self.limits.hours:
            return "max_hours", self.limits.hours
        if self.limits.gpu_hours is not None and gpu_hours >= self.limits.gpu_hours:
            return "max_gpu_hours", self.limits.gpu_hours
        return None

    @property
    def ended_by(self) -> tuple[str, float] | None:
        """Field and value of the limit that leaves part of the sweep to a later call; None without one."""
        if self.short and self.limits.trials is not None:
            return self.used_up or ("max_trials", self.limits.trials)
        return self.used_up

    def stop_all(self) -> bool:
        """Whether all running trials are to be stopped now."""
        now = time.monotonic()
        self.gpu_seconds += (now - self.looked) * len(self.running) * self.gpus
        self.looked = now
        return self.used_up is not None or self.broken is not None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count a trial that starts; a restart after a fault is the same trial."""
        self.started += trial.trial_id not in self.running
        self.running.add(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count the trial as running no longer."""
        self.running.discard(trial.trial_id)

    on_trial_error = on_trial_complete
