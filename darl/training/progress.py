"""The progress of a run: steps, times, losses since the last evaluation, and the evaluations so far."""

import time
from dataclasses import dataclass, field
from typing import Any

__all__ = ["TrainingProgress"]


@dataclass
class TrainingProgress:
    """The progress of a run. Its fields are saved in checkpoints."""

    step: int = 0
    """Optimiser steps taken."""
    seconds: float = 0.0
    """Seconds spent in all attempts up to the last `tick`, evaluation included."""
    train_seconds: float = 0.0
    """Seconds spent on training steps."""
    loss_sum: float = 0.0
    loss_count: int = 0
    """Sum and number of the losses of the steps since the last evaluation."""
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The fields of the `Evaluated` events so far, oldest first."""

    def __post_init__(self) -> None:
        self._clock = time.monotonic()

    def tick(self) -> float:
        """Count the time that has passed; returns `seconds`."""
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now
        return self.seconds

    def add(self, loss: float) -> None:
        """Count the loss of a step."""
        self.loss_sum += loss
        self.loss_count += 1

    def take_mean_loss(self) -> float | None:
        """The mean loss of the steps since the last call; None without steps."""
        mean = self.loss_sum / self.loss_count if self.loss_count else None
        self.loss_sum, self.loss_count = 0.0, 0
        return mean

    def is_evaluated(self, epoch: int) -> bool:
        """Whether the evaluation after an epoch has been made."""
        return any(row["epoch"] == epoch for row in self.history)
