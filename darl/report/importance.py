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
from darl.sweep.search import Search
from darl.sweep.space import Choice, known

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["LEAST", "conditional_importances", "importances"]

LEAST = 8
"""Finished trials below which nothing is said."""


def importances(search: Search, trials: pd.DataFrame, metric: str | None = None) -> pd.Series:
    """The share of a metric's variation by parameter, largest first, in sum 1; empty where trials are too few.

    trials: with `config`, `status`, `seed` and the metric, the search's own by default. Trials outside the space, such
    as known first points may be, are left out, and so is a parameter that does not vary or that only some trials have.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    column = metric or search.metric
    done = trials.loc[(trials["status"] == "finished") & trials[column].notna() & (trials["seed"] == search.base.seed)]
    told = list(_told(search, zip(done["config"], done[column], strict=True)))
    shared = set.intersection(*(set(trial.params) for trial in told)) if told else set()
    names = sorted(name for name in shared if len({trial.params[name] for trial in told}) > 1)
    if len(told) < LEAST or not names or len({trial.value for trial in told}) < 2:
        return pd.Series(dtype="float64", name="importance")
    mode = METRICS.get(column, "max" if "top1" in column else "min")
    sampler = optuna.samplers.RandomSampler(seed=search.base.seed)  # it draws nothing
    with _quiet():
        study = optuna.create_study(sampler=sampler, direction="maximize" if mode == "max" else "minimize")
    study.add_trials(told)
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=search.base.seed), params=names)
    return pd.Series(found, dtype="float64", name="importance").sort_values(ascending=False, kind="stable")


def conditional_importances(search: Search, trials: pd.DataFrame, metric: str | None = None) -> "dict[str, pd.Series]":
    """`importances` among the trials of each alternative that has parameters of its own: `noise=beta`, say."""
    found: dict[str, pd.Series] = {}
    for path, dimension in search.space.items():
        for option, own in dimension.options.items() if isinstance(dimension, Choice) else ():
            kind = option.partition(":")[0]
            if (
                own
                and not (
                    weights := importances(search, trials.loc[trials[path.replace(".", "_")] == kind], metric)
                ).empty
            ):
                found[f"{path}={option}"] = weights
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells of each new study; this one is nobody's."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _told(search: Search, rows: Iterator[tuple[str, float]]) -> Iterator["FrozenTrial"]:
    """The trials in Optuna's terms, without those outside of the space."""
    from optuna.trial import create_trial

    for config, value in rows:
        experiment = search.experiments([config])[0]
        point = experiment and search.point_of(experiment)
        trial = None if point is None else known(search.space, point)
        if trial is not None:
            yield create_trial(params=trial.params, distributions=trial.distributions, value=float(value))
