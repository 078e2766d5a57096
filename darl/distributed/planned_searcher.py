"""Searchers for trials that are planned in advance: the cells of a design, and the race after a search."""

import math
from typing import Any

from ray.tune.search import Searcher

from darl.distributed.unpickled import Unpickled
from darl.sweep.base import Sweep
from darl.sweep.search import Search, is_finite
from darl.sweep.space import Point

__all__ = ["PlannedSearcher", "RaceSearcher"]

Plan = list[tuple[str, Point, int]]
"""Label, point and repeat of each trial."""


class PlannedSearcher(Unpickled, Searcher):
    """The trials of a plan, in its order. A Tune config is `{"trial": (point, repeat)}`."""

    def __init__(self, sweep: Sweep, plan: Plan):
        super().__init__(metric=sweep.metric, mode=sweep.mode)
        self._sweep, self._plan = sweep, list(plan)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The next trial's config; FINISHED after the last one."""
        if not self._plan:
            return Searcher.FINISHED
        _, point, repeat = self._plan.pop(0)
        return {"trial": (point, repeat)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the plan does not depend on results."""


class RaceSearcher(PlannedSearcher):
    """A plan that skips contenders while they are clearly behind the leader; the baseline is never skipped.

    A skipped contender returns if the leader changes, so the race ends only when no running trial could change it.

    past: cell, seed and value of trials that have run on the same seeds already.
    """

    def __init__(self, sweep: Search, plan: Plan, past: list[tuple[str, int, float]]):
        super().__init__(sweep, plan)
        self._search = sweep
        self._values = list(past)
        self._running: dict[str, tuple[str, int]] = {}
        self._last: dict[str, tuple[int, float]] = {}

    @property
    def dropped(self) -> frozenset[str]:
        """Labels of the contenders that have fallen behind."""
        return self._search.fallen_behind(self._values)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The next trial of a contender that is not dropped; None while a running trial may bring one back."""
        dropped = self.dropped
        for index, (label, point, repeat) in enumerate(self._plan):
            if label not in dropped:
                del self._plan[index]
                self._running[trial_id] = (label, self._sweep.base.seed + repeat)
                return {"trial": (point, repeat)}
        return None if self._plan and self._running else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record the last value of a trial."""
        value = result.get(self._sweep.metric)
        if is_finite(value):
            self._last[trial_id] = (result["epoch"], value)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Add the value of a trial that has run all its epochs."""
        cell, (epoch, value) = self._running.pop(trial_id, None), self._last.get(trial_id, (0, math.nan))
        if cell is not None and epoch >= self._sweep.base.epochs and not error:
            self._values.append((*cell, value))
