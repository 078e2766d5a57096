"""The events of a training run."""

from dataclasses import dataclass
from pathlib import Path

from darl.metrics import METRICS, TRAINING_LOSS
from darl.training.memory import gibibytes

__all__ = ["Evaluated", "Event", "Saved", "Stepped"]


@dataclass(frozen=True)
class Stepped:
    """An optimiser step was taken. On a GPU the event comes up to 20 steps later, when the losses are read."""

    step: int
    """Counts from 1."""
    epoch: float
    """`step` / steps per epoch."""
    loss: float
    """Mean over the global batch."""
    learning_rate: float
    """That of this step."""


@dataclass(frozen=True)
class Evaluated:
    """The model was evaluated. A resumed run first yields the evaluations before its checkpoint."""

    epoch: int
    step: int
    images_seen: int
    metrics: dict[str, float | str | list[float] | None]
    """Values by column of the tables (`darl.metrics`); None for metrics that were not measured. Texts say what was
    chosen to measure them, lists are profiles, such as the loss along the sequence."""
    train_loss: float | None
    """Mean training loss of the steps since the last evaluation; None before the first step."""
    learning_rate: float
    seconds: float
    """Spent in all attempts so far, evaluation included."""
    images_per_second: float | None
    peak_memory: int | None = None
    """Most bytes that a worker has held in the training steps of this attempt (`darl.training.memory`); None before the
    first step, and where it cannot be measured."""

    def describe(self, epochs: int) -> str:
        """One line of progress: losses, then accuracies, for the metrics with a short name; memory and time."""
        values = {TRAINING_LOSS.column: self.train_loss, **self.metrics}
        shown = [metric for metric in METRICS.values() if metric.short and values.get(metric.column) is not None]
        shown.sort(key=lambda metric: metric.higher_is_better)
        parts = [f"{metric.short} {metric.format_aligned(values[metric.column])}" for metric in shown]
        held = [] if self.peak_memory is None else [f"{gibibytes(self.peak_memory)} a worker"]
        return " | ".join([f"epoch {self.epoch:>4} of {epochs}", *parts, *held, f"{self.seconds:.0f} s"])


@dataclass(frozen=True)
class Saved:
    """A complete checkpoint was saved at `path`."""

    step: int
    path: Path


Event = Stepped | Evaluated | Saved
