"""Weights & Biases."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from darl.training.trackers.base import TrackedRun, Tracker

__all__ = ["WeightsAndBiases"]


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases(Tracker):
    """Runs of the project `darl`, grouped by sweep; needs wandb 0.19.10, the first with several runs in a process.

    Its own files go to RESULTS/NAME/wandb, or to the current folder where the results are not on a disk. wandb
    chooses account, server and mode (`wandb login`, WANDB_API_KEY, WANDB_MODE).
    """

    kind: ClassVar[str] = "wandb"
    library: ClassVar[str] = "wandb"

    def connect(self, group: str) -> None:
        """Log in; wandb asks for a key on a terminal, and raises its UsageError elsewhere."""
        import wandb  # pyright: ignore[reportMissingImports]

        wandb.login()

    def start(self, name: str, parameters: Mapping[str, Any], *, group: str, folder: Path | None) -> TrackedRun:
        """Create a run in addition to those that are open, since trials run at the same time."""
        import wandb  # pyright: ignore[reportMissingImports]

        run = wandb.init(
            project="darl",
            group=group,
            name=name,
            config=dict(parameters),
            dir=str((folder or Path()).resolve()),
            reinit="create_new",
        )
        return _WandbRun(run)


class _WandbRun(TrackedRun):
    def __init__(self, run: Any):
        self.run = run

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.run.log(dict(metrics), step=step)

    def finish(self, *, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))
