"""The sweeps of one command on one Ray: the objects that they share, and the order in which they run."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import ray
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from darl.data import Dataset
from darl.distributed.budget import Budget, Limits
from darl.distributed.cluster import slots
from darl.distributed.tuner import Run, keep_study, run_sweep
from darl.results.tables import Results
from darl.storage.address import is_remote
from darl.sweep.base import Sweep
from darl.training.parallel import Workers
from darl.training.trackers.base import track

__all__ = ["STUDY_FILE", "begin", "run_all"]

STUDY_FILE = "optuna.log"
"""In RESULTS/SWEEP: Optuna's journal of the searches there; every call writes it anew from the tables."""


def begin(
    results: Results, datasets: Mapping[str, Dataset], workers: Workers, flags: argparse.Namespace, *, searches: bool
) -> Run:
    """The objects that all sweeps of a command share. Raises UserError if a tracker cannot be reached."""
    limits = Limits(hours=flags.max_hours, gpu_hours=flags.max_gpu_hours, trials=flags.max_trials)
    trials = slots(workers.count, workers.gpus)
    return Run(
        results=results,
        shared={key: ray.put(dataset) for key, dataset in datasets.items()},
        workers=workers,
        concurrent=min(trials, flags.max_concurrent or trials),
        budget=Budget(limits, workers.count * workers.gpus),
        study=_study(results.path) if searches else None,
        trackers=track(flags.log, results.sweep, results.path),
    )


def run_all(sweeps: Sequence[Sweep], shared: Run) -> bool:
    """Run sweeps one after another; False if the budget was spent before all were done."""
    for sweep in sweeps:
        if shared.budget.used_up:
            keep_study(sweep, shared)
        else:
            run_sweep(sweep, shared)
    return not shared.budget.ended_by


def _study(root: str) -> BaseStorage | None:
    """Optuna's journal in the folder of results; in memory if the folder is in an object store."""
    if is_remote(root):
        return None
    path = Path(root, STUDY_FILE)
    for file in (path, path.with_name(f"{STUDY_FILE}.lock")):  # Optuna would wait for a killed driver's lock
        file.unlink(missing_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))
