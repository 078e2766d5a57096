"""The decisions of a search, without Ray: which point runs next, and what is reported to Optuna about each trial.

A trial ends in one of three states. COMPLETE: it ran all its epochs and its value is finite. PRUNED: it was stopped
early; its intermediate values are kept. FAIL: it failed, or its value is not finite. (Ray's own OptunaSearch marks a
trial that ASHA stopped as complete at its early value, an errored trial as complete at its last value, and leaves a
trial that ended in a NaN running for ever: all three seen with Ray 2.60 and Optuna 5.0.)
"""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from darl.sweep.samplers import propose
from darl.sweep.search import Search, is_finite
from darl.sweep.space import Point, fixed_trial, parameters

__all__ = ["TRIES", "PastTrial", "SearchStudy"]

TRIES = 100
"""Duplicate proposals in a row after which the space counts as exhausted."""

_STATES = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True, kw_only=True)
class PastTrial:
    """A trial of an earlier run of the same search."""

    trial_id: str
    point: Point
    status: str
    """finished, stopped or failed."""
    values: Mapping[int, float]
    """The deciding values by epoch; see `darl.sweep.early_stopping.scores`."""
    lasted: tuple[datetime, datetime] | None = None
    """Start and end, in local time without a time zone, as Optuna stores them."""


class SearchStudy:
    """An Optuna study over a sweep's space that knows the trials of earlier runs and proposes no point twice.

    Trials of this run are named by the caller's own ids.

    Args:
        sweep: the search.
        queue: points to run first.
        past: trials that the tables hold.
        storage: where the study is kept for `optuna-dashboard`; in memory if None.

    """

    def __init__(
        self, sweep: Search, queue: Sequence[Point], past: Sequence[PastTrial], storage: BaseStorage | None = None
    ):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._queue = sweep, list(queue)
        self._seen = {trial.trial_id for trial in past}
        """Ids of the experiments that have run or are running: no point is proposed twice."""
        self._open: dict[str, optuna.Trial] = {}
        """Trials that have not ended, by the caller's id."""
        self._last: dict[str, tuple[int, float | None]] = {}
        """The last epoch that each trial has reported, and its value there."""
        self.study = optuna.create_study(
            storage=storage,
            sampler=sweep.sampler.build(sweep.space, sweep.base.seed + len(past)),  # a new seed for a continued search
            pruner=optuna.pruners.NopPruner(),
            study_name=_free_name(f"{sweep.name} on {sweep.base.data}", storage),
            direction="minimize" if sweep.mode == "min" else "maximize",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.study.set_metric_names([sweep.metric])
        self.study.set_user_attr("sampler", self.settings)
        for trial in past:
            self._add(trial)

    @property
    def settings(self) -> dict[str, object]:
        """The sampler's class, Optuna's version and the sampler's settings, as plain JSON values."""
        kind = type(self.study.sampler).__name__
        return {"kind": kind, "optuna": optuna.__version__, **self._sweep.sampler.settings(self._sweep.space)}

    def _add(self, trial: PastTrial) -> None:
        """Add a trial of an earlier run; a point outside the space is left out, since no sampler can learn from it."""
        state = _STATES[trial.status]
        if state == TrialState.COMPLETE and self._sweep.base.epochs not in trial.values:
            state = TrialState.FAIL
        drawn = fixed_trial(self._sweep.space, trial.point)
        if drawn is None:
            return
        last = trial.values[max(trial.values)] if trial.values and state != TrialState.FAIL else None
        frozen = create_trial(
            state=state,
            params=drawn.params,
            distributions=drawn.distributions,
            intermediate_values=dict(trial.values),
            value=last,
            user_attrs={"trial_id": trial.trial_id, "cell": self._sweep.label_of(trial.point)},
        )
        if trial.lasted is not None:
            frozen.datetime_start, frozen.datetime_complete = trial.lasted
        self.study.add_trial(frozen)

    def next_point(self, key: str) -> Point | None:
        """The point of the next trial, which the caller names `key`; None if the space is exhausted."""
        for repeated in range(TRIES):
            queued = self._queue.pop(0) if self._queue else None
            if queued is not None:
                self.study.enqueue_trial(parameters(self._sweep.space, queued))
            trial, drawn = propose(self.study, self._sweep.space, repeated, self._sweep.base.seed)
            point = drawn if queued is None else queued  # a known point keeps all its digits
            experiment = self._sweep.experiment(point)
            if queued is not None or experiment.trial_id not in self._seen:
                trial.set_user_attr("trial_id", experiment.trial_id)
                trial.set_user_attr("cell", self._sweep.label_of(point))
                self._seen.add(experiment.trial_id)
                self._open[key] = trial
                return point
            self.study.tell(trial, state=TrialState.FAIL)  # the point has run: nothing to do
        return None

    def report(self, key: str, epoch: int, value: float | None) -> None:
        """Report a trial's deciding value after an epoch, once: a restarted trial repeats its earlier reports."""
        if key not in self._open or epoch <= self._last.get(key, (0, None))[0]:
            return
        self._last[key] = (epoch, value)
        if is_finite(value):
            self._open[key].report(value, epoch)

    def finish(self, key: str, *, failed: bool, interrupted: bool) -> None:
        """End a trial.

        interrupted: true once the budget is spent; a trial that has not run all its epochs is then unfinished, and its
        end is not reported to Optuna.
        """
        if key not in self._open:
            return  # Tune may report an end twice
        trial = self._open.pop(key)
        epoch, value = self._last.get(key, (0, None))
        whole = epoch >= self._sweep.base.epochs
        if interrupted and not failed and not whole:
            return
        if failed or not is_finite(value):
            self.study.tell(trial, state=TrialState.FAIL)
        elif not whole:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, value)


def _free_name(name: str, storage: BaseStorage | None) -> str:
    """The name, with a number if the storage has a study of that name: searches of one command may share their data."""
    taken = [] if storage is None else optuna.get_all_study_names(storage)
    names = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(free for free in names if free not in taken)
