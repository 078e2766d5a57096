"""The validation loss by signal fraction: how well patches are denoised at each gamma, whatever the schedule."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from darl.errors import UserError
from darl.metrics import GAMMA_LOSSES, VALIDATION_LOSS
from darl.records import flatten
from darl.report.figures.cells import finished, notable, roles
from darl.report.figures.figure import ReportFigure
from darl.report.figures.looks import looks
from darl.report.figures.style import Look, new_figure, wrapped
from darl.report.findings import Findings
from darl.sweep.comparability import require_comparable

__all__ = ["NAME", "by_gamma", "draw", "draw_losses"]

NAME: str = "denoising"

_CAPTION = (
    "{what}. All are evaluated on the same images with the same noise, whatever schedule a model was trained with. At "
    "gamma = 0 a patch is predicted from the patches before it alone."
)

_MEANS = "Means over the finished seeds"

_ON_ONE_SEED = "Each line is one trial on the search's own seed"


def draw(findings: Findings, curves: pd.DataFrame) -> ReportFigure | None:
    """The figure for the notable cells; None if losses are not comparable or missing."""
    try:
        trained = findings.sweep.experiments(findings.trials["config"])
        records = [flatten(experiment.identity) for experiment in trained if experiment is not None]
        require_comparable(VALIDATION_LOSS.column, records)
    except UserError:
        return None
    done = finished(findings)
    losses = by_gamma(done.loc[done["seed"].isin(findings.sweep.explored_seeds)])
    named = {cell: looks(findings)[cell] for cell in notable(findings) if cell in losses.index}
    if not named or losses.shape[1] < 2:
        return None
    figure = new_figure(7.2, 3.6)
    axes = figure.subplots()
    draw_losses(losses, axes, named)
    figure.legend(loc="outside right upper")
    caption = _CAPTION.format(what=_ON_ONE_SEED if findings.sweep.selection_seeds else _MEANS)
    if len(named) < len(findings.experiments):
        caption += f" {len(named)} of {len(findings.experiments)} cells are shown."
    return ReportFigure(NAME, "Validation loss by signal fraction", _alt(losses, findings), caption, figure)


def by_gamma(trials: pd.DataFrame) -> pd.DataFrame:
    """The mean loss of each cell (rows) at each gamma (columns, numbers); cells without any loss are left out."""
    gammas = {metric.column: gamma for gamma, metric in GAMMA_LOSSES.items() if metric.column in trials}
    table = trials.groupby("cell", sort=False)[list(gammas)].agg("mean")
    table = table.dropna(how="all").dropna(axis="columns", how="all")
    table.columns = [gammas[name] for name in table.columns]
    return table.loc[:, sorted(table.columns)]


def draw_losses(losses: pd.DataFrame, axes: Axes, named: Mapping[str, Look]) -> None:
    """Draw a line for each named cell."""
    for cell, look in named.items():
        axes.plot(losses.columns, losses.loc[cell], label=wrapped(cell), **look.line)
    axes.set(xlabel="signal fraction gamma   (0: pure noise, 1: clean)", ylabel=VALIDATION_LOSS.axis, ylim=(0, None))
    axes.grid(True)


def _alt(losses: pd.DataFrame, findings: Findings) -> str:
    first, last = losses.columns[0], losses.columns[-1]
    values = [
        f"The {role}, {cell}: {losses.loc[cell, first]:.3g} at {first:g} and {losses.loc[cell, last]:.3g} at {last:g}."
        for cell, role in roles(findings).items()
        if cell in losses.index
    ]
    return " ".join(["Validation loss over the signal fraction gamma.", *values])
