"""Samplers: how a search chooses its next point. A family; each sampler is one class over one of Optuna's.

`propose` is what all samplers share: a point that has run already is not run again, and a sampler that keeps returning
to such points is replaced by random draws until a new point comes.

Optuna is imported inside functions, because reports, dry runs and help texts name samplers without running them.
"""

import warnings
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from darl.sweep.space import Point, Space, draw
from darl.variants import Record, Variant, require

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler

__all__ = ["GaussianProcess", "Random", "Sampler", "Tpe", "propose"]

PATIENCE = 10
"""Duplicate proposals in a row after which points are sampled at random."""


@dataclass(frozen=True, kw_only=True)
class Sampler(Variant):
    """Chooses the next point of a search from its trials so far."""

    family: ClassVar[str] = "sampler"

    @abstractmethod
    def build(self, space: Space, seed: int) -> "BaseSampler":
        """Optuna's sampler for a space. With one trial at a time, equal seeds choose equal points."""

    def settings(self, space: Space) -> Record:
        """The settings of Optuna's sampler for a space, by Optuna's names: plain JSON values."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Tpe(Sampler):
    """Tree-structured Parzen estimators (Bergstra et al. 2011): points like those of the better trials.

    multivariate: dimensions are drawn together. group: the dimensions of each option of a choice are drawn together too
    (no effect in a space without choices, or without `multivariate`). constant_liar: running trials count as bad ones,
    so that trials that run at the same time do not get the same point. startup: number of trials before the sampler
    learns, including the known first points; 5 is the result of tests/benchmarks/search.py.
    """

    kind: ClassVar[str] = "tpe"
    multivariate: bool = True
    group: bool = True
    constant_liar: bool = True
    startup: int = 5

    def __post_init__(self) -> None:
        require(self.startup >= 0, "sampler.startup", "be at least 0", self.startup)

    def build(self, space: Space, seed: int) -> "BaseSampler":
        """Optuna's TPESampler."""
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import TPESampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # `group` is experimental in Optuna
            return TPESampler(seed=seed, **self.settings(space))

    def settings(self, space: Space) -> Record:
        """The keyword arguments of Optuna's TPESampler, without the seed."""
        choices = any(dimension.alternatives for dimension in space.values())
        return {
            "multivariate": self.multivariate,
            "group": self.group and self.multivariate and choices,
            "constant_liar": self.constant_liar,
            "n_startup_trials": self.startup,
        }


@dataclass(frozen=True, kw_only=True)
class Random(Sampler):
    """Uniform draws in the coordinates of the space, independent of results: a baseline for the other samplers."""

    kind: ClassVar[str] = "random"

    def build(self, space: Space, seed: int) -> "BaseSampler":
        """Optuna's RandomSampler."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@dataclass(frozen=True, kw_only=True)
class GaussianProcess(Sampler):
    """A Gaussian process over the finished trials; the next point has the largest expected improvement.

    It learns only from trials that ran all their epochs, not from those that were stopped early. Dimensions that only
    some options of a choice have are drawn at random. startup: number of random trials before it learns, including the
    known first points.
    """

    kind: ClassVar[str] = "gp"
    startup: int = 10

    def __post_init__(self) -> None:
        require(self.startup >= 1, "sampler.startup", "be at least 1", self.startup)

    def build(self, space: Space, seed: int) -> "BaseSampler":
        """Optuna's GPSampler."""
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import GPSampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return GPSampler(seed=seed, warn_independent_sampling=False, **self.settings(space))

    def settings(self, space: Space) -> Record:
        """The keyword arguments of Optuna's GPSampler, without the seed."""
        return {"n_startup_trials": self.startup}


def propose(study: "optuna.Study", space: Space, duplicates: int, seed: int) -> "tuple[optuna.Trial, Point]":
    """A new trial of the study, and its point.

    The point is drawn at random once the sampler has proposed `PATIENCE` duplicates in a row: TPE may return to its
    best point for ever, which does not mean that no other point is left.

    duplicates: number of points that have run before, proposed since the last new one. seed: seed of the random draws.
    """
    from optuna.samplers import RandomSampler

    sampler = study.sampler
    if duplicates >= PATIENCE:
        study.sampler = RandomSampler(seed=(seed * 1_000_003 + len(study.get_trials(deepcopy=False))) % 2**32)
    try:
        trial = study.ask()
        return trial, draw(space, trial)
    finally:
        study.sampler = sampler
