"""Means of cells with their 95 % intervals and single seeds, and paired differences to the baseline."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from darl.metrics import METRICS, Metric
from darl.report.figures.cells import finished
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import looks
from darl.report.figures.style import MUTED, Look, new_figure, wrapped
from darl.report.format import above, seeds

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw", "draw_differences", "draw_means"]

NAME: str = "cells"

_MOST = 24
"""Largest number of cells in one figure."""


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure; None if fewer than two cells have a mean."""
    if findings.table.empty:
        return None
    measure, table = METRICS[findings.metric], _shown(findings.table)
    if len(table) < 2:
        return None
    single = finished(findings).loc[:, ["cell", "seed", findings.metric]]
    single = single.loc[single["seed"].isin(findings.sweep.compared_seeds)]
    paired = any(table["difference"].notna())
    lines = sum(1 + _label(row).count("\n") for row in table.to_dict("records"))
    figure = new_figure(7.2, 1.4 + 0.16 * (len(table) + lines))
    axes = figure.subplots(1, 2 if paired else 1, sharey=True, squeeze=False)[0]
    draw_means(table, single, axes[0], findings.metric, looks(findings))
    if paired:
        draw_differences(table, axes[1], findings.metric, looks(findings))
    title = f"{measure.name.capitalize()} by cell"
    return ReportFigure(NAME, title, _alt(table, measure), _caption(table, findings, paired), figure)


def draw_means(table: pd.DataFrame, single: pd.DataFrame, axes: Axes, metric: str, by_cell: Mapping[str, Look]) -> None:
    """Draw means with intervals, the best on top; single seeds as small dots, and a line at the baseline's mean."""
    measure = METRICS[metric]
    for height, row in enumerate(table.to_dict("records")):
        look, own = by_cell[row["cell"]], measure.unit.factor * single.loc[single["cell"] == row["cell"], metric]
        axes.scatter(own, [height + 0.24] * len(own), s=9, color=MUTED, zorder=2, linewidths=0)
        _draw_interval(
            axes, height, [measure.unit.factor * row[name] for name in ("mean", "low", "high")], look, row["complete"]
        )
        if row["verdict"] == "baseline":
            axes.axvline(measure.unit.factor * row["mean"], color=MUTED, linewidth=1.0, dashes=(4, 2), zorder=1)
    axes.set_yticks(range(len(table)), [_label(row) for row in table.to_dict("records")])
    axes.set(ylim=(len(table) - 0.4, -0.6), xlabel=measure.axis)
    axes.set_title("One seed each" if all(table["low"].isna()) else "Mean, 95 % interval")
    axes.grid(axis="x")
    axes.margins(x=0.08)
    if math.isfinite(measure.unit.highest):  # an interval of few seeds may reach beyond what an accuracy can be
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, 0), min(high, measure.unit.factor * measure.unit.highest))


def draw_differences(table: pd.DataFrame, axes: Axes, metric: str, by_cell: Mapping[str, Look]) -> None:
    """Draw paired differences with intervals, and a line at zero."""
    measure = METRICS[metric]
    axes.axvline(0, color=MUTED, linewidth=1.0, dashes=(4, 2), zorder=1)
    for height, row in enumerate(table.to_dict("records")):
        values = [measure.unit.factor * row[name] for name in ("difference", "difference_low", "difference_high")]
        if row["verdict"] != "baseline":
            _draw_interval(axes, height, values, by_cell[row["cell"]], row["complete"])
    better = "right: better" if measure.higher_is_better else "left: better"
    axes.set(
        xlabel=f"difference in {measure.unit.difference_unit}  ({better})", title="Paired difference to the baseline"
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.margins(x=0.08)


def _label(row: dict[str, Any]) -> str:
    """The cell's name, with its number of seeds if some are missing."""
    name = wrapped(str(row["cell"]))
    return name if row["seeds"] >= row["planned"] else f"{name}\n{seeds(row)}"


def _draw_interval(axes: Axes, height: int, values: list[float], look: Look, complete: bool) -> None:
    mean, low, high = values
    style: dict[str, Any] = {"color": look.color, "zorder": 3}
    if pd.notna(low):
        axes.plot([low, high], [height, height], linewidth=2.4, solid_capstyle="butt", **style)
    face = look.color if complete else "none"
    axes.plot(
        [mean], [height], marker=look.marker, markersize=8, markerfacecolor=face, markeredgecolor=look.color, zorder=4
    )


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The best cells, and always the baseline."""
    valued = table.loc[table["mean"].notna()]
    best = valued.head(_MOST)
    rest = valued.iloc[_MOST:]
    return pd.concat([best, rest.loc[rest["verdict"] == "baseline"]])


def _alt(table: pd.DataFrame, measure: Metric) -> str:
    parts: list[str] = []
    for row in table.to_dict("records"):
        text = f"{row['cell']} {measure.format_value(row['mean'])}"
        if pd.notna(row["low"]):
            text += f" ({measure.format_value(row['low'])} to {measure.format_value(row['high'])})"
        if row["verdict"] == "baseline":
            text += ", the baseline"
        elif pd.notna(row["difference"]):
            text += f", {above(row['difference'], measure.column)} the baseline"
        parts.append(text)
    return f"Mean {measure.name} of each cell with its 95 % interval, best first: {'; '.join(parts)}."


def _caption(table: pd.DataFrame, findings: "Findings", paired: bool) -> str:
    parts = ["The best cells stand at the top. Dots below a mark are single seeds."]
    if all(table["low"].isna()):
        parts = [
            "The best cells stand at the top. One seed each, so there are no intervals: differences may be chance."
        ]
    if any(table["verdict"] == "baseline"):
        parts += ["The dashed line on the left is the baseline's mean."]
    if paired:
        parts += ["On the right, each seed is compared with the same seed of the baseline."]
    if any(table["difference_low"].notna()):
        parts += ["An interval without zero is a difference that the choice of seeds alone hardly explains."]
    if not all(table["complete"]):
        parts += ["Hollow marks: not all seeds have finished."]
    if findings.comparison.race:
        parts += ["On fresh seeds only: on the search's own seed, the selected cells look better than they are."]
    if len(findings.table) > len(table):
        parts += [f"{len(table)} of {len(findings.table)} cells are shown."]
    return " ".join(parts)
