"""Small sweeps as frames, and their figures and axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from darl.report.figures import ReportFigure
from darl.report.figures.choose import FIGURE_MODULES
from darl.report.figures.style import applied, new_figure
from darl.report.findings import Findings, find
from darl.results.schema import curves_schema, trials_schema
from darl.sweep.design import Design
from tests.report.example_trials import ORDERS, PAPER, SEARCH, Row, row

GAMMAS = {name: 0.2 for name in trials_schema().names if name.startswith("val_loss_gamma")}


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """A table with every column, as read from a folder."""
    return pd.DataFrame(list(rows)).reindex(columns=trials_schema().names)


def orders(*cells: list[Row], sweep: Design = ORDERS) -> Findings:
    (finding,) = find(sweep, table([trial for rows in cells for trial in rows]))
    return finding


def curves(trials: pd.DataFrame, epochs: Sequence[int] = (0, 2, 5)) -> pd.DataFrame:
    """Curves that rise linearly to the final probe; a stopped trial reports last after epoch 2."""
    rows = [
        {"trial_id": trial["trial_id"], "attempt": 0, "epoch": epoch, "knn_top1": 0.1 * epoch}
        | {"probe_top1": 0.3 + epoch / 5 * ((0.5 if pd.isna(trial["probe_top1"]) else trial["probe_top1"]) - 0.3)}
        for trial in trials.to_dict("records")
        for epoch in epochs
        if trial["status"] == "finished" or epoch <= 2
    ]
    return pd.DataFrame(rows).reindex(columns=curves_schema().names)


def by_noise(a: float, b: float) -> float:
    """A score whose best value is at a = 0.1, b = 1."""
    return 0.9 - 0.01 * np.log10(a / 0.1) ** 2 - 0.02 * np.log10(b) ** 2


def search_rows(side: int = 5, **values: Any) -> list[Row]:
    """Rows at the paper's point and on a grid of side² points."""
    places = [(a, b) for a in np.geomspace(0.01, 4, side) for b in np.geomspace(0.1, 8, side)]
    points = [PAPER, *({"noise.a": float(f"{a:.4g}"), "noise.b": float(f"{b:.4g}")} for a, b in places)]
    return [row(SEARCH.experiment(point), by_noise(*point.values()), **{**GAMMAS, **values}) for point in points]


def drawn_figure(name: str, finding: Findings) -> ReportFigure:
    """The figure of this name."""
    (module,) = [module for module in FIGURE_MODULES if name == module.NAME]
    with applied():
        figure = module.draw(finding, curves(finding.trials))
    assert figure is not None
    assert figure.name == name
    return figure


def axes() -> Axes:
    return new_figure(4, 3).subplots()
