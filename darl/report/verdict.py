"""Verdicts: the conclusions from the tables as typed values, without words.

A verdict holds the leader, its distance, the significance of that, and the next step; `darl.report.answer` turns it
into sentences. Values are as in the tables: accuracies are fractions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from darl.metrics import METRICS
from darl.sweep.scaling_plan import Forecast
from darl.sweep.statistics import Kendall

__all__ = [
    "Beside", "Compared", "Difference", "Foretold", "Gap", "Mean", "NextStep", "Nothing", "Ranked", "Scaled",
    "Selected", "Significance", "Standing", "Verdict",
]  # fmt: skip

INFORMATIVE_POINTS = 0.02
"""The largest bound on all differences of accuracies that is reported: choosing among cells gains at most this."""

INFORMATIVE_SHARE = 0.05
"""The same for losses, as a share of the leader's loss."""


class Significance(Enum):
    """The significance of the difference between the leader and its rival, or why it was not tested."""

    BETTER = auto()
    """The cell is better than the baseline, with a Holm-corrected p below 0.05 over at least `FEWEST` seeds."""
    WORSE = auto()
    INCONCLUSIVE = auto()
    """There are enough seeds, and the difference may be chance."""
    TOO_FEW_SEEDS = auto()
    ONE_SEED = auto()
    NO_COMMON_SEED = auto()
    NO_BASELINE = auto()
    BASELINE_WITHOUT_RESULT = auto()
    NO_RIVAL = auto()
    """The sweep has no other cell."""
    RIVALS_WITHOUT_RESULT = auto()


class Standing(Enum):
    """The state of the comparison in which the leader leads."""

    COMPLETE = auto()
    """The leader has all its seeds."""
    INCOMPLETE = auto()
    """No cell has all its seeds yet."""
    SPENT = auto()
    """No cell has all its seeds, and the missing trials have failed too often to be tried again."""
    RACE_OVER = auto()
    RACE_OPEN = auto()
    """The leader of a race that has not ended."""
    RACE_LEFT = auto()
    """The race has not ended, and the leader is no longer in it: the search has found better points since."""


class NextStep(Enum):
    """The step after the search for a best point on one seed."""

    NO_RACE = auto()
    """No fresh seeds were asked for."""
    RACE_AHEAD = auto()
    """The race on fresh seeds has not run, or has not ended."""
    RACE_WITHOUT_RESULT = auto()


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A cell's mean over its seeds."""

    cell: str
    mean: float
    low: float
    high: float
    """Upper end of the mean's 95 % interval; `low` is its lower end. NaN without an interval."""
    seeds: int
    planned: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How a cell differs from the baseline over the seeds that both have."""

    cell: str
    baseline: str
    difference: float
    """The cell's mean minus the baseline's."""
    difference_low: float
    difference_high: float
    """Upper end of its 95 % interval; `difference_low` is its lower end. NaN without an interval."""
    pairs: int
    p: float
    """Holm-corrected p; NaN without one."""


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """No trial has finished."""

    failed: int
    stopped: int


@dataclass(frozen=True, kw_only=True)
class Selected:
    """The best point of a search by its one seed, before a race has compared it with others."""

    metric: str
    cell: str
    value: float
    points: int
    """Number of finished points."""
    baseline: str | None
    is_baseline: bool
    ahead: float | None
    """The value minus the baseline's; None if the baseline is the best or has no value."""
    next_step: NextStep
    more_seeds: int
    """The setting of `seeds` with which differences can be significant."""
    gain: float
    """Over random initialisation; NaN where it was not measured."""
    over_pixels: float
    """Over raw pixels, by the same protocol; NaN where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A comparison in which at least one cell has a mean."""

    metric: str
    seed_noun: str
    leader: Mean
    leads_as_baseline: bool
    standing: Standing
    significance: Significance
    difference: Difference | None
    """The leader's difference to the baseline; the next cell's if the leader is the baseline."""
    rival: Mean | None
    """The cell whose difference it is; None if nothing can be compared with the baseline."""
    rival_is_ranked: bool
    """Whether the rival has all its seeds, or as few as the leader, or the race dropped it."""
    baseline: str | None
    second: Mean | None
    """The cell behind the leader; None if it lacks seeds that the leader has."""
    ahead_on_fewer: Mean | None
    """A cell with a better mean than the leader's over fewer seeds than planned."""
    others: int
    """Number of cells other than the baseline."""
    better: int
    worse: int
    """Number of cells that are significantly worse than the baseline; `better` counts the better ones."""
    bound: float
    """A bound on each cell's difference to the baseline at 95 %; NaN if one has no interval."""
    more_seeds: int | None
    """The setting of `seeds` with which differences can be significant; None if as many are planned."""
    gain: float
    """Over random initialisation; NaN where it was not measured."""
    over_pixels: float
    """Over raw pixels, by the same protocol; NaN where it was not measured."""

    @property
    def bound_informs(self) -> bool:
        """Whether the bound is tight enough to say that the choice among the cells hardly matters."""
        if not METRICS[self.metric].higher_is_better:
            return self.bound <= INFORMATIVE_SHARE * abs(self.leader.mean)
        return self.bound <= INFORMATIVE_POINTS


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The best of a folder's configurations, for folders without a sweep's record."""

    metric: str
    settings: Sequence[tuple[str, Any]]
    """The fields that vary, and their values."""
    value: float
    seeds: int
    configurations: int
    one_seed_each: bool
    gain: float
    """Over random initialisation; NaN where it was not measured."""
    over_pixels: float
    """Over raw pixels, by the same protocol; NaN where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How a rival's cell differs from the leader over the seeds that both have."""

    rival: str
    cell: str
    cost: float
    """Its operations for one image, as a multiple of the leader's."""
    mean: float
    difference: float
    """The rival's mean minus the leader's."""
    difference_low: float
    difference_high: float
    """Upper end of its 95 % interval; `difference_low` is its lower end. NaN without an interval."""
    pairs: int
    verdict: str
    """As in `darl.sweep.statistics.differences`."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The verdict on a leader beside its rivals."""

    metric: str
    seed_noun: str
    leader: str
    rivals: int
    """Number of rivals without labels."""
    at_passes: Gap | None
    """The rival without labels that has the best mean at equal image passes; None if none has one."""
    at_flops: Gap | None
    """The same at equal floating-point operations."""
    supervised: Gap | None
    """Training with labels, at equal image passes; None if it has no mean."""
    more_seeds: int | None
    """The setting of `seeds` with which differences can be significant; None if as many are planned."""
    planned: int


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """A cell's loss as a law foretold it before the cell ran, and as it is."""

    forecast: Forecast
    mean: Mean


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """The verdict on models of several sizes at equal computation."""

    metric: str
    accuracy: str
    """The accuracy that the loss should foretell."""
    budgets: int
    best: Mean | None
    """The cell of the lowest loss at the largest budget, without the next size; None before one has finished."""
    gain: Forecast | None
    """How much twice the operations lower the loss, as a fraction; None without a law."""
    misses: float
    """Standard deviation of the logarithm of the losses around the law; NaN without one."""
    runs: int
    """Number of runs that the law is fitted to."""
    foretold: Sequence[Foretold]
    tau: Kendall
    """Between low loss and high accuracy over all runs."""


Verdict = Nothing | Selected | Compared | Ranked | Beside | Scaled
