"""The table of every accuracy beside its yardsticks."""

import pytest

from darl.report.accuracies import PIXELS, UNTRAINED, accuracies
from darl.report.findings import find
from tests.report.example_trials import ORDERS, SEARCH, THREE, cell
from tests.report.figures.example_figures import drawn_figure, orders, table

YARDSTICKS = {"pixels_probe_top1": 0.61, "few_shot_5_top1": 0.4, "init_few_shot_5_top1": 0.25}


def test_each_cell_and_yardstick_has_its_means() -> None:
    cells = [cell(name, 0.5, 0.6, 0.7, **YARDSTICKS) for name in ("raster", "hilbert")]
    measured = accuracies(orders(*cells, cell("spiral", 0.8, 0.8, 0.8, **YARDSTICKS)))
    assert [metric.column for metric in measured.metrics] == ["probe_top1", "knn_top1", "few_shot_5_top1"]
    assert measured.cells == ["spiral", "raster", "hilbert"]
    means = {metric: measured.table[(metric, "mean")].to_dict() for metric in ("probe_top1", "few_shot_5_top1")}
    expected = {"spiral": 0.8, "raster": 0.6, "hilbert": 0.6, UNTRAINED: 0.3, PIXELS: 0.61}
    assert means["probe_top1"] == pytest.approx(expected)
    few = {"spiral": 0.4, "raster": 0.4, "hilbert": 0.4, UNTRAINED: 0.25, PIXELS: float("nan")}
    assert means["few_shot_5_top1"] == pytest.approx(few, nan_ok=True)
    assert measured.table.loc["raster", ("probe_top1", "high")] == pytest.approx(0.6 + 0.2484, abs=1e-3)
    assert measured.table.loc[PIXELS, ("probe_top1", "seeds")] == 1


def test_a_search_shows_fresh_seeds_alone() -> None:
    own = cell("paper", 0.9, sweep=SEARCH, **YARDSTICKS)
    fresh = cell("paper", 0.5, 0.6, sweep=SEARCH, first=1, **YARDSTICKS)
    (finding,) = find(SEARCH, table([*own, *fresh]))
    assert accuracies(finding).table.loc["paper", ("probe_top1", "mean")] == pytest.approx(0.55)


def test_failed_trials_and_metrics_that_were_not_measured_are_left_out() -> None:
    failed = cell("hilbert", 0.1, 0.1, 0.1, status="failed", error="x")
    measured = accuracies(orders(THREE[0], failed))
    assert measured.cells == ["raster"]
    assert {metric.column for metric in measured.metrics} == {"probe_top1", "knn_top1"}


def test_the_figure_has_a_panel_for_each_and_lines_at_the_yardsticks() -> None:
    cells = [cell(name, 0.5, 0.6, 0.7, **YARDSTICKS) for name in ORDERS.cells]
    shown = drawn_figure("protocols", orders(*cells))
    panels = [axes for axes in shown.figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["linear probe (%)", "kNN (%)", "5 labels a class (%)"]
    upright = [
        line.get_xdata()[0]
        for line in panels[0].lines
        if len(set(line.get_xdata())) == 1 and len(line.get_ydata()) == 2
    ]
    assert sorted(upright) == pytest.approx([30.0, 61.0])
    assert "raster: linear probe 60.0 %" in shown.alt
    assert "raw pixels: linear probe 61.0 %" in shown.alt
