"""Recorded grids: every cell of a table of trials, with what each showed at its rungs and what it cost."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from darl.sweep.space import Point

GRIDS = {name: Path(__file__).with_name(f"{name}_grid.parquet") for name in ("noise", "joint")}
"""`noise` covers the space of `sweeps/noise_schedule.py`, `joint` that of `sweeps/joint.py` but for the order."""

METRICS = ("probe_top1", "knn_top1")

Cell = tuple[tuple[str, Any], ...]
"""A point's items."""


class Grid:
    """Recorded cells: `curves` by cell and epoch, `values` in the end, and `seconds` of whole trials.

    All of them are means over a cell's seeds.

    rows: a column for each path of the points, null where a point lacks it; then `seed`, `epoch`, `METRICS` and
    `seconds`.
    """

    def __init__(self, rows: pd.DataFrame):
        measured = [*METRICS, "seconds"]
        self.names = [str(name) for name in rows.columns if name not in (*measured, "seed", "epoch")]
        self.curves: dict[Cell, dict[int, dict[str, Any]]] = {}
        means = rows.groupby([*self.names, "epoch"], dropna=False)[measured].mean()
        for row in means.reset_index().to_dict("records"):
            cell = tuple((name, row[name]) for name in self.names if not pd.isna(row[name]))
            self.curves.setdefault(cell, {})[row["epoch"]] = {str(name): value for name, value in row.items()}
        self.cells = list(self.curves)
        self.epochs = max(epoch for curve in self.curves.values() for epoch in curve)
        self.values: dict[Cell, float] = {cell: curve[self.epochs]["probe_top1"] for cell, curve in self.curves.items()}
        self.seconds: dict[Cell, float] = {cell: curve[self.epochs]["seconds"] for cell, curve in self.curves.items()}
        self.total = sum(self.seconds.values())
        alike: dict[Cell, list[Cell]] = {}
        for cell in self.cells:
            alike.setdefault(_blanked(cell), []).append(cell)
        self._alike = {blank: (cells, np.array([_logs(cell) for cell in cells])) for blank, cells in alike.items()}

    def nearest(self, point: Point) -> Cell:
        """The cell nearest to a point in the logarithm of its numbers, among those with the point's other values."""
        values = tuple((name, point[name]) for name in self.names if name in point)
        cells, logs = self._alike[_blanked(values)]
        return cells[int(((logs - np.array(_logs(values))) ** 2).sum(axis=1).argmin())]


def _blanked(cell: Cell) -> Cell:
    """A cell without its numbers: cells that agree in this differ in numbers only."""
    return tuple((name, None if isinstance(value, float) else value) for name, value in cell)


def _logs(cell: Cell) -> list[float]:
    return [math.log(value) for _, value in cell if isinstance(value, float)]
