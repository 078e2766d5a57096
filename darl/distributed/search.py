"""Ray's OptunaSearch and ASHA, told the truth.

Ray's own OptunaSearch tells Optuna that a trial which ASHA stopped is complete at its early value, that an errored one
is complete at its last value, and leaves a trial that ended in a NaN running for ever (all three seen with Ray 2.60 and
Optuna 5.0). Here a stopped trial is PRUNED with its intermediate values and an errored or non-finite one FAIL.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from darl.sweep import Point, Sweep

__all__ = ["Asha", "Known", "Search"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """A trial of an earlier run of the same sweep."""

    trial_id: str
    point: Point
    status: str
    """finished, stopped or failed."""
    values: Mapping[int, float]
    """The metric by epoch."""


class Search(OptunaSearch):
    """Optuna's TPE over a sweep's space, knowing what earlier runs have found.

    Args:
        sweep: what is searched.
        queue: points to run first.
        known: trials that are in the tables.

    """

    def __init__(self, sweep: Sweep, queue: list[Point], known: list[Known]):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._sweep = sweep
        self._last: dict[str, tuple[int, float | None]] = {}
        """Each trial's last epoch told, and the metric there."""
        distributions = {path: FloatDistribution(part.low, part.high, log=True) for path, part in sweep.space.items()}
        # constant_liar: several trials run at a time, and the sampler must not propose the same place to all of them.
        # The seed moves on with what is known, so that a sweep that goes on does not draw the same points again.
        sampler = TPESampler(
            seed=sweep.base.seed + len(known), multivariate=True, constant_liar=True, n_startup_trials=8
        )
        super().__init__(
            distributions,
            metric=sweep.metric,
            mode=sweep.mode,
            sampler=sampler,
            points_to_evaluate=[dict(point) for point in queue],
        )
        for trial in known:
            self._add(trial, distributions)

    @property
    def study(self) -> optuna.Study:
        """Optuna's study."""
        study = self._ot_study
        assert study is not None
        return study

    def _add(self, known: Known, distributions: dict[str, FloatDistribution]) -> None:
        state = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}[known.status]
        if state == TrialState.COMPLETE and not known.values:
            state = TrialState.FAIL
        inside = all(part.low <= known.point[path] <= part.high for path, part in distributions.items())
        if inside:
            trial = create_trial(
                state=state,
                params=dict(known.point),
                distributions=dict(distributions),
                intermediate_values=dict(known.values),
                value=known.values[max(known.values)] if known.values and state != TrialState.FAIL else None,
                user_attrs={"trial_id": known.trial_id},
            )
            self.study.add_trial(trial)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next point, flat, by dotted path."""
        config = super().suggest(trial_id)
        if config is not None:
            record = self._sweep.experiment(config)
            self._ot_trials[trial_id].set_user_attr("trial_id", record.trial_id)
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell an intermediate value, at our epoch; once, though a trial that starts again tells its past again."""
        value, epoch = result.get(self.metric), result.get("epoch")
        if trial_id in self._completed_trials or not epoch:
            return
        if self._last.get(trial_id, (0, None))[0] < epoch:
            self._last[trial_id] = (epoch, value)
            if isinstance(value, float) and math.isfinite(value):
                self._ot_trials[trial_id].report(value, epoch)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the end: COMPLETE only for a trial that ran all its epochs to a finite value."""
        if trial_id in self._completed_trials:
            return
        self._completed_trials.add(trial_id)
        trial = self._ot_trials[trial_id]
        epoch, value = self._last.get(trial_id, (0, None))  # `result` may be a sign of life or of a checkpoint
        failed = error or (result or {}).get("error")
        if failed or not isinstance(value, float) or not math.isfinite(value):
            self.study.tell(trial, state=TrialState.FAIL)
        elif epoch < self._sweep.base.epochs:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, value)


class Asha(ASHAScheduler):
    """ASHA over epochs that never stops a sweep's known first points, and remembers the rungs of earlier runs."""

    def __init__(self, sweep: Sweep, known: list[Known]):
        # max_t beyond the last epoch: a trial that reached it would be killed before its trainer has returned.
        super().__init__(
            time_attr="epoch",
            metric=sweep.metric,
            mode=sweep.mode,
            grace_period=sweep.grace,
            max_t=max(sweep.base.epochs, sweep.grace) + 1,
            reduction_factor=sweep.reduction,
        )
        self._spared = [dict(point) for point in sweep.first.values()]
        sign = 1 if sweep.mode == "max" else -1
        bracket = self._brackets[0]
        bracket._rungs = [(milestone, {}) for milestone, _ in bracket._rungs if int(milestone) in sweep.rungs]
        for milestone, recorded in bracket._rungs:
            seen = {trial.trial_id: trial.values.get(int(milestone)) for trial in known}
            recorded.update({name: sign * value for name, value in seen.items() if value is not None})

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or continue."""
        action = super().on_trial_result(tune_controller, trial, result)
        return self.CONTINUE if trial.config in self._spared else action
