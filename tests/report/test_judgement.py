"""Verdicts from tables: the leader, and the significance of its lead."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from darl.report.findings import find
from darl.report.verdict import Compared, NextStep, Nothing, Selected, Significance, Standing
from darl.results.schema import trials_schema
from darl.sweep.base import Sweep
from tests.report.example_trials import ORDERS, SEARCH, THREE, Row, cell, lost

SIX = replace(ORDERS, seeds=6)
EVEN = cell("raster", *[0.6] * 6)
NEAR = cell("hilbert", 0.6, 0.62, 0.59, 0.61, 0.6, 0.6)


def verdicts(sweep: Sweep, *rows: list[Row]) -> tuple[object, ...]:
    trials = pd.DataFrame([trial for cells in rows for trial in cells], columns=trials_schema().names)
    return find(sweep, trials)[0].verdicts


def compared(sweep: Sweep, *rows: list[Row]) -> Compared:
    *_, last = verdicts(sweep, *rows)
    assert isinstance(last, Compared)
    return last


def fresh(name: str, *probes: float) -> list[Row]:
    return cell(name, *probes, sweep=SEARCH, first=1)


def test_leader_and_difference() -> None:
    verdict = compared(ORDERS, *THREE)
    assert (verdict.leader.cell, verdict.leader.seeds, verdict.leads_as_baseline) == ("hilbert", 3, False)
    assert verdict.leader.mean == pytest.approx(0.63)
    assert verdict.difference is not None
    assert (verdict.difference.cell, verdict.difference.baseline, verdict.difference.pairs) == ("hilbert", "raster", 3)
    assert verdict.difference.difference == pytest.approx(0.02)
    assert verdict.gain == pytest.approx(0.33)
    assert verdict.bound == pytest.approx(0.115, abs=1e-3)  # spiral's
    assert not verdict.bound_informs


@pytest.mark.parametrize(
    ("sweep", "rows", "significance"),
    [
        (SIX, (EVEN, cell("hilbert", 0.65, 0.66, 0.64, 0.65, 0.65, 0.66)), Significance.BETTER),
        (SIX, (EVEN, cell("hilbert", 0.55, 0.56, 0.54, 0.55, 0.55, 0.56)), Significance.WORSE),
        (SIX, (EVEN, NEAR), Significance.INCONCLUSIVE),
        (ORDERS, THREE, Significance.TOO_FEW_SEEDS),
        (replace(ORDERS, seeds=1), (cell("raster", 0.6), cell("hilbert", 0.7)), Significance.ONE_SEED),
        (ORDERS, (cell("raster", 0.6), cell("hilbert", 0.7, first=1)), Significance.NO_COMMON_SEED),
        (replace(ORDERS, baseline=None), THREE, Significance.NO_BASELINE),
        (ORDERS, THREE[1:], Significance.BASELINE_WITHOUT_RESULT),
        (ORDERS, THREE[:1], Significance.RIVALS_WITHOUT_RESULT),
        (replace(ORDERS, cells={"raster": {}}), THREE[:1], Significance.NO_RIVAL),
    ],
)
def test_significance_of_the_difference(sweep: Sweep, rows: tuple[list[Row], ...], significance: Significance) -> None:
    assert compared(sweep, *rows).significance == significance


@pytest.mark.parametrize(
    ("sweep", "rows", "standing"),
    [
        (ORDERS, THREE, Standing.COMPLETE),
        (ORDERS, (cell("raster", 0.6), cell("hilbert", 0.7)), Standing.INCOMPLETE),
        (
            replace(ORDERS, seeds=2, cells={"raster": ORDERS.cells["raster"]}),
            (cell("raster", 0.6), *(lost("raster", 1, "E", attempt=attempt) for attempt in range(3))),
            Standing.SPENT,
        ),
        (SEARCH, (fresh("paper", 0.6, 0.61, 0.62), fresh("a=3, b=1", 0.6, 0.6, 0.6)), Standing.RACE_OVER),
        (SEARCH, (fresh("paper", 0.6, 0.61, 0.62), fresh("a=3, b=1", 0.6, 0.6)), Standing.RACE_OPEN),
    ],
)
def test_standing_of_the_leader(sweep: Sweep, rows: tuple[list[Row], ...], standing: Standing) -> None:
    assert compared(sweep, *rows).standing == standing


def test_seeds_are_asked_for_only_where_too_few_are_planned() -> None:
    assert compared(ORDERS, *THREE).more_seeds == 6
    assert compared(SEARCH, fresh("paper", 0.6), fresh("a=3, b=1", 0.6)).more_seeds == 7  # one of them chooses
    assert compared(replace(ORDERS, seeds=9), *THREE).more_seeds is None


def test_cells_that_differ_are_counted() -> None:
    verdict = compared(SIX, EVEN, NEAR, cell("spiral", 0.5, 0.51, 0.49, 0.5, 0.5, 0.5))
    assert (verdict.others, verdict.better, verdict.worse) == (2, 0, 1)


def test_a_small_bound_is_informative() -> None:
    near = compared(SIX, EVEN, NEAR, cell("spiral", 0.6, 0.61, 0.59, 0.6, 0.6, 0.6))
    assert near.bound == pytest.approx(0.0143, abs=1e-3)
    assert near.bound_informs
    unknown = compared(SIX, EVEN, NEAR, cell("spiral", *[0.6] * 6))
    assert math.isnan(unknown.bound)
    assert not unknown.bound_informs


def test_a_better_mean_over_fewer_seeds_is_reported() -> None:
    ahead = compared(ORDERS, *THREE[:2], cell("spiral", 0.99, 0.98)).ahead_on_fewer
    assert ahead is not None
    assert (ahead.cell, ahead.seeds, ahead.planned) == ("spiral", 2, 3)
    assert compared(ORDERS, *THREE[:2], cell("spiral", 0.5, 0.4)).ahead_on_fewer is None


def test_a_search_has_two_verdicts_until_its_race_ends() -> None:
    searched = cell("paper", 0.6, sweep=SEARCH), cell("a=0.1, b=2", 0.7, sweep=SEARCH)
    (alone,) = verdicts(replace(SEARCH, seeds=1), *searched)
    assert isinstance(alone, Selected)
    assert (alone.next_step, alone.more_seeds, alone.ahead) == (NextStep.NO_RACE, 7, pytest.approx(0.1))
    search, race = verdicts(SEARCH, *searched, fresh("paper", 0.6, 0.61, 0.62))
    assert isinstance(search, Selected)
    assert search.next_step == NextStep.RACE_AHEAD
    assert isinstance(race, Compared)
    (over,) = verdicts(SEARCH, *searched, fresh("paper", 0.6, 0.61, 0.62), fresh("a=0.1, b=2", 0.6, 0.6, 0.6))
    assert isinstance(over, Compared)


def test_nothing_has_finished() -> None:
    assert verdicts(ORDERS, lost("raster", 0, "E")) == (Nothing(failed=1, stopped=0),)
