"""Running a sweep: Ray Tune with Optuna, going on from whatever the tables hold.

The tables are the memory. Trials with a row are not run again (a failed one is, up to `ATTEMPTS` times), trials that
were started and have no row go on from their checkpoints, and the sampler is told all of it. Tune's own state is thrown
away: its restore starts unfinished trials anew.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import ray
from ray import tune
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler

from darl.config import Experiment
from darl.data import Dataset
from darl.distributed.board import Board
from darl.distributed.cluster import slots
from darl.distributed.recorder import Recorder
from darl.distributed.search import Asha, Known, Search
from darl.distributed.storage import CheckpointStore
from darl.distributed.trainer import Workers
from darl.distributed.trial import Job, resources, run_trial
from darl.results import Results
from darl.sweep import Point, Sweep

__all__ = ["run"]

ATTEMPTS = 3
"""Failures of one trial after which it is not tried again."""


@dataclass(frozen=True)
class _State:
    """What the tables and the checkpoints say of a sweep."""

    known: list[Known]
    """One for each trial of the search (not of its repeats on other seeds), by its last attempt."""
    attempts: Counter[str]
    done: frozenset[str]
    """Trials, of any seed, that are not to be run again."""
    unfinished: list[Experiment]


def run(
    sweep: Sweep, dataset: Dataset, results: Results, workers: Workers, *, max_concurrent: int | None = None
) -> None:
    """Run what is missing of a sweep, and write its rows.

    Args:
        sweep: what to search.
        dataset: the data of all its trials; shared by the trials of a host through Ray's object store.
        results: the tables.
        workers: how each trial is spread out.
        max_concurrent: trials at a time; as many as the cluster holds where None.

    """
    job = Job(sweep=sweep, workers=workers, root=results.path)
    store = CheckpointStore(results.path)
    concurrent = min(slots(workers.count, workers.gpus), max_concurrent or sweep.trials)
    shared = (ray.put(dataset),)
    state = _read(sweep, results, store)
    done = sum(trial.trial_id in state.done for trial in state.known)
    board = Board(sweep, done)
    missing = sweep.trials - done
    if missing > 0:
        queue = _queue(sweep, state)[:missing]
        known = [trial for trial in state.known if trial.trial_id in state.done]
        scheduler = Asha(sweep, known) if sweep.rungs else FIFOScheduler()
        search = Search(sweep, queue, known)
        recorder = Recorder(job, results, store, state.attempts)
        settings = tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            num_samples=missing,
            max_concurrent_trials=min(concurrent, missing),
            reuse_actors=workers.count == 1,  # a stopped TorchTrainer ends with its actor only
        )
        _tune(job, shared, settings, {}, recorder, board)
    _repeat(job, shared, results, store, concurrent, board)


def _repeat(
    job: Job, shared: tuple[Any], results: Results, store: CheckpointStore, concurrent: int, board: Board
) -> None:
    """The best point and the known first points on the sweep's other seeds."""
    sweep = job.sweep
    state = _read(sweep, results, store)
    finished = [trial for trial in state.known if trial.status == "finished" and trial.values]
    if sweep.seeds < 2 or not finished:
        return
    best = (max if sweep.mode == "max" else min)(finished, key=lambda trial: trial.values[max(trial.values)])
    points = [best.point, *(point for point in sweep.first.values() if point != best.point)]
    again = [
        (point, repeat)
        for repeat in range(1, sweep.seeds)
        for point in points
        if sweep.experiment(point, repeat).trial_id not in state.done
    ]
    if again:
        recorder = Recorder(job, results, store, state.attempts)
        settings = tune.TuneConfig(
            metric=sweep.metric, mode=sweep.mode, max_concurrent_trials=concurrent, reuse_actors=job.workers.count == 1
        )
        _tune(job, shared, settings, {"again": tune.grid_search(again)}, recorder, board)


def _tune(
    job: Job,
    shared: tuple[Any],
    settings: tune.TuneConfig,
    space: dict[str, Any],
    recorder: Recorder,
    board: Board,
) -> None:
    callbacks: list[Callback] = [recorder, board.follow(recorder)]
    trainable = tune.with_parameters(run_trial, job=job, dataset=shared)
    with tempfile.TemporaryDirectory(prefix="darl-tune-") as place, board:
        tune.Tuner(
            tune.with_resources(trainable, resources(job.workers)),
            tune_config=settings,
            param_space=space,
            run_config=tune.RunConfig(
                storage_path=place,
                name="sweep",
                verbose=0,
                callbacks=callbacks,
                failure_config=tune.FailureConfig(
                    max_failures=ATTEMPTS - 1
                ),  # a lost process goes on from its checkpoint
            ),
        ).fit()


def _queue(sweep: Sweep, state: _State) -> list[Point]:
    """What runs before the sampler has a say: unfinished trials, failed ones to try again, and the known points."""
    seen = {trial.trial_id for trial in state.known}
    unfinished = [
        point for one in state.unfinished if one.seed == sweep.base.seed and (point := sweep.point_of(one)) is not None
    ]
    again = [trial.point for trial in state.known if trial.trial_id not in state.done]
    first = [dict(point) for point in sweep.first.values() if sweep.experiment(point).trial_id not in seen]
    queue: list[Point] = []
    for point in [*unfinished, *again, *first]:
        if point not in queue:
            queue.append(point)
    return queue


def _read(sweep: Sweep, results: Results, store: CheckpointStore) -> _State:
    rows: list[dict[str, Any]] = results.trials().sort_values("attempt").to_dict("records")
    curves = results.curves()
    last: dict[str, dict[str, Any]] = {row["trial_id"]: row for row in rows}
    attempts = Counter({key: int(row["attempt"]) for key, row in last.items()})
    failures = Counter(row["trial_id"] for row in rows if row["status"] == "failed")
    done = {key for key, row in last.items() if row["status"] != "failed" or failures[key] >= ATTEMPTS}
    known = [one for row in last.values() if (one := _known(sweep, row, curves)) is not None]
    started = store.started()
    for one in started:
        if one.trial_id in last and last[one.trial_id]["status"] != "failed":  # killed between its row and its cleaning
            store.finish(one.trial_id, keep_weights=last[one.trial_id]["status"] == "finished")
    unfinished = [one for one in started if one.trial_id not in last]
    return _State(known, attempts, frozenset(done), unfinished)


def _known(sweep: Sweep, row: Mapping[str, Any], curves: pd.DataFrame) -> Known | None:
    """A row as a trial of this sweep's search; None where it is of another configuration or seed."""
    experiment = _experiment(row["config"])
    point = experiment and sweep.point_of(experiment)
    if experiment is None or point is None or experiment.seed != sweep.base.seed:
        return None
    own = curves[(curves["trial_id"] == row["trial_id"]) & (curves["attempt"] == row["attempt"])]
    told = own.loc[own["epoch"] > 0, ["epoch", sweep.metric]].dropna()
    values = {int(epoch): float(value) for epoch, value in told.to_numpy().tolist()}
    return Known(trial_id=row["trial_id"], point=point, status=row["status"], values=values)


def _experiment(config: str) -> Experiment | None:
    try:
        return Experiment.from_record(json.loads(config))
    except ValueError:  # of a variant or a field that this code does not know
        return None
