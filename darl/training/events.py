"""What happens in a training run, in the order in which it happens."""

from dataclasses import dataclass
from pathlib import Path

from darl.metrics import METRICS, TRAINING_LOSS

__all__ = ["Evaluated", "Event", "Saved", "Stepped"]


@dataclass(frozen=True)
class Stepped:
    """An optimiser step was taken; on a GPU this is said some steps later."""

    step: int
    epoch: float
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class Evaluated:
    """The model was evaluated. A run that goes on from a checkpoint begins with the evaluations before it."""

    epoch: int
    step: int
    images_seen: int
    metrics: dict[str, float | None]
    """By column of the tables (`darl.metrics`); None where something was not measured."""
    train_loss: float | None
    """Mean of the steps since the last evaluation."""
    learning_rate: float
    seconds: float
    images_per_second: float | None

    def describe(self, epochs: int) -> str:
        """One line of progress: losses, then accuracies; of the metrics that have a short name."""
        values = {TRAINING_LOSS.column: self.train_loss, **self.metrics}
        shown = [metric for metric in METRICS.values() if metric.short and values.get(metric.column) is not None]
        shown.sort(key=lambda metric: metric.higher_is_better)
        parts = [f"{metric.short} {metric.aligned(values[metric.column])}" for metric in shown]
        return f"epoch {self.epoch:>4} of {epochs} | {' | '.join(parts)} | {self.seconds:.0f} s"


@dataclass(frozen=True)
class Saved:
    """A whole checkpoint lies at `path`."""

    step: int
    path: Path


Event = Stepped | Evaluated | Saved
