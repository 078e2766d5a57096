"""Running a sweep: Ray Tune over a search or a design, continuing from the rows that the tables hold.

All state is in the tables. Trials with a row do not run again (a failed one does, up to `ATTEMPTS` times), trials that
were started and have no row continue from their checkpoints, and the sampler learns from all of them. Tune's own state
is discarded, because its restore starts unfinished trials from the beginning.
"""

import errno
import json
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from optuna.storages import BaseStorage
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from darl.distributed.asha import Asha
from darl.distributed.budget import Budget
from darl.distributed.optuna_searcher import OptunaSearcher
from darl.distributed.planned_searcher import Plan, PlannedSearcher, RaceSearcher
from darl.distributed.progress import ProgressDisplay
from darl.distributed.recorder import Recorder
from darl.distributed.resume import State, known_trials, queue_of, read_state
from darl.distributed.tracking import TrackerCallback
from darl.distributed.trial import Job, Shared, resources, run_trial
from darl.errors import reason
from darl.results.tables import Results, TableWriteError
from darl.sweep.base import ATTEMPTS, Sweep
from darl.sweep.design import Design
from darl.sweep.search import Search
from darl.sweep.study import KnownTrial
from darl.training.checkpoint_store import CheckpointStore
from darl.training.parallel import Workers
from darl.training.trackers.base import Tracking

__all__ = ["SAMPLER_FILE", "Run", "keep_study", "run_sweep"]

SAMPLER_FILE = "sampler.json"
"""The file in RESULTS/SWEEP with the settings of the sampler that drew the search's points."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The objects that the sweeps of one command share."""

    results: Results
    shared: Shared
    workers: Workers
    concurrent: int
    """Number of trials that run at the same time."""
    budget: Budget
    study: BaseStorage | None = None
    """Where Optuna's studies are kept for `optuna-dashboard`."""
    trackers: list[Tracking] = field(default_factory=list[Tracking])


def run_sweep(sweep: Sweep, run: Run) -> None:
    """Run the missing trials of a sweep and write their rows. Stops when the budget is spent."""
    _KINDS[type(sweep)].run(sweep, run)


def keep_study(sweep: Sweep, run: Run) -> None:
    """Write the trials that the tables hold to Optuna's storage, for a sweep that does not run for lack of budget."""
    _KINDS[type(sweep)].keep_study(sweep, run)


def _design(sweep: Design, run: Run) -> None:
    state = read_state(sweep, run.results)
    plan = sweep.planned()
    missing = [trial for trial in plan if sweep.experiment(trial[1], trial[2]).trial_id not in state.done]
    progress = ProgressDisplay(sweep, len(plan) - len(missing), len(plan))
    if missing:
        _tune(sweep, run, state, PlannedSearcher(sweep, missing), FIFOScheduler(), len(missing), progress)
    else:
        progress.tell_known()


def _search(sweep: Search, run: Run) -> None:
    state = read_state(sweep, run.results)
    known = known_trials(sweep, state, run.results)
    missing = sweep.trials - len(known)
    proposals = _proposals(sweep, run, state, known)
    run.results.write_file(SAMPLER_FILE, json.dumps(proposals.study.user_attrs["sampler"], indent=1).encode())
    progress = ProgressDisplay(sweep, len(known), max(len(known), sweep.trials))
    if missing > 0:
        scheduler = Asha(sweep, known) if sweep.stops_early else FIFOScheduler()
        _tune(sweep, run, state, proposals, scheduler, missing, progress)
    else:
        progress.tell_known()
    if not run.budget.used_up and sweep.seeds > 1:
        _race(sweep, run)


def _proposals(sweep: Search, run: Run, state: State, known: list[KnownTrial]) -> OptunaSearcher:
    missing = sweep.trials - len(known)
    return OptunaSearcher(sweep, queue_of(sweep, state), known, missing, run.study, lambda: run.budget.used_up)


def _race(sweep: Search, run: Run) -> None:
    """Run the best points and the known first points on seeds that the search has not used."""
    state = read_state(sweep, run.results)
    points = sweep.racing(run.results.trials().to_dict("records"))
    plan: Plan = []
    values: list[tuple[str, int, float]] = []
    for repeat in range(1, sweep.seeds):
        for point in points:
            experiment, label = sweep.experiment(point, repeat), sweep.label_of(point)
            row = state.last.get(experiment.trial_id)
            if experiment.trial_id not in state.done:
                plan.append((label, point, repeat))
            elif row is not None and row["status"] == "finished" and pd.notna(row[sweep.metric]):
                values.append((label, experiment.seed, row[sweep.metric]))
    race = RaceSearcher(sweep, plan, values)
    total = len(points) * (sweep.seeds - 1)
    progress = ProgressDisplay(sweep, total - len(plan), total, race=True)
    if any(label not in race.dropped for label, _, _ in plan):
        _tune(sweep, run, state, race, FIFOScheduler(), len(plan), progress)
    else:
        progress.tell_known()


def _keep_study(sweep: Search, run: Run) -> None:
    state = read_state(sweep, run.results)
    _proposals(sweep, run, state, known_trials(sweep, state, run.results))


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """The functions that run a kind of sweep."""

    run: Callable[[Any, Run], None]
    keep_study: Callable[[Any, Run], None] = lambda sweep, run: None
    """Does nothing by default: a kind without a sampler has no study."""


_KINDS: Mapping[type[Sweep], _Kind] = {
    Design: _Kind(run=_design),
    Search: _Kind(run=_search, keep_study=_keep_study),
}
"""How each kind of sweep runs; no other module needs to know."""


def _tune(
    sweep: Sweep,
    run: Run,
    state: State,
    searcher: Searcher,
    scheduler: TrialScheduler,
    trials: int,
    progress: ProgressDisplay,
) -> None:
    run.budget.short |= trials > run.budget.trials
    if run.budget.trials < 1:
        return
    job = Job(sweep=sweep, workers=run.workers, root=run.results.path)
    recorder = Recorder(job, run.results, CheckpointStore(run.results.path), state.attempts, run.budget)
    trials = int(min(trials, run.budget.trials))
    trainable = tune.with_parameters(run_trial, job=job, shared=run.shared)
    with tempfile.TemporaryDirectory(prefix="darl-tune-") as folder, progress, _disk_errors_named(run.results.path):
        tune.Tuner(
            tune.with_resources(trainable, resources(run.workers)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=trials,
                max_concurrent_trials=min(run.concurrent, trials),
                reuse_actors=run.workers.count == 1,  # a stopped TorchTrainer ends only with its actor
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="sweep",
                verbose=0,
                stop=run.budget,
                callbacks=[
                    recorder,
                    run.budget,
                    progress.follow(recorder),
                    *(TrackerCallback(job, tracking) for tracking in run.trackers),
                ],
                # a lost process continues from its checkpoint
                failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
            ),
        ).fit()
        if run.budget.broken is not None:
            raise run.budget.broken


@contextmanager
def _disk_errors_named(path: str) -> Generator[None]:
    """Name the folder in errors of a full or missing disk, whether tables, Optuna's journal or Tune was written."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise TableWriteError(f"{path} could not be written ({reason(error)})") from error


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT, errno.ESTALE}
