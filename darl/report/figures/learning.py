"""Learning curves: the probes over epochs, and the rungs, the epochs after which a search may stop a trial."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from darl.metrics import KNN, METRICS, Metric
from darl.report.figures.cells import notable, roles
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import looks
from darl.report.figures.style import INK, MUTED, Look, new_figure, wrapped
from darl.sweep.early_stopping import pilot_of
from darl.sweep.wording import several

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw", "draw_cells", "draw_rungs", "draw_trials", "evaluations_of"]

NAME: str = "learning"


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure: a line per trial on a search's own seed, or per cell of a design, its mean over seeds."""
    rows = evaluations_of(findings.trials, curves)
    rows = rows.loc[rows["seed"].isin(findings.sweep.explored_seeds)]
    panels = [
        name
        for name in dict.fromkeys((findings.metric, KNN.column))
        if name in rows and len(set(rows[name].dropna())) > 1
    ]
    if not panels:
        return None
    figure = new_figure(7.2, 3.9)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for metric, panel in zip(panels, axes, strict=True):
        _draw_panel(findings, rows, curves, metric, panel)
    lines = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    across = 4 if max(map(len, lines), default=0) < 18 else 3 if max(map(len, lines)) < 26 else 2
    figure.legend(lines.values(), map(wrapped, lines), loc="outside lower center", ncols=across)
    return ReportFigure(NAME, "Learning curves", _alt(findings, rows, METRICS[panels[0]]), _caption(findings), figure)


def evaluations_of(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of `curves` of these trials, for each epoch of the last attempt, with `cell`, `seed` and `status`."""
    rows = curves.loc[curves["trial_id"].isin(trials["trial_id"])].sort_values(["trial_id", "epoch", "attempt"])
    rows = rows.drop_duplicates(["trial_id", "epoch"], keep="last")
    return rows.merge(trials[["trial_id", "cell", "seed", "status"]], on="trial_id").dropna(subset=["cell"])


def draw_trials(rows: pd.DataFrame, axes: Axes, metric: str, named: Mapping[str, tuple[str, Look]]) -> None:
    """Draw a line per trial: named cells labelled in their looks, others grey; a cross where a trial was stopped."""
    factor = METRICS[metric].unit.factor
    for _, whole in rows.groupby("trial_id", sort=False):
        trial = whole.dropna(subset=[metric])
        if trial.empty:
            continue
        x, y, name = trial["epoch"], factor * trial[metric], str(trial["cell"].iloc[0])
        style: dict[str, Any] = {
            "color": MUTED,
            "linewidth": 0.8,
            "alpha": 0.5,
            "zorder": 1,
            "marker": ".",
            "markersize": 3,
        }
        if name in named:
            label, look = named[name]
            style = {**look.line, "linewidth": 2.2, "zorder": 3, "label": label}
        axes.plot(x, y, **style)
        if trial["status"].iloc[-1] == "stopped" and x.index[-1] == whole.index[-1]:
            axes.plot(x.iloc[-1:], y.iloc[-1:], marker="x", markersize=4.5, color=style["color"], zorder=2)


def draw_cells(rows: pd.DataFrame, axes: Axes, metric: str, named: Mapping[str, Look]) -> None:
    """Draw the mean over seeds of each named cell; epochs that not all its seeds have reached are left out."""
    factor = METRICS[metric].unit.factor
    rows = rows.dropna(subset=[metric])
    for cell, look in named.items():
        own = rows.loc[(rows["cell"] == cell) & (rows["status"] == "finished")]
        steps = own.groupby("epoch")[metric].agg(["mean", "count"])
        steps = steps.loc[steps["count"] == len(set(own["trial_id"]))]
        axes.plot(steps.index, factor * steps["mean"], **look.line, label=cell)


def draw_rungs(epochs: Collection[int], axes: Axes, used: Collection[int]) -> None:
    """Draw a labelled vertical line at each rung; pale and marked `not used` where no trial was stopped."""
    for epoch in epochs:
        color, note = (INK, "") if epoch in used else (MUTED, "\n(not used)")
        axes.axvline(epoch, color=color, linewidth=0.9, dashes=(1.5, 2), zorder=0)
        axes.annotate(
            f"rung{note}", (epoch, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
            fontsize=8, ha="center", va="bottom", color=color, annotation_clip=False,
        )  # fmt: skip


def _draw_panel(findings: "Findings", rows: pd.DataFrame, curves: pd.DataFrame, metric: str, axes: Axes) -> None:
    every = looks(findings)
    if findings.sweep.fixed_cells:
        draw_cells(rows, axes, metric, {cell: every[cell] for cell in notable(findings)})
    else:
        named = {cell: (f"{role}: {cell}", every[cell]) for cell, role in roles(findings).items()}
        draw_trials(rows, axes, metric, named)
    pilot = pilot_of(findings.sweep, findings.trials, curves)
    rungs = [epoch for epoch, by in findings.sweep.rungs.items() if by == metric]
    draw_rungs(rungs, axes, frozenset() if pilot is None else pilot.rungs)
    axes.set(xlabel="epoch   (0: before training)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(METRICS[metric].axis, pad=28 if findings.sweep.rungs else None)  # above the labels of the rungs
    axes.grid(True)


def _alt(findings: "Findings", rows: pd.DataFrame, measure: Metric) -> str:
    parts = [f"{measure.name.capitalize()} over epochs."]
    for cell, role in roles(findings).items():
        own = rows.loc[(rows["cell"] == cell) & (rows["status"] == "finished")].dropna(subset=[measure.column])
        if len(own):
            steps: dict[int, float] = own.groupby("epoch")[measure.column].agg("mean").to_dict()
            values = [measure.format_value(value) for value in steps.values()]
            parts += [f"The {role}, {cell}, goes from {values[0]} to {values[-1]} in {several(max(steps), 'epochs')}."]
    stopped = findings.counts.get("stopped", 0)
    parts += [f"Stopped early: {several(stopped, 'trials')}."] if stopped else []
    return " ".join(parts)


def _caption(findings: "Findings") -> str:
    if not findings.sweep.fixed_cells:
        stopped = " A cross ends a trial that was stopped there." if findings.counts.get("stopped", 0) else ""
        return (
            "A line for each trial on the search's seed, straight between evaluations. Dotted: a rung, where trials "
            f"may be stopped by this metric if a pilot has shown that early results predict final ones.{stopped}"
        )
    shown, of = len(notable(findings)), len(findings.experiments)
    return "Means over the finished seeds." + (f" {shown} of {of} cells are shown." if shown < of else "")
