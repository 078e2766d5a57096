"""Trial states that Optuna gets through Tune, and the trials that ASHA stops."""

import math
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from darl.distributed.asha import Asha
from darl.distributed.optuna_searcher import OptunaSearcher
from darl.errors import UserError
from darl.experiment import Experiment
from darl.model.orders import Order
from darl.model.positions import Position
from darl.sweep.search import Search
from darl.sweep.space import BetaByMean, BetaByShape, Choice, LogUniform, Space
from darl.sweep.study import PastTrial

SPACE: Space = {"noise": BetaByShape(low_a=0.001, low_b=0.001)}
PAPER = {"noise.a": 0.03, "noise.b": 1.0}
LASTED = datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, 3, 5, 6)


def sweep(**changes: Any) -> Search:
    base = {"name": "test", "question": "?", "base": Experiment(epochs=18), "space": SPACE, "first": {"paper": PAPER}}
    return Search(**{**base, **changes})


def proposals(queue: list[Any], known: list[PastTrial], **changes: Any) -> OptunaSearcher:
    return OptunaSearcher(sweep(**changes), queue, known, missing=100)


def states(search: OptunaSearcher) -> list[tuple[TrialState, float | None, dict[int, float]]]:
    return [(t.state, t.values[0] if t.values else None, t.intermediate_values) for t in search.study.trials]


def report(search: OptunaSearcher, trial: str, *values: tuple[int, float | None]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for epoch, value in values:
        result = {"epoch": epoch, "knn_top1" if epoch == 3 else "probe_top1": value}
        search.on_trial_result(trial, result)
    return result


def test_trials_end_in_the_correct_optuna_state() -> None:
    search = proposals([], [])
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


def test_the_result_at_which_a_trial_is_stopped_is_recorded() -> None:
    search = proposals([], [])  # as Tune does: the scheduler's STOP comes before the searcher hears of the result
    search.suggest("a")
    search.on_trial_complete("a", {"epoch": 3, "knn_top1": 0.2})
    assert states(search) == [(TrialState.PRUNED, 0.2, {3: 0.2})]


def test_heartbeats_and_repeated_reports_change_nothing() -> None:
    search = proposals([], [])
    search.suggest("a")
    report(search, "a", (0, 0.1), (3, 0.4), (0, 0.1), (3, 0.4), (18, 0.9))
    search.on_trial_result("a", {"saved": 54})
    search.on_trial_complete("a", {"saved": 54})
    assert states(search) == [(TrialState.COMPLETE, 0.9, {3: 0.4, 18: 0.9})]


def test_trials_cut_off_by_the_budget_stay_unfinished() -> None:
    cut: list[str] = []
    search = OptunaSearcher(sweep(), [], [], missing=100, cut=lambda: bool(cut))
    for trial in "abcd":
        search.suggest(trial)
    search.on_trial_complete("a", report(search, "a", (3, 0.4)))
    cut.append("max-hours 1")
    search.on_trial_complete("b", report(search, "b", (3, 0.4)))
    search.on_trial_complete("c", report(search, "c", (18, 0.9)))
    search.on_trial_complete("d", None, error=True)
    reported = [state for state, _, _ in states(search)]
    assert reported == [TrialState.PRUNED, TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL]


def test_a_second_report_of_an_end_is_ignored() -> None:
    search = proposals([], [])
    search.suggest("a")
    search.on_trial_complete("a", report(search, "a", (18, 0.5)))
    search.on_trial_complete("a", report(search, "a", (18, 0.7)))
    assert states(search)[0][1] == 0.5


def test_past_trials_are_in_the_study_before_the_first_suggestion() -> None:
    known = [
        PastTrial(trial_id="1", point=PAPER, status="finished", values={2: 0.3, 18: 0.8}, lasted=LASTED),
        PastTrial(trial_id="2", point={"noise.a": 1.0, "noise.b": 1.0}, status="stopped", values={2: 0.1}),
        PastTrial(trial_id="3", point={"noise.a": 2.0, "noise.b": 1.0}, status="failed", values={}),
        PastTrial(trial_id="4", point={"noise.a": 99.0, "noise.b": 1.0}, status="finished", values={18: 0.9}),
    ]
    search = proposals([], known)
    assert states(search) == [
        (TrialState.COMPLETE, 0.8, {2: 0.3, 18: 0.8}),
        (TrialState.PRUNED, 0.1, {2: 0.1}),
        (TrialState.FAIL, None, {}),
    ]  # the fourth lies outside of the space
    assert search.study.best_params == PAPER
    assert search.study.metric_names == ["probe_top1"]
    first = search.study.trials[0]
    assert (first.datetime_start, first.datetime_complete) == LASTED


def test_known_points_run_first_and_trials_carry_the_experiments_id() -> None:
    search = OptunaSearcher(sweep(), [PAPER, {"noise.a": 1.0, "noise.b": 1.0}], [], missing=9)
    assert search.suggest("a") == {"trial": (PAPER, 0)}
    assert search.suggest("b") == {"trial": ({"noise.a": 1.0, "noise.b": 1.0}, 0)}
    config = search.suggest("c")
    assert isinstance(config, dict)
    drawn = config["trial"][0]
    assert all(0.001 <= value <= 10 for value in drawn.values())
    assert search.study.trials[2].user_attrs["trial_id"] == sweep().experiment(drawn).trial_id
    assert search.study.trials[0].user_attrs["cell"] == "paper"


def test_a_search_ends_only_when_every_point_has_run() -> None:
    orders, positions = (Choice(options={kind: {} for kind in kinds}) for kinds in (Order.kinds(), Position.kinds()))
    points = len(Order.kinds()) * len(Position.kinds())
    search = proposals([], [], space={"order": orders, "position": positions}, first={})
    seen: list[str] = []
    while isinstance(config := search.suggest(str(len(seen))), dict):
        point = config["trial"][0]
        good = (point["order"] == "raster") + (point["position"] == "rope2d")  # where TPE then stays
        search.on_trial_complete(str(len(seen)), report(search, str(len(seen)), (18, 0.5 + good / 5)))
        seen.append(str(point))
    assert config == Searcher.FINISHED
    assert len(seen) == len(set(seen)) > 0.9 * points


def test_no_more_than_the_missing_trials_are_started() -> None:
    search = OptunaSearcher(sweep(), [PAPER], [], missing=1)
    assert search.suggest("a") == {"trial": (PAPER, 0)}
    assert search.suggest("b") == Searcher.FINISHED


def test_a_continued_search_draws_other_points() -> None:
    known = [PastTrial(trial_id="1", point=PAPER, status="finished", values={18: 0.8})]
    fresh, later = proposals([], []).suggest("a"), proposals([], known).suggest("a")
    assert fresh != later
    assert fresh == proposals([], []).suggest("a")


def trial(name: str, point: dict[str, float]) -> Any:
    return SimpleNamespace(trial_id=name, config={"trial": (point, 0)})


def result(epoch: int, value: float) -> dict[str, Any]:
    """An evaluation of a search: kNN at the first rung, the linear probe afterwards."""
    return {"epoch": epoch, "knn_top1" if epoch == 3 else "probe_top1": value}


def pilot(values: list[tuple[float, float, float]]) -> list[PastTrial]:
    """Finished trials with these scores at both rungs and at the end."""
    return [
        PastTrial(trial_id=f"p{index}", point={"noise.a": 1.0 + index, "noise.b": 1.0}, status="finished",
              values={3: first, 9: second, 18: last})
        for index, (first, second, last) in enumerate(values)
    ]  # fmt: skip


PREDICTING = [(0.1 * index, 0.1 * index, 0.1 * index) for index in range(8)]
SECOND_ONLY = [(0.1 * ((5 * index) % 8), 0.1 * index, 0.1 * index) for index in range(8)]


def test_asha_stops_bad_trials_except_known_points() -> None:
    search = sweep()
    assert search.rungs == {3: "knn_top1", 9: "probe_top1"}
    asha = Asha(search, pilot(PREDICTING))
    good, bad, known = (
        trial("g", {"noise.a": 1.0, "noise.b": 2.0}),
        trial("b", PAPER | {"noise.a": 2.0}),
        trial("k", PAPER),
    )
    for each in (good, bad, known):
        asha.on_trial_add(None, each)
    assert asha.on_trial_result(None, good, result(3, 0.9)) == asha.CONTINUE
    assert asha.on_trial_result(None, bad, {"at_epoch": 2.5, "loss": 1.0}) == asha.CONTINUE
    assert asha.on_trial_result(None, bad, result(3, 0.1)) == asha.STOP
    assert asha.on_trial_result(None, known, result(3, 0.05)) == asha.CONTINUE
    assert asha.on_trial_result(None, good, result(9, 0.9)) == asha.CONTINUE
    assert asha.on_trial_result(None, good, result(18, 0.9)) == asha.CONTINUE


def test_only_rungs_that_predict_final_results_stop_trials() -> None:
    for values, stops in ((PREDICTING, {3, 9}), (SECOND_ONLY, {9}), (PREDICTING[:7], set())):
        search = sweep()
        asha, late = Asha(search, pilot(values)), trial("l", {"noise.a": 1.0, "noise.b": 2.0})
        asha.on_trial_add(None, late)
        acted = {epoch for epoch in (3, 9) if asha.on_trial_result(None, late, result(epoch, 0.0)) == asha.STOP}
        assert acted == stops
    verdict = Asha(sweep(), pilot(SECOND_ONLY)).pilot
    assert verdict is not None
    assert verdict.describe().endswith("trials are stopped early after epochs 9")


def test_early_stopping_begins_when_the_pilot_ends() -> None:
    asha = Asha(sweep(), pilot(PREDICTING[1:]))
    last, late = trial("p0", {"noise.a": 1.0, "noise.b": 3.0}), trial("l", {"noise.a": 1.0, "noise.b": 2.0})
    asha.on_trial_add(None, last)
    asha.on_trial_add(None, late)
    for epoch in (3, 9):
        assert asha.on_trial_result(None, last, result(epoch, 0.0)) == asha.CONTINUE
    assert asha.pilot is None
    asha.on_trial_result(None, last, result(18, 0.0))
    assert asha.pilot is not None
    assert asha.on_trial_result(None, late, result(3, 0.05)) == asha.STOP


def test_asha_counts_scores_of_earlier_runs_also_for_losses() -> None:
    values = [(0.1 * index, 0.1 * index, 0.1 * index) for index in range(8)]
    asha, late = Asha(sweep(metric="val_loss"), pilot(values)), trial("l", {"noise.a": 1.0, "noise.b": 2.0})
    asha.on_trial_add(None, late)
    assert asha.on_trial_result(None, late, {"epoch": 3, "val_loss": 0.05}) == asha.CONTINUE
    assert asha.on_trial_result(None, late, {"epoch": 9, "val_loss": 0.6}) == asha.STOP


def test_conditional_spaces_draw_only_the_chosen_options_dimensions() -> None:
    space = {
        "noise": Choice(options={"beta": {"noise": BetaByMean()}, "cosine": {}}),
        "order": Choice(options={"raster": {}, "hilbert": {}}),
        "learning_rate": LogUniform(low=1e-4, high=1e-2),
    }
    points = [
        {"noise": "beta", "noise.a": 0.03, "noise.b": 1.0, "order": "raster", "learning_rate": 1e-3},
        {"noise": "cosine", "order": "hilbert", "learning_rate": 2e-3},
    ]
    known = [
        PastTrial(trial_id=str(n), point=point, status="finished", values={18: 0.5}) for n, point in enumerate(points)
    ]
    search = proposals([], known, space=space, first={})
    assert [len(trial.params) for trial in search.study.trials] == [5, 3]
    for number in range(20):
        config = search.suggest(str(number))
        assert isinstance(config, dict)
        point, repeat = config["trial"]
        assert repeat == 0
        assert ("noise.a" in point) == (point["noise"] == "beta")
        plain = sweep(space=space, first={})
        assert plain.point_of(plain.experiment(point)) == point


def test_points_are_proposed_once_until_the_space_is_exhausted() -> None:
    space = {"order": Choice(options={"raster": {}, "hilbert": {}, "snake": {}})}
    search = proposals([], [], space=space, first={})
    drawn = [search.suggest(str(number)) for number in range(4)]
    assert [isinstance(config, dict) for config in drawn] == [True, True, True, False]
    orders = {config["trial"][0]["order"] for config in drawn[:3] if isinstance(config, dict)}
    assert orders == {"raster", "hilbert", "snake"}


@pytest.mark.parametrize("epochs", range(1, 200))
def test_rungs_lie_before_the_last_epoch(epochs: int) -> None:
    search = sweep(base=Experiment(epochs=epochs))
    assert all(0 < epoch < epochs for epoch in search.rungs)


def test_a_point_is_read_back_from_its_experiment() -> None:
    search = sweep()
    assert search.point_of(search.experiment(PAPER)) == PAPER
    assert search.point_of(search.experiment(PAPER, repeat=4)) == PAPER
    assert search.point_of(Experiment(epochs=17)) is None
    assert search.experiment(PAPER, repeat=2).seed == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"metric": "train_loss"}, "metric must be one of probe_top1, .*, val_loss, got 'train_loss'"),
    ],
)
def test_invalid_sweeps_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sweep(**changes)
    with pytest.raises(UserError, match="range must have 0 < low < high"):
        LogUniform(low=1, high=1)
