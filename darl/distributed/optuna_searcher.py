"""A thin adapter from `darl.sweep.study.SearchStudy` to Tune's `Searcher`.

Tune's own `OptunaSearch` is not used, because it gives Optuna wrong trial states (see `darl.sweep.study`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from ray.tune.search import Searcher

from darl.distributed.unpickled import Unpickled
from darl.sweep.search import Search
from darl.sweep.space import Point
from darl.sweep.study import PastTrial, SearchStudy

__all__ = ["OptunaSearcher"]


class OptunaSearcher(Unpickled, Searcher):
    """Gives Tune the points of a search, and Optuna the correct end of each trial.

    A Tune config is `{"trial": (point, repeat)}`.

    Args:
        sweep: the search.
        queue: points to run first.
        past: trials that the tables hold.
        missing: number of trials that may still be started.
        storage: where the study is kept for `optuna-dashboard`; in memory if None.
        cut: true once the budget is spent; trials that end after that without all their epochs are not reported to
            Optuna.

    """

    def __init__(
        self,
        sweep: Search,
        queue: Sequence[Point],
        past: Sequence[PastTrial],
        missing: int,
        storage: BaseStorage | None = None,
        cut: Callable[[], object] = bool,
    ):
        super().__init__(metric=sweep.metric, mode=sweep.mode)
        self._sweep, self._missing, self._cut = sweep, missing, cut
        self._search = SearchStudy(sweep, queue, past, storage)

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file: Tune warns if a searcher saves nothing."""
        Path(checkpoint_path).touch()

    @property
    def study(self) -> optuna.Study:
        """Optuna's study."""
        return self._search.study

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The next trial's config; FINISHED if no more trials may be started."""
        point = self._search.next_point(trial_id) if self._missing > 0 else None
        if point is None:
            return Searcher.FINISHED
        self._missing -= 1
        return {"trial": (point, 0)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass an evaluation on; a result without an epoch is a heartbeat or announces a checkpoint."""
        if epoch := result.get("epoch"):
            self._search.report(trial_id, epoch, result.get(self._sweep.rungs.get(epoch, self._sweep.metric)))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass the trial's end on."""
        result = result or {}
        self.on_trial_result(trial_id, result)  # Tune does not report the result at which a trial is stopped
        self._search.finish(trial_id, failed=bool(error or result.get("error")), interrupted=bool(self._cut()))
