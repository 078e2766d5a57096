"""The sweeps of one command on one Ray: the objects that they share, and the order in which they run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import ray
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from darl.data import Dataset
from darl.distributed.budget import Budget, Limits
from darl.distributed.cluster import slots
from darl.distributed.tuner import Session, keep_study, run_sweep
from darl.results.tables import Results
from darl.storage.address import is_remote
from darl.sweep.base import Sweep
from darl.training.parallel import Workers
from darl.training.trackers.base import track

__all__ = ["STUDY_FILE", "begin", "run_all"]

STUDY_FILE = "optuna.log"
"""In RESULTS/SWEEP: Optuna's journal of the searches there; every call writes it anew from the tables."""


def begin(
    results: Results,
    datasets: Mapping[str, Dataset],
    workers: Workers,
    limits: Limits,
    *,
    concurrent: int | None,
    trackers: Sequence[str],
    searches: bool,
) -> Session:
    """The objects that all sweeps of a command share. Raises UserError if a tracker cannot be reached.

    concurrent: most trials that may run at the same time; as many as fit if None. trackers: their kinds. searches:
    whether any of the sweeps has a study.
    """
    trials = slots(workers.count, workers.gpus)
    return Session(
        results=results,
        datasets={key: ray.put(dataset) for key, dataset in datasets.items()},
        workers=workers,
        concurrent=min(trials, concurrent or trials),
        budget=Budget(limits, workers.count * workers.gpus),
        study=_study(results.path) if searches else None,
        trackers=track(trackers, results.sweep, results.path),
    )


def run_all(sweeps: Sequence[Sweep], session: Session) -> bool:
    """Run sweeps one after another; False if the budget was spent before all were done."""
    for sweep in sweeps:
        if session.budget.used_up:
            keep_study(sweep, session)
        else:
            run_sweep(sweep, session)
    return not session.budget.ended_by


def _study(root: str) -> BaseStorage | None:
    """Optuna's journal in the folder of results; in memory if the folder is in an object store."""
    if is_remote(root):
        return None
    path = Path(root, STUDY_FILE)
    for file in (path, path.with_name(f"{STUDY_FILE}.lock")):  # Optuna would wait for a killed driver's lock
        file.unlink(missing_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))
