"""MLflow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from darl.training.trackers.base import TrackedRun, Tracker

__all__ = ["MLflow"]


@dataclass(frozen=True, kw_only=True)
class MLflow(Tracker):
    """Runs of an experiment named after the sweep, or of the one that MLFLOW_EXPERIMENT_ID names.

    MLflow chooses the server (MLFLOW_TRACKING_URI, else a local store in the current folder).
    """

    kind: ClassVar[str] = "mlflow"
    library: ClassVar[str] = "mlflow"

    def connect(self, group: str) -> None:
        """Find or create the experiment."""
        import mlflow  # pyright: ignore[reportMissingImports]

        _experiment_id(mlflow.MlflowClient(), group)

    def start(self, name: str, parameters: Mapping[str, Any], *, group: str, folder: Path | None) -> TrackedRun:
        """Create a run of the experiment, with its parameters."""
        import mlflow  # pyright: ignore[reportMissingImports]

        client = mlflow.MlflowClient()
        run = client.create_run(_experiment_id(client, group), run_name=name, tags={"trial_name": name})
        for parameter, value in parameters.items():
            client.log_param(run.info.run_id, parameter, value)
        return _MlflowRun(client, run.info.run_id)


def _experiment_id(client: Any, name: str) -> str:
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    experiment = client.get_experiment_by_name(name)
    return client.create_experiment(name) if experiment is None else experiment.experiment_id


class _MlflowRun(TrackedRun):
    def __init__(self, client: Any, run_id: str):
        self.client, self.run_id = client, run_id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.client.log_metric(self.run_id, name, float(value), step=step)

    def finish(self, *, failed: bool) -> None:
        self.client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")
