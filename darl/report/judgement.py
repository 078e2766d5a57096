"""From tables of findings to verdicts: pure functions of frames.

The frames are those of `darl.report.findings.Findings`, with the best cell first.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from darl.metrics import METRICS
from darl.report.verdict import Compared, Difference, Mean, NextStep, Ranked, Selected, Significance, Standing
from darl.sweep.statistics import FEWEST

__all__ = ["compare", "rank_best", "select"]


def select(found: pd.DataFrame, metric: str, baseline: str | None, next_step: NextStep, more_seeds: int) -> Selected:
    """The verdict on the points of a search. found: at least one finished trial, as in `Findings.found`."""
    best, others = found.iloc[0], found.loc[found["cell"] == baseline, "value"].tolist()
    is_baseline = best["cell"] == baseline
    return Selected(
        metric=metric,
        cell=best["cell"],
        value=best["value"],
        points=len(found),
        baseline=baseline,
        is_baseline=is_baseline,
        ahead=best["value"] - others[0] if others and not is_baseline else None,
        next_step=next_step,
        more_seeds=more_seeds,
        gain=best["gain"],
        over_pixels=best["over_pixels"],
    )


def compare(
    table: pd.DataFrame, metric: str, standing: Standing, *, seed_noun: str = "seeds", more_seeds: int = FEWEST
) -> Compared:
    """The verdict on a comparison in which at least one cell has a mean. table: as in `Findings.table`.

    standing: the standing if the leader has all its seeds. more_seeds: the setting of `seeds` that gives each cell
    `FEWEST` seeds to compare.
    """
    valued = table.loc[table["mean"].notna()]
    first, baseline = valued.iloc[0], _baseline_of(table)
    if pd.isna(first["rank"]):
        standing = Standing.INCOMPLETE if any(table["lacks"] == "incomplete") else Standing.SPENT
    leads_as_baseline = first["cell"] == baseline
    rival = valued.iloc[int(leads_as_baseline)] if len(valued) > 1 and baseline in set(valued["cell"]) else None
    cells = valued.loc[valued["verdict"] != "baseline"]
    return Compared(
        metric=metric,
        seed_noun=seed_noun,
        leader=_mean(first),
        leads_as_baseline=leads_as_baseline,
        standing=standing,
        significance=_untested(table, valued, baseline) if rival is None else _tested(rival),
        difference=None if rival is None or not rival["pairs"] else _difference(rival, str(baseline)),
        rival=None if rival is None else _mean(rival),
        rival_is_ranked=rival is not None and bool(rival["complete"] or pd.isna(first["rank"])),
        baseline=baseline,
        second=_second(valued),
        ahead_on_fewer=_ahead_on_fewer(valued, metric, baseline),
        others=len(cells),
        better=int((cells["verdict"] == "better").sum()),
        worse=int((cells["verdict"] == "worse").sum()),
        bound=math.nan if rival is None else _bound(cells),
        more_seeds=None if first["planned"] >= FEWEST else more_seeds,
        gain=first["gain"],
        over_pixels=first["over_pixels"],
    )


def rank_best(rows: Sequence[Mapping[str, Any]], fields: Sequence[str], metric: str) -> Ranked:
    """The verdict on a ranking by configuration. rows: at least one, best first, of `darl.report.findings.rank`.

    fields: the fields that vary.
    """
    best = rows[0]
    return Ranked(
        metric=metric,
        settings=[(name, best[name]) for name in fields],
        value=best[metric],
        seeds=best["seeds"],
        configurations=len(rows),
        one_seed_each=max(row["seeds"] for row in rows) == 1,
        gain=best["gain"],
        over_pixels=best["over_pixels"],
    )


def _baseline_of(table: pd.DataFrame) -> str | None:
    """The baseline of a comparison; None without one. table: as in `Findings.table`."""
    return next(iter(table.loc[table["verdict"] == "baseline", "cell"]), None)


def _mean(row: Any) -> Mean:
    seeds = {"seeds": int(row["seeds"]), "planned": int(row["planned"])}
    return Mean(cell=row["cell"], mean=row["mean"], low=row["low"], high=row["high"], **seeds)


def _difference(row: Any, baseline: str) -> Difference:
    return Difference(
        cell=row["cell"],
        baseline=baseline,
        difference=row["difference"],
        difference_low=row["difference_low"],
        difference_high=row["difference_high"],
        pairs=int(row["pairs"]),
        p=row["p_holm"],
    )


def _tested(row: Any) -> Significance:
    """The significance of the difference between a cell and the baseline, which both have a mean."""
    if not row["pairs"]:
        return Significance.NO_COMMON_SEED
    if row["verdict"] == "inconclusive" and row["pairs"] < FEWEST:
        return Significance.TOO_FEW_SEEDS
    return {
        "one seed": Significance.ONE_SEED,
        "better": Significance.BETTER,
        "worse": Significance.WORSE,
        "inconclusive": Significance.INCONCLUSIVE,
    }[row["verdict"]]


def _untested(table: pd.DataFrame, valued: pd.DataFrame, baseline: str | None) -> Significance:
    """Why no difference to the baseline can be tested."""
    if len(table) == 1:
        return Significance.NO_RIVAL
    if len(valued) == 1:
        return Significance.RIVALS_WITHOUT_RESULT
    return Significance.NO_BASELINE if baseline is None else Significance.BASELINE_WITHOUT_RESULT


def _second(valued: pd.DataFrame) -> Mean | None:
    """The cell behind the leader; None if it lacks seeds that the leader has."""
    if len(valued) < 2:
        return None
    alike = pd.isna(valued["rank"].iloc[0]) or pd.notna(valued["rank"].iloc[1])
    return _mean(valued.iloc[1]) if alike else None


def _ahead_on_fewer(valued: pd.DataFrame, metric: str, baseline: str | None) -> Mean | None:
    """A cell that lacks seeds and has a better mean than the leader, which has all of them.

    If the baseline leads, the cell must also be better on the seeds that both have.
    """
    first, rest = valued.iloc[0], valued.loc[~valued["complete"]]
    apart = rest["mean"] - first["mean"]
    if first["cell"] == baseline:
        apart = apart.where((rest["pairs"] == 0) | (rest["difference"] * apart > 0), 0.0)
    rest = rest.loc[apart < 0 if not METRICS[metric].higher_is_better else apart > 0]
    return None if pd.isna(first["rank"]) or rest.empty else _mean(rest.iloc[0])


def _bound(cells: pd.DataFrame) -> float:
    """The largest absolute end of the intervals of these cells' differences; NaN if one has no interval."""
    return float(cells[["difference_low", "difference_high"]].abs().max(axis=None, skipna=False))
