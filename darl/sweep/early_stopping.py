"""Whether trials of a search may be stopped early: only where early results foretell late ones.

The first trials of a search (its *pilot*) run whole. At each *rung*, an epoch after which trials may be stopped,
Kendall's tau between what they scored there and what they scored in the end says whether a trial that is behind at that
rung would have stayed behind. No trial is stopped at a rung where tau is low or uncertain.
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
"""What decides, by epoch: at a rung the rung's own metric, at the last epoch the sweep's."""


@dataclass(frozen=True)
class Pilot:
    """How well the pilot's early results foretell its late ones."""

    taus: Mapping[int, Kendall]
    """By the epoch of the rung."""

    @property
    def rungs(self) -> frozenset[int]:
        """The rungs that foretell the end: trials are stopped at these alone."""
        return frozenset(epoch for epoch, tau in self.taus.items() if tau.foretells)

    def describe(self) -> str:
        """One sentence."""
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
    """What the first finished trials say, in the order of their ends; None while there are too few."""
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
    """What the pilot in a sweep's tables says; None while there are too few finished trials, or none is stopped."""
    labels = pd.Series(sweep.labels(trials["config"]), trials.index, dtype="object")
    own = (trials["status"] == "finished") & trials["seed"].isin(sweep.explored_seeds) & labels.notna()
    rows = sorted(trials.loc[own].to_dict("records"), key=ended)
    keys = [(row["trial_id"], row["attempt"]) for row in rows]
    reports = dict(list(curves.groupby(["trial_id", "attempt"])))
    return judge(sweep, [scores(sweep, reports[key]) for key in keys if key in reports])


def ended(row: Mapping[str, Any]) -> pd.Timestamp:
    """When the trial of a row of `trials` ended: the order in which a search has learned of its trials."""
    return row["started_at"] + pd.Timedelta(seconds=row["seconds"] if pd.notna(row["seconds"]) else 0)


def scores(sweep: Sweep, curve: pd.DataFrame) -> dict[int, float]:
    """What decides in a trial, from its rows of `curves`."""
    deciding = {**dict.fromkeys(curve["epoch"].tolist(), sweep.metric), **sweep.rungs}
    values = {int(row["epoch"]): row[deciding[row["epoch"]]] for row in curve.to_dict("records")}
    return {epoch: float(value) for epoch, value in values.items() if epoch > 0 and pd.notna(value)}
