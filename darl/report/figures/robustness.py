"""Robustness: accuracy over severity, a panel for each corruption."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from darl.evaluation.robustness import CLEAN, Robustness, summary
from darl.report.figures.figure import ReportFigure
from darl.report.figures.style import INK, LOOKS, MUTED, Look, applied, new_figure

__all__ = ["NAME", "draw_robustness"]

NAME = "robustness"

_ACROSS = 4
"""Panels in a row."""

_OTHERS = (Look(INK, "|", (0, (4, 2))), Look(MUTED, ".", (0, (1, 1.5))))
"""How the sources after the first are drawn."""


def draw_robustness(rows: Sequence[Robustness]) -> ReportFigure:
    """The figure: a line for each source of features; of the first, which is the model, with its 95 % intervals."""
    corruptions = [name for name in dict.fromkeys(row.corruption for row in rows) if name != CLEAN]
    sources = list(dict.fromkeys(row.source for row in rows))
    across = min(_ACROSS, len(corruptions))
    down = -(-len(corruptions) // across)
    with applied():
        figure = new_figure(7.2, 0.6 + 1.5 * down)
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, corruption in zip(panels, corruptions, strict=False):
            _draw_panel(axes, [row for row in rows if row.corruption in (CLEAN, corruption)], sources)
            axes.set_title(corruption.replace("_", " "))
        for axes in panels[len(corruptions) :]:
            axes.set_visible(False)
        figure.supylabel("top-1 (%)", fontsize=10)
        figure.supxlabel("severity (0: clean)", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
    alt = "; ".join(f"{source}: {summary(rows, source)}" for source in sources)
    caption = "A linear probe, fitted to clean images, on corrupted ones. Band: 95 % intervals over the images."
    return ReportFigure(NAME, "Accuracy on corrupted images", f"Accuracy over severity. {alt}.", caption, figure)


def _draw_panel(axes: Axes, rows: Sequence[Robustness], sources: Sequence[str]) -> None:
    for number, source in enumerate(sources):
        look = _OTHERS[number - 1] if 0 < number <= len(_OTHERS) else LOOKS[number]
        own = sorted((row for row in rows if row.source == source), key=lambda row: row.severity)
        x, y = [row.severity for row in own], [100 * row.top1 for row in own]
        axes.plot(x, y, **look.line, markersize=4, linewidth=1.4, label=source)
        if number == 0:
            low, high = ([100 * (row.top1 + sign * row.half_width) for row in own] for sign in (-1, 1))
            axes.fill_between(x, low, high, color=look.color, alpha=0.15, linewidth=0)
    axes.set_xticks(range(6))
    axes.grid(True)
