"""Where schedules and orders that follow the losses have come to: notes for the answer, and numbers for the figures."""

# pandas has no types: reports about the unknown types of what it returns are switched off, no others.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.stats import kendalltau

from darl.model.noise import Noise
from darl.model.schedules.infonoise import Piecewise
from darl.sweep.base import describe
from darl.sweep.wording import several
from darl.training.adapted import ORDER_SCORES, PROBABILITIES, QUANTILES

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["PLACE", "adapted_trials", "learned_schedules", "on_adapted", "on_learned_orders", "order_scores", "places"]

PLACE = ["adapted_a", "adapted_b"]


def adapted_trials(finding: "Findings") -> pd.DataFrame:
    """The finished trials whose schedule followed the losses; none in rows of versions without the columns."""
    return _with_column(finding, QUANTILES)


def _with_column(finding: "Findings", column: str) -> pd.DataFrame:
    rows = finding.trials
    if column not in rows:
        return rows.iloc[:0]
    return rows.loc[(rows["status"] == "finished") & rows["cell"].notna() & rows[column].notna()]


def places(finding: "Findings") -> dict[str, tuple[float, float, int]]:
    """For each cell a and b of the nearest Beta at the end, geometric means over its trials, and their number."""
    return {
        str(cell): (*np.exp(np.log(own[PLACE].astype("float64")).mean()).tolist(), len(own))
        for cell, own in adapted_trials(finding).groupby("cell", sort=False)
    }


def learned_schedules(finding: "Findings") -> dict[str, Noise]:
    """For each cell the schedule at the end: logits of its quantiles, averaged over the trials."""
    learned: dict[str, Noise] = {}
    for cell, own in adapted_trials(finding).groupby("cell", sort=False):
        gammas = torch.tensor([[float(gamma) for gamma in text.split()] for text in own[QUANTILES]]).double()
        log_snr = gammas.clamp(1e-12, 1 - 1e-9).logit().mean(0)
        learned[str(cell)] = Piecewise(log_snr=log_snr, below=torch.tensor(PROBABILITIES, dtype=torch.float64))
    return learned


def on_adapted(finding: "Findings") -> list[str]:
    """A note for each cell, beside the best point of the search where there is one."""
    found = finding.found.loc[finding.found["value"].notna()] if len(finding.found) else finding.found
    best = f"; the best of the search is {found['cell'].iloc[0]}" if len(found) else ""
    return [
        f"{cell} follows the losses: at the end its mean and variance were those of {describe({'a': a, 'b': b})} "
        f"({several(count, 'trials')}){best}"
        for cell, (a, b, count) in places(finding).items()
    ]


def order_scores(finding: "Findings") -> dict[str, "np.ndarray"]:
    """For each cell whose orders were learned, the patches' scores in raster order: a row for each finished trial."""
    return {
        str(cell): np.array([[float(score) for score in text.split()] for text in own[ORDER_SCORES]])
        for cell, own in _with_column(finding, ORDER_SCORES).groupby("cell", sort=False)
    }


def on_learned_orders(finding: "Findings") -> list[str]:
    """A note for each cell whose orders were learned: how far they are from random, and whether seeds agree."""
    notes: list[str] = []
    for cell, scores in order_scores(finding).items():
        odds = np.exp(np.quantile(scores, 0.75, axis=1) - np.quantile(scores, 0.25, axis=1)).mean()
        note = (
            f"{cell} has learned its orders ({several(len(scores), 'trials')}): a patch of the early quarter comes "
            f"before one of the late quarter {odds:.1f} times as often as after it"
        )
        pairs = [float(kendalltau(one, other).statistic) for one, other in combinations(scores, 2)]  # pyright: ignore
        notes.append(f"{note}; the seeds' orders agree with Kendall's tau {np.mean(pairs):.2f}" if pairs else note)
    return notes
