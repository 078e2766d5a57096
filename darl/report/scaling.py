"""The report of a scaling study: the law, what it foretold, and how well the loss foretells the accuracy."""

import math
from typing import Any

import pandas as pd

from darl.metrics import METRICS
from darl.report import format
from darl.report.answer import sentences
from darl.report.verdict import Foretold, Mean, Scaled
from darl.sweep.base import Comparison
from darl.sweep.scaling_law import FEWEST_CELLS, agreement, fit, runs_of
from darl.sweep.wording import several

__all__ = ["scale"]


def scale(table: pd.DataFrame, trials: pd.DataFrame, comparison: Comparison, metric: str) -> Scaled:
    """The verdict on a group of sizes × budgets, whose cells are named without the group.

    table: as in `darl.report.findings.Findings.table`, with at least one mean. trials: rows with their `cell`.
    """
    plan, group = comparison.scaling, comparison.group
    assert plan is not None
    runs = runs_of(trials.loc[trials["cell"].isin(list(comparison.cells))], plan.accuracy)
    fitted = runs.loc[~runs["cell"].isin(plan.next_size)]
    law, largest = fit(fitted), max((plan.budgets[cell] for cell in fitted["cell"]), default=0)
    valued = table.loc[table["mean"].notna()]
    at_most = valued.loc[[plan.budgets[cell] == largest and cell not in plan.next_size for cell in valued["cell"]]]
    rows = {str(row["cell"]): row for row in valued.to_dict("records")}
    flops = fitted.loc[fitted["cell"].map(plan.budgets) == largest, "flops"].mean()
    tau = agreement(runs["loss"].tolist(), runs["accuracy"].tolist())
    return Scaled(
        metric=metric,
        accuracy=plan.accuracy,
        budgets=len(set(plan.budgets[cell] for cell in fitted["cell"])),
        best=None if at_most.empty else _mean(at_most.iloc[0].to_dict(), group),
        gain=None if law is None else law.gain_of_doubling(sorted(set(fitted["size"].round())), flops),
        misses=math.nan if law is None else law.deviation,
        runs=len(fitted),
        foretold=[
            Foretold(forecast=forecast, mean=_mean(rows[cell], group))
            for cell, forecast in plan.forecasts.items()
            if cell in rows
        ],
        tau=tau,
    )


def _mean(row: dict[str, Any], group: str) -> Mean:
    cell = row["cell"].removeprefix(f"{group}: ")
    counts = {"seeds": int(row["seeds"]), "planned": int(row["planned"])}
    return Mean(cell=cell, mean=row["mean"], low=row["low"], high=row["high"], **counts)


@sentences.register
def _(verdict: Scaled) -> str:
    checked = [_checked(each, verdict.metric) for each in verdict.foretold]
    return " ".join(filter(None, [_best(verdict), _law(verdict), *checked, _tau(verdict)]))


def _best(verdict: Scaled) -> str:
    if verdict.best is None:
        return "No run at the largest budget has finished yet."
    has = f"{format.measured(vars(verdict.best), verdict.metric)} ({several(verdict.best.seeds, 'seeds')})"
    return f"At the largest of {several(verdict.budgets, 'budgets')} {verdict.best.cell} has the lowest loss, {has}."


def _law(verdict: Scaled) -> str:
    if verdict.gain is None:
        return f"A law is fitted to {FEWEST_CELLS} cells or more of several sizes and lengths; these are too few."
    low, value, high = (f"{100 * each:.1f}" for each in (verdict.gain.low, verdict.gain.value, verdict.gain.high))
    falls = "lower" if verdict.gain.value >= 0 else "raise"
    return (
        f"Twice the operations {falls} the loss by {value.removeprefix('-')} % (95 % interval {low} to {high}) by the "
        f"law of {several(verdict.runs, 'runs')}, which misses them by {100 * verdict.misses:.1f} % (standard "
        "deviation)."
    )


def _checked(each: Foretold, metric: str) -> str:
    """Whether a forecast held: the words say where the measured mean lies."""
    write, forecast, mean = METRICS[metric].format_value, each.forecast, each.mean
    inside = forecast.low <= mean.mean <= forecast.high
    where = "inside that interval" if inside else "above it" if mean.mean > forecast.high else "below it"
    return (
        f"For {mean.cell} the law foretold {write(forecast.value)} (95 % interval {write(forecast.low)} to "
        f"{write(forecast.high)}) before it ran; it has {format.measured(vars(mean), metric)}, {where}."
    )


def _tau(verdict: Scaled) -> str:
    tau, name = verdict.tau, METRICS[verdict.accuracy].name
    if math.isnan(tau.tau):
        return ""
    size = f"Kendall's tau {tau.tau:.2f}, 95 % interval {tau.low:.2f} to {tau.high:.2f}, {several(tau.n, 'runs')}"
    if tau.low > 0:
        strength = "well" if tau.tau >= 0.5 else "only in part"
        return f"The loss foretells the accuracy by {name} {strength}: lower loss, higher accuracy ({size})."
    if tau.high < 0:
        return f"The loss misleads: runs of lower loss have lower accuracy by {name} ({size})."
    return f"The loss does not foretell the accuracy by {name} ({size})."
