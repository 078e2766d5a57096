"""Sweeps as plain data: their plan, the cell that a row belongs to, and their record."""

import math
from typing import Any

import pytest

from darl.errors import UserError
from darl.evaluation.knn import KnnProtocol
from darl.evaluation.linear import LinearProtocol
from darl.evaluation.protocol import Protocols
from darl.experiment import Experiment
from darl.sweep.base import Sweep, describe
from darl.sweep.design import Design
from darl.sweep.record import from_json, to_json
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape

PAPER = {"noise.a": 0.03, "noise.b": 1.0}
CELLS = {
    "raster": {"order": "raster"},
    "mse": {"objective": "mse", "noise": None},
    "coarse": {"model.patch_size": 4},
}


def design(**changes: Any) -> Design:
    return Design(**{"name": "d", "question": "?", "base": Experiment(), "cells": CELLS, "seeds": 2, **changes})


def search(**changes: Any) -> Search:
    base = {"name": "s", "question": "?", "base": Experiment(epochs=18), "space": {"noise": BetaByShape()}}
    return Search(**{**base, "first": {"paper": PAPER}, **changes})


@pytest.mark.parametrize("sweep", [design(baseline="mse", groups={"mse": "x"}, enlarged=True), search(seeds=3)])
def test_a_sweep_is_read_back_from_its_record(sweep: Sweep) -> None:
    assert from_json(to_json([sweep, sweep])) == [sweep, sweep]


def test_a_record_of_another_version_is_refused_in_one_line() -> None:
    for text in ("{}", "[1", '{"stages": [{"kind": "guess"}]}'):
        with pytest.raises(
            UserError, match=r"^sweep\.json must be of this version of darl, got .*; run the sweep again$"
        ):
            from_json(text)


def test_a_design_runs_seed_by_seed_and_more_trials_go_on() -> None:
    planned = [(label, repeat) for label, _, repeat in design().planned()]
    assert planned == [(label, repeat) for repeat in range(2) for label in CELLS]
    assert [(label, repeat) for label, _, repeat in design(trials=4).planned()] == planned[:4]


def test_cells_share_their_seeds() -> None:
    sweep = design(base=Experiment(seed=5))
    assert {sweep.experiment(point, repeat).seed for _, point, repeat in sweep.planned()} == {5, 6}


def test_rows_of_any_seed_belong_to_their_cell() -> None:
    sweep = design()
    for label, point, repeat in sweep.planned():
        assert sweep.labels([sweep.experiment(point, repeat).to_json()]) == [label]
    others = [Experiment(epochs=7).to_json(), '{"noise": {"kind": "gauss"}}', "{"]
    assert sweep.labels(others) == [None] * 3


def test_a_record_with_an_unknown_variant_names_it_and_the_way_out() -> None:
    text = to_json([design(cells={"raster": {"order": "raster"}})]).replace('"raster"', '"of_another_script"')
    words = r"^sweep\.json must name only what is defined here: order must be one of .*, got 'of_another_script'; "
    with pytest.raises(UserError, match=words + "run the script that defines it, asking for the report$"):
        from_json(text)


def test_a_first_point_of_integers_is_recognised() -> None:
    sweep = search(first={"uniform": {"noise.a": 1, "noise.b": 1}})
    assert sweep.label(sweep.experiment(sweep.first["uniform"])) == "uniform"


def test_points_are_labelled_by_name_or_by_numbers() -> None:
    sweep = search()
    sampled = {"noise.a": 0.2574, "noise.b": 1.912}
    configs = [sweep.experiment(point, repeat).to_json() for point in (PAPER, sampled) for repeat in (0, 4)]
    assert sweep.labels(configs) == ["paper", "paper", "a=0.2574, b=1.912", "a=0.2574, b=1.912"]
    assert sweep.labels([Experiment(epochs=17).to_json()]) == [None]


def test_ranking_holds_finished_trials_on_the_searchs_own_seed() -> None:
    sweep = search()

    def row(a: float, value: float | None, *, status: str = "finished", repeat: int = 0) -> dict[str, Any]:
        config = sweep.experiment({"noise.a": a, "noise.b": 1.0}, repeat).to_json()
        return {"status": status, "config": config, "probe_top1": value}

    rows = [row(0.1, 0.5), row(0.2, 0.7), row(0.3, 0.9, status="stopped"), row(0.4, 0.9, repeat=1)]
    rows += [row(0.5, None), row(0.6, math.nan)]
    assert [point["noise.a"] for point in sweep.ranked(rows)] == [0.2, 0.1]
    losses = [{**row, "val_loss": row["probe_top1"]} for row in rows]
    assert [point["noise.a"] for point in search(metric="val_loss").ranked(losses)] == [0.1, 0.2]


def test_designs_evaluate_evenly_and_searches_at_rungs() -> None:
    assert list(design(base=Experiment(epochs=30), evaluations=3).evaluate_at) == [10, 20]
    assert not design(evaluations=1).evaluate_at
    first, second = search().evaluate_at.items()
    assert (first[0], second[0]) == (3, 9)
    assert (first[1], second[1]) == (Protocols((KnnProtocol(),)), Protocols((LinearProtocol(),)))
    assert search(metric="val_loss").rungs == {3: "val_loss", 9: "val_loss"}


def test_a_group_has_a_baseline_of_its_own() -> None:
    sweep = design(groups={"raster": "x", "mse": "y"}, baselines={"x": "raster", "y": "mse"}, baseline="coarse")
    assert [sweep.baseline_of(label) for label in CELLS] == ["raster", "mse", "coarse"]


def test_a_point_is_described_by_its_values() -> None:
    assert describe({"noise": "beta", "noise.a": 0.03, "model.patch_size": 4}) == "noise=beta, a=0.03, patch_size=4"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"evaluations": 0}, "evaluations must be at least 1, got 0"),
        ({"metric": "train_loss"}, "metric must be one of probe_top1, .*, val_loss, got 'train_loss'"),
        ({"cells": {}}, "cells must be at least one, got 0"),
        ({"baseline": "nobody"}, "baseline must be one of raster, mse, coarse, got 'nobody'"),
        ({"groups": {"rastr": "x"}}, r"groups must name cells \(raster, mse, coarse\), got 'rastr'"),
        (
            {"groups": {"raster": "x", "mse": "y"}, "baselines": {"x": "mse"}},
            "baselines must have a cell of group 'x' for it, got 'mse'",
        ),
        ({"baselines": {"x": "mse"}}, "baselines must have a cell of group 'x' for it, got 'mse'"),
        ({"cells": {"a": {}, "b": {}}}, r"cells must differ from each other, got \('a', 'b'\)"),
        ({"cells": {"a": {"order": "zigzag"}}}, "order must be one of"),
    ],
)
def test_invalid_designs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        design(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contenders": 0}, "contenders must be at least 1, got 0"),
        ({"pilot": 2}, "pilot must be at least 3, got 2"),
        ({"reduction": 0}, "reduction must be at least 2, got 0"),
        ({"reduction": 1}, "reduction must be at least 2, got 1"),
        ({"baseline": "papr"}, r"baseline must be one of the first points \(paper\), got 'papr'"),
        (
            {"first": {}, "baseline": "paper"},
            r"baseline must be .*there is none.*",
        ),
        ({"first": {"x": {"noise.a": 0.1}}}, "first must set each value that the space draws, and no other, got"),
        ({"first": {"x": {**PAPER, "epochs": 3}}}, "first must set each value that the space draws, and no other, got"),
        ({"first": {"x": {"noise.a": -1.0, "noise.b": 1.0}}}, "noise.a must be positive, got -1.0"),
    ],
)
def test_invalid_searches_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        search(**changes)
