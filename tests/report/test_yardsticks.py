"""The yardsticks in a report: a row for each rival, raw pixels and random weights, and the sentence."""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from darl.cli.yardsticks import beside_the_leader
from darl.report import html
from darl.report.collect import findings_of
from darl.report.findings import Findings, find
from darl.report.terminal import yardsticks_summary
from darl.report.yardsticks import texts, yardstick_rows
from darl.results.schema import curves_schema
from darl.sweep.yardsticks import Leader, Yardsticks, yardsticks
from tests.report.example_answers import shown
from tests.report.example_trials import NOISES, ORDERS, SEARCH, THREE, Row, row
from tests.report.figures.example_figures import table

HILBERT = Leader("hilbert", ORDERS.cells["hilbert"])
VALUES = {
    "hilbert": 0.63, "MAE": 0.61, "MAE, equal FLOPs": 0.64,
    "masked regression": 0.55, "masked regression, equal FLOPs": 0.56, "MSE": 0.60, "MSE, equal FLOPs": 0.60,
    "supervised": 0.9, "supervised, equal FLOPs": 0.91,
}  # fmt: skip
"""Means of the cells; each seed is 0.01 above the one before, and 0.0002 more for each letter of the cell's name."""


@cache
def design(seeds: int = 3) -> Yardsticks:
    return yardsticks(replace(ORDERS, seeds=seeds), [HILBERT])


def rows_of(own: Yardsticks, **values: Any) -> list[Row]:
    pixels = {"pixels_probe_top1": 0.5, "knn_top1": 0.5} | values
    middle = (own.seeds - 1) / 2
    return [
        row(
            own.experiment(own.cells[label], repeat),
            value + (repeat - middle) * (0.01 + 0.0002 * len(label)),
            init_probe_top1=0.3 + 0.01 * (repeat - middle),
            **pixels,
        )
        for label, value in VALUES.items()
        for repeat in range(own.seeds)
        if label in own.cells
    ]


def finding_of(own: Yardsticks, rows: list[Row] | None = None) -> Findings:
    (finding,) = find(own, table(rows_of(own) if rows is None else rows))
    return finding


@pytest.fixture(scope="module")
def finding() -> Findings:
    return finding_of(design())


def test_every_yardstick_has_a_row_with_both_comparisons_and_its_cost(finding: Findings) -> None:
    rows = {row["cell"]: row for row in yardstick_rows(finding)}
    assert list(rows) == [
        "hilbert, the leader", "MAE", "masked regression", "MSE", "supervised (with labels)", "raw pixels",
        "random initialisation",
    ]  # fmt: skip
    mae = rows["MAE"]
    assert (mae["passes"]["mean"], mae["flops"]["mean"]) == pytest.approx((0.61, 0.64))
    assert (mae["passes"]["difference"], mae["flops"]["difference"]) == pytest.approx((-0.02, 0.01))
    costs = {rival.name: rival.cost for rival in design().rivals}
    assert mae["cost"] == costs["MAE"]
    assert texts(mae, "probe_top1")["FLOPs per image"] == f"{costs['MAE']:.2f} ×"
    assert texts(mae, "probe_top1")["epochs"] == f"5, {round(5 / costs['MAE'])}"
    assert texts(rows["hilbert, the leader"], "probe_top1")["difference to the leader"] == ""


def test_raw_pixels_and_random_weights_are_compared_with_the_leader_seed_by_seed(finding: Findings) -> None:
    rows = {row["cell"]: row for row in yardstick_rows(finding)}
    leader = sorted(finding.trials.loc[finding.trials["cell"] == "hilbert", "probe_top1"])
    for name, own in (("raw pixels", [0.5, 0.5, 0.5]), ("random initialisation", [0.29, 0.3, 0.31])):
        apart = [one - other for one, other in zip(own, leader, strict=True)]
        low, high = stats.ttest_1samp(apart, 0).confidence_interval(0.95)
        passes = rows[name]["passes"]
        assert passes["mean"] == pytest.approx(sum(own) / 3)
        assert (passes["difference_low"], passes["difference_high"]) == pytest.approx((low, high))
        assert rows[name]["flops"] is None
        assert math.isnan(rows[name]["cost"])
    assert texts(rows["raw pixels"], "probe_top1")["equal image passes"] == "50.0 %"


def test_the_sentence_names_the_best_rival_and_calls_nothing_significant_under_six_seeds(finding: Findings) -> None:
    assert finding.sentence == (
        "At equal image passes the leader is 2.0 points above MAE (95 % interval 1.8 to 2.2), the best of 3 rivals, "
        "and at equal FLOPs 1.0 points below it (95 % interval -1.4 to -0.6). An image costs the leader 3.40 times the "
        "FLOPs of MAE. The leader is 27.0 points below training from scratch with all labels (95 % interval -27.1 to "
        "-26.9). With 3 seeds no difference counts as significant: set seeds to 6 or more."
    )


def test_six_seeds_say_what_is_significant() -> None:
    own = design(6)
    rows = rows_of(own)
    for index, trial in enumerate(trial for trial in rows if trial["objective"] == "mae"):
        trial["probe_top1"] += 0.05 * (-1) ** index
    text = finding_of(own, rows).sentence
    assert ", not significant), the best of" in text
    assert "training from scratch with all labels (95 % interval -27.1 to -26.9, significant)." in text
    assert "no difference counts" not in text


def test_one_seed_decides_nothing() -> None:
    text = finding_of(design(1)).sentence
    assert "At equal image passes the leader is 2.0 points above MAE, the best of 3 rivals, and at equal FLOPs" in text
    assert text.endswith(
        "One seed decides nothing, and the best of many looks better than it is: set seeds to 6 or more."
    )


def test_before_a_rival_has_run_the_report_says_so() -> None:
    own = design()
    rows = [row for row in rows_of(own) if row["objective"] == "diffusion"]
    finding = finding_of(own, rows)
    assert finding.sentence == "The leader's yardsticks have no result yet."
    assert texts(yardstick_rows(finding)[1], "probe_top1")["equal image passes"] == ""


def test_terminal_and_page_show_the_table_and_the_cells_folded(finding: Findings) -> None:
    said = shown(yardsticks_summary(finding))
    assert "Yardsticks by linear probe" in said
    assert "supervised (with labels)" in said
    narrow = shown(yardsticks_summary(finding, width=80))
    assert "-2.0 (-2.2 to -1.8)" in narrow
    assert "61.0 %" in said
    assert "61.0 %" not in narrow
    page = html.render([finding], pd.DataFrame(columns=curves_schema().names), ())
    assert page.index("Yardsticks by linear probe") < page.index("<details>") < page.index("MSE, equal FLOPs")
    assert "difference at equal FLOPs" in page


def test_the_answer_of_the_sweep_stays_first() -> None:
    trials = table([trial for rows in THREE for trial in rows] + rows_of(design())[3:])
    curves = pd.DataFrame(columns=curves_schema().names)
    first, second = findings_of([ORDERS, design()], trials, curves)
    assert first.sweep is ORDERS
    assert second.comparison.rivals


def test_a_loss_leaves_the_yardsticks_out() -> None:
    own = yardsticks(SEARCH, [Leader("paper", NOISES["paper"])])
    rows = [row(SEARCH.experiment(NOISES["paper"], repeat), 0.6) for repeat in range(4)]
    rows += [row(own.experiment(own.cells["MAE"], repeat), 0.5, val_loss=None) for repeat in range(3)]
    curves = pd.DataFrame(columns=curves_schema().names)
    assert [finding.sweep for finding in findings_of([SEARCH, own], table(rows), curves, "val_loss")] == [SEARCH]
    assert [finding.sweep for finding in findings_of([SEARCH, own], table(rows), curves)] == [SEARCH, own]


def test_the_leader_is_the_best_complete_cell() -> None:
    cells = [trial for rows in THREE for trial in rows]
    (own,) = beside_the_leader(None, [ORDERS], table(cells))  # type: ignore[arg-type]
    assert own.baseline == "hilbert"
    assert own.cells["MAE"] | {"order": "hilbert"} == own.cells["MAE"]
    fewer = [trial for trial in cells if not (trial["order"] == "hilbert" and trial["seed"] == 2)]
    (own,) = beside_the_leader(None, [ORDERS], table(fewer))  # type: ignore[arg-type]
    assert own.baseline == "raster"


def test_the_leader_of_a_search_is_that_of_its_race_on_fresh_seeds() -> None:
    search = [row(SEARCH.experiment(point), 0.9 if label == "a=3, b=1" else 0.5) for label, point in NOISES.items()]
    race = [
        row(SEARCH.experiment(point, repeat), 0.7 if label == "a=0.1, b=2" else 0.6 + 0.01 * repeat)
        for label, point in NOISES.items()
        for repeat in (1, 2, 3)
    ]
    (own,) = beside_the_leader(None, [SEARCH], table([*search, *race]))  # type: ignore[arg-type]
    assert own.baseline == "a=0.1, b=2"
    assert list(own.compared_seeds) == [8, 9, 10]
    assert beside_the_leader(None, [SEARCH], table([row(SEARCH.base, None, status="failed")])) == []  # type: ignore[arg-type]


def test_before_any_trial_the_base_stands_for_the_leader() -> None:
    (own,) = beside_the_leader(None, [SEARCH], pd.DataFrame())  # type: ignore[arg-type]
    assert own.baseline == "the leader"
    assert len(own.possible_trials()) == 3 * (len(own.cells) - 1)
