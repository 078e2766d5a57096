"""Every accuracy of every cell, a panel for each, with lines at raw pixels and at random initialisation."""

from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from darl.metrics import Metric
from darl.report.accuracies import PIXELS, UNTRAINED, Accuracies, accuracies
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import looks
from darl.report.figures.style import INK, MUTED, new_figure, wrapped

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw"]

NAME: str = "protocols"

_MOST, _ACROSS = 12, 3
"""Largest number of cells, and panels in a row."""

_LINES = {PIXELS: {"color": INK, "dashes": (4, 2)}, UNTRAINED: {"color": MUTED, "dashes": (1, 1.5)}}


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure; None if there are fewer than two accuracies or cells, or too many cells."""
    measured = accuracies(findings)
    cells = measured.cells
    if len(measured.metrics) < 2 or not 2 <= len(cells) <= _MOST:
        return None
    across = min(_ACROSS, len(measured.metrics))
    down = -(-len(measured.metrics) // across)
    figure = new_figure(7.2, 0.5 + down * (0.75 + 0.27 * len(cells)))
    panels = figure.subplots(down, across, sharey=True, squeeze=False).flatten()
    by_cell = looks(findings)
    for axes, metric in zip(panels, measured.metrics, strict=False):
        _draw_panel(axes, measured, metric, {cell: by_cell[cell].color for cell in cells})
    for axes in panels[len(measured.metrics) :]:
        axes.set_visible(False)
    shown = [name for name in (PIXELS, UNTRAINED) if name in measured.table.index]
    handles = [panels[0].plot([], [], label=name, linewidth=1.4, **_LINES[name])[0] for name in shown]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    caption = (
        "Right is better. Means over the compared seeds with their 95 % intervals. Whatever is left of the dashed line "
        "is worse than the pixels that it was computed from."
    )
    return ReportFigure(NAME, "Every accuracy, beside the yardsticks", _alt(measured), caption, figure)


def _draw_panel(axes: Axes, measured: Accuracies, metric: Metric, colors: dict[str, str]) -> None:
    table, factor = measured.table[metric.column], metric.unit.factor
    for name, style in _LINES.items():
        if name in table.index and pd.notna(table.loc[name, "mean"]):
            axes.axvline(factor * table.loc[name, "mean"], linewidth=1.4, zorder=1, **style)
    for height, cell in enumerate(measured.cells):
        mean, low, high = (factor * table.loc[cell, name] for name in ("mean", "low", "high"))
        if pd.notna(low):
            axes.plot([low, high], [height, height], linewidth=2.4, color=colors[cell], solid_capstyle="butt", zorder=2)
        axes.plot([mean], [height], marker="o", markersize=6, color=colors[cell], zorder=3)
    axes.set_yticks(range(len(measured.cells)), [wrapped(cell, 20) for cell in measured.cells])
    axes.set(ylim=(len(measured.cells) - 0.4, -0.6), title=f"{metric.name} (%)")
    axes.grid(axis="x")
    axes.margins(x=0.1)
    low, high = axes.get_xlim()  # an interval of few seeds may reach beyond what an accuracy can be
    axes.set_xlim(max(low, 0), min(high, factor * metric.unit.highest))


def _alt(measured: Accuracies) -> str:
    parts: list[str] = []
    for name, row in measured.table.iterrows():
        each: list[tuple[Metric, Any]] = [(metric, row[(metric.column, "mean")]) for metric in measured.metrics]
        values = [f"{metric.name} {metric.format_value(value)}" for metric, value in each if pd.notna(value)]
        parts.append(f"{name}: {', '.join(values)}")
    return f"Accuracies of each cell and of the yardsticks. {'; '.join(parts)}."
