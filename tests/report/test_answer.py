"""The words of a report: numbers as text, and the sentences of answers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from darl.metrics import KNN
from darl.report.findings import find
from darl.report.format import above, difference, measured, points, probability, score, seconds, value
from darl.results.schema import trials_schema
from darl.sweep.base import Sweep
from darl.sweep.wording import several
from tests.report.example_trials import ORDERS, THREE, Row, cell, lost


def frame(*rows: list[Row]) -> pd.DataFrame:
    """The rows as a frame, as pandas reads it."""
    return pd.DataFrame([trial for cells in rows for trial in cells], columns=trials_schema().names)


class TestSentence:
    def of(self, trials: pd.DataFrame, sweep: Sweep = ORDERS, metric: str | None = None) -> str:
        return find(sweep, trials, metric)[0].sentence

    def test_two_cells(self):
        cells = {name: ORDERS.cells[name] for name in ("raster", "hilbert")}
        assert self.of(frame(*THREE[:2]), replace(ORDERS, cells=cells)) == (
            "hilbert leads with 63.0 % ± 5.0 (3 seeds), 2.0 points above raster (95 % interval -0.5 to 4.5). With 3 "
            "seeds no difference counts as significant: set seeds to 6 or more. "
            "The leader is 33.0 points above random initialisation."
        )

    @pytest.mark.parametrize(
        ("pixels", "end"),
        [
            (0.5, "The leader is 13.0 points above raw pixels and 33.0 points above random initialisation."),
            (
                0.7,
                "The leader is 7.0 points below raw pixels and 33.0 points above random initialisation. These features "
                "are worse than the pixels that they were computed from.",
            ),
        ],
    )
    def test_the_answer_says_what_the_features_are_worth_beside_raw_pixels(self, pixels: float, end: str):
        rows = [row | {"pixels_probe_top1": pixels} for cells in THREE for row in cells]
        assert self.of(frame(rows)).endswith(end)

    def test_a_loss_is_put_beside_raw_pixels_by_the_linear_probe(self):
        rows = [row | {"pixels_probe_top1": 0.5} for row in cell("raster", 0.6, 0.61, 0.62)]
        text = self.of(frame(rows), replace(ORDERS, cells={"raster": {"order": "raster"}}), "val_loss")
        assert "It is 11.0 points above raw pixels and 31.0 points above random initialisation by linear probe." in text

    def test_a_bound_on_all_differences_is_told_where_it_is_small(self):
        raster, hilbert = cell("raster", *[0.6] * 6), cell("hilbert", 0.6, 0.62, 0.59, 0.61, 0.6, 0.6)
        near, far = (
            cell("spiral", *(apart + value for value in (0.6, 0.61, 0.59, 0.6, 0.6, 0.6))) for apart in (0.0, 0.02)
        )
        sweep = replace(ORDERS, seeds=6)
        assert (
            "(Holm-corrected p = 0.93): more seeds narrow the interval. No cell differs from raster by more than "
            "1.4 points (95 % confidence for each)."
        ) in self.of(frame(raster, hilbert, near), sweep)
        assert "No cell differs" not in self.of(frame(raster, hilbert, far), sweep)
        assert "No cell differs" not in self.of(frame(*THREE))  # of too few seeds

    def test_the_baseline_is_best(self):
        rows = cell("raster", 0.62, 0.64, 0.63), cell("hilbert", 0.60, 0.63, 0.61), cell("spiral", 0.5, 0.51, 0.5)
        text = self.of(frame(*rows))
        assert text.startswith(
            "raster, the baseline, leads with 63.0 % ± 2.5 (3 seeds); the next is hilbert, 1.7 points below "
            "(95 % interval -3.1 to -0.2). With 3 seeds no difference counts as significant"
        )

    def test_one_seed_decides_nothing(self):
        rows = cell("raster", 0.6), cell("hilbert", 0.62), cell("spiral", 0.5)
        assert self.of(frame(*rows), replace(ORDERS, seeds=1)) == (
            "hilbert leads with 62.0 % (one seed), 2.0 points above raster. One seed decides nothing, and the best of "
            "many looks better than it is: set seeds to 6 or more. The leader is 32.0 points above random "
            "initialisation."
        )

    def test_seeds_without_a_significant_difference(self):
        spiral = cell("spiral", 0.5, 0.51, 0.49, 0.5, 0.5, 0.5)
        rows = cell("raster", *[0.6] * 6), cell("hilbert", 0.6, 0.62, 0.59, 0.61, 0.6, 0.6), spiral
        text = self.of(frame(*rows), replace(ORDERS, seeds=6))
        assert "The difference is not significant (Holm-corrected p = 0.47): more seeds narrow" in text
        assert "Significantly better than raster: 0 of 2 cells; significantly worse: 1." in text

    def test_planned_seeds_are_run_before_more_are_asked_for(self):
        text = self.of(frame(cell("raster", 0.6, 0.61), cell("hilbert", 0.62, 0.64)), replace(ORDERS, seeds=8))
        assert "no difference counts as significant: 8 are planned; run the same command to continue." in text

    def test_differences_that_do_not_vary_bound_nothing(self):
        raster, hilbert = cell("raster", *[0.6] * 6), cell("hilbert", 0.6, 0.62, 0.59, 0.61, 0.6, 0.6)
        text = self.of(frame(raster, hilbert, cell("spiral", *[0.6] * 6)), replace(ORDERS, seeds=6))
        assert "not significant" in text
        assert "No cell differs" not in text

    def test_no_cell_is_complete(self):
        rows = cell("raster", 0.6), cell("hilbert", 0.62, 0.63)
        text = self.of(frame(*rows))
        assert text.startswith("No cell has all its 3 seeds yet; so far hilbert leads with 62.5 % ± 6.4 (2 seeds), 2.0")

    def test_the_baseline_has_no_result(self):
        text = self.of(frame(*THREE[1:]))
        assert ", before spiral with 52.0 % ± 4.3. raster, the baseline, has no result, so the differences" in text

    def test_no_baseline(self):
        text = self.of(frame(*THREE), replace(ORDERS, baseline=None))
        assert ", before raster with 61.0 % ± 2.5. There is no baseline, so the differences are not tested." in text

    def test_no_seed_in_common(self):
        text = self.of(frame(cell("raster", 0.6), cell("hilbert", 0.7, first=1)))
        assert "(one seed). hilbert and raster have no seed in common, so they are not compared." in text

    def test_one_cell(self):
        alone = replace(ORDERS, cells={"raster": {}}, seeds=1)
        assert self.of(frame(cell("raster", 0.2, sweep=alone)), alone) == (
            "raster has 20.0 % (one seed). No other setting was run. It is 10.0 points below random initialisation."
        )
        assert "(3 seeds). No other cell has a result to compare it with." in self.of(frame(THREE[0]))

    def test_losses_without_labels(self):
        cells = {name: {"position": name} for name in ("absent", "rope2d", "learned")}
        sweep = replace(ORDERS, cells=cells, baseline="absent", seeds=2, metric="val_loss")
        nothing = {"knn_top1": None, "init_probe_top1": None, "init_knn_top1": None}
        rows = [
            trial
            for name, losses in (("absent", (0.2, 0.21)), ("rope2d", (0.18, 0.2)), ("learned", (0.3, 0.3)))
            for place, loss in enumerate(losses)
            for trial in cell(name, None, sweep=sweep, first=place, val_loss=loss, **nothing)
        ]
        assert self.of(frame(rows), sweep) == (
            "rope2d leads with 0.19 ± 0.127 (2 seeds), 0.015 below absent (95 % interval -0.0785 to 0.0485). With 2 "
            "seeds no difference counts as significant: set seeds to 6 or more."
        )

    def test_nothing_finished(self):
        assert self.of(frame()) == "No trial has finished yet, so there is nothing to compare."
        text = self.of(frame(lost("raster", 0, "E"), lost("raster", 1, "E")))
        assert text == "No trial has finished (2 failed), so there is nothing to compare."


NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (score(0.6214, "probe_top1"), "62.1 %"),
        (score(0.12345678, "val_loss"), "0.1235"),
        (score(NAN, "knn_top1"), ""),
        (points(-0.0512), "-5.1"),
        (above(-0.0031, "probe_top1"), "0.3 points below"),
        (above(0.0031, "val_loss_gamma_0_1"), "0.0031 above"),
        (measured({"mean": 0.6, "low": 0.592, "high": 0.608}, "knn_top1"), "60.0 % ± 0.8"),
        (measured({"mean": 0.6, "low": NAN, "high": NAN}, "knn_top1"), "60.0 %"),
        (
            difference({"difference": -0.01, "difference_low": -0.02, "difference_high": 0}, KNN.column),
            "-1.0 (-2.0 to 0.0)",
        ),
        (difference({"difference": 0.01, "difference_low": NAN}, KNN.column), "+1.0"),
        (difference({"difference": NAN}, KNN.column), ""),
        (probability(0.00001), "< 0.001"),
        (probability(0.0123), "0.012"),
        (probability(NAN), ""),
        (value(0.0300001), "0.03"),
        (value(0.00312345), "0.003123"),
        (value(50000), "50000"),
        (value(16384.0), "16384"),
        (value(np.int64(123456)), "123456"),
        (value(float("inf")), "inf"),
        (value(1.0), "1"),
        (value("digits"), "digits"),
        (value(None), ""),
        (value(True), "True"),
        (value(pd.NA), ""),
        (seconds(12.4), "12 s"),
    ],
)
def test_numbers(text: str, expected: str):
    assert text == expected


def test_one_of_a_thing_is_said_in_the_singular():
    assert several(1, "fresh seeds") == "one fresh seed"
    assert [several(number, "trials") for number in (0, 3, 1024)] == ["0 trials", "3 trials", "1,024 trials"]
