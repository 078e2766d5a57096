"""Findings on the trials of a design, and their summary for the terminal."""

from dataclasses import replace

import pytest

from darl.experiment import Experiment
from darl.report.findings import find
from darl.report.terminal import summary
from tests.report.conftest import Make
from tests.report.example_answers import column, shown
from tests.report.example_trials import ORDERS, THREE, cell, lost


class TestDesign:
    def test_the_comparison(self, make: Make):
        (finding,) = find(ORDERS, make(*THREE))
        assert finding.table["cell"].tolist() == ["hilbert", "raster", "spiral"]
        assert finding.table["rank"].tolist() == [1, 2, 3]
        assert finding.table["complete"].all()
        best = finding.table.iloc[0]
        assert best[["mean", "difference", "gain", "knn_top1"]].tolist() == pytest.approx([0.63, 0.02, 0.33, 0.5])
        # by hand: t is 4.302653; differences of 1, 2 and 3 points have a standard deviation of 1 point
        half = 0.01 * 4.302653 / 3**0.5
        assert best[["difference_low", "difference_high"]].tolist() == pytest.approx([0.02 - half, 0.02 + half])
        assert best[["low", "high"]].tolist() == pytest.approx([0.63 - 2 * half, 0.63 + 2 * half])
        assert best[["seeds", "planned", "pairs"]].tolist() == [3, 3, 3]
        assert best[["seconds", "trials_seconds"]].tolist() == [12.0, 36.0]
        assert column(finding, "verdict") == {"hilbert": "inconclusive", "raster": "baseline", "spiral": "inconclusive"}
        assert finding.counts == {"finished": 9, "stopped": 0, "failed": 0, "missing": 0}
        assert (finding.metric, finding.notes, finding.found.empty) == ("probe_top1", [], True)

    def test_six_seeds_can_decide(self, make: Make):
        noise = [0.00, 0.01, -0.01, 0.005, 0.0, 0.01]
        rows = (
            cell("raster", *[0.6] * 6),
            cell("hilbert", *(0.65 + value for value in noise)),
            cell("spiral", *[0.6] * 6),
        )
        (finding,) = find(replace(ORDERS, seeds=6), make(*rows))
        assert column(finding, "verdict") == {"hilbert": "better", "raster": "baseline", "spiral": "inconclusive"}
        assert "above raster (95 % interval 4.5 to 6.0). The difference is significant (Holm-corrected p < 0.001)." in (
            finding.sentence
        )
        assert "Significantly better than raster: 1 of 2 cells; significantly worse: 0." in finding.sentence

    def test_an_incomplete_cell_is_not_ranked(self, make: Make):
        trials = make(*THREE[:2], cell("spiral", 0.99, 0.98))
        (finding,) = find(ORDERS, trials)
        assert finding.table["cell"].tolist() == ["hilbert", "raster", "spiral"]
        assert finding.table["rank"].isna().tolist() == [False, False, True]
        assert column(finding, "complete")["spiral"] is False
        assert finding.notes == ["spiral: 2 of 3 seeds"]
        assert finding.counts["missing"] == 1
        assert finding.sentence.startswith(
            "spiral has a better mean, 98.5 % ± 6.4, but only 2 of 3 seeds. Of the others, hilbert leads with "
            "63.0 % ± 5.0 (3 seeds), 2.0 points above raster"
        )

    def test_a_trivial_bound_on_accuracies_is_not_reported(self, make: Make):
        (finding,) = find(replace(ORDERS, seeds=2), make(cell("raster", 0.3, 0.5), cell("hilbert", 0.45, 0.5)))
        assert finding.sentence.startswith(
            "hilbert leads with 47.5 % ± 31.8 (2 seeds), 7.5 points above raster (95 % interval -87.8 to "
        )
        assert "No cell differs" not in finding.sentence

    def test_an_incomplete_cell_below_the_leader_is_not_mentioned(self, make: Make):
        (finding,) = find(ORDERS, make(*THREE[:2], cell("spiral", 0.5, 0.4)))
        assert finding.sentence.startswith("hilbert leads with 63.0 % ± 5.0 (3 seeds), 2.0 points above raster")

    def test_cells_without_any_result_are_in_the_table(self, make: Make):
        rows = [lost("spiral", repeat, "OutOfMemoryError: too wide") for repeat in range(3)]
        (finding,) = find(replace(ORDERS, cells={**ORDERS.cells, "snake": {"order": "snake"}}), make(*THREE[:2], *rows))
        assert finding.table["cell"].tolist() == ["hilbert", "raster", "spiral", "snake"]
        assert finding.table["mean"].isna().tolist() == [False, False, True, True]
        assert column(finding, "seeds")["spiral"] == 0
        assert column(finding, "trials_seconds") == {"hilbert": 36, "raster": 36, "spiral": 6, "snake": 0}
        assert finding.counts == {"finished": 6, "stopped": 0, "failed": 3, "missing": 3}
        assert finding.notes == ["spiral: 0 of 3 seeds", "snake: 0 of 3 seeds", "failed: OutOfMemoryError: too wide"]

    def test_at_most_three_distinct_errors_are_noted(self, make: Make):
        rows = [lost("spiral", repeat, f"E{repeat // 2}") for repeat in range(3)]
        more = [lost("hilbert", repeat, f"H{repeat}") for repeat in range(3)]
        (finding,) = find(ORDERS, make(*rows, *more))
        errors = [note for note in finding.notes if "seeds" not in note]
        assert len(errors) == 4
        assert len({note for note in errors if note.startswith("failed: ")}) == 3
        assert errors[-1] == "and 2 other errors"

    def test_only_the_last_attempt_counts(self, make: Make):
        first = cell("raster", None, status="failed", error="E")
        (finding,) = find(ORDERS, make(first, cell("raster", 0.6, attempt=1)))
        assert (finding.counts["failed"], finding.counts["finished"], len(finding.trials)) == (0, 1, 1)
        assert finding.notes[-1] != "failed: E"

    def test_stopped_trials_are_counted_and_not_averaged(self, make: Make):
        (finding,) = find(ORDERS, make(cell("raster", 0.6), cell("raster", 0.9, first=1, status="stopped")))
        assert column(finding, "mean")["raster"] == pytest.approx(0.6)
        assert finding.counts["stopped"] == 1

    def test_trials_of_other_settings_and_seeds_are_left_out(self, make: Make):
        longer = replace(ORDERS, base=Experiment(epochs=6))
        (finding,) = find(ORDERS, make(*THREE, cell("raster", 0.9, sweep=longer), cell("raster", 0.9, first=3)))
        assert column(finding, "mean")["raster"] == pytest.approx(0.61)
        assert len(finding.trials) == 9
        assert finding.notes == ["trials on seeds other than 0 to 2 are left out: 1"]
        assert set(finding.trials["cell"]) == set(ORDERS.cells)

    def test_several_versions_of_the_code_are_noted(self, make: Make):
        (finding,) = find(ORDERS, make(*THREE[1:], cell("raster", 0.6, 0.61, 0.62, git_commit="abc")))
        assert finding.notes == ["the trials were run by 2 versions of the code"]
        assert "9 finished, 0 stopped early, 0 failed" in shown(summary(finding))

    def test_each_group_is_compared_with_its_own_baseline(self, make: Make):
        design = replace(
            ORDERS,
            groups={"raster": "rows", "hilbert": "curves", "spiral": "curves"},
            baselines={"curves": "spiral"},
        )
        rows, curves = find(design, make(*THREE))
        assert rows.table["cell"].tolist() == ["raster"]
        assert curves.table["cell"].tolist() == ["hilbert", "spiral"]
        assert column(curves, "verdict")["spiral"] == "baseline"
        assert (set(rows.table["group"]), set(curves.table["group"])) == ({"rows"}, {"curves"})
        assert (rows.counts["finished"], curves.counts["finished"]) == (3, 6)
        assert rows.sentence.startswith("rows: raster has 61.0 %")
        assert "curves by linear probe" in shown(summary(curves))

    def test_baselines_of_groups_can_be_compared(self, make: Make):
        groups = {"raster": "rows", "hilbert": "curves", "spiral": "curves"}
        baselines = {"rows": "raster", "curves": "hilbert"}
        design = replace(ORDERS, groups=groups, baselines=baselines, across="shape")
        *_, across = find(design, make(*THREE))
        assert across.table["cell"].tolist() == ["hilbert", "raster"]
        assert column(across, "verdict")["raster"] == "baseline"
        assert column(across, "difference")["hilbert"] == pytest.approx(0.02)
        assert across.sentence.startswith("shape: hilbert leads with 63.0 %")
        each = {name: name for name in ORDERS.cells}  # losses compare within groups only
        alone = replace(design, groups=each, baselines=each)
        assert [finding.table["group"].iloc[0] for finding in find(alone, make(*THREE), "val_loss")] == list(
            ORDERS.cells
        )

    def test_findings_by_another_metric(self, make: Make):
        rows = cell("raster", 0.6, probe_top1_enlarged=0.5), cell("hilbert", 0.5, probe_top1_enlarged=0.55)
        (finding,) = find(replace(ORDERS, seeds=1), make(*rows), "probe_top1_enlarged")
        assert finding.table["cell"].tolist()[0] == "hilbert"
        assert finding.table["mean"].tolist()[:2] == [0.55, 0.5]
        assert finding.sentence == (  # random initialisation is not measured on enlarged images
            "hilbert leads with 55.0 % (one seed), 5.0 points above raster. One seed decides nothing, and the best of "
            "many looks better than it is: set seeds to 6 or more."
        )


class TestSummary:
    def test_summary_of_a_design(self, make: Make):
        (finding,) = find(ORDERS, make(*THREE))
        less, some, text = (shown(summary(finding, width=width)) for width in (80, 100, 132))
        assert ["(Holm)" in text_of for text_of in (less, some, text)] == [False, True, True]
        assert ["kNN" in text_of for text_of in (less, some, text)] == [False, False, True]
        assert ["wider terminal" in text_of for text_of in (less, some, text)] == [True, True, False]
        first, second, third = (line for line in text.splitlines() if " s " in line)
        parts = (
            "hilbert",
            "63.0 % ± 5.0",
            " 3 ",
            "+2.0 (-0.5 to 4.5)",
            "0.074",
            "inconclusive",
            "50.0 %",
            "+33.0",
            "12 s",
        )
        assert all(part in first for part in parts)
        assert "baseline" in second
        assert "-9.0 (" in third
        assert "9 finished, 0 stopped early, 0 failed" in text
        assert "nan" not in text.lower()

    def test_incomplete_cells_stand_last_and_are_marked(self, make: Make):
        text = shown(summary(find(ORDERS, make(*THREE[:2], cell("spiral", 0.99)))[0]))
        last = [line for line in text.splitlines() if " s " in line][-1]
        assert all(part in last for part in ("–", "spiral", "99.0 %", "1 of 3 (incomplete)", "one seed"))
        assert "7 finished, 0 stopped early, 0 failed, 2 missing" in text

    def test_without_a_baseline_there_are_no_tests(self, make: Make):
        text = shown(summary(find(replace(ORDERS, baseline=None), make(*THREE))[0]))
        assert "verdict" not in text
        assert "63.0 % ± 5.0" in text

    def test_a_baseline_without_trials_is_no_baseline_of_the_tables(self, make: Make):
        (finding,) = find(ORDERS, make(*THREE[1:]))
        assert (finding.comparison.baseline, finding.baseline) == ("raster", None)
        assert "verdict" not in shown(summary(finding))
        assert find(ORDERS, make(*THREE))[0].baseline == "raster"

    def test_knn_as_the_metric_has_no_second_column(self, make: Make):
        assert shown(summary(find(ORDERS, make(*THREE), "knn_top1")[0])).count("50.0 %") == 3

    def test_summary_without_trials(self, make: Make):
        text = shown(summary(find(ORDERS, make())[0]))
        assert "0 finished, 0 stopped early, 0 failed, 9 missing" in text
        assert "0 of 3 (incomplete)" in text
