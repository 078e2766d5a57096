"""Which parameters of a search matter: Optuna's own importances as bars."""

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes

from darl.metrics import METRICS
from darl.report.figures.cells import finished
from darl.report.figures.figure import ReportFigure
from darl.report.figures.style import BLUE, SKY, new_figure
from darl.report.importance import conditional_importances, importances

if TYPE_CHECKING:
    from darl.report.findings import Findings

__all__ = ["NAME", "draw", "draw_importances"]

NAME: str = "importance"


def draw(findings: "Findings", curves: pd.DataFrame) -> ReportFigure | None:
    """The figure, with separate panels for parameters that only some trials have; None if there are too few trials."""
    sweep = findings.sweep
    panels = {"all trials": importances(sweep, findings.trials, findings.metric)}
    panels |= conditional_importances(sweep, findings.trials, findings.metric)
    panels = {name: weights for name, weights in panels.items() if len(weights) > 1}
    if not panels:
        return None
    sizes = [len(weights) for weights in panels.values()]
    figure = new_figure(7.2, 0.7 + 0.6 * len(panels) + 0.3 * sum(sizes))
    every = figure.subplots(len(panels), 1, height_ratios=sizes, squeeze=False)[:, 0]
    for (name, weights), axes, color in zip(panels.items(), every, (BLUE, *[SKY] * len(panels)), strict=False):
        draw_importances(weights, axes, color)
        axes.set_title(f"among {name}")
    every[-1].set_xlabel(
        "share of the explained variation (%)\n(they add up to 100 % even where differences are chance)"
    )
    measure, done = METRICS[findings.metric], finished(findings)
    parts = [f"among {name}: {_shares(weights)}" for name, weights in panels.items()]
    alt = f"How much of the variation of {measure.name} each parameter explains, {'; '.join(parts)}."
    count = len(done.loc[done["seed"].isin(sweep.explored_seeds)])
    caption = (
        f"Optuna's importances (fANOVA, a random forest) over the {count} finished trials of the search; rough where "
        "these are few. The shares add up to 100 % even where trials differ by chance alone: see whether the map "
        "shows a pattern. A parameter that the search hardly varied seems to matter little."
    )
    return ReportFigure(NAME, "Which parameters matter", alt, caption, figure)


def draw_importances(weights: pd.Series, axes: Axes, color: str = BLUE) -> None:
    """Draw a bar for each parameter, the largest on top."""
    bars = axes.barh([str(name) for name in weights.index], 100 * weights, color=color, height=0.65)
    axes.bar_label(bars, fmt=" %.0f %%", padding=2)
    axes.invert_yaxis()
    axes.set(xlim=(0, 112))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _shares(weights: pd.Series) -> str:
    return ", ".join(f"{name} {100 * weight:.0f} %" for name, weight in weights.items())
