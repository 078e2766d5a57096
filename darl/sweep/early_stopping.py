"""Whether trials of a search may be stopped early: only where early results predict final ones.

The first trials of a search (its *pilot*) run whole. At each *rung*, an epoch after which trials may be stopped,
Kendall's tau between the pilot's scores there and its final scores says whether a trial that is behind at that rung
would have stayed behind. No trial is stopped at a rung where tau is low or uncertain.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from darl.sweep.base import Sweep
from darl.sweep.statistics import Kendall, kendall

__all__ = ["Pilot", "ended", "judge", "pilot_of", "scores"]

Scores = Mapping[int, float]
"""A trial's deciding values by epoch: the rung's own metric at a rung, the sweep's metric at all other epochs."""


@dataclass(frozen=True)
class Pilot:
    """How well the pilot's early results predict its final ones."""

    taus: Mapping[int, Kendall]
    """Kendall's tau at each rung, by epoch."""

    @property
    def rungs(self) -> frozenset[int]:
        """The rungs whose results predict the final ones: trials are stopped only at these."""
        return frozenset(epoch for epoch, tau in self.taus.items() if tau.predicts)

    def describe(self) -> str:
        """The taus and the decision in one sentence."""
        shown = ", ".join(f"after epoch {epoch}: {_in_words(tau)}" for epoch, tau in self.taus.items())
        number = max((tau.n for tau in self.taus.values()), default=0)
        used = ", ".join(map(str, sorted(self.rungs)))
        decision = f"trials are stopped early after epochs {used}" if used else "all trials run whole"
        return f"Kendall's tau of early with final scores, over {number} pilot trials: {shown}; {decision}"


def _in_words(tau: Kendall) -> str:
    if math.isnan(tau.tau):
        return "not defined (scores are missing or all alike)"
    return f"{tau.tau:.2f} (95 %: {tau.low:.2f} to {tau.high:.2f})"


def judge(sweep: Sweep, finished: Sequence[Scores]) -> Pilot | None:
    """The pilot's verdict; None while too few trials have finished.

    finished: the scores of finished trials, in the order in which they ended.
    """
    pilot = finished[: sweep.pilot_trials]
    if not sweep.stops_early or len(pilot) < sweep.pilot_trials:
        return None
    last = sweep.base.epochs
    taus: dict[int, Kendall] = {}
    for epoch in sweep.rungs:
        whole = [trial for trial in pilot if epoch in trial and last in trial]
        taus[epoch] = kendall([trial[epoch] for trial in whole], [trial[last] for trial in whole])
    return Pilot(taus)


def pilot_of(sweep: Sweep, trials: pd.DataFrame, curves: pd.DataFrame) -> Pilot | None:
    """The pilot's verdict from a sweep's tables; None without early stopping or while too few trials have finished."""
    labels = pd.Series(sweep.labels(trials["config"]), trials.index, dtype="object")
    own = (trials["status"] == "finished") & trials["seed"].isin(sweep.explored_seeds) & labels.notna()
    rows = sorted(trials.loc[own].to_dict("records"), key=ended)
    keys = [(row["trial_id"], row["attempt"]) for row in rows]
    reports = dict(list(curves.groupby(["trial_id", "attempt"])))
    return judge(sweep, [scores(sweep, reports[key]) for key in keys if key in reports])


def ended(row: Mapping[str, Any]) -> pd.Timestamp:
    """When the trial of a row of `trials` ended; a search learns of its trials in this order."""
    return row["started_at"] + pd.Timedelta(seconds=row["seconds"] if pd.notna(row["seconds"]) else 0)


def scores(sweep: Sweep, curve: pd.DataFrame) -> dict[int, float]:
    """The deciding values of a trial by epoch, from its rows of `curves`."""
    deciding = {**dict.fromkeys(curve["epoch"].tolist(), sweep.metric), **sweep.rungs}
    values = {int(row["epoch"]): row[deciding[row["epoch"]]] for row in curve.to_dict("records")}
    return {epoch: float(value) for epoch, value in values.items() if epoch > 0 and pd.notna(value)}
