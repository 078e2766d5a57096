"""How long a sweep may go on in one call, and whether it can.

What it cuts off goes on from its checkpoints when the call is made again.
"""

import time
from dataclasses import dataclass
from typing import Any

from ray.tune import Callback, Stopper

from darl.results.tables import TableWriteError

__all__ = ["Budget", "Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call may use; None is no limit."""

    hours: float | None = None
    gpu_hours: float | None = None
    trials: int | None = None
    """Trials that are started."""


class Budget(Callback, Stopper):
    """Counts trials, hours and GPU-hours (trials running × GPUs each × hours), and stops Tune when they are used up."""

    def __init__(self, limits: Limits, gpus_per_trial: float):
        self.limits, self.gpus = limits, gpus_per_trial
        self.began = self.looked = time.monotonic()
        self.gpu_seconds, self.started = 0.0, 0
        self.running: set[str] = set()
        self.short = False
        """Whether more trials were to be started than may be."""
        self.broken: TableWriteError | None = None
        """Why no more rows can be written: nothing more is to be run either."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for a restore that is never made

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Trials are stopped all together only."""
        return False

    @property
    def trials(self) -> float:
        """Trials that may still be started."""
        return float("inf") if self.limits.trials is None else self.limits.trials - self.started

    @property
    def used_up(self) -> str | None:
        """The flag that ends the sweep here; None while nothing does."""
        hours, gpu_hours = (time.monotonic() - self.began) / 3600, self.gpu_seconds / 3600
        if self.limits.hours is not None and hours >= self.limits.hours:
            return f"--max-hours {self.limits.hours:g}"
        if self.limits.gpu_hours is not None and gpu_hours >= self.limits.gpu_hours:
            return f"--max-gpu-hours {self.limits.gpu_hours:g}"
        return None

    @property
    def ended_by(self) -> str | None:
        """The flag that has left something of the sweep to be run; None while none has."""
        return self.used_up or (f"--max-trials {self.limits.trials}" if self.short else None)

    def stop_all(self) -> bool:
        """Whether all running trials are to be stopped now."""
        now = time.monotonic()
        self.gpu_seconds += (now - self.looked) * len(self.running) * self.gpus
        self.looked = now
        return self.used_up is not None or self.broken is not None

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial runs; one that starts again after a fault is the same trial."""
        self.started += trial.trial_id not in self.running
        self.running.add(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has ended."""
        self.running.discard(trial.trial_id)

    on_trial_error = on_trial_complete
