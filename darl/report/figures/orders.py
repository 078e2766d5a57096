"""Patch orders as paths over the grid of patches."""

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from darl.model.orders import inverse
from darl.model.patches import Grid, grid_of
from darl.report.adapted import order_scores
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import look_of, looks
from darl.report.figures.style import INK, VALUES, new_figure

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw", "draw_path"]

NAME: str = "orders"

_ACROSS = 4

_ARROWS = 100
"""Patches above which a path has no arrows."""

_PATH, _HALO = "#b3001b", "#ffffff"


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure, with each order once on the sweep's own grid, learned ones last; None if orders do not vary."""
    orders = list(dict.fromkeys(experiment.order for experiment in findings.experiments.values()))
    learned = order_scores(findings)
    if len(orders) + len(learned) < 2:
        return None
    base = findings.sweep.base
    grid = grid_of((base.image_size, base.image_size), base.model.patch_size)
    kinds, every = [order.kind for order in orders], looks(findings)
    titles = [str(order) if kinds.count(order.kind) > 1 else order.kind.replace("_", " ") for order in orders]
    titles += [cell.replace("_", " ") for cell in learned]
    paths = [order.permutation(*grid) for order in orders]
    paths += [torch.from_numpy(scores.mean(0)).argsort(descending=True, stable=True) for scores in learned.values()]
    frames = [*(look_of(order).color for order in orders), *(every[cell].color for cell in learned)]
    down = math.ceil(len(paths) / _ACROSS)
    figure = new_figure(7.2, 2.0 * down + 0.1)
    panels = figure.subplots(down, _ACROSS, squeeze=False).ravel()
    for path, title, frame, axes in zip(paths, titles, frames, panels, strict=False):
        draw_path(path, grid, axes, frame)
        axes.set_title(title)
    for axes in panels[len(paths) :]:
        axes.set_axis_off()
    caption = "Dark patches are predicted first, bright ones last; the ring is the start, the square the end."
    if learned:
        caption += " Of learned orders the most probable one is shown, by the mean scores of the finished trials."
    return ReportFigure(NAME, "The patch orders", _alt(dict(zip(titles, paths, strict=True)), grid), caption, figure)


def draw_path(path: Tensor, grid: Grid, axes: Axes, frame: str = INK) -> None:
    """Draw the path over the patches, shaded by the step that visits them, in a frame of this colour.

    path: raster indices in the order of prediction, as `Order.permutation` gives them.
    """
    rows, columns = grid
    y, x = (path // columns).numpy(), (path % columns).numpy()
    axes.imshow(inverse(path).view(rows, columns).numpy(), cmap=VALUES, interpolation="nearest")
    axes.plot(x, y, color=_HALO, linewidth=3.2, alpha=0.8, solid_joinstyle="round", zorder=2)
    axes.plot(x, y, color=_PATH, linewidth=1.3, solid_joinstyle="round", zorder=3)
    if len(path) <= _ARROWS:  # arrows at the middle of each step, which leave the turns visible
        angle = np.arctan2(-np.diff(y), np.diff(x))
        axes.quiver(
            (x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2, np.cos(angle), np.sin(angle), pivot="mid", color=_PATH,
            scale=16, units="width", width=0.006, headwidth=10, headlength=10, headaxislength=10, zorder=4,
        )  # fmt: skip
    ends = {"markersize": 8, "markeredgecolor": _PATH, "markerfacecolor": _HALO, "markeredgewidth": 1.6, "zorder": 5}
    axes.plot(x[:1], y[:1], marker="o", **ends)
    axes.plot(x[-1:], y[-1:], marker="s", **ends)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame, linewidth=3)


def _alt(paths: dict[str, Tensor], grid: Grid) -> str:
    steps = [f"{title}: mean step {_mean_step(path, grid):.1f} patches" for title, path in paths.items()]
    return f"The path of each patch order on a grid of {grid[0]} by {grid[1]} patches. {'; '.join(steps)}."


def _mean_step(path: Tensor, grid: Grid) -> float:
    y, x = (path // grid[1]).numpy(), (path % grid[1]).numpy()
    return float(np.hypot(np.diff(y), np.diff(x)).mean())
