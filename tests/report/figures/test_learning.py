"""The figures of learning curves and of denoising losses."""

from dataclasses import replace

import pandas as pd
import pytest

from darl.report.figures import draw_all
from darl.report.figures.learning import draw_cells, draw_trials, evaluations_of
from darl.report.figures.looks import looks
from darl.report.figures.style import Look
from darl.report.findings import find
from tests.report.example_trials import ORDERS, SEARCH, THREE, cell
from tests.report.figures.example_figures import GAMMAS, axes, curves, drawn_figure, orders, search_rows, table


class TestLearning:
    def test_a_stopped_trial_ends_with_a_cross_at_its_rung(self) -> None:
        rows = search_rows(2)
        rows[2] |= {"status": "stopped", "probe_top1": None}
        (finding,) = find(SEARCH, table(rows))
        drawn, reported = axes(), evaluations_of(finding.trials, curves(finding.trials))
        draw_trials(reported, drawn, "probe_top1", {"paper": ("the paper's", Look("#d55e00", "*"))})
        (cross,) = [line for line in drawn.lines if line.get_marker() == "x"]
        assert cross.get_xdata()[0] == 2
        (own,) = [line for line in drawn.lines if line.get_label() == "the paper's"]
        assert (own.get_color(), own.get_ydata()[-1]) == ("#d55e00", pytest.approx(89.73, abs=0.01))

    def test_no_cross_where_the_metric_was_not_measured(self) -> None:
        rows = search_rows(2)
        rows[2] |= {"status": "stopped", "probe_top1": None}
        (finding,) = find(SEARCH, table(rows))
        reported = evaluations_of(finding.trials, curves(finding.trials))
        reported.loc[(reported["epoch"] == 2) & (reported["status"] == "stopped"), "probe_top1"] = None
        drawn = axes()
        draw_trials(reported, drawn, "probe_top1", {})
        assert not [line for line in drawn.lines if line.get_marker() == "x"]

    def test_rungs_are_drawn_in_the_panel_of_their_metric(self) -> None:
        (finding,) = find(SEARCH, table(search_rows(2)))
        probe, cheap = drawn_figure("learning", finding).figure.axes
        at = [[line.get_xdata()[0] for line in panel.lines if line.get_zorder() == 0] for panel in (probe, cheap)]
        assert SEARCH.rungs == {1: "knn_top1", 3: "probe_top1"}
        assert at == [[3], [1]]
        assert [panel.get_title(loc="left") for panel in (probe, cheap)] == [
            "linear probe, top-1 (%)",
            "kNN, top-1 (%)",
        ]

    def test_labels_of_rungs_are_above_the_curves(self) -> None:
        (finding,) = find(SEARCH, table(search_rows(2)))
        for panel in drawn_figure("learning", finding).figure.axes:
            (name,) = panel.texts
            assert name.get_text() == "rung\n(not used)"
            assert name.xy[1] == 1  # pyright: ignore
            assert name.get_verticalalignment() == "bottom"

    def test_a_search_shows_only_trials_on_its_own_seed(self) -> None:
        searched, fresh = search_rows(2), cell("paper", 0.2, sweep=SEARCH, first=1)
        alone, both = (
            drawn_figure("learning", find(SEARCH, table(rows))[0]) for rows in (searched, [*searched, *fresh])
        )
        assert "The best and the baseline, paper, goes from 30.0 % to 89.7 %" in both.alt
        assert len(both.figure.axes[0].lines) == len(alone.figure.axes[0].lines)

    def test_a_cell_is_the_mean_over_its_seeds(self) -> None:
        finding = orders(*THREE)
        drawn = axes()
        draw_cells(evaluations_of(finding.trials, curves(finding.trials)), drawn, "probe_top1", looks(finding))
        ends = {line.get_label(): line.get_ydata()[-1] for line in drawn.lines}
        assert ends == pytest.approx({"raster": 61.0, "hilbert": 63.0, "spiral": 52.0})

    def test_the_last_attempt_of_each_epoch_counts(self) -> None:
        finding = orders(cell("raster", 0.6))
        first = curves(finding.trials)
        again = first[first["epoch"] == 5].assign(attempt=1, probe_top1=0.9)
        reported = evaluations_of(finding.trials, pd.concat([again, first]))
        assert reported["epoch"].tolist() == [0, 2, 5]
        assert reported["probe_top1"].tolist()[-1] == 0.9


class TestDenoising:
    def test_losses_by_gamma(self) -> None:
        steps = dict(zip(GAMMAS, (0.6, 0.5, 0.4, 0.3, 0.2, 0.1), strict=True))
        design = replace(ORDERS, cells={name: {"position": name} for name in ("absent", "rope2d")}, baseline="absent")
        finding = orders(
            cell("absent", 0.6, sweep=design, **steps), cell("rope2d", 0.7, sweep=design, **GAMMAS), sweep=design
        )
        shown = drawn_figure("denoising", finding)
        (own,) = [line for line in shown.figure.axes[0].lines if line.get_label() == "absent"]
        assert list(own.get_xdata()) == [0.0, 0.1, 0.3, 0.5, 0.7, 0.9]
        assert list(own.get_ydata()) == pytest.approx(list(steps.values()))
        assert "The baseline, absent: 0.6 at 0 and 0.1 at 0.9" in shown.alt

    def test_losses_of_other_targets_are_not_drawn_together(self) -> None:
        cells = {str(on): {"objective.normalize_target": on} for on in (True, False)}
        design = replace(ORDERS, cells=cells, baseline=None)
        finding = orders(*(cell(name, 0.5, sweep=design, **GAMMAS) for name in cells), sweep=design)
        assert "denoising" not in [figure.name for figure in draw_all([finding], curves(finding.trials))]
