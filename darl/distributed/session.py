"""One command's sweeps on one Ray: what they share, and who else is told."""

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray.tune import Callback
from ray.tune.logger import TBXLoggerCallback

from darl.data import Dataset
from darl.distributed.budget import Budget, Limits
from darl.distributed.cluster import slots
from darl.distributed.trainer import Workers
from darl.distributed.tuner import Run, run_sweep
from darl.errors import UserError
from darl.results import Results
from darl.sweep import Sweep

__all__ = ["STUDY_FILE", "begin", "run_all"]

STUDY_FILE = "optuna.log"
"""In RESULTS/SWEEP: Optuna's journal of the searches there, made anew from the tables by every call."""


def begin(
    results: Results, datasets: Mapping[str, Dataset], workers: Workers, flags: argparse.Namespace, *, searches: bool
) -> Run:
    """What all sweeps of a command share. Raises UserError."""
    limits = Limits(hours=flags.max_hours, gpu_hours=flags.max_gpu_hours, trials=flags.max_trials)
    places = slots(workers.count, workers.gpus)
    return Run(
        results=results,
        shared={key: ray.put(dataset) for key, dataset in datasets.items()},
        workers=workers,
        concurrent=min(places, flags.max_concurrent or places),
        budget=Budget(limits, workers.count * workers.gpus),
        study=_study(results.path) if searches else None,
        loggers=[_LOGGERS[name](results) for name in flags.log],
    )


def run_all(sweeps: Sequence[Sweep], shared: Run) -> bool:
    """Run sweeps one after another; False where the budget ended them before their end."""
    for sweep in sweeps:
        run_sweep(sweep, shared)
        if shared.budget.ended_by:
            return False
    return True


def _study(root: str) -> BaseStorage | None:
    """Optuna's journal in the folder of results; in memory where that is an object store."""
    if "://" in root:
        return None
    path = Path(root, STUDY_FILE)
    for file in (path, path.with_name(f"{STUDY_FILE}.lock")):  # a killed driver's lock would be waited for
        file.unlink(missing_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))


class _TensorBoard(TBXLoggerCallback):
    """Ray's TensorBoard logger, writing beside the tables, by trial and at our epochs."""

    def __init__(self, root: Path):
        super().__init__()
        self.root = root

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles callbacks for a restore that is never made

    def log_trial_start(self, trial: Any) -> None:
        """Open the trial's folder."""
        self._trial_writer[trial] = self._summary_writer_cls(str(self.root / trial.trial_id), flush_secs=30)
        self._trial_result[trial] = {}

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Log an evaluation at its epoch."""
        if "event" in result:
            shown = {name: value for name, value in result.items() if name != "event"}
            super().log_trial_result(iteration, trial, shown | {"timesteps_total": result["epoch"]})


def _tensorboard(results: Results) -> Callback:
    return _TensorBoard(Path(_local(results.path, "tensorboard"), "tensorboard"))


def _wandb(results: Results) -> Callback:
    _require_package("wandb")
    from ray.air.integrations.wandb import WandbLoggerCallback

    return WandbLoggerCallback(project="darl", group=results.sweep)


def _mlflow(results: Results) -> Callback:
    _require_package("mlflow")
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    return MLflowLoggerCallback(experiment_name=results.sweep)


_LOGGERS = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}


def _require_package(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError:
        raise UserError(f"--log must be of what is installed, got {name!r}; pip install {name}") from None


def _local(root: str, name: str) -> str:
    if "://" in root:
        raise UserError(f"--log {name} must come with results on a disk, got --results {root!r}")
    return root
