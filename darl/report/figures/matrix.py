"""A matrix of cells by group, for designs that repeat cells in every group: encodings by mask, for instance."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from darl.metrics import METRICS, Metric
from darl.report.figures.figure import ReportFigure
from darl.report.figures.style import VALUES, new_figure
from darl.sweep.base import Sweep, describe

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw", "draw_matrix", "matrix"]

NAME: str = "matrix"


def draw(findings: "Sequence[Findings]") -> ReportFigure | None:
    """The figure; None without several groups that have cells in common."""
    if len(findings) < 2 or not findings[0].sweep.fixed_cells:
        return None
    sweep = findings[0].sweep
    measure, rows = METRICS[findings[0].metric], pd.concat([finding.table for finding in findings])
    rows["half"] = (rows["high"] - rows["low"]) / 2
    table, half = matrix(sweep, rows), matrix(sweep, rows, "half")
    complete = matrix(sweep, rows, "complete") == 1
    if not (table.notna().sum(axis=1) > 1).any():
        return None
    figure = new_figure(7.2, 1.6 + 0.4 * len(table))
    draw_matrix(table, figure.subplots(), measure, half, complete)
    caption = (
        "Means over seeds ± the half-widths of their 95 % intervals. The colour is by how far a cell is behind the "
        "best of its column, which is framed. The tables below say which differences are significant."
    )
    if (table.notna() & ~complete).to_numpy().any():
        caption += " In brackets: cells that lack some of their seeds; they are never framed."
    return ReportFigure(NAME, f"{measure.name.capitalize()} by cell and group", _alt(table, measure), caption, figure)


def matrix(sweep: Sweep, table: pd.DataFrame, column: str = "mean") -> pd.DataFrame:
    """Means by choice (rows) and group (columns), or another column of the groups' comparisons.

    Cells of two groups are the same choice if they set the same values, apart from those that all cells of their group
    set. A choice is named by its cells' labels without their group's name if these agree, else by its values.
    """
    by_cell: dict[str, float] = dict(zip(table["cell"], table[column], strict=True))
    groups = [group for group in dict.fromkeys(map(sweep.group_of, sweep.fixed_cells)) if group]
    values: dict[str, dict[str, float]] = {}
    names: dict[str, list[str]] = {}
    for group in groups:
        for cell, point in _own(sweep, group).items():
            key = str(sorted(point.items()))
            values.setdefault(key, {})[group] = by_cell.get(cell, np.nan)
            names.setdefault(key, []).append(_without(cell, group) or describe(point))
    index = [own[0] if len(set(own)) == 1 else key for key, own in names.items()]
    return pd.DataFrame(list(values.values()), index=index, columns=groups).astype("float64")


def draw_matrix(
    table: pd.DataFrame, axes: Axes, measure: Metric, half: pd.DataFrame, complete: pd.DataFrame | None = None
) -> None:
    """Draw values and half-widths as text, the distance to the best of the column as colour, and the best framed.

    complete: which cells have all their seeds (default all); the others are in brackets, and never the best.
    """
    whole = table.notna() if complete is None else complete
    ranked = table.where(whole)
    end, sign = ("max", 1) if measure.higher_is_better else ("min", -1)
    best = ranked.agg(end).fillna(table.agg(end))
    behind = (sign * measure.unit.factor * (best - table)).clip(lower=0)
    worst = max(float(np.nanmax(behind.to_numpy())), 1e-9)
    drawn = axes.imshow(behind.to_numpy(), cmap=f"{VALUES}_r", norm=Normalize(0, worst), aspect="auto")
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        color = "#ffffff" if behind.iat[row, column] > 0.55 * worst else "#000000"
        width = half.iat[row, column]
        shown = measure.format_value(value) + ("" if np.isnan(width) else f" ± {measure.format_difference(width)}")
        is_whole = whole.iat[row, column] or np.isnan(value)
        axes.text(column, row, shown if is_whole else f"({shown})", ha="center", va="center", color=color)
        if ranked.iat[row, column] == best.iloc[column]:
            axes.add_patch(Rectangle((column - 0.47, row - 0.44), 0.94, 0.88, fill=False, color="#000000", linewidth=2))
    axes.set_xticks(range(table.shape[1]), list(table.columns))
    axes.set_yticks(range(len(table)), list(table.index))
    axes.set_title(measure.axis)
    axes.tick_params(length=0)
    axes.figure.colorbar(drawn, ax=axes, label=f"behind the best ({measure.unit.difference_unit})")


def _own(sweep: Sweep, group: str) -> dict[str, dict[str, Any]]:
    """The values that each cell of a group sets and not all of them share; as text, since a point may hold any type."""
    points = {
        cell: {path: str(value) for path, value in point.items()}
        for cell, point in sweep.fixed_cells.items()
        if sweep.group_of(cell) == group
    }
    common = set.intersection(*(set(point.items()) for point in points.values()))
    return {cell: dict(item for item in point.items() if item not in common) for cell, point in points.items()}


def _without(label: str, group: str) -> str:
    """The label without its group: `paper` of `paper on digits`, `paper → digits`, `paper, digits`, `digits: paper`."""
    short = label.removesuffix(group).removeprefix(f"{group}:").strip(" →>@:,-")
    return short.removesuffix(" on")


def _alt(table: pd.DataFrame, measure: Metric) -> str:
    parts = [
        f"{group}: " + ", ".join(f"{name} {measure.format_value(value)}" for name, value in column.dropna().items())
        for group, column in table.items()
    ]
    return f"Mean {measure.name} of each cell by group. {'; '.join(parts)}."
