"""The figure of means and differences with their intervals."""

from dataclasses import replace

import numpy as np
import pytest

from darl.report.figures.intervals import draw_differences, draw_means
from darl.report.figures.looks import looks
from darl.report.figures.style import new_figure
from darl.report.findings import find
from tests.report.example_trials import ORDERS, PAPER, SEARCH, THREE, cell, row
from tests.report.figures.example_figures import GAMMAS, drawn_figure, orders, search_rows, table


class TestIntervals:
    def test_rows_lines_and_dots(self) -> None:
        finding = orders(*THREE)
        single = finding.trials[["cell", "seed", "probe_top1"]]
        means, apart = new_figure(7, 3).subplots(1, 2)
        draw_means(finding.table, single, means, "probe_top1", looks(finding))
        draw_differences(finding.table, apart, "probe_top1", looks(finding))
        assert [text.get_text() for text in means.get_yticklabels()] == ["hilbert", "raster", "spiral"]
        assert means.get_ylim()[0] > means.get_ylim()[1]  # the first above
        assert sum(len(np.asarray(dots.get_offsets())) for dots in means.collections) == 9
        upright = [line.get_xdata()[0] for line in means.lines if line.get_linestyle() == "--"]
        assert upright == pytest.approx([61.0])
        marks = [line.get_xdata()[0] for line in apart.lines if len(np.asarray(line.get_xdata())) == 1]
        assert marks == pytest.approx([2.0, -9.0])
        spans = [np.ptp(line.get_xdata()) for line in apart.lines if line.get_linewidth() == pytest.approx(2.4)]
        assert spans[0] == pytest.approx(2 * 4.302653 / 3**0.5, rel=1e-4)
        assert "points" in apart.get_xlabel()

    def test_an_incomplete_cell_is_hollow_and_says_so(self) -> None:
        finding = orders(THREE[0], THREE[1], cell("spiral", 0.7, 0.71))
        shown = drawn_figure("cells", finding)
        labels = [text.get_text() for text in shown.figure.axes[0].get_yticklabels()]
        assert labels[-1].startswith("spiral\n2 of 3")
        hollow = [line for line in shown.figure.axes[0].lines if line.get_markerfacecolor() == "none"]
        assert [line.get_xdata()[0] for line in hollow] == pytest.approx([70.5])
        assert "Hollow" in shown.caption

    def test_one_seed_has_no_intervals(self) -> None:
        finding = orders(cell("raster", 0.6), cell("hilbert", 0.7), sweep=replace(ORDERS, seeds=1))
        shown = drawn_figure("cells", finding)
        assert "no intervals" in shown.caption
        assert all(
            np.isfinite(np.asarray(line.get_xdata())).all() for panel in shown.figure.axes for line in panel.lines
        )

    def test_the_selection_seed_is_not_shown(self) -> None:
        race = [row(SEARCH.experiment(point, repeat), 0.8 + 0.01 * repeat, **GAMMAS)
                for point in (PAPER, {"noise.a": 0.2, "noise.b": 0.8944}) for repeat in (1, 2, 3)]  # fmt: skip
        (finding,) = find(SEARCH, table(search_rows() + race))
        shown = drawn_figure("cells", finding)
        assert "fresh seeds" in shown.caption
        assert sum(len(np.asarray(dots.get_offsets())) for dots in shown.figure.axes[0].collections) == 6
