"""Cells that recur in every group, in one matrix and in separate figures."""

import numpy as np
import pandas as pd
import pytest

from darl.experiment import Experiment
from darl.metrics import METRICS
from darl.report.figures import draw_all, headings
from darl.report.figures.matrix import draw_matrix, matrix
from darl.report.findings import find
from darl.sweep.design import Design
from tests.report.example_trials import PAPER, cell
from tests.report.figures.example_figures import axes, curves, table


def transfer() -> tuple[Design, pd.DataFrame]:
    """Two schedules on two data sets."""
    schedules = {"paper": PAPER, "best of digits": {"noise.a": 0.2, "noise.b": 1.5}}
    sets = ("digits:0-4", "digits:5-9")
    cells = {f"{name} on {data}": {"data": data, **point} for name, point in schedules.items() for data in sets}
    groups = {label: label.rpartition(" on ")[2] for label in cells}
    baselines = {data: f"paper on {data}" for data in sets}
    design = Design(name="t", question="?", base=Experiment(epochs=5), cells=cells, groups=groups, baselines=baselines)
    rows = [cell(label, 0.5 + 0.1 * place, sweep=design) for place, label in enumerate(cells)]
    return design, table([trial for cells in rows for trial in cells])


class TestMatrix:
    def test_choices_by_group(self) -> None:
        design, trials = transfer()
        rows = pd.concat([finding.table for finding in find(design, trials)])
        values = matrix(design, rows)
        assert values.index.tolist() == ["paper", "best of digits"]
        assert values.columns.tolist() == ["digits:0-4", "digits:5-9"]
        assert values.to_numpy().tolist() == pytest.approx(np.array([[0.5, 0.6], [0.7, 0.8]]))

    @pytest.mark.parametrize(("metric", "best"), [("probe_top1", 1), ("val_loss", 0)])
    def test_values_and_the_best(self, metric: str, best: int) -> None:
        values = pd.DataFrame({"x": [0.5, 0.7], "y": [0.6, np.nan]}, index=["one", "two"])
        half = pd.DataFrame({"x": [0.01, np.nan], "y": [np.nan, np.nan]}, index=["one", "two"])
        drawn = axes()
        draw_matrix(values, drawn, METRICS[metric], half)
        shown, rising = [text.get_text() for text in drawn.texts], metric == "probe_top1"
        assert shown == (["50.0 % ± 1.0", "60.0 %", "70.0 %", ""] if rising else ["0.5 ± 0.01", "0.6", "0.7", ""])
        rows = [round(frame.get_y() + 0.44) for frame in drawn.patches if frame.get_x() < 0]
        assert rows == [best]

    def test_cells_that_lack_seeds_are_in_brackets_and_never_the_best(self) -> None:
        values = pd.DataFrame({"x": [0.5, 0.7], "y": [0.6, 0.5]}, index=["one", "two"])
        complete = pd.DataFrame({"x": [True, False], "y": [False, False]}, index=["one", "two"])
        drawn = axes()
        draw_matrix(values, drawn, METRICS["probe_top1"], values * np.nan, complete)
        assert [text.get_text() for text in drawn.texts] == ["50.0 %", "(60.0 %)", "(70.0 %)", "(50.0 %)"]
        framed = [(frame.get_x(), frame.get_y()) for frame in drawn.patches]
        assert framed == [pytest.approx((-0.47, -0.44))]

    def test_each_group_has_its_own_figures(self) -> None:
        design, trials = transfer()
        findings = find(design, trials)
        drawn = draw_all(findings, curves(trials))
        names = [figure.name for figure in drawn]
        assert names[0] == "matrix"
        assert {"cells-digits-0-4", "cells-digits-5-9"} <= set(names)
        assert len(set(names)) == len(names)
        assert headings(findings) == ["digits:0-4", "digits:5-9"]
        assert {figure.heading for figure in drawn} == {"", *headings(findings)}
