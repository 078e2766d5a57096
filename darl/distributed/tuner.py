"""Running a sweep: Ray Tune over a search or a design, going on from whatever the tables hold.

The tables are the memory. Trials with a row are not run again (a failed one is, up to `ATTEMPTS` times), trials that
were started and have no row go on from their checkpoints, and the sampler is told all of it. Tune's own state is thrown
away: its restore starts unfinished trials anew.
"""

import errno
import json
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
from optuna.storages import BaseStorage
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from darl.config import Experiment
from darl.distributed.board import Board
from darl.distributed.budget import Budget
from darl.distributed.loggers import Logger, Told
from darl.distributed.planned import Plan, Planned, Race
from darl.distributed.recorder import Recorder
from darl.distributed.search import Asha, Known, Proposals
from darl.distributed.storage import CheckpointStore
from darl.distributed.trainer import Workers
from darl.distributed.trial import Job, Shared, resources, run_trial
from darl.pilot import ended, scores
from darl.place import reason
from darl.results import Results, TableWriteError
from darl.space import Point
from darl.sweep import ATTEMPTS, Design, Search, Sweep

__all__ = ["SAMPLER_FILE", "Run", "keep_study", "run_sweep"]

SAMPLER_FILE = "sampler.json"
"""In RESULTS/SWEEP: by which settings a search has drawn its points."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the sweeps of one command share."""

    results: Results
    shared: Shared
    workers: Workers
    concurrent: int
    """Trials at a time."""
    budget: Budget
    study: BaseStorage | None = None
    """Where Optuna's studies are kept for `optuna-dashboard`."""
    loggers: list[Logger] = field(default_factory=list[Logger])


def run_sweep(sweep: Sweep, run: Run) -> None:
    """Run what is missing of a sweep, and write its rows. Stops early where the budget is used up."""
    _KINDS[type(sweep)](sweep, run)


def keep_study(sweep: Sweep, run: Run) -> None:
    """Tell Optuna's storage what the tables know of a search that is not gone on with."""
    if isinstance(sweep, Search):
        state = _read(sweep, run.results)
        _proposals(sweep, run, state, _known(sweep, state, run.results))


def _design(sweep: Design, run: Run) -> None:
    state = _read(sweep, run.results)
    plan = sweep.planned()
    missing = [one for one in plan if sweep.experiment(one[1], one[2]).trial_id not in state.done]
    board = Board(sweep, len(plan) - len(missing), len(plan))
    if missing:
        _tune(sweep, run, state, Planned(sweep, missing), FIFOScheduler(), len(missing), board)
    else:
        board.tell_known()


def _search(sweep: Search, run: Run) -> None:
    state = _read(sweep, run.results)
    known = _known(sweep, state, run.results)
    missing = sweep.trials - len(known)
    proposals = _proposals(sweep, run, state, known)
    run.results.keep(SAMPLER_FILE, json.dumps(proposals.study.user_attrs["sampler"], indent=1).encode())
    board = Board(sweep, len(known), max(len(known), sweep.trials))
    if missing > 0:
        scheduler = Asha(sweep, known) if sweep.rungs and sweep.early else FIFOScheduler()
        _tune(sweep, run, state, proposals, scheduler, missing, board)
    else:
        board.tell_known()
    if not run.budget.used_up and sweep.seeds > 1:
        _race(sweep, run)


def _proposals(sweep: Search, run: Run, state: "_State", known: list[Known]) -> Proposals:
    missing = sweep.trials - len(known)
    return Proposals(sweep, _queue(sweep, state), known, missing, run.study, lambda: run.budget.used_up)


def _race(sweep: Search, run: Run) -> None:
    """The best points and the known first points on seeds that the search has not seen."""
    state = _read(sweep, run.results)
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
    race = Race(sweep, plan, values)
    total = len(points) * (sweep.seeds - 1)
    board = Board(sweep, total - len(plan), total, race=True)
    if any(label not in race.dropped for label, _, _ in plan):
        _tune(sweep, run, state, race, FIFOScheduler(), len(plan), board)
    else:
        board.tell_known()


_KINDS: Mapping[type[Sweep], Any] = {Design: _design, Search: _search}


def _tune(
    sweep: Sweep, run: Run, state: "_State", searcher: Searcher, scheduler: TrialScheduler, trials: int, board: Board
) -> None:
    run.budget.short |= trials > run.budget.trials
    if run.budget.trials < 1:
        return
    job = Job(sweep=sweep, workers=run.workers, root=run.results.path)
    recorder = Recorder(job, run.results, CheckpointStore(run.results.path), state.attempts, run.budget)
    trials = int(min(trials, run.budget.trials))
    trainable = tune.with_parameters(run_trial, job=job, shared=run.shared)
    with tempfile.TemporaryDirectory(prefix="darl-tune-") as place, board, _whole_or_said(run.results.path):
        tune.Tuner(
            tune.with_resources(trainable, resources(run.workers)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=trials,
                max_concurrent_trials=min(run.concurrent, trials),
                reuse_actors=run.workers.count == 1,  # a stopped TorchTrainer ends with its actor only
            ),
            run_config=tune.RunConfig(
                storage_path=place,
                name="sweep",
                verbose=0,
                stop=run.budget,
                callbacks=[recorder, run.budget, board.follow(recorder), *(Told(job, one) for one in run.loggers)],
                # a lost process goes on from its checkpoint
                failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
            ),
        ).fit()
        if run.budget.broken is not None:
            raise run.budget.broken


@contextmanager
def _whole_or_said(path: str) -> Generator[None]:
    """A disk that is full or has gone is the user's to mend, whoever wrote last: our tables, Optuna's journal, Tune."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise TableWriteError(f"{path} could not be written ({reason(error)})") from error


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT, errno.ESTALE}


@dataclass(frozen=True)
class _State:
    """What the tables and the checkpoints say of a folder's trials."""

    last: Mapping[str, dict[str, Any]]
    """Each trial's row of its last attempt."""
    attempts: Counter[str]
    done: frozenset[str]
    """Trials that are not to be run again."""
    unfinished: list[Experiment]


def _read(sweep: Sweep, results: Results) -> _State:
    store = CheckpointStore(results.path)
    rows: list[dict[str, Any]] = results.trials().sort_values("attempt").to_dict("records")
    last: dict[str, dict[str, Any]] = {row["trial_id"]: row for row in rows}
    attempts = Counter({key: int(row["attempt"]) for key, row in last.items()})
    failures = Counter(row["trial_id"] for row in rows if row["status"] == "failed")
    done = {key for key, row in last.items() if row["status"] != "failed" or failures[key] >= ATTEMPTS}
    started = store.started()
    for one in started:
        if one.trial_id in last and last[one.trial_id]["status"] != "failed":  # killed between its row and its cleaning
            store.finish(one.trial_id, keep_weights=last[one.trial_id]["status"] == "finished")
    return _State(last, attempts, frozenset(done), [one for one in started if one.trial_id not in last])


def _known(sweep: Search, state: _State, results: Results) -> list[Known]:
    """The trials of the search's own seed that are not to be run again, in the order of their ends."""
    curves = dict(list(results.curves().groupby(["trial_id", "attempt"])))
    known: list[Known] = []
    for row in sorted(state.last.values(), key=ended):
        experiment = sweep.experiments([row["config"]])[0]
        point = experiment and sweep.point_of(experiment)
        own = experiment is not None and experiment.seed == sweep.base.seed and row["trial_id"] in state.done
        if own and point is not None:
            curve = curves.get((row["trial_id"], row["attempt"]))
            values = {} if curve is None else scores(sweep, curve)
            lasted = (_local(row["started_at"]), _local(ended(row)))
            one = Known(trial_id=row["trial_id"], point=point, status=row["status"], values=values, lasted=lasted)
            known.append(one)
    return known


def _local(time: pd.Timestamp) -> datetime:
    return time.to_pydatetime(warn=False).astimezone().replace(tzinfo=None)


def _queue(sweep: Search, state: _State) -> list[Point]:
    """What runs before the sampler has a say: unfinished trials, failed ones to try again, and the known points."""
    seed = sweep.base.seed
    failed = [row["config"] for key, row in state.last.items() if row["status"] == "failed" and key not in state.done]
    open_trials = [*state.unfinished, *(one for one in sweep.experiments(failed) if one is not None)]
    again = [point for one in open_trials if one.seed == seed and (point := sweep.point_of(one)) is not None]
    first = [dict(point) for point in sweep.first.values() if sweep.experiment(point).trial_id not in state.last]
    queue: list[Point] = []
    for point in [*again, *first]:
        if point not in queue:
            queue.append(point)
    return queue
