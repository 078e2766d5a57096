"""Small sweeps as frames, and the pictures and axes that are drawn of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from darl.report.figures import ReportFigure, denoising, enlarged, intervals, learning, noise_map, schedules
from darl.report.figures import orders as order_paths
from darl.report.figures.style import applied, new_figure
from darl.report.findings import Findings, find
from darl.results.schema import curves_schema, trials_schema
from darl.sweep.design import Design
from tests.report.example_trials import ORDERS, PAPER, SEARCH, Row, row

GAMMAS = {name: 0.2 for name in trials_schema().names if name.startswith("val_loss_gamma")}


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """As it is read from a folder: with every column."""
    return pd.DataFrame(list(rows)).reindex(columns=trials_schema().names)


def orders(*cells: list[Row], sweep: Design = ORDERS) -> Findings:
    (found,) = find(sweep, table([one for rows in cells for one in rows]))
    return found


def curves(trials: pd.DataFrame, epochs: Sequence[int] = (0, 2, 5)) -> pd.DataFrame:
    """Straight to the final probe; a trial that was stopped has its last report after epoch 2."""
    rows = [
        {"trial_id": one["trial_id"], "attempt": 0, "epoch": epoch, "knn_top1": 0.1 * epoch}
        | {"probe_top1": 0.3 + epoch / 5 * ((0.5 if pd.isna(one["probe_top1"]) else one["probe_top1"]) - 0.3)}
        for one in trials.to_dict("records")
        for epoch in epochs
        if one["status"] == "finished" or epoch <= 2
    ]
    return pd.DataFrame(rows).reindex(columns=curves_schema().names)


def by_noise(a: float, b: float) -> float:
    """Best at a = 0.1, b = 1."""
    return 0.9 - 0.01 * np.log10(a / 0.1) ** 2 - 0.02 * np.log10(b) ** 2


def search_rows(side: int = 5, **values: Any) -> list[Row]:
    """The paper's point, and a grid of side² places."""
    places = [(a, b) for a in np.geomspace(0.01, 4, side) for b in np.geomspace(0.1, 8, side)]
    points = [PAPER, *({"noise.a": float(f"{a:.4g}"), "noise.b": float(f"{b:.4g}")} for a, b in places)]
    return [row(SEARCH.experiment(one), by_noise(*one.values()), **{**GAMMAS, **values}) for one in points]


MODULES = {
    "cells": intervals, "map": noise_map, "schedules": schedules, "orders": order_paths, "enlarged": enlarged,
    "learning": learning, "denoising": denoising,
}  # fmt: skip


def drawn_figure(name: str, found: Findings) -> ReportFigure:
    """One of the pictures."""
    with applied():
        picture = MODULES[name].draw(found, curves(found.trials))
    assert picture is not None
    assert picture.name == name
    return picture


def axes() -> Axes:
    return new_figure(4, 3).subplots()
