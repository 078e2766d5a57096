"""What Optuna and ASHA are told."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from darl.config import Experiment
from darl.distributed.search import Asha, Known, Search
from darl.errors import UserError
from darl.sweep import LogUniform, Sweep

SPACE = {"noise.a": LogUniform(low=0.001, high=10), "noise.b": LogUniform(low=0.001, high=10)}
PAPER = {"noise.a": 0.03, "noise.b": 1.0}


def sweep(**changes: Any) -> Sweep:
    base = {"name": "test", "question": "?", "base": Experiment(epochs=18), "space": SPACE, "first": {"paper": PAPER}}
    return Sweep(**{**base, **changes})


def states(search: Search) -> list[tuple[TrialState, float | None, dict[int, float]]]:
    return [(t.state, t.values[0] if t.values else None, t.intermediate_values) for t in search.study.trials]


def report(search: Search, trial: str, *values: tuple[int, float | None]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for epoch, value in values:
        result = {"epoch": epoch, "probe_top1": value}
        search.on_trial_result(trial, result)
    return result


def test_each_end_is_told_as_what_it_is() -> None:
    search = Search(sweep(), [], [])
    for trial in "abcdef":
        search.suggest(trial)
    search.on_trial_complete("a", report(search, "a", (0, 0.1), (3, 0.4), (18, 0.9)))
    search.on_trial_complete("b", report(search, "b", (0, 0.1), (3, 0.2)))
    search.on_trial_complete("c", report(search, "c", (3, 0.3), (18, math.nan)))
    search.on_trial_complete("d", report(search, "d", (3, 0.3)), error=True)
    search.on_trial_complete("e", {"error": "NonFiniteLossError: loss is nan"})
    search.on_trial_complete("f", None)
    assert states(search) == [
        (TrialState.COMPLETE, 0.9, {3: 0.4, 18: 0.9}),
        (TrialState.PRUNED, 0.2, {3: 0.2}),
        (TrialState.FAIL, None, {3: 0.3}),
        (TrialState.FAIL, None, {3: 0.3}),
        (TrialState.FAIL, None, {}),
        (TrialState.FAIL, None, {}),
    ]


def test_a_sign_of_life_at_the_end_and_a_past_told_again_change_nothing() -> None:
    search = Search(sweep(), [], [])
    search.suggest("a")
    report(search, "a", (0, 0.1), (3, 0.4), (0, 0.1), (3, 0.4), (18, 0.9))
    search.on_trial_result("a", {"saved": 54})
    search.on_trial_complete("a", {"saved": 54})
    assert states(search) == [(TrialState.COMPLETE, 0.9, {3: 0.4, 18: 0.9})]


def test_an_end_is_told_once() -> None:
    search = Search(sweep(), [], [])
    search.suggest("a")
    search.on_trial_complete("a", report(search, "a", (18, 0.5)))
    search.on_trial_complete("a", report(search, "a", (18, 0.7)))
    assert states(search)[0][1] == 0.5


def test_what_the_tables_hold_is_told_before_the_first_suggestion() -> None:
    known = [
        Known(trial_id="1", point=PAPER, status="finished", values={2: 0.3, 18: 0.8}),
        Known(trial_id="2", point={"noise.a": 1.0, "noise.b": 1.0}, status="stopped", values={2: 0.1}),
        Known(trial_id="3", point={"noise.a": 2.0, "noise.b": 1.0}, status="failed", values={}),
        Known(trial_id="4", point={"noise.a": 99.0, "noise.b": 1.0}, status="finished", values={18: 0.9}),
    ]
    search = Search(sweep(), [], known)
    assert states(search) == [
        (TrialState.COMPLETE, 0.8, {2: 0.3, 18: 0.8}),
        (TrialState.PRUNED, 0.1, {2: 0.1}),
        (TrialState.FAIL, None, {}),
    ]  # the fourth lies outside of the space
    assert search.study.best_params == PAPER


def test_first_points_come_first_and_trials_carry_our_id() -> None:
    one = sweep()
    search = Search(one, [PAPER, {"noise.a": 1.0, "noise.b": 1.0}], [])
    assert search.suggest("a") == PAPER
    assert search.suggest("b") == {"noise.a": 1.0, "noise.b": 1.0}
    drawn = search.suggest("c")
    assert drawn is not None
    assert all(0.001 <= value <= 10 for value in drawn.values())
    assert search.study.trials[2].user_attrs["trial_id"] == one.experiment(drawn).trial_id


def test_a_search_that_goes_on_draws_other_points() -> None:
    known = [Known(trial_id="1", point=PAPER, status="finished", values={18: 0.8})]
    fresh, later = Search(sweep(), [], []).suggest("a"), Search(sweep(), [], known).suggest("a")
    assert fresh != later
    assert fresh == Search(sweep(), [], []).suggest("a")


def trial(name: str, point: dict[str, float]) -> Any:
    return SimpleNamespace(trial_id=name, config=point)


def result(epoch: int, value: float) -> dict[str, Any]:
    return {"epoch": epoch, "probe_top1": value}


def test_asha_stops_the_worse_and_spares_the_known_points() -> None:
    one = sweep()
    assert one.rungs == [3, 9]
    asha = Asha(one, [])
    good, bad, known = (trial("g", {"noise.a": 1.0, "noise.b": 1.0}), trial("b", {"noise.a": 2.0, "noise.b": 1.0}),
                        trial("k", PAPER))  # fmt: skip
    for each in (good, bad, known):
        asha.on_trial_add(None, each)
    assert asha.on_trial_result(None, good, result(3, 0.9)) == asha.CONTINUE
    assert asha.on_trial_result(None, bad, result(1, 0.0)) == asha.CONTINUE
    assert asha.on_trial_result(None, bad, result(3, 0.1)) == asha.STOP
    assert asha.on_trial_result(None, known, result(3, 0.05)) == asha.CONTINUE
    assert asha.on_trial_result(None, good, result(18, 0.9)) == asha.CONTINUE


def test_asha_remembers_the_rungs_of_earlier_runs() -> None:
    for mode, metric, better in (("max", "probe_top1", 0.9), ("min", "val_loss", 0.1)):
        one = sweep(metric=metric)
        assert one.mode == mode
        asha = Asha(one, [Known(trial_id="1", point=PAPER, status="finished", values={3: better, 18: better})])
        late = trial("l", {"noise.a": 1.0, "noise.b": 1.0})
        asha.on_trial_add(None, late)
        assert asha.on_trial_result(None, late, {"epoch": 3, metric: 0.5}) == asha.STOP


@pytest.mark.parametrize("epochs", range(1, 200))
def test_no_rung_lies_at_the_last_epoch_or_beyond(epochs: int) -> None:
    one = sweep(base=Experiment(epochs=epochs))
    assert all(0 < epoch < epochs for epoch in one.rungs)
    if one.rungs:
        assert {int(milestone) for milestone, _ in Asha(one, [])._brackets[0]._rungs} == set(one.rungs)


def test_points_and_experiments_belong_together() -> None:
    one = sweep()
    assert one.point_of(one.experiment(PAPER)) == PAPER
    assert one.point_of(one.experiment(PAPER, repeat=4)) == PAPER
    assert one.point_of(Experiment(epochs=17)) is None
    assert one.experiment(PAPER, repeat=2).seed == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"metric": "train_loss"}, "objective-metric must be one of probe_top1, knn_top1, val_loss, got 'train_loss'"),
    ],
)
def test_bad_sweeps(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sweep(**changes)
    with pytest.raises(UserError, match="range must have 0 < low < high"):
        LogUniform(low=1, high=1)
