"""The replay of recorded grids charges what was run, judges by what is true, and can tell a good search from none."""

import math
from collections.abc import Callable
from itertools import islice, pairwise

import numpy as np
import optuna
import pandas as pd
import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState

from darl.sweep.space import Point
from tests.benchmarks.record import CELLS, best_quarter, joint_cells
from tests.benchmarks.recorded_grids import GRIDS, Cell, Grid
from tests.benchmarks.search import METHODS, Setup, Step, add_cell, costs, searched, summary, verdict

A = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
B = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
PEAK = (0.3, 0.1)


def at(a: float, b: float) -> Cell:
    return ("noise.a", a), ("noise.b", b)


def hill(*, flipped_at: int | None = None) -> Grid:
    """One smooth peak, and trials of 31 s whose rungs come after 5 and 13; early scores may be upside down."""
    rows: list[dict[str, float]] = []
    for a, b in ((a, b) for a in A for b in B):
        height = 1 - 0.05 * math.hypot(math.log(a / PEAK[0]), math.log(b / PEAK[1]))
        for epoch in (0, 4, 12, 30):
            score = 1 - height if epoch == flipped_at else height
            shown = {"epoch": epoch, "probe_top1": score, "knn_top1": score, "seconds": epoch + 1}
            rows.append({"noise.a": a, "noise.b": b, **shown})
    return Grid(pd.DataFrame(rows))


def conditional() -> Grid:
    """The cells of the joint grid; best are cosine, sincos2d and a learning rate of 0.004."""
    rows: list[Point] = []
    for cell in joint_cells():
        height = 0.9 - 0.05 * abs(math.log(cell["learning_rate"] / 0.004))
        height -= 0.05 * (cell["noise"] != "cosine") + 0.05 * (cell["position"] != "sincos2d")
        for epoch in (0, 2, 6, 15):
            rows.append({**cell, "epoch": epoch, "probe_top1": height, "knn_top1": height, "seconds": epoch + 1})
    return Grid(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def recorded() -> Grid:
    return Grid(pd.read_parquet(GRIDS["noise"]))


@pytest.mark.parametrize("name", GRIDS)
def test_the_recorded_grids_are_whole_and_have_the_rungs_of_the_search(name: str) -> None:
    grid, (cells, epochs) = Grid(pd.read_parquet(GRIDS[name])), CELLS[name]
    assert sorted(map(dict, grid.cells), key=str) == sorted(cells(), key=str)
    search = Setup().sweep(grid)
    assert search.base.epochs == epochs
    for curve in grid.curves.values():
        assert set(curve) == {0, epochs, *search.rungs}
        assert all(0 < curve[epoch][metric] < 1 for epoch, metric in search.rungs.items())
        assert all(0 < curve[epoch]["probe_top1"] < 1 for epoch in (0, epochs))
        assert all(one["seconds"] < next_["seconds"] for one, next_ in pairwise(curve.values()))
    metadata = pq.read_schema(GRIDS[name]).metadata
    assert {b"what", b"command", b"experiment", b"hardware", b"date", b"versions", b"darl"} <= set(metadata)


def test_the_nearest_cell_is_near_in_the_logarithm() -> None:
    grid = hill()
    assert grid.nearest({"noise.a": 0.0051, "noise.b": 0.18}) == at(0.003, 0.3)
    assert grid.nearest({"noise.a": 0.0056, "noise.b": 0.17}) == at(0.01, 0.1)
    assert grid.nearest({"noise.a": 1e-6, "noise.b": 1e6}) == at(0.003, 10.0)


def test_the_nearest_cell_is_of_the_same_kind() -> None:
    grid, rest = conditional(), {"position": "learned", "learning_rate": 0.0028}
    assert dict(grid.nearest({"noise": "cosine", **rest})) == {"noise": "cosine", **rest, "learning_rate": 0.002}
    beta = {"noise": "beta", "noise.a": 0.09, "noise.b": 4.0}
    cell = {"noise": "beta", "noise.a": 0.03, "noise.b": 10.0, **rest, "learning_rate": 0.002}
    assert dict(grid.nearest({**beta, **rest, "order": "hilbert"})) == cell


def test_a_cell_shows_the_means_over_its_seeds() -> None:
    cells = [{"noise.a": a, "noise.b": 1.0} for a in (0.1, 0.2)]
    seen = [(cells[0], 0, 0.5, 10.0), (cells[0], 1, 0.7, 14.0), (cells[1], 0, 0.4, 11.0)]
    rows = [
        {
            **cell,
            "seed": seed,
            "epoch": epoch,
            "probe_top1": value - 0.1 * (epoch == 1),
            "knn_top1": None,
            "seconds": time,
        }
        for cell, seed, value, time in seen
        for epoch in (1, 2)
    ]
    grid = Grid(pd.DataFrame(rows).astype({"knn_top1": float}))
    assert list(grid.values.values()) == pytest.approx([0.6, 0.4])
    assert list(grid.seconds.values()) == [12.0, 11.0]
    assert grid.curves[at(0.1, 1.0)][1]["probe_top1"] == pytest.approx(0.5)


def test_the_best_quarter_is_chosen_by_the_first_seeds_last_results() -> None:
    cells = joint_cells()
    shown = {number: abs(number - 200) / 1000 for number in range(len(cells))}
    rows = [
        {
            **cell,
            "seed": seed,
            "epoch": epoch,
            "probe_top1": shown[number] if (seed, epoch) == (0, 15) else 0.9 - shown[number],
        }
        for number, cell in enumerate(cells)
        for seed, epoch in ((0, 6), (0, 15), (1, 15))
    ]
    best = best_quarter(cells, pd.DataFrame(rows))
    assert len(best) == 96
    assert best[0] == cells[0]
    assert {cells.index(cell) for cell in best} == {*range(56), *range(345, 385)}


def test_costs_run_until_the_incumbents_true_value_is_near_the_best() -> None:
    grid = hill()
    truth = {**dict.fromkeys(grid.cells, 0.5), at(0.3, 0.3): 0.9, at(0.3, 0.1): 0.895, at(0.1, 0.1): 0.6}
    steps: list[Step] = [
        (5, None),  # stopped: it cost something and showed nothing
        (31, at(0.1, 0.1)),
        (31, at(10.0, 10.0)),  # not the incumbent, whatever is true of it
        (31, at(0.3, 0.1)),  # the highest that was recorded, though not the best
        (31, at(0.3, 0.3)),
    ]
    assert costs(steps, grid, truth, [0.25, 0.5, 1.0, 30.0]) == [math.inf, 98, 98, 36]


@pytest.mark.parametrize("make", [hill, conditional])
@pytest.mark.parametrize("method", METHODS)
def test_no_cell_runs_twice_and_equal_seeds_do_the_same(method: str, make: Callable[[], Grid]) -> None:
    grid = make()
    steps, again, others = (list(islice(METHODS[method](grid, Setup(), seed), 16)) for seed in (0, 0, 1))
    ran = [cell for _, cell in steps if cell is not None]
    assert len(ran) == len(set(ran))
    assert steps == again
    assert steps != others


def test_the_shuffled_grid_runs_every_cell(recorded: Grid) -> None:
    steps = list(METHODS["shuffled grid"](recorded, Setup(), 3))
    assert {cell for _, cell in steps} == set(recorded.cells)
    assert sum(seconds for seconds, _ in steps) == pytest.approx(recorded.total)


def known(grid: Grid) -> list[Cell]:
    return [grid.nearest(point) for point in Setup().sweep(grid).first.values()]


def test_the_known_points_come_first_and_run_whole() -> None:
    grid = hill()
    steps = list(islice(searched(grid, Setup(skip_pilot=True), 0, early=True), 25))
    assert [cell for _, cell in steps[:3]] == known(grid) == [at(0.03, 1.0), at(1.0, 1.0), at(0.3, 0.3)]
    assert {seconds for seconds, cell in steps if cell is None} <= {5.0, 13.0}
    assert {seconds for seconds, cell in steps if cell is not None} == {31.0}
    assert sum(cell is None for _, cell in steps) > len(steps) / 4


def test_no_trial_is_stopped_before_the_pilot_ends_or_at_a_rung_that_does_not_predict() -> None:
    steps = list(islice(searched(hill(), Setup(), 0, early=True), 25))
    assert all(cell is not None for _, cell in steps[:8])
    assert any(cell is None for _, cell in steps[8:])
    seconds = {spent for spent, _ in islice(searched(hill(flipped_at=4), Setup(), 0, early=True), 25)}
    assert seconds == {13.0, 31.0}  # the first rung is upside down and stops nobody


def test_a_cell_enters_the_study_in_its_correct_state() -> None:
    for coordinates, place in (("shape", (0.01, 0.1)), ("mean", (math.log(0.1), 0.11))):
        sweep, study = Setup(coordinates=coordinates).sweep(hill()), optuna.create_study(direction="maximize")
        add_cell(study, sweep, at(0.01, 0.1), {4: 0.2, 12: 0.3})
        add_cell(study, sweep, at(0.01, 0.1), {4: 0.2, 12: 0.3, 30: 0.4})
        assert [trial.state for trial in study.trials] == [TrialState.PRUNED, TrialState.COMPLETE]
        assert [trial.value for trial in study.trials] == [0.3, 0.4]
        assert study.trials[0].intermediate_values == {4: 0.2, 12: 0.3}
        assert tuple(study.trials[0].params.values()) == pytest.approx(place)


def test_a_cell_beyond_the_space_enters_the_study_at_its_edge() -> None:
    study = optuna.create_study(direction="maximize")
    add_cell(study, Setup(coordinates="mean").sweep(hill()), at(10.0, 0.03), {30: 0.4})
    assert study.trials[0].params["noise.logit_mean"] == pytest.approx(math.log(99))


def test_on_a_smooth_hill_the_search_is_worth_it() -> None:
    grid = hill()
    spent = {
        name: np.median([costs(METHODS[name](grid, Setup(), seed), grid, grid.values, [0.25]) for seed in range(5)])
        for name in METHODS
    }
    assert spent["TPE + ASHA"] <= spent["TPE"] < spent["shuffled grid"] / 1.5


def test_the_summary_takes_quantiles_of_seeds_and_ratios_to_the_shuffled_grid() -> None:
    spent = pd.DataFrame(
        [(1.0, "shuffled grid", seed, 100.0 * (seed + 1)) for seed in range(10)]
        + [(1.0, "TPE + ASHA", seed, 20.0 * (seed + 1) if seed < 9 else math.inf) for seed in range(10)],
        columns=["points", "method", "seed", "seconds"],
    )
    table = summary(spent)
    row = table.loc[(1.0, "TPE + ASHA")]
    assert row["median"] == 100
    assert row["90th percentile"] == 180
    assert row["reached"] == 0.9
    assert row["median / grid's"] == pytest.approx(0.2)
    assert row["90th percentile / grid's"] == pytest.approx(0.2)
    assert verdict(table, 1.0)[0]
    worse = spent.assign(seconds=spent["seconds"] * np.where(spent["method"] == "TPE + ASHA", 2, 1))
    reached, sentence = verdict(summary(worse), 1.0)
    assert not reached
    assert "missed" in sentence
    assert "0.40" in sentence
