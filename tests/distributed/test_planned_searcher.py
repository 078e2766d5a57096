"""Searchers of designs and races, and budgets."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.search import Searcher

from darl.distributed.budget import Budget, Limits
from darl.distributed.planned_searcher import PlannedSearcher, RaceSearcher
from darl.experiment import Experiment
from darl.sweep.search import Search
from darl.sweep.space import BetaByShape

SWEEP = Search(
    name="s", question="?", base=Experiment(epochs=3), space={"noise": BetaByShape()}, baseline="paper",
    first={"paper": {"noise.a": 0.03, "noise.b": 1.0}},
)  # fmt: skip
POINTS = {label: {"noise.a": a, "noise.b": 1.0} for label, a in (("good", 0.1), ("bad", 0.2), ("paper", 0.03))}
PLAN = [(label, point, repeat) for repeat in (1, 2, 3, 4) for label, point in POINTS.items()]


def asked(searcher: Searcher, values: dict[str, list[float]]) -> list[tuple[str, int]]:
    """The trials that a searcher runs if each ends before the next one starts."""
    ran: list[tuple[str, int]] = []
    for number in range(len(PLAN) + 1):
        config = searcher.suggest(str(number))
        if not isinstance(config, dict):
            assert config == Searcher.FINISHED
            break
        point, repeat = config["trial"]
        label = next(name for name, own in POINTS.items() if own == point)
        ran.append((label, repeat))
        result = {"epoch": 3, "probe_top1": values[label][repeat - 1]}
        searcher.on_trial_result(str(number), result)
        searcher.on_trial_complete(str(number), result)
    return ran


VALUES = {"good": [0.90, 0.91, 0.90, 0.92], "bad": [0.50, 0.512, 0.502, 0.52], "paper": [0.60, 0.612, 0.601, 0.62]}


def test_a_plan_runs_in_order() -> None:
    assert asked(PlannedSearcher(SWEEP, PLAN), VALUES) == [(label, repeat) for label, _, repeat in PLAN]


def test_a_race_drops_cells_far_behind_except_the_baseline() -> None:
    race = RaceSearcher(SWEEP, PLAN, [])
    ran = asked(race, VALUES)
    assert ran[:6] == [(label, repeat) for label, _, repeat in PLAN[:6]]
    assert [repeat for label, repeat in ran if label == "bad"] == [1, 2, 3]
    assert [repeat for label, repeat in ran if label == "good"] == [1, 2, 3, 4]
    assert [repeat for label, repeat in ran if label == "paper"] == [1, 2, 3, 4]
    assert race.dropped == {"bad"}


def test_a_race_counts_trials_of_earlier_runs() -> None:
    known = [(label, seed, values[seed - 1]) for label, values in VALUES.items() for seed in (1, 2, 3)]
    rest = [trial for trial in PLAN if trial[2] > 3]
    assert {label for label, _ in asked(RaceSearcher(SWEEP, rest, known), VALUES)} == {"good", "paper"}


def test_a_dropped_contender_returns_when_the_leader_changes() -> None:
    values = {"good": [0.90, 0.91, 0.90, 0.20], "bad": [0.80, 0.80, 0.81, 0.80], "paper": [0.78, 0.83, 0.77, 0.90]}
    plan = [trial for trial in PLAN if trial[:3:2] != ("good", 4)]
    plan.append(("good", POINTS["good"], 4))  # the leader falls last, when `bad` has been passed over
    race = RaceSearcher(SWEEP, plan, [])
    ran = asked(race, values)
    assert ran[-2:] == [("good", 4), ("bad", 4)]
    assert len(ran) == len(plan)


def test_a_race_waits_for_running_trials_before_it_ends() -> None:
    known = [(label, seed, values[seed - 1]) for label, values in VALUES.items() for seed in (1, 2, 3)]
    race = RaceSearcher(SWEEP, [("good", POINTS["good"], 4), ("bad", POINTS["bad"], 4)], known)
    assert isinstance(race.suggest("0"), dict)
    assert race.suggest("1") is None  # `bad` may come back
    race.on_trial_complete("0", error=True)
    assert race.suggest("1") == Searcher.FINISHED


def trial(name: str) -> Any:
    return SimpleNamespace(trial_id=name)


def test_a_budget_of_gpu_hours_counts_running_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("darl.distributed.budget.time.monotonic", lambda: clock.now)
    budget = Budget(Limits(gpu_hours=1.0), gpus_per_trial=2)
    clock.now = 3600.0
    assert not budget.stop_all()  # nothing ran
    budget.on_trial_start(0, [], trial("a"))
    clock.now += 1700
    assert not budget.stop_all()
    clock.now += 101
    assert budget.stop_all()
    assert budget.used_up == ("max_gpu_hours", 1)


def test_a_budget_of_hours_and_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("darl.distributed.budget.time.monotonic", lambda: clock.now)
    budget = Budget(Limits(hours=0.5, trials=2), gpus_per_trial=0)
    for name in ("a", "a", "b"):  # a started again after a fault
        budget.on_trial_start(0, [], trial(name))
    assert budget.trials == 0
    assert budget.used_up is None
    assert budget.ended_by is None  # nothing more was wanted
    budget.short = True
    assert budget.ended_by == ("max_trials", 2)
    clock.now = 1800.0
    assert budget.used_up == ("max_hours", 0.5)
