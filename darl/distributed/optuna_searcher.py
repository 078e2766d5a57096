"""Ray's OptunaSearch and ASHA, told the truth.

Ray's own OptunaSearch tells Optuna that a trial which ASHA stopped is complete at its early value, that an errored one
is complete at its last value, and leaves a trial that ended in a NaN running for ever (all three seen with Ray 2.60 and
Optuna 5.0). Here a stopped trial is PRUNED with its intermediate values and an errored or non-finite one FAIL.
"""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from darl.distributed.resume import KnownTrial
from darl.sweep.samplers import propose, sampler, settings
from darl.sweep.search import Search
from darl.sweep.space import Point, draw, known, parameters

__all__ = ["OptunaSearcher"]

TRIES = 100
"""OptunaSearcher of places that are known already, after which a space is taken to be used up."""


class OptunaSearcher(OptunaSearch):
    """Optuna's TPE over a sweep's space, knowing what earlier runs have found.

    A Tune config is `{"trial": (point, repeat)}`.

    Args:
        sweep: what is searched.
        queue: points to run first.
        past: trials that are in the tables.
        missing: how many trials may still be started.
        cut: says whether the sweep is being cut short: trials that end then are unfinished, and Optuna is told nothing.
        storage: of the study, for `optuna-dashboard`; in memory where None.

    """

    def __init__(
        self,
        sweep: Search,
        queue: list[Point],
        past: list[KnownTrial],
        missing: int,
        storage: BaseStorage | None = None,
        cut: Callable[[], object] = bool,
    ):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep, self._queue, self._missing, self._cut = sweep, list(queue), missing, cut
        self._last: dict[str, tuple[int, float | None]] = {}
        """Each trial's last epoch told, and the score there."""
        self._ids = {trial.trial_id for trial in past}
        super().__init__(
            lambda trial: draw(sweep.space, trial),
            metric=sweep.metric,
            mode=sweep.mode,
            sampler=sampler(sweep, sweep.base.seed + len(past)),  # one that goes on draws other points
            storage=storage,
            study_name=f"{sweep.name} on {sweep.base.data}",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.study.set_metric_names([sweep.metric])
        self.study.set_user_attr("sampler", {"kind": "TPESampler", "optuna": optuna.__version__, **settings(sweep)})
        for trial in past:
            self._add(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher for a restore that is never made: the tables are the memory

    def save(self, checkpoint_path: str) -> None:
        """Nothing, in a file that Tune moves to its place."""
        Path(checkpoint_path).touch()

    @property
    def study(self) -> optuna.Study:
        """Optuna's study."""
        study = self._ot_study
        assert study is not None
        return study

    def _add(self, trial: KnownTrial) -> None:
        state = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}[trial.status]
        if state == TrialState.COMPLETE and self._sweep.base.epochs not in trial.values:
            state = TrialState.FAIL
        drawn = known(self._sweep.space, trial.point)
        if drawn is None:
            return  # outside of this space: nothing that the sampler could learn from
        last = trial.values[max(trial.values)] if trial.values and state != TrialState.FAIL else None
        told = create_trial(
            state=state,
            params=drawn.params,
            distributions=drawn.distributions,
            intermediate_values=dict(trial.values),
            value=last,
            user_attrs={"trial_id": trial.trial_id, "cell": self._sweep.label_of(trial.point)},
        )
        if trial.lasted is not None:
            told.datetime_start, told.datetime_complete = trial.lasted
        self.study.add_trial(told)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The next point; FINISHED where no trial may be started any more."""
        if self._missing < 1:
            return Searcher.FINISHED
        for repeated in range(TRIES):
            queued = self._queue.pop(0) if self._queue else None
            if queued is not None:
                self.study.enqueue_trial(parameters(self._sweep.space, queued))
            trial, drawn = propose(self.study, self._sweep.space, repeated, self._sweep.base.seed)
            point = drawn if queued is None else queued  # a known point keeps all its digits
            experiment = self._sweep.experiment(point)
            if queued is not None or experiment.trial_id not in self._ids:
                trial.set_user_attr("trial_id", experiment.trial_id)
                trial.set_user_attr("cell", self._sweep.label_of(point))
                self._ids.add(experiment.trial_id)
                self._ot_trials[trial_id] = trial
                self._missing -= 1
                return {"trial": (point, 0)}
            self.study.tell(trial, state=TrialState.FAIL)  # the place is known: nothing to run
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell an intermediate score, at our epoch; once, though a trial that starts again tells its past again."""
        epoch = result.get("epoch")
        if trial_id in self._completed_trials or not epoch:
            return
        value = result.get(self._sweep.rungs.get(epoch, self._sweep.metric))
        if self._last.get(trial_id, (0, None))[0] < epoch:
            self._last[trial_id] = (epoch, value)
            if isinstance(value, float) and math.isfinite(value):
                self._ot_trials[trial_id].report(value, epoch)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the end: COMPLETE only for a trial that ran all its epochs to a finite value."""
        if trial_id in self._completed_trials:
            return
        self.on_trial_result(trial_id, result or {})  # Tune does not tell the result at which a trial is stopped
        self._completed_trials.add(trial_id)
        trial = self._ot_trials[trial_id]
        epoch, value = self._last.get(trial_id, (0, None))  # `result` may be a sign of life or of a checkpoint
        failed = error or (result or {}).get("error")
        if not failed and epoch < self._sweep.base.epochs and self._cut():
            return
        if failed or not isinstance(value, float) or not math.isfinite(value):
            self.study.tell(trial, state=TrialState.FAIL)
        elif epoch < self._sweep.base.epochs:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, value)
