"""ASHA whose rungs decide only where early results predict late ones."""

from typing import Any

from ray.tune.schedulers import ASHAScheduler

from darl.distributed.resume import KnownTrial
from darl.sweep.early_stopping import Pilot, judge
from darl.sweep.search import Search

__all__ = ["Asha"]


class Asha(ASHAScheduler):
    """ASHA over epochs, each rung by its own metric.

    It stops nobody before the pilot has shown that a rung foretells the end, never stops a sweep's known first points,
    and remembers the rungs of earlier runs.
    """

    def __init__(self, sweep: Search, known: list[KnownTrial]):
        # max_t beyond the last epoch: a trial that reached it would be killed before its trainer has returned.
        super().__init__(
            time_attr="epoch",
            metric="score",
            mode=sweep.mode,
            grace_period=sweep.grace,
            max_t=max(sweep.base.epochs, sweep.grace) + 1,
            reduction_factor=sweep.reduction,
        )
        self._sweep = sweep
        self._spared = [dict(point) for point in sweep.first.values()]
        self._scores: dict[str, dict[int, float]] = {}
        self._finished = [dict(trial.values) for trial in known if trial.status == "finished"]
        self.pilot: Pilot | None = judge(sweep, self._finished)
        """The pilot's verdict, once there is one."""
        sign = 1 if sweep.mode == "max" else -1
        bracket = self._brackets[0]
        bracket._rungs = [(milestone, {}) for milestone, _ in bracket._rungs if int(milestone) in sweep.rungs]
        for milestone, recorded in bracket._rungs:
            seen = {trial.trial_id: trial.values.get(int(milestone)) for trial in known}
            recorded.update({name: sign * value for name, value in seen.items() if value is not None})

    def __getstate__(self) -> dict[str, Any]:
        return {}  # see OptunaSearcher

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
        action = super().on_trial_result(tune_controller, trial, {"epoch": epoch, "score": score})
        foretells = self.pilot is not None and epoch in self.pilot.rungs
        return action if foretells and trial.config["trial"][0] not in self._spared else self.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing more is to be recorded."""
        self._trial_info.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Nothing more is to be recorded."""
        self._trial_info.pop(trial.trial_id, None)
