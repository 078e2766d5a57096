"""Which parameters of a search matter, by Optuna's own importances.

The Optuna study is rebuilt from the table: finished trials only, since a stopped trial's metric is of fewer epochs, and
only those on the search's own seed, since contenders that ran again would count twice.

The evaluator is fANOVA (Hutter et al. 2014), the share of the metric's variance: from 16 trials of a known function it
ranked parameters correctly, while PED-ANOVA, Optuna's default, looks only at the best tenth, which is two trials then.
fANOVA takes parameters that all trials have; parameters that exist for one alternative only are analysed separately,
over the trials of that alternative.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pandas as pd

from darl.metrics import METRICS
from darl.sweep.base import Sweep
from darl.sweep.space import fixed_trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["LEAST", "conditional_importances", "importances"]

LEAST = 8
"""Finished trials below which no importances are computed."""


def importances(sweep: Sweep, trials: pd.DataFrame, metric: str | None = None) -> pd.Series:
    """The share of a metric's variation by parameter, largest first, with sum 1; empty if there are too few trials.

    Also empty for a sweep that searches no space. trials: with `config`, `status`, `seed` and the metric (by default
    the sweep's own). Left out are trials outside the space, as known points may be, and parameters that do not vary or
    that only some trials have.
    """
    if not sweep.searched_space:
        return pd.Series(dtype="float64", name="importance")
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    column = metric or sweep.metric
    done = trials.loc[
        (trials["status"] == "finished") & trials[column].notna() & trials["seed"].isin(sweep.explored_seeds)
    ]
    usable = list(_optuna_trials(sweep, zip(done["config"], done[column], strict=True)))
    shared = set.intersection(*(set(trial.params) for trial in usable)) if usable else set()
    names = sorted(name for name in shared if len({trial.params[name] for trial in usable}) > 1)
    if len(usable) < LEAST or not names or len({trial.value for trial in usable}) < 2:
        return pd.Series(dtype="float64", name="importance")
    sampler = optuna.samplers.RandomSampler(seed=sweep.base.seed)  # it draws nothing
    direction = "maximize" if METRICS[column].higher_is_better else "minimize"
    with _quiet():
        study = optuna.create_study(sampler=sampler, direction=direction)
    study.add_trials(usable)
    weights = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=sweep.base.seed), params=names)
    return pd.Series(weights, dtype="float64", name="importance").sort_values(ascending=False, kind="stable")


def conditional_importances(sweep: Sweep, trials: pd.DataFrame, metric: str | None = None) -> "dict[str, pd.Series]":
    """`importances` over the trials of each alternative that has parameters of its own, such as `noise=beta`."""
    by_alternative: dict[str, pd.Series] = {}
    points = [{} if own is None else sweep.point_of(own) or {} for own in sweep.experiments(trials["config"])]
    for path, dimension in sweep.searched_space.items():
        for option in (option for option, own in dimension.alternatives.items() if own):
            weights = importances(sweep, trials.loc[[point.get(path) == option for point in points]], metric)
            if not weights.empty:
                by_alternative[f"{path}={option}"] = weights
    return by_alternative


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log line on a new study, which users need not see."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _optuna_trials(sweep: Sweep, rows: Iterator[tuple[str, float]]) -> Iterator["FrozenTrial"]:
    """The trials as Optuna trials, without those outside the space."""
    from optuna.trial import create_trial

    for config, value in rows:
        experiment = sweep.experiments([config])[0]
        point = experiment and sweep.point_of(experiment)
        trial = None if point is None else fixed_trial(sweep.searched_space, point)
        if trial is not None:
            yield create_trial(params=trial.params, distributions=trial.distributions, value=float(value))
