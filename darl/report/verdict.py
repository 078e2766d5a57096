"""What the tables say, as typed values: the part of an answer that is not language.

A verdict holds what leads, by how much, how sure that is, and what would make it surer; `darl.report.answer` turns each
into sentences. Values are as in the tables: accuracies are fractions, losses are as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from darl.metrics import METRICS

__all__ = [
    "Compared", "Difference", "Mean", "NextStep", "Nothing", "Ranked", "Selected", "Significance", "Standing",
    "Verdict",
]  # fmt: skip

INFORMATIVE_POINTS = 0.02
"""A bound on all differences of accuracies that is worth telling: choosing among cells gains no more than this."""

INFORMATIVE_SHARE = 0.05
"""The same of losses, as a share of the leader's."""


class Significance(Enum):
    """What the difference between the leader and its rival is worth."""

    BETTER = auto()
    """The cell is better than the baseline, with a Holm-corrected p below 0.05 over at least `FEWEST` seeds."""
    WORSE = auto()
    INCONCLUSIVE = auto()
    """There are seeds enough, and the difference may be chance."""
    TOO_FEW_SEEDS = auto()
    ONE_SEED = auto()
    NO_COMMON_SEED = auto()
    NO_BASELINE = auto()
    BASELINE_WITHOUT_RESULT = auto()
    NO_RIVAL = auto()
    """The sweep has no other cell."""
    RIVALS_WITHOUT_RESULT = auto()


class Standing(Enum):
    """How far the comparison has come in which the leader leads."""

    COMPLETE = auto()
    """The leader has all its seeds."""
    INCOMPLETE = auto()
    """No cell has all its seeds yet."""
    SPENT = auto()
    """No cell has all its seeds, and what is missing has failed too often to be tried again."""
    RACE_OVER = auto()
    RACE_OPEN = auto()
    """The leader of a race that has not ended."""
    RACE_LEFT = auto()
    """The race has not ended, and the leader is not in it any more: the search has found better points since."""


class NextStep(Enum):
    """What follows the search for a best point on one seed."""

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
    """Of the mean's 95 % interval; NaN where there is none."""
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
    """Of its 95 % interval; NaN where there is none."""
    pairs: int
    p: float
    """Holm-corrected; NaN where there is none."""


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
    """Finished ones."""
    baseline: str | None
    is_baseline: bool
    ahead: float | None
    """The value minus the baseline's; None where the baseline is the best or has no value."""
    next_step: NextStep
    more_seeds: int
    """The setting of `seeds` with which differences can be significant."""
    gain: float
    """Over random initialisation; NaN where it was not measured."""


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
    """The leader's to the baseline; the next cell's, where the leader is the baseline."""
    rival: Mean | None
    """The cell that the difference is of; None where nothing can be compared with the baseline."""
    rival_is_ranked: bool
    """Whether the rival has all its seeds, or as few as the leader, or the race dropped it."""
    baseline: str | None
    second: Mean | None
    """The cell behind the leader; None where it lacks seeds that the leader has."""
    ahead_on_fewer: Mean | None
    """A cell with a better mean than the leader's, of fewer seeds than planned."""
    others: int
    """Cells beside the baseline."""
    better: int
    worse: int
    """Those of them that are significantly better or worse than the baseline."""
    bound: float
    """What no cell's difference to the baseline exceeds, each at 95 %; NaN where one has no interval."""
    more_seeds: int | None
    """The setting of `seeds` with which differences can be significant; None where as many are planned."""
    gain: float
    """Over random initialisation; NaN where it was not measured."""

    @property
    def bound_informs(self) -> bool:
        """Whether the bound is tight enough to say that the choice among the cells hardly matters."""
        if not METRICS[self.metric].higher_is_better:
            return self.bound <= INFORMATIVE_SHARE * abs(self.leader.mean)
        return self.bound <= INFORMATIVE_POINTS


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The best of a folder's configurations, where no sweep tells what to compare."""

    metric: str
    settings: Sequence[tuple[str, Any]]
    """The fields that vary, and their values."""
    value: float
    seeds: int
    configurations: int
    one_seed_each: bool
    gain: float
    """Over random initialisation; NaN where it was not measured."""


Verdict = Nothing | Selected | Compared | Ranked
