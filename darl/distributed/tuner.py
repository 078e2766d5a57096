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
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from darl.distributed.asha import Asha
from darl.distributed.budget import Budget
from darl.distributed.optuna_searcher import OptunaSearcher
from darl.distributed.planned_searcher import Plan, PlannedSearcher, RaceSearcher
from darl.distributed.progress import ProgressDisplay
from darl.distributed.recorder import RecorderCallback
from darl.distributed.resume import FolderState, past_trials, queue_of, read_state
from darl.distributed.tracking import TrackerCallback
from darl.distributed.trial import Job, SharedDatasets, resources, run_trial
from darl.errors import reason
from darl.results.tables import Results, TableWriteError
from darl.sweep.base import ATTEMPTS, Sweep
from darl.sweep.design import Design
from darl.sweep.scaling import Scaling
from darl.sweep.search import Search
from darl.sweep.study import PastTrial
from darl.sweep.yardsticks import Yardsticks
from darl.training.checkpoint_store import CheckpointStore
from darl.training.parallel import Workers
from darl.training.trackers.base import Tracking

__all__ = ["SAMPLER_FILE", "Session", "keep_study", "run_sweep"]

SAMPLER_FILE = "sampler.json"
"""The file in RESULTS/SWEEP with the settings of the sampler that drew the search's points."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """The objects that the sweeps of one command share."""

    results: Results
    datasets: SharedDatasets
    workers: Workers
    concurrent: int
    """Number of trials that run at the same time."""
    budget: Budget
    study: BaseStorage | None = None
    """Where Optuna's studies are kept for `optuna-dashboard`."""
    trackers: list[Tracking] = field(default_factory=list[Tracking])


def run_sweep(sweep: Sweep, session: Session) -> None:
    """Run the missing trials of a sweep and write their rows. Stops when the budget is spent."""
    _KINDS[type(sweep)].run(sweep, session)


def keep_study(sweep: Sweep, session: Session) -> None:
    """Write the trials that the tables hold to Optuna's storage, for a sweep that does not run for lack of budget."""
    _KINDS[type(sweep)].keep_study(sweep, session)


def _design(sweep: Design, session: Session) -> None:
    state = read_state(sweep, session.results)
    plan = sweep.planned()
    missing = [trial for trial in plan if sweep.experiment(trial[1], trial[2]).trial_id not in state.done]
    progress = ProgressDisplay(sweep, len(plan) - len(missing), len(plan))
    if missing:
        _tune(sweep, session, state, PlannedSearcher(sweep, missing), FIFOScheduler(), len(missing), progress)
    else:
        progress.print_known()


def _search(sweep: Search, session: Session) -> None:
    state = read_state(sweep, session.results)
    past = past_trials(sweep, state, session.results)
    missing = sweep.trials - len(past)
    proposals = _proposals(sweep, session, state, past)
    session.results.write_file(SAMPLER_FILE, json.dumps(proposals.study.user_attrs["sampler"], indent=1).encode())
    progress = ProgressDisplay(sweep, len(past), max(len(past), sweep.trials))
    if missing > 0:
        scheduler = Asha(sweep, past) if sweep.stops_early else FIFOScheduler()
        _tune(sweep, session, state, proposals, scheduler, missing, progress)
    else:
        progress.print_known()
    if not session.budget.used_up and sweep.seeds > 1:
        _race(sweep, session)


def _proposals(sweep: Search, session: Session, state: FolderState, past: list[PastTrial]) -> OptunaSearcher:
    missing = sweep.trials - len(past)
    return OptunaSearcher(sweep, queue_of(sweep, state), past, missing, session.study, lambda: session.budget.used_up)


def _race(sweep: Search, session: Session) -> None:
    """Run the best points and the known first points on seeds that the search has not used."""
    state = read_state(sweep, session.results)
    points = sweep.racing(session.results.trials().to_dict("records"))
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
        _tune(sweep, session, state, race, FIFOScheduler(), len(plan), progress)
    else:
        progress.print_known()


def _keep_study(sweep: Search, session: Session) -> None:
    state = read_state(sweep, session.results)
    _proposals(sweep, session, state, past_trials(sweep, state, session.results))


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """The functions that run a kind of sweep."""

    run: Callable[[Any, Session], None]
    keep_study: Callable[[Any, Session], None] = lambda sweep, session: None
    """Does nothing by default: a kind without a sampler has no study."""


_KINDS: Mapping[type[Sweep], _Kind] = {
    Design: _Kind(run=_design),
    Yardsticks: _Kind(run=_design),
    Scaling: _Kind(run=_design),
    Search: _Kind(run=_search, keep_study=_keep_study),
}
"""How each kind of sweep runs; no other module needs to know."""


def _tune(
    sweep: Sweep,
    session: Session,
    state: FolderState,
    searcher: Searcher,
    scheduler: TrialScheduler,
    trials: int,
    progress: ProgressDisplay,
) -> None:
    """Run at most so many trials, as far as the budget goes."""
    budget, path = session.budget, session.results.path
    budget.short |= trials > budget.trials
    if budget.trials < 1:
        return
    trials = int(min(trials, budget.trials))
    job = Job(sweep=sweep, workers=session.workers, root=path)
    recorder = RecorderCallback(job, session.results, CheckpointStore(path), state.attempts, budget)
    trackers = [TrackerCallback(job, tracking) for tracking in session.trackers]
    config = tune.TuneConfig(
        search_alg=searcher,
        scheduler=scheduler,
        num_samples=trials,
        max_concurrent_trials=min(session.concurrent, trials),
        reuse_actors=session.workers.count == 1,  # a stopped TorchTrainer ends only with its actor
    )
    with tempfile.TemporaryDirectory(prefix="darl-tune-") as folder, progress, _disk_errors_named(path):
        callbacks = [recorder, budget, progress.follow(recorder), *trackers]
        run_config = _run_config(folder, budget, callbacks)
        tune.Tuner(_trainable(job, session), tune_config=config, run_config=run_config).fit()
        if budget.broken is not None:
            raise budget.broken


def _trainable(job: Job, session: Session) -> Callable[..., Any]:
    """`run_trial` with what all trials share, and the resources that Tune reserves for each."""
    trainable = tune.with_parameters(run_trial, job=job, datasets=session.datasets)
    return tune.with_resources(trainable, resources(job.workers))


def _run_config(folder: str, budget: Budget, callbacks: list[Callback]) -> tune.RunConfig:
    """What Tune does beside searching. folder: for its own files, which nothing reads."""
    return tune.RunConfig(
        storage_path=folder,
        name="sweep",
        verbose=0,
        stop=budget,
        callbacks=callbacks,
        failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),  # a lost process continues from its checkpoint
    )


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
