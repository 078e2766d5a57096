"""Samplers: how a search chooses its next point. A family; each sampler is one class over one of Optuna's.

A sampler is Optuna's with the project's defaults. What all samplers share is in `propose`: a point that was run already
is not run again, and a sampler that keeps returning to such points is replaced by random draws until a new point comes.

Optuna is imported where it is used, because every search names its sampler and not every command searches.
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
"""Known points that a sampler may propose in a row; after these, points are drawn at random."""


@dataclass(frozen=True, kw_only=True)
class Sampler(Variant):
    """Chooses the next point of a search from the trials that are known."""

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

    multivariate: dimensions are drawn together. group: also those that only some options of a choice have (without
    effect in a space without choices, or where dimensions are not drawn together). constant_liar: running trials count
    as bad ones, so that trials that run at the same time are not given the same point. startup: trials before the
    sampler learns, the known ones among them; 5 was measured by tests/benchmarks/search.py.
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
            warnings.simplefilter("ignore", ExperimentalWarning)  # of `group`
            return TPESampler(seed=seed, **self.settings(space))

    def settings(self, space: Space) -> Record:
        """The keyword arguments of Optuna's TPESampler, but for the seed."""
        choices = any(dimension.alternatives for dimension in space.values())
        return {
            "multivariate": self.multivariate,
            "group": self.group and self.multivariate and choices,
            "constant_liar": self.constant_liar,
            "n_startup_trials": self.startup,
        }


@dataclass(frozen=True, kw_only=True)
class Random(Sampler):
    """Uniform draws in the coordinates of the space, which learn nothing: the baseline of the other samplers."""

    kind: ClassVar[str] = "random"

    def build(self, space: Space, seed: int) -> "BaseSampler":
        """Optuna's RandomSampler."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@dataclass(frozen=True, kw_only=True)
class GaussianProcess(Sampler):
    """A Gaussian process over the finished trials; the next point has the largest expected improvement.

    It learns from whole trials only, not from those that were stopped early. Dimensions that only some options of a
    choice have are drawn at random. startup: random trials before it learns, the known ones among them.
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
        """The keyword arguments of Optuna's GPSampler, but for the seed."""
        return {"n_startup_trials": self.startup}


def propose(study: "optuna.Study", space: Space, known: int, seed: int) -> "tuple[optuna.Trial, Point]":
    """A new trial of the study, and its point.

    The point is drawn at random once the sampler has proposed `PATIENCE` known points in a row: TPE may return to its
    best point for ever, which does not mean that no other point is left.

    known: how many known points were proposed since the last new one. seed: of the random draws.
    """
    from optuna.samplers import RandomSampler

    sampler = study.sampler
    if known >= PATIENCE:
        study.sampler = RandomSampler(seed=(seed * 1_000_003 + len(study.get_trials(deepcopy=False))) % 2**32)
    try:
        trial = study.ask()
        return trial, draw(space, trial)
    finally:
        study.sampler = sampler
