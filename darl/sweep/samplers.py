"""The sampler of a search: Optuna's TPE and its settings."""

import warnings
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import RandomSampler, TPESampler

from darl.sweep.search import Search
from darl.sweep.space import Point, Space, draw

__all__ = ["propose", "sampler", "settings"]

STARTUP = 5
"""Trials before the sampler learns, the known ones among them (measured by tests/benchmarks/search.py)."""

PATIENCE = 10
"""OptunaSearcher of places that are known already, after which places are drawn at random."""


def settings(sweep: Search) -> dict[str, Any]:
    """The sampler's settings.

    multivariate: dimensions are drawn together; group: also where some exist for one choice only. constant_liar:
    several trials run at a time, and the sampler must not propose the same place to all of them.
    """
    group = any(dimension.alternatives for dimension in sweep.space.values())
    return {"multivariate": True, "group": group, "constant_liar": True, "n_startup_trials": STARTUP}


def sampler(sweep: Search, seed: int, **changes: Any) -> TPESampler:
    """Optuna's TPE, with the search's settings but for `changes`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # of `group`
        return TPESampler(seed=seed, **settings(sweep) | changes)


def propose(study: optuna.Study, space: Space, known: int, seed: int) -> tuple[optuna.Trial, Point]:
    """A trial of the study and its point; at random once the sampler has proposed `PATIENCE` known places on end.

    TPE may come back to its best place for ever: that it proposes what is known does not mean that nothing is left.

    known: how many known places were proposed since the last new one. seed: of the random draws.
    """
    own = study.sampler
    if known >= PATIENCE:
        study.sampler = RandomSampler(seed=(seed * 1_000_003 + len(study.get_trials(deepcopy=False))) % 2**32)
    try:
        trial = study.ask()
        return trial, draw(space, trial)
    finally:
        study.sampler = own
