"""The linear probe on images larger than in training, compared with the usual size, by cell."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes

from darl.evaluation.linear import enlarged_size
from darl.metrics import ENLARGED_PROBE, PROBE
from darl.report.figures.cells import finished
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import looks
from darl.report.figures.style import MUTED, Look, new_figure, wrapped

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw", "draw_enlarged"]

NAME: str = "enlarged"

_BOTH = [PROBE.column, ENLARGED_PROBE.column]

_MOST = 24


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure, of the seeds that are compared; None if fewer than two cells have the measurement on them."""
    done, compared = finished(findings), findings.sweep.compared_seeds
    if _BOTH[1] not in done:
        return None
    done = done.loc[done["seed"].isin(compared)].dropna(subset=_BOTH)
    means = done.groupby("cell", sort=False)[_BOTH].agg("mean")
    if len(means) < 2:
        return None
    seeds, planned = done["cell"].value_counts(), len(compared)
    means = means.assign(short=seeds < planned).sort_values(["short", _BOTH[1]], ascending=[True, False])
    base, shown = findings.sweep.base, means.head(_MOST)
    larger = enlarged_size(base.image_size, base.model.patch_size)
    figure = new_figure(7.2, 1.5 + 0.32 * len(shown))
    draw_enlarged(shown, figure.subplots(), looks(findings))
    figure.legend(loc="outside lower center", ncols=2)
    values = [f"{cell} {100 * row[_BOTH[0]]:.1f} to {100 * row[_BOTH[1]]:.1f} %" for cell, row in shown.iterrows()]
    alt = f"Linear probe at {base.image_size} and at {larger} pixels: {'; '.join(values)}."
    size = base.image_size
    caption = f"The probe is trained at {size} × {size} pixels; validation images are enlarged to {larger} × {larger}."
    if short := [f"{cell} has {seeds[cell]} of {planned}" for cell in means.loc[means["short"]].index]:
        caption += f" In brackets, and last: cells that lack some of their seeds ({', '.join(short)})."
    return ReportFigure(NAME, "Images larger than in training", alt, caption, figure)


def draw_enlarged(means: pd.DataFrame, axes: Axes, by_cell: Mapping[str, Look]) -> None:
    """Draw a line per cell from the usual size (filled) to the larger (hollow); names of `short` cells in brackets."""
    for height, (cell, row) in enumerate(means.iterrows()):
        usual, larger = (100 * row[name] for name in _BOTH)
        look = by_cell[str(cell)]
        axes.plot([usual, larger], [height, height], color=look.color, linewidth=2)
        axes.plot(usual, height, marker=look.marker, color=look.color, markersize=8)
        axes.plot(larger, height, marker=look.marker, color=look.color, markersize=8, markerfacecolor="none")
    axes.plot([], [], "o", color=MUTED, label="training size")
    axes.plot([], [], "o", color=MUTED, markerfacecolor="none", label="enlarged")
    named = zip(means.index, means["short"].tolist(), strict=True)
    axes.set_yticks(range(len(means)), [wrapped(f"({cell})" if short else str(cell)) for cell, short in named])
    axes.set(ylim=(len(means) - 0.4, -0.6), xlabel=PROBE.axis)
    axes.grid(axis="x")
