"""What a training run says of itself, as it happens."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Evaluated", "Event", "Saved", "Stepped"]


@dataclass(frozen=True)
class Stepped:
    """An optimiser step was taken; on a GPU told some steps later."""

    step: int
    epoch: float
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class Evaluated:
    """The model was evaluated; told again, first, by a run that goes on from a checkpoint."""

    epoch: int
    step: int
    images_seen: int
    metrics: dict[str, float | None]
    train_loss: float | None
    """Mean of the steps since the last evaluation."""
    learning_rate: float
    seconds: float
    images_per_second: float | None

    def describe(self, epochs: int) -> str:
        """A line for people."""
        shown = {"train loss": self.train_loss, "val loss": self.metrics["val_loss"]}
        parts = [f"{name} {value:.4f}" for name, value in shown.items() if value is not None]
        tops = {"probe": self.metrics["probe_top1"], "kNN": self.metrics["knn_top1"]}
        parts += [f"{name} {100 * value:.1f} %" for name, value in tops.items() if value is not None]
        return f"epoch {self.epoch:>4} of {epochs} | {' | '.join(parts)} | {self.seconds:.0f} s"


@dataclass(frozen=True)
class Saved:
    """A whole checkpoint lies at `path`."""

    step: int
    path: Path


Event = Stepped | Evaluated | Saved
