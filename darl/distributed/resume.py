"""The state of a sweep that runs again, from the tables and checkpoints in its folder."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from darl.experiment import Experiment
from darl.results.tables import Results
from darl.sweep.base import ATTEMPTS, Sweep
from darl.sweep.early_stopping import ended, scores
from darl.sweep.search import Search
from darl.sweep.space import Point
from darl.sweep.study import PastTrial
from darl.training.checkpoint_store import CheckpointStore

__all__ = ["FolderState", "past_trials", "queue_of", "read_state"]


@dataclass(frozen=True)
class FolderState:
    """The state of a folder's trials, from its tables and checkpoints."""

    last: Mapping[str, dict[str, Any]]
    """The row of each trial's last attempt, by the trial's present id (see `read_state`)."""
    attempts: Counter[str]
    done: frozenset[str]
    """Ids of the trials that do not run again."""
    unfinished: list[Experiment]


def read_state(sweep: Sweep, results: Results) -> FolderState:
    """The state of a folder's trials; cleans up after a driver that was killed just after it had written a row.

    Records of older versions do not hold the content of their data. Their trials get the id that they would have today,
    computed from the record and the contents that the sweep knows.
    """
    store = CheckpointStore(results.path)
    rows: list[dict[str, Any]] = results.trials().sort_values("attempt").to_dict("records")
    experiments = sweep.experiments(row["config"] for row in rows)
    ids = [row["trial_id"] if own is None else own.trial_id for row, own in zip(rows, experiments, strict=True)]
    last = dict(zip(ids, rows, strict=True))
    attempts = Counter({key: int(row["attempt"]) for key, row in last.items()})
    failures = Counter(key for key, row in zip(ids, rows, strict=True) if row["status"] == "failed")
    done = {key for key, row in last.items() if row["status"] != "failed" or failures[key] >= ATTEMPTS}
    store.adopt(sweep.contents)
    started = store.started()
    for experiment in started:
        row = last.get(experiment.trial_id)
        if row is not None and row["status"] != "failed":  # killed between writing the row and cleaning up
            store.finish(experiment.trial_id, keep_weights=row["status"] == "finished")
    return FolderState(last, attempts, frozenset(done), [own for own in started if own.trial_id not in last])


def past_trials(sweep: Search, state: FolderState, results: Results) -> list[PastTrial]:
    """The trials on the search's own seed that do not run again, in the order in which they ended."""
    curves = dict(list(results.curves().groupby(["trial_id", "attempt"])))
    past: list[PastTrial] = []
    for key, row in sorted(state.last.items(), key=lambda item: ended(item[1])):
        experiment = sweep.experiments([row["config"]])[0]
        point = experiment and sweep.point_of(experiment)
        own = experiment is not None and experiment.seed == sweep.base.seed and key in state.done
        if own and point is not None:
            curve = curves.get((row["trial_id"], row["attempt"]))
            values = {} if curve is None else scores(sweep, curve)
            lasted = (_local(row["started_at"]), _local(ended(row)))
            past.append(PastTrial(trial_id=key, point=point, status=row["status"], values=values, lasted=lasted))
    return past


def _local(time: pd.Timestamp) -> datetime:
    return time.to_pydatetime(warn=False).astimezone().replace(tzinfo=None)


def queue_of(sweep: Search, state: FolderState) -> list[Point]:
    """The points that run before the sampler draws any: unfinished trials, failed ones to retry, and known points."""
    seed = sweep.base.seed
    failed = [row["config"] for key, row in state.last.items() if row["status"] == "failed" and key not in state.done]
    waiting = [*state.unfinished, *(experiment for experiment in sweep.experiments(failed) if experiment is not None)]
    points = [sweep.point_of(experiment) for experiment in waiting if experiment.seed == seed]
    again = [point for point in points if point is not None]
    first = [dict(point) for point in sweep.first.values() if sweep.experiment(point).trial_id not in state.last]
    queue: list[Point] = []
    for point in [*again, *first]:
        if point not in queue:
            queue.append(point)
    return queue
