"""The yardsticks of a sweep: which rivals run, for how many epochs, on which seeds."""

from dataclasses import replace

import pytest

from darl.data.content import DataContent
from darl.errors import UserError
from darl.experiment import Experiment
from darl.sweep.design import Design
from darl.sweep.record import from_json, to_json
from darl.sweep.yardsticks import Leader, Yardsticks, yardsticks
from tests.report.example_trials import ORDERS, PAPER, SEARCH

CONTENT = DataContent(train=1438, validation=359, classes=10, fingerprint="0" * 16)
SEARCHED = replace(SEARCH, contents={"digits": CONTENT}, base=SEARCH.base.changed({"epochs": 20}))
LEADER = Leader("paper", PAPER)


@pytest.fixture(scope="module")
def beside() -> Yardsticks:
    return yardsticks(SEARCHED, [LEADER])


def test_each_rival_changes_the_objective_and_what_it_needs_and_nothing_else(beside: Yardsticks) -> None:
    leader = beside.experiment(PAPER)
    for label in ("MAE", "masked regression", "MSE", "supervised"):
        own = beside.experiment(beside.cells[label])
        assert own.objective.kind == {"MAE": "mae", "masked regression": "masked", "MSE": "mse"}.get(label, label)
        assert (own.noise, own.causal) == (None, label == "MSE")
        changed = {"objective": leader.objective, "noise": leader.noise, "causal": leader.causal}
        assert replace(own, **changed) == leader


def test_rivals_do_without_the_settings_of_next_patch_prediction() -> None:
    own = {"context_noise": 0.1, "next_patches": 2, "condition": "labels", "causal": True}
    beside = yardsticks(replace(SEARCHED, base=SEARCHED.base.changed(own)), [LEADER])
    assert len(beside.rivals) == 4
    for rival in beside.rivals:
        experiment = beside.experiment(beside.cells[rival.at_passes])
        assert (experiment.context_noise, experiment.next_patches, experiment.condition) == (None, None, None)


def test_epochs_at_equal_flops_are_scaled_by_the_ratio_of_operations_per_image(beside: Yardsticks) -> None:
    leader = beside.experiment(PAPER).model_config.flops()
    assert {rival.name for rival in beside.rivals} == {"MAE", "masked regression", "MSE", "supervised"}
    for rival in beside.rivals:
        own, longer = (beside.experiment(beside.cells[cell]) for cell in (rival.at_passes, rival.at_flops))
        assert own.epochs == 20
        assert rival.cost == own.model_config.flops() / leader
        assert longer.epochs == rival.epochs == round(20 / rival.cost)
        spent = longer.epochs * longer.model_config.flops() / (20 * leader)
        assert abs(spent - 1) <= 0.5 * rival.cost / 20
    costs = {rival.name: rival.cost for rival in beside.rivals}
    assert 0.25 < costs["MAE"] < 0.5 < costs["MSE"] < 1
    assert {rival.name for rival in beside.rivals if rival.uses_labels} == {"supervised"}


def test_one_cell_serves_for_both_where_the_epochs_are_equal() -> None:
    short = yardsticks(replace(SEARCHED, base=SEARCHED.base.changed({"epochs": 1})), [LEADER])
    masked = next(rival for rival in short.rivals if rival.name == "masked regression")
    assert masked.at_passes == masked.at_flops == "masked regression"
    assert all(short.experiment(point).epochs >= 1 for point in short.cells.values())


def test_the_leader_is_the_baseline_on_the_seeds_that_the_sweep_compares_on(beside: Yardsticks) -> None:
    assert beside.baseline == "paper"
    assert list(beside.compared_seeds) == list(SEARCHED.compared_seeds) == [8, 9, 10]
    shared = {SEARCHED.experiment(PAPER, repeat).trial_id for repeat in (1, 2, 3)}
    planned = {beside.experiment(point, repeat).trial_id for _, point, repeat in beside.planned()}
    assert shared < planned
    counted = [experiment.trial_id for experiment in beside.possible_trials()]
    assert set(counted) == planned - shared
    assert len(counted) == 3 * (len(beside.cells) - 1)
    assert beside.seeds_for(6) == 7
    designed = yardsticks(ORDERS, [Leader("hilbert", ORDERS.cells["hilbert"])])
    assert list(designed.compared_seeds) == [0, 1, 2]
    assert designed.seeds_for(6) == 6


def test_it_is_read_back_from_its_record(beside: Yardsticks) -> None:
    (again,) = from_json(to_json([beside]))
    assert again == beside


def test_a_rival_that_is_the_leader_or_does_not_fit_is_left_out_with_the_reason() -> None:
    base = Experiment().changed({"objective": "mae", "noise": None, "causal": False})
    sweep = Design(name="s", question="?", base=base, cells={"plain": {}}, baseline="plain")
    assert yardsticks(sweep, [Leader("plain", {})]).left_out == {"MAE": "it is plain itself"}
    two = base.changed({"objective": "mse", "causal": True}).changed({"order": "hilbert"})
    few = replace(sweep, base=two, cells={"whole": {}, "few": {"model.patch_size": 4}}, baseline="whole")
    own = yardsticks(
        few, [Leader("few", {"model.patch_size": 4, "objective": "masked:mask_ratio=0.5", "causal": False})]
    )
    assert own.left_out == {}
    assert all(own.experiment(point).model.patch_size == 4 for point in own.cells.values())


def test_several_data_sets_have_a_leader_and_rivals_each() -> None:
    cells = {f"best on {data}": {"data": data} for data in ("digits:0-4", "digits:5-9")}
    sweep = Design(name="s", question="?", base=Experiment(), cells=cells, groups={label: label[8:] for label in cells})
    own = yardsticks(sweep, [Leader(label, point) for label, point in cells.items()])
    first, second = own.comparisons([])
    assert (first.baseline, second.baseline) == tuple(cells)
    assert first.group == "digits:0-4"
    assert [rival.at_passes for rival in second.rivals][:2] == ["MAE on digits:5-9", "masked regression on digits:5-9"]
    assert {own.experiment(own.cells[cell]).data for cell in second.cells} == {"digits:5-9"}


def test_a_search_without_fresh_seeds_is_refused() -> None:
    with pytest.raises(UserError, match=r"^seeds must be 2 or more: a search uses the first, .*, got 1$"):
        yardsticks(replace(SEARCHED, seeds=1), [LEADER])
