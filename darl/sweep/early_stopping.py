"""Whether trials of a search may be stopped early: only where early results foretell late ones.

The first trials of a search (its pilot) run whole. At each rung, Kendall's tau between what they scored there and what
they scored in the end says whether a trial that is behind at that rung would have stayed behind. A rung where it does
not say so clearly stops nobody.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from darl.sweep.search import Search
from darl.sweep.statistics import Kendall, kendall

__all__ = ["Pilot", "ended", "judge", "scores", "verdict"]

Scores = Mapping[int, float]
"""What decides, by epoch: a rung's own metric there, the sweep's at the last epoch."""


@dataclass(frozen=True)
class Pilot:
    """What a search's pilot says."""

    taus: Mapping[int, Kendall]
    """By rung's epoch."""

    @property
    def rungs(self) -> frozenset[int]:
        """The rungs that foretell the end: the others stop nobody."""
        return frozenset(epoch for epoch, tau in self.taus.items() if tau.foretells)

    def describe(self) -> str:
        """One sentence."""
        shown = [f"after epoch {epoch}: {_said(tau)}" for epoch, tau in self.taus.items()]
        number = max((tau.n for tau in self.taus.values()), default=0)
        used = ", ".join(map(str, sorted(self.rungs)))
        said = f"trials are stopped early after epochs {used}" if used else "all trials run whole"
        return f"Kendall's tau of early with final scores, over {number} pilot trials: {', '.join(shown)}; {said}"


def _said(tau: Kendall) -> str:
    if math.isnan(tau.tau):
        return "not to be had (scores that are not there, or all alike)"
    return f"{tau.tau:.2f} (95 %: {tau.low:.2f} to {tau.high:.2f})"


def judge(search: Search, finished: Sequence[Scores]) -> Pilot | None:
    """The verdict of the first finished trials, in the order of their ends; None while there are too few."""
    pilot = finished[: search.pilot]
    if not search.early or not search.rungs or len(pilot) < search.pilot:
        return None
    taus: dict[int, Kendall] = {}
    for epoch in search.rungs:
        pairs = [(one[epoch], one[search.base.epochs]) for one in pilot if epoch in one and search.base.epochs in one]
        early, final = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        taus[epoch] = kendall(early, final)
    return Pilot(taus)


def verdict(search: Search, trials: pd.DataFrame, curves: pd.DataFrame) -> Pilot | None:
    """The verdict that a search's tables hold; None while there are too few finished trials."""
    labels = pd.Series(search.labels(trials["config"]), trials.index, dtype="object")
    own = trials.loc[(trials["status"] == "finished") & (trials["seed"] == search.base.seed) & labels.notna()]
    rows = sorted(own.to_dict("records"), key=ended)
    keys = [(row["trial_id"], row["attempt"]) for row in rows]
    reports = dict(list(curves.groupby(["trial_id", "attempt"])))
    return judge(search, [scores(search, reports[key]) for key in keys if key in reports])


def ended(row: Mapping[str, Any]) -> pd.Timestamp:
    """When the trial of a row of `trials` ended: the order in which a search has learned of its trials."""
    return row["started_at"] + pd.Timedelta(seconds=row["seconds"] if pd.notna(row["seconds"]) else 0)


def scores(search: Search, curve: pd.DataFrame) -> dict[int, float]:
    """What decides in a trial, from its rows of `curves`."""
    deciding = {**dict.fromkeys(curve["epoch"].tolist(), search.metric), **search.rungs}
    told = {int(row["epoch"]): row[deciding[row["epoch"]]] for row in curve.to_dict("records")}
    return {epoch: float(value) for epoch, value in told.items() if epoch > 0 and pd.notna(value)}
