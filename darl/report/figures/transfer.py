"""Transfer: every model's accuracy on every data set, with its interval, beside raw pixels."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from darl.evaluation.transfer import Row
from darl.metrics import METRICS, TOP1
from darl.report.figures.figure import ReportFigure
from darl.report.figures.style import INK, LOOKS, MUTED, applied, new_figure, wrapped

__all__ = ["NAME", "draw_transfer"]

NAME = "transfer"

_ACROSS = 3
"""Panels in a row."""


MARKS: dict[str, dict[str, Any]] = {
    "pixels": {"marker": "|", "markersize": 11, "color": INK, "label": "raw pixels"},
    "random": {"marker": ".", "markersize": 6, "color": MUTED, "label": "random weights"},
}
"""How the yardsticks are drawn, by the rows' field."""


def draw_transfer(rows: Sequence[Row]) -> ReportFigure | None:
    """The figure: a panel for the accuracy that each protocol gives first; None where there is none.

    Within a panel each data set has a line, and each run a dot with its 95 % interval. A data set without a value keeps
    its line, which says so.
    """
    first = dict[str, str]()
    for row in rows:
        first.setdefault(row.protocol, row.metric)
    measured = {row.metric for row in rows if row.value is not None and row.metric in METRICS}
    shown = [metric for metric in first.values() if metric in measured and METRICS[metric].unit is TOP1]
    if not shown:
        return None
    data = list(dict.fromkeys(row.data for row in rows))
    across = min(_ACROSS, len(shown))
    down = -(-len(shown) // across)
    with applied():
        figure = new_figure(7.2, 0.6 + down * (0.75 + 0.3 * len(data)))
        panels = figure.subplots(down, across, sharey=True, squeeze=False).flatten()
        for axes, metric in zip(panels, shown, strict=False):
            _draw_panel(axes, [row for row in rows if row.metric == metric], data, metric)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        lines = {
            str(label): line
            for axes in panels
            for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }  # fmt: skip
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=2)
    caption = "Right is better. Bars: 95 % intervals. A dot left of its black mark is worse than raw pixels."
    return ReportFigure(NAME, "Transfer to other data", _alt(rows, shown), caption, figure)


def _draw_panel(axes: Axes, rows: Sequence[Row], data: Sequence[str], metric: str) -> None:
    """One metric. Of a value on the test split and one on held-out images, the first in the table is drawn."""
    unit, runs = METRICS[metric].unit, list(dict.fromkeys(row.run for row in rows))
    firsts = {(row.run, row.data): row for row in reversed(rows)}
    for number, run in enumerate(runs):
        look, shift = LOOKS[number % len(LOOKS)], 0.5 * ((number + 0.5) / len(runs) - 0.5)
        own = [firsts[run, name] for name in data if (run, name) in firsts and firsts[run, name].value is not None]
        heights = [data.index(row.data) + shift for row in own]
        _draw_marks(axes, own, "pixels", heights, unit.factor, marker="|", markersize=11, color=INK, label="raw pixels")
        _draw_marks(
            axes, own, "random", heights, unit.factor, marker=".", markersize=6, color=MUTED, label="random weights"
        )
        values = [unit.factor * (row.value or 0.0) for row in own]
        halves = [unit.factor * (row.half_width or 0.0) for row in own]
        axes.errorbar(values, heights, xerr=halves, linestyle="none", color=look.color, marker=look.marker, label=run)
    for height, name in enumerate(data):
        if all(row.value is None for row in rows if row.data == name):
            axes.text(0.02, height, "no value", transform=axes.get_yaxis_transform(), color=MUTED, va="center")
    axes.set_yticks(range(len(data)), [wrapped(_short(name), 24) for name in data])
    axes.set(ylim=(len(data) - 0.4, -0.6), title=f"{METRICS[metric].name} (%)")
    axes.grid(axis="x")
    axes.margins(x=0.1)


def _draw_marks(
    axes: Axes, rows: Sequence[Row], field: str, heights: Sequence[float], factor: int, **look: Any
) -> None:
    """Marks at one field of the rows, where it has a value."""
    pairs = [(factor * getattr(row, field), height) for row, height in zip(rows, heights, strict=True)
             if getattr(row, field) is not None]  # fmt: skip
    if pairs:
        x, y = zip(*pairs, strict=True)
        axes.plot(x, y, linestyle="none", zorder=1, **look)


def _short(name: str) -> str:
    """The end of a path; other names whole."""
    return name.rstrip("/").rpartition("/")[2] if name.startswith(("/", ".", "~")) or "://" in name else name


def _alt(rows: Sequence[Row], shown: Sequence[str]) -> str:
    parts: list[str] = []
    for row in rows:
        if row.metric in shown and row.value is not None:
            value = METRICS[row.metric].format_value(row.value)
            parts.append(f"{row.run} on {row.data}, {METRICS[row.metric].name}: {value}")
    return f"Accuracies of each run on each data set. {'; '.join(parts)}."
