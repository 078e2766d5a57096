"""ASHA (asynchronous successive halving, Li et al. 2020) whose rungs decide only where early results predict late ones.

Ray's `ASHAScheduler` computes the times of its rungs by a formula. A search has rungs of its own (`Search.rungs`), so
the time attribute here is not the epoch but `reduction` to the power of the rung's index: exactly where the formula
puts its rungs. Only Ray's public interface is used.
"""

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler

from darl.distributed.unpickled import Unpickled
from darl.sweep.early_stopping import Pilot, judge
from darl.sweep.search import Search
from darl.sweep.study import PastTrial

__all__ = ["Asha"]


class Asha(Unpickled, ASHAScheduler):
    """ASHA over a search's rungs, each by its own metric.

    It stops no trial before the pilot has shown that a rung predicts final results, never stops the search's known
    first points, and takes in the scores of earlier runs.

    reduction: about one trial in this many continues at each rung; the search's `reduction` if None.
    """

    def __init__(self, sweep: Search, past: list[PastTrial], reduction: int | None = None):
        reduction = reduction or sweep.reduction
        # The time limit lies beyond the last rung: a trial that reached it would be killed before its trainer returns.
        super().__init__(
            time_attr="rung",
            metric="score",
            mode=sweep.mode,
            grace_period=1,
            max_t=reduction ** len(sweep.rungs),
            reduction_factor=reduction,
        )
        self._sweep = sweep
        self._times = {epoch: reduction**index for index, epoch in enumerate(sorted(sweep.rungs))}
        self._spared = [dict(point) for point in sweep.first.values()]
        self._scores: dict[str, dict[int, float]] = {}
        self._finished = [dict(trial.values) for trial in past if trial.status == "finished"]
        self.pilot: Pilot | None = judge(sweep, self._finished)
        """The pilot's verdict, once there is one."""
        for trial in past:
            self._remember(trial)

    def _remember(self, past: PastTrial) -> None:
        """Record the scores of an earlier run's trial at the rungs."""
        trial: Any = SimpleNamespace(trial_id=past.trial_id)
        self.on_trial_add(None, trial)  # pyright: ignore[reportArgumentType]
        for epoch in sorted(self._times.keys() & past.values.keys()):
            self._at_rung(None, trial, epoch, past.values[epoch])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or continue."""
        epoch = result.get("epoch")
        score = result.get(self._sweep.rungs.get(epoch, self._sweep.metric)) if epoch else None
        if epoch is None or score is None:
            return self.CONTINUE
        self._scores.setdefault(trial.trial_id, {})[epoch] = score
        if epoch >= self._sweep.base.epochs:
            self._finished.append(self._scores.pop(trial.trial_id))
            self.pilot = self.pilot or judge(self._sweep, self._finished)
        if epoch not in self._times:
            return self.CONTINUE
        action = self._at_rung(tune_controller, trial, epoch, score)
        predicts = self.pilot is not None and epoch in self.pilot.rungs
        return action if predicts and trial.config["trial"][0] not in self._spared else self.CONTINUE

    def _at_rung(self, tune_controller: Any, trial: Any, epoch: int, score: float) -> str:
        """What Ray's ASHA decides, which also records the score."""
        return super().on_trial_result(tune_controller, trial, {"rung": self._times[epoch], "score": score})

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Do nothing: the trial's last result has reached `on_trial_result` already."""
