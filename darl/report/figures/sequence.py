"""The validation loss along the sequence, and in place: which patches each order makes hard to predict."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from darl.metrics import LOSS_BY_PATCH, LOSS_BY_STEP, VALIDATION_LOSS
from darl.model.patches import Grid
from darl.report.figures.figure import ReportFigure
from darl.report.figures.learning import evaluations_of
from darl.report.figures.looks import looks
from darl.report.figures.style import FAINT, VALUES, Look, new_figure

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw", "draw_map", "draw_steps", "profiles"]

NAME: str = "sequence"

_ACROSS = 4

_MOST = 16
"""Cells that are shown."""

_CAPTION = (
    "Above: the error of each patch in its place, on one scale. Below: the error of the patch that is predicted from "
    "so many others, of this order in its colour, of all others in grey. Means over images, signal fractions and "
    "finished seeds; a panel's mean is its validation loss. They say what an order asks, not what the model learns."
)


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure, with a panel for each cell; None if orders do not vary or losses along the sequence are missing."""
    experiments = findings.experiments
    orders = {(str(experiment.order), str(experiment.random_order)) for experiment in experiments.values()}
    grids = {experiment.model_config.grid for experiment in experiments.values()}
    if len(orders) < 2 or len(grids) != 1:
        return None
    steps, patches = (profiles(findings, curves, column) for column in (LOSS_BY_STEP, LOSS_BY_PATCH))
    cells = [cell for cell in experiments if cell in steps.index and cell in patches.index][:_MOST]
    if len(cells) < 2:
        return None
    figure = new_figure(7.2, 2.5 * math.ceil(len(cells) / _ACROSS))
    _draw_cells(figure, steps.loc[cells], patches.loc[cells], grids.pop(), looks(findings))
    left_out = len(experiments) - len(cells)
    caption = _CAPTION + (f" {len(cells)} of {len(experiments)} cells are shown." if left_out else "")
    return ReportFigure(NAME, "The loss along the sequence", _alt(steps.loc[cells]), caption, figure)


def profiles(findings: "Findings", curves: pd.DataFrame, column: str) -> pd.DataFrame:
    """The mean over a cell's finished trials, at their last evaluation, of a column of lists: a row for each cell."""
    if column not in curves:
        return pd.DataFrame()
    rows = evaluations_of(findings.trials, curves.loc[curves[column].notna()])
    last = rows.loc[rows["status"] == "finished"].drop_duplicates("trial_id", keep="last")
    lists = pd.DataFrame([list(values) for values in last[column]], index=last["cell"])
    return lists.groupby(level=0, sort=False).agg("mean")


def draw_steps(losses: pd.DataFrame, cell: str, axes: Axes, look: Look) -> None:
    """Draw the loss of a cell along the sequence, over those of all others."""
    for other in (name for name in losses.index if name != cell):
        axes.plot(losses.columns, losses.loc[other], color=FAINT, linewidth=0.9, zorder=1)
    marks = {"marker": "o", "markersize": 2.6} if losses.shape[1] <= 64 else {}
    style = {"color": look.color, "linestyle": look.dashes}
    axes.plot(losses.columns, losses.loc[cell], linewidth=1.6, zorder=2, **style, **marks)
    axes.set_ylim(0, 1.05 * float(losses.to_numpy().max()))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def draw_map(losses: pd.Series, grid: Grid, axes: Axes, frame: str, limits: tuple[float, float]) -> None:
    """Draw the loss of each patch in its place, in a frame of the cell's colour."""
    axes.imshow(np.asarray(losses, dtype=float).reshape(grid), cmap=VALUES, vmin=limits[0], vmax=limits[1])
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame, linewidth=2.5)


def _draw_cells(figure: Figure, steps: pd.DataFrame, patches: pd.DataFrame, grid: Grid, every: dict[str, Look]) -> None:
    down = math.ceil(len(steps) / _ACROSS)
    panels = figure.subplots(2 * down, _ACROSS, squeeze=False, height_ratios=[1.15, 1] * down)
    limits = float(patches.to_numpy().min()), float(patches.to_numpy().max())
    for number, cell in enumerate(steps.index):
        row, column = divmod(number, _ACROSS)
        above, below = panels[2 * row, column], panels[2 * row + 1, column]
        above.set_title(cell.replace("_", " "), fontsize=9)
        draw_map(patches.loc[cell], grid, above, every[cell].color, limits)
        draw_steps(steps, cell, below, every[cell])
        if column:
            below.set_yticklabels([])
    for number in range(len(steps), down * _ACROSS):
        row, column = divmod(number, _ACROSS)
        for axes in (panels[2 * row, column], panels[2 * row + 1, column]):
            axes.set_axis_off()
    figure.supxlabel("patches that were read before", fontsize=10)
    figure.supylabel(VALIDATION_LOSS.axis, fontsize=10)
    image = panels[0, 0].images[0]
    figure.colorbar(image, ax=panels[::2].ravel().tolist(), shrink=0.8, label="error of a patch")


def _alt(steps: pd.DataFrame) -> str:
    parts = [
        f"{cell}: {losses.iloc[0]:.3g} at the first step, {losses.iloc[-1]:.3g} at the last, mean {losses.mean():.3g}"
        for cell, losses in steps.iterrows()
    ]
    return f"Validation loss along the sequence. {'; '.join(parts)}."
