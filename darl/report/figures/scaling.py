"""A scaling study: loss against operations for every size, what was foretold, and loss against accuracy."""

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from darl.metrics import METRICS
from darl.report.figures.figure import ReportFigure
from darl.report.figures.style import INK, LOOKS, MUTED, new_figure
from darl.sweep.scaling_law import Law, fit, runs_of
from darl.sweep.scaling_plan import ScalingPlan

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw"]

NAME: str = "scaling"

TERA = 1e12


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure; None for a sweep that is no scaling study, and before two cells have finished."""
    plan = findings.comparison.scaling
    if plan is None or findings.metric != findings.sweep.metric:
        return None
    trials = findings.trials
    runs = runs_of(trials.loc[trials["cell"].isin(findings.comparison.cells)], plan.accuracy)
    if len(set(runs["cell"])) < 2:
        return None
    names = [_size_of(cell, findings.comparison.group) for cell in runs["cell"]]
    runs = runs.assign(name=names).sort_values(["size", "flops"])
    law = fit(runs.loc[~runs["cell"].isin(plan.next_size)], resamples=0)
    figure = new_figure(7.2, 3.7)
    left, right = figure.subplots(1, 2)
    _losses(left, runs, law, plan)
    _accuracies(right, runs, plan)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    caption = (
        "Left: mean validation loss over seeds of each size, all spending the same operations at one budget; the grey "
        "line is the fitted law for the best of the sizes at each number of operations. A cross is what the law "
        "foretold for the next size before it ran, with its 95 % interval. Right: every run; the lower its loss, the "
        "better its features should be."
    )
    return ReportFigure(NAME, "Loss by size and operations", _alt(runs, plan), caption, figure)


def _losses(axes: Axes, runs: pd.DataFrame, law: Law | None, plan: ScalingPlan) -> None:
    for look, (name, own) in zip(cycle(LOOKS), runs.groupby("name", sort=False), strict=False):
        means = own.groupby("cell", sort=False).agg({"flops": "mean", "loss": "mean"}).sort_values("flops")
        axes.plot(means["flops"] / TERA, means["loss"], label=name, **look.line)
    if law is not None:
        sizes, (low, high) = sorted(set(runs["size"].round())), (runs["flops"].min(), runs["flops"].max())
        flops = np.geomspace(low, high, 40)
        best = [law.best(sizes, each) for each in flops]
        axes.plot(flops / TERA, best, color=MUTED, linewidth=1.2, zorder=1, label="law, best size")
    for number, (cell, forecast) in enumerate(plan.forecasts.items()):
        at = runs.loc[runs["cell"] == cell, "flops"]
        if len(at):
            ends = [[forecast.value - forecast.low], [forecast.high - forecast.value]]
            label = None if number else "foretold"
            axes.errorbar(
                [at.mean() / TERA], [forecast.value], yerr=ends, color=INK, fmt="x", capsize=4, label=label, zorder=3
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for axis, write in ((axes.xaxis, "{x:.3g}"), (axes.yaxis, "{x:.3g}")):
        axis.set_major_formatter(write)
        axis.set_minor_formatter(write)
    axes.set(xlabel="operations of training (TFLOPs)", ylabel="validation loss (MSE)")
    axes.grid(axis="y")


def _accuracies(axes: Axes, runs: pd.DataFrame, plan: ScalingPlan) -> None:
    measure = METRICS[plan.accuracy]
    for look, (_, own) in zip(cycle(LOOKS), runs.groupby("name", sort=False), strict=False):
        axes.plot(
            own["loss"], measure.unit.factor * own["accuracy"], linestyle="", marker=look.marker, color=look.color,
            markersize=4,
        )  # fmt: skip
    axes.set(xlabel="validation loss (MSE)", ylabel=measure.axis)
    axes.grid(axis="both")


def _size_of(cell: str, group: str) -> str:
    """The size in a cell's label, `GROUP: SIZE, N epochs`."""
    return cell.removeprefix(f"{group}: ").rpartition(", ")[0]


def _alt(runs: pd.DataFrame, plan: ScalingPlan) -> str:
    means = runs.groupby("cell", sort=False).agg({"loss": "mean"})
    measured = ", ".join(f"{cell} {loss:.4g}" for cell, loss in zip(means.index, means["loss"], strict=True))
    foretold = ", ".join(f"{cell} {forecast.value:.4g}" for cell, forecast in plan.forecasts.items())
    return f"Mean validation loss of each cell: {measured}." + (f" Foretold: {foretold}." if foretold else "")
