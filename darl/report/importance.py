"""Which parameters of a search matter, by Optuna's own importances.

The study that Optuna is asked about is rebuilt from the table: finished trials only, since the metric of a stopped one
is of fewer epochs, and only those on the search's own seed, since contenders that ran again would count twice.

Of Optuna's evaluators it is fANOVA (Hutter et al. 2014), the share of the metric's variance: from 16 trials of a known
function it ranked parameters as they are, where PED-ANOVA, Optuna's default, looks at the best tenth alone, and that is
two trials then. fANOVA takes parameters that all trials have; those of one alternative have an answer of their own,
over the trials of that alternative.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pandas as pd

from darl.metrics import METRICS
from darl.sweep.base import Sweep
from darl.sweep.space import known

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["LEAST", "conditional_importances", "importances"]

LEAST = 8
"""Finished trials below which nothing is said."""


def importances(sweep: Sweep, trials: pd.DataFrame, metric: str | None = None) -> pd.Series:
    """The share of a metric's variation by parameter, largest first, in sum 1; empty where trials are too few.

    Empty, too, for a sweep that searches no space. trials: with `config`, `status`, `seed` and the metric, which is the
    sweep's own by default. Trials outside the space, such as known first points may be, are left out, and so is a
    parameter that does not vary or that only some trials have.
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
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=sweep.base.seed), params=names)
    return pd.Series(found, dtype="float64", name="importance").sort_values(ascending=False, kind="stable")


def conditional_importances(sweep: Sweep, trials: pd.DataFrame, metric: str | None = None) -> "dict[str, pd.Series]":
    """`importances` among the trials of each alternative that has parameters of its own: `noise=beta`, say."""
    found: dict[str, pd.Series] = {}
    for path, dimension in sweep.searched_space.items():
        column = path.replace(".", "_")
        for option in (option for option, own in dimension.alternatives.items() if own):
            weights = importances(sweep, trials.loc[trials[column] == option.partition(":")[0]], metric)
            if not weights.empty:
                found[f"{path}={option}"] = weights
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """No line of log for a new study: this one is of no interest to the user."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _optuna_trials(sweep: Sweep, rows: Iterator[tuple[str, float]]) -> Iterator["FrozenTrial"]:
    """The trials in Optuna's terms, without those outside of the space."""
    from optuna.trial import create_trial

    for config, value in rows:
        experiment = sweep.experiments([config])[0]
        point = experiment and sweep.point_of(experiment)
        trial = None if point is None else known(sweep.searched_space, point)
        if trial is not None:
            yield create_trial(params=trial.params, distributions=trial.distributions, value=float(value))
